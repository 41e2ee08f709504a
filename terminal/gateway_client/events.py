"""What the gateway tells without being asked: a holder confirmed, a wallet paid a code, time ran out.

The events are listened to as they happen where the transport can, and asked for again and again where it
can't or the stream broke. How far they were taken is on disk, so a restart misses none; taking one twice
does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Final

import msgspec
import structlog

from terminal.blocking import RunBlocking
from terminal.disk import Disk
from terminal.errors import TerminalError
from terminal.gateway_client.client import GatewayClient
from wire.messages.payments import PaymentAnswer
from wire.messages.terminals import TerminalNotice

POSITION_FILE: Final = "gateway-events.json"
PAGES_MAX: Final = 1_000
"""Pages asked for in one go; what is left after them comes with the next round."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

    terminal_id: str
    last: int


class EventFollower:
    """Follows one terminal's events."""

    def __init__(
        self,
        gateway: GatewayClient,
        disk: Disk,
        *,
        terminal_id: str,
        on_payment: Callable[[PaymentAnswer], Awaitable[None]],
        poll_ms: int,
        poll_ms_max: int,
        jitter: Callable[[], float],
        run_blocking: RunBlocking = asyncio.to_thread,
    ) -> None:
        """Prepare a follower; `run` starts it.

        Args:
            terminal_id: whose events; a terminal enrolled anew has others, numbered from the start.
            on_payment: takes a payment as it stands now; what it raises is logged, and the next is taken.
            poll_ms: between two questions where nothing can be listened to.
            poll_ms_max: the longest pause while the gateway does not answer.
            jitter: returns a number in [0, 1), to spread many tills that come back together.
        """
        self._gateway = gateway
        self._disk = disk
        self._terminal_id = terminal_id
        self._on_payment = on_payment
        self._poll_ms = poll_ms
        self._poll_ms_max = poll_ms_max
        self._jitter = jitter
        self._run_blocking = run_blocking
        self._last = self._load()

    async def run(self) -> None:
        """Follow until cancelled; failures only make pauses longer."""
        pause_ms = self._poll_ms
        while True:
            try:
                await self.catch_up()
                pause_ms = self._poll_ms
                await self._listen()
            except TerminalError as error:
                pause_ms = min(2 * pause_ms, self._poll_ms_max)
                log.info("gateway_events_broken", code=error.code, reason=str(error))
            except Exception:
                # Whatever broke, what happens next must be heard again.
                log.exception("gateway_events_failed")
            await asyncio.sleep(pause_ms * (0.5 + 0.5 * self._jitter()) / 1000)

    async def catch_up(self) -> None:
        """Ask for everything that was not taken yet, and take it.

        Raises:
            GatewayUnreachable, GatewayRefused: ask again later.
        """
        if self._last is None:
            # The first time ever: nothing of before is ours to hear.
            await self._store((await self._gateway.list_events(None)).last)
        for _ in range(PAGES_MAX):
            found = await self._gateway.list_events(self._last)
            for notice in found.events:
                await self._take(notice)
            if found.last == self._last:
                return
            await self._store(found.last)

    async def _listen(self) -> None:
        assert self._last is not None, "caught up first"
        async with aclosing(self._gateway.listen(self._last)) as notices:
            async for notice in notices:
                await self._take(notice)
                await self._store(notice.sequence)

    async def _take(self, notice: TerminalNotice) -> None:
        try:
            await self._on_payment(notice.payment)
        except Exception as error:
            # The attempt is asked about anyway; one event must not keep the others waiting.
            log.exception("gateway_event_not_taken", sequence=notice.sequence, error=type(error).__name__)

    async def _store(self, last: int) -> None:
        self._last = last
        content = msgspec.json.encode(_Stored(terminal_id=self._terminal_id, last=last))
        try:
            await self._run_blocking(partial(self._disk.write, POSITION_FILE, content))
        except OSError as error:
            # Some are taken once more after a restart.
            log.warning("event_position_not_stored", reason=error.strerror)

    def _load(self) -> int | None:
        try:
            content = self._disk.read(POSITION_FILE)
            stored = msgspec.json.decode(content, type=_Stored) if content else None
        except (OSError, msgspec.DecodeError) as error:
            log.error("event_position_unreadable", reason=type(error).__name__)
            return None
        return stored.last if stored is not None and stored.terminal_id == self._terminal_id else None
