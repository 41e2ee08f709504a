"""A terminal's signed call, read: who asks, when, and the message under its Idempotency-Key."""

from __future__ import annotations

from typing import TypeVar

from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.merchants.model import EnrolledTerminal
from wire.errors import WireError
from wire.http_signatures import SignedRequest
from wire.messages.base import parse_message

T = TypeVar("T")


async def read_terminal(
    desk: Desk, call: SignedCall, noted: Exchange, *, own_key: bool = False
) -> tuple[EnrolledTerminal, int]:
    """Return the active terminal that signed, and when it was asked; raises as the authenticator does."""
    terminal, _, now_ms = await _authenticate(desk, call, noted, own_key=own_key)
    return terminal, now_ms


async def read_request(
    desk: Desk, call: SignedCall, noted: Exchange, kind: type[T], id_field: str, *, own_key: bool = False
) -> tuple[T, EnrolledTerminal, int]:
    """Return the message, the active terminal that signed it, and when it was asked.

    Args:
        id_field: which field of the message the Idempotency-Key repeats.

    Raises:
        WireError: the message, or its key. SignatureError, AuthenticationFailed: as the authenticator.
    """
    terminal, signed, now_ms = await _authenticate(desk, call, noted, own_key=own_key)
    message = parse_message(call.body, kind)
    if signed.idempotency_key != getattr(message, id_field):
        raise WireError(f"Idempotency-Key must be the {id_field}")
    return message, terminal, now_ms


async def _authenticate(
    desk: Desk, call: SignedCall, noted: Exchange, *, own_key: bool
) -> tuple[EnrolledTerminal, SignedRequest, int]:
    now_ms = desk.now_ms()
    terminal, signed = await desk.authenticator.authenticate_terminal(call, now_ms=now_ms, own_key=own_key)
    noted.caller = terminal.terminal.terminal_id
    return terminal, signed, now_ms
