"""A terminal opens a request session: a key for many requests, agreed on in this one."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from wire.messages.base import Message
from wire.messages.enrolment import PublicKeyBytes
from wire.messages.payments import UnixMs
from wire.request_sessions import SESSION_ID_BYTES_MAX, SESSION_ID_BYTES_MIN

LIFETIME_MS_MAX: Final = 7 * 86_400_000

SessionIdBytes = Annotated[
    bytes, msgspec.Meta(min_length=SESSION_ID_BYTES_MIN, max_length=SESSION_ID_BYTES_MAX)
]


class SessionRequest(Message, frozen=True):
    """Sent by a terminal, signed by its own key; asking twice opens two sessions, which harms nobody."""

    public_key: PublicKeyBytes
    """The terminal's part of the agreement: of a key made for this session alone."""


class SessionAnswer(Message, frozen=True):
    """What the terminal needs to derive the session's key."""

    session_id: SessionIdBytes
    public_key: PublicKeyBytes
    """The gateway's part of the agreement."""
    lifetime_ms: Annotated[int, msgspec.Meta(ge=1, le=LIFETIME_MS_MAX)]
    """How long from now the gateway takes requests under it."""
    gateway_time_ms: UnixMs
