"""`/v1/staff`: who works at a merchant's tills, and who signs in at one."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.calls import SignedCall, read_query
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from wire.errors import WireError
from wire.ids import check_ulid
from wire.messages.base import parse_message
from wire.messages.staff import SignInRequest


class StaffResource:
    """What a till asks about the people at it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Tell who may sign in at the asking terminal, after an id; a page at a time."""
        desk = self._desk
        terminal, _ = await desk.authenticator.authenticate_terminal(call, now_ms=desk.now_ms())
        noted.caller = terminal.terminal.terminal_id
        after_id = read_query(call, ("after",)).get("after", "")
        page = await desk.staff.list_at_tills(
            terminal.merchant.merchant_id, check_ulid(after_id) if after_id else ""
        )
        return answer_with(page)

    async def sign_in(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Judge a PIN or a tag, and tell who it is and what they may do."""
        desk = self._desk
        terminal, signed = await desk.authenticator.authenticate_terminal(call, now_ms=desk.now_ms())
        noted.caller = terminal.terminal.terminal_id
        request = parse_message(call.body, SignInRequest)
        if signed.idempotency_key != request.sign_in_id:
            raise WireError("Idempotency-Key must be the sign_in_id")
        answer = await desk.staff.sign_in(request, terminal.merchant.merchant_id)
        noted.code = "signed_in"
        return answer_with(answer)
