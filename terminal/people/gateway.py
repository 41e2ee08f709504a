"""What is asked of the gateway about people."""

from __future__ import annotations

from typing import Final, TypeVar

from terminal.errors import GatewayUnreachable
from terminal.gateway_client import GatewayClient
from terminal.transport import Reply
from wire.errors import WireError
from wire.messages.base import dump_message, parse_message
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

T = TypeVar("T")


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


def read_reply(reply: Reply, kind: type[T]) -> T:
    """Return a reply as a message.

    Raises:
        GatewayUnreachable: it is not of the agreed form.
    """
    try:
        return parse_message(reply.body, kind)
    except WireError:
        raise GatewayUnreachable("the gateway's answer is not of the agreed form") from None
