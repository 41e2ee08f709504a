"""`/v1/staff`: who works at a merchant's tills, and who signs in at one."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_request, read_terminal
from gateway.http.calls import SignedCall, read_query
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from wire.ids import check_ulid
from wire.messages.staff import SignInRequest


class StaffResource:
    """What a till asks about the people at it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Tell who may sign in at the asking terminal, after an id; a page at a time."""
        terminal, _ = await read_terminal(self._desk, call, noted)
        after_id = read_query(call, ("after",)).get("after", "")
        page = await self._desk.staff.list_at_tills(
            terminal.merchant.merchant_id, check_ulid(after_id) if after_id else ""
        )
        return answer_with(page)

    async def sign_in(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Judge a PIN or a tag, and tell who it is and what they may do."""
        request, terminal, _ = await read_request(self._desk, call, noted, SignInRequest, "sign_in_id")
        answer = await self._desk.staff.sign_in(request, terminal.merchant.merchant_id)
        noted.code = "signed_in"
        return answer_with(answer)
