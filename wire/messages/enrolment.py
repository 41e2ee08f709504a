"""A terminal introduces itself with a one-time code and its own public key."""

from __future__ import annotations

from typing import Annotated

import msgspec

from wire.messages.base import Message
from wire.messages.payments import CurrencyCode, UnixMs

PublicKeyBytes = Annotated[bytes, msgspec.Meta(min_length=33, max_length=33)]
"""A P-256 public key as a compressed SEC 1 point."""


class EnrolmentRequest(Message, frozen=True):
    """Sent once, signed by the very key it carries (proof of possession)."""

    code: Annotated[str, msgspec.Meta(min_length=8, max_length=32)]
    public_key: PublicKeyBytes
    software: Annotated[str, msgspec.Meta(max_length=64)] = ""


class EnrolmentAnswer(Message, frozen=True):
    """Who the terminal is from now on."""

    terminal_id: str
    merchant_id: str
    merchant_name: str
    location_name: str
    currency: CurrencyCode
    gateway_time_ms: UnixMs
