"""Who may sign in at this till, as the gateway last said; kept on disk: shops open without a network too.

Names and roles only: what proves who somebody is never stands here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec
import structlog

from terminal.blocking import RunBlocking
from terminal.disk import Disk
from terminal.errors import GatewayRefused, GatewayUnreachable
from terminal.people.gateway import StaffGateway
from wire.messages.base import dump_message
from wire.messages.staff import STAFF_SHOWN_MAX, StaffEntry, StaffRole

ROSTER_FILE: Final = "staff.json"
REFRESH_MS: Final = 300_000
"""How often the list is asked for: so long somebody who has left may go on, if they are signed in."""
RETRY_MS: Final = 5_000
"""Until the next try while nothing was ever learnt, or the last try failed."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Roster:
    """The list, and what keeps it fresh."""

    def __init__(
        self, gateway: StaffGateway, disk: Disk, *, run_blocking: RunBlocking = asyncio.to_thread
    ) -> None:
        """Take what an earlier run left; a file that makes no sense is as good as none."""
        self._gateway = gateway
        self._disk = disk
        self._run_blocking = run_blocking
        self._on_refresh: Callable[[], None] = lambda: None
        self.members: list[StaffEntry] | None = None
        """None: never learnt."""
        with suppress(OSError, msgspec.MsgspecError):
            raw = disk.read(ROSTER_FILE)
            if raw:
                self.members = msgspec.json.decode(raw, type=list[StaffEntry])

    @property
    def is_required(self) -> bool:
        """Whether persons have to sign in here. While it was never learnt they have to, and can't."""
        return self.members is None or bool(self.members)

    def tell_refreshes_to(self, on_refresh: Callable[[], None]) -> None:
        """Have this called whenever the gateway has given the list."""
        self._on_refresh = on_refresh

    def agrees(self, staff_id: str, role: StaffRole) -> bool:
        """Say whether nothing in the list speaks against somebody having this role here.

        A shop with more people than a till lists has some that are on no list; they sign in by tag.
        """
        members = self.members or []
        listed = next((one for one in members if one.staff_id == staff_id), None)
        return len(members) >= STAFF_SHOWN_MAX if listed is None else listed.role is role

    async def run(self) -> None:
        """Keep the list fresh for as long as this runs."""
        while True:
            is_fresh = await self.refresh()
            await asyncio.sleep((REFRESH_MS if is_fresh else RETRY_MS) / 1000)

    async def refresh(self) -> bool:
        """Ask for the list once; False where the gateway did not give it."""
        try:
            members = await self._gateway.list_staff()
        except (GatewayUnreachable, GatewayRefused) as error:
            log.info("staff_not_listed", reason=error.code)
            return False
        is_news, self.members = members != self.members, members
        self._on_refresh()
        if is_news:
            try:
                await self._run_blocking(partial(self._disk.write, ROSTER_FILE, dump_message(members)))
            except OSError as error:
                log.error("staff_not_stored", reason=type(error).__name__)
        return True
