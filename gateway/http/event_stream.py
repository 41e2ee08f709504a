"""`/v1/terminals/events/stream`: the same events as server-sent events, resumed by Last-Event-ID.

The one handler that is not in the table: it answers for as long as the terminal listens. It looks at the
store when the bell rings, and twice a second in any case, because another process may have written.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiohttp import web

from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import EXCHANGE
from gateway.http.resources.events import EventResource, parse_position
from gateway.merchants.model import EnrolledTerminal
from wire.messages.base import dump_message
from wire.messages.terminals import TerminalNotice

STREAM_PATH: Final = "/v1/terminals/events/stream"
LOOK_S: Final = 0.5
HEARTBEAT_S: Final = 10.0
WRITE_TIMEOUT_S: Final = 5.0
"""A listener that takes nothing for so long is dropped; it comes back and resumes."""
STREAM_S_MAX: Final = 3_600.0
"""Then the terminal signs anew: a withdrawn one does not listen for ever."""

_GREETING: Final = b": listening\n\n"
_HEARTBEAT: Final = b": heartbeat\n\n"


class EventStream:
    """Streams events to terminals, as many at once as the bell has listeners."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._events = EventResource(desk)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Stream until the terminal leaves, takes nothing, or the gateway stops."""
        call = SignedCall(request.method, request.raw_path, request.headers, b"")
        terminal = await self._events.identify(call, request[EXCHANGE])
        after = parse_position(request.headers.get("Last-Event-ID"))
        if after is None:
            after = (await self._events.read(terminal, None)).last
        with self._desk.bell.listen(terminal.terminal.terminal_id) as rung:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
            )
            await response.prepare(request)
            try:
                await _write(response, _GREETING)
                await self._stream(response, terminal, after, rung)
            except (ConnectionError, TimeoutError):
                request[EXCHANGE].code = "listener_lost"
        return response

    async def _stream(
        self, response: web.StreamResponse, terminal: EnrolledTerminal, after: int, rung: asyncio.Event
    ) -> None:
        ends_s = time.monotonic() + STREAM_S_MAX
        beats_s = time.monotonic() + HEARTBEAT_S
        while time.monotonic() < ends_s and not self._desk.intake.is_draining:
            rung.clear()
            found = await self._events.read(terminal, after)
            after = found.last
            for notice in found.events:
                await _write(response, _dump(notice))
            if found.events:
                continue
            if time.monotonic() >= beats_s:
                await _write(response, _HEARTBEAT)
                beats_s = time.monotonic() + HEARTBEAT_S
            await _wait(rung)


async def _wait(rung: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(LOOK_S):
            await rung.wait()
    except TimeoutError:
        return


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(chunk)


def _dump(notice: TerminalNotice) -> bytes:
    # JSON has no raw line break, so one data line is enough.
    return b"id: %d\nevent: payment\ndata: %s\n\n" % (notice.sequence, dump_message(notice))
