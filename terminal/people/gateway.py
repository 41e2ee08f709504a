"""What is asked of the gateway about people."""

from __future__ import annotations

from typing import Final

from terminal.gateway_client.answers import read_reply
from terminal.gateway_client.client import GatewayClient
from terminal.people.shift_book import ShiftOrder
from wire.messages.base import dump_message
from wire.messages.shifts import AGE_MS_MAX, SHIFTS_TARGET, ShiftAnswer, ShiftClosing, ShiftOpening
from wire.messages.staff import (
    SIGN_IN_TARGET,
    STAFF_PER_PAGE_MAX,
    STAFF_SHOWN_MAX,
    STAFF_TARGET,
    SignInAnswer,
    SignInRequest,
    StaffEntry,
    StaffPage,
)

STAFF_PAGES_MAX: Final = STAFF_SHOWN_MAX // STAFF_PER_PAGE_MAX


class StaffGateway:
    """The gateway as the people at a till need it; every call is sent once."""

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    async def list_staff(self) -> list[StaffEntry]:
        """Return who may sign in here, at most STAFF_SHOWN_MAX of them.

        Raises:
            GatewayUnreachable, GatewayRefused: nothing was learnt.
        """
        members: list[StaffEntry] = []
        for _ in range(STAFF_PAGES_MAX):
            query = f"?after={members[-1].staff_id}" if members else ""
            page = read_reply(await self._client.call("GET", STAFF_TARGET + query), StaffPage)
            members += page.members
            if page.is_last or not page.members:
                break
        return members

    async def sign_in(self, request: SignInRequest) -> SignInAnswer:
        """Have a PIN or a tag judged.

        Raises:
            GatewayRefused: `staff_not_allowed`, `staff_locked`, `staff_tag_invalid` and others.
            GatewayUnreachable: it may have been judged; the same request is counted once.
        """
        reply = await self._client.call("POST", SIGN_IN_TARGET, dump_message(request), request.sign_in_id)
        return read_reply(reply, SignInAnswer)

    async def tell_shift(self, order: ShiftOrder, staff_id: str | None, age_ms: int) -> ShiftAnswer:
        """Tell that a shift was opened or closed; the same again changes nothing.

        Args:
            age_ms: how long ago; more than AGE_MS_MAX is told as that.

        Raises:
            GatewayRefused: `shift_is_open`, `staff_not_allowed`, `not_found` and others.
            GatewayUnreachable: it may have been taken; tell it again.
        """
        is_closing = order.what == "close"
        told = (ShiftClosing if is_closing else ShiftOpening)(
            shift_id=order.shift_id, age_ms=min(age_ms, AGE_MS_MAX), staff_id=staff_id
        )
        target = f"{SHIFTS_TARGET}/{order.shift_id}/close" if is_closing else SHIFTS_TARGET
        body = dump_message(told)
        return read_reply(await self._client.call("POST", target, body, order.shift_id), ShiftAnswer)

    async def find_shift(self, what: str) -> ShiftAnswer:
        """Ask how a shift stands, by its id; or the one that is `open`.

        Raises:
            GatewayRefused: `not_found` and others. GatewayUnreachable: nothing was learnt.
        """
        return read_reply(await self._client.call("GET", f"{SHIFTS_TARGET}/{what}"), ShiftAnswer)
