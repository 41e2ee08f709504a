"""What the gateway tells a terminal without being asked about a payment."""

from __future__ import annotations

from typing import Annotated

import msgspec

from wire.messages.base import Message
from wire.messages.payments import PaymentAnswer

Sequence = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]


class TerminalNotice(Message, frozen=True):
    """That something happened to one of the terminal's payments; also the data of a server-sent event."""

    sequence: Sequence
    """Rises; the `id:` of the server-sent event."""
    payment: PaymentAnswer
    """As it stands now."""


class TerminalEvents(Message, frozen=True):
    """What happened since the event that was asked after."""

    events: list[TerminalNotice]
    last: Sequence
    """Ask after this one next."""
