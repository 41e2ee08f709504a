"""What a holder's device asks of the gateway, signed with the device's own key."""

from __future__ import annotations

from typing import Annotated

import msgspec

from wire.messages.base import Message
from wire.messages.payments import UnixMs


class PaymentCodeRequest(Message, frozen=True):
    """Ask for a numeric payment code; the signing key says whose."""


class PaymentCodeAnswer(Message, frozen=True):
    """A numeric payment code, good for one payment until it expires."""

    code: Annotated[str, msgspec.Meta(pattern="^[0-9]{18}$", max_length=18)]
    expires_ms: UnixMs
