"""Events as server-sent events: resumable by Last-Event-ID, with a heartbeat, dropped when too slow."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import structlog
from aiohttp import web

from terminal.sale.events import EventBoard, SubscriberTooSlow, Subscription, TillEvent
from wire.errors import WireError
from wire.messages.base import dump_message

HEARTBEAT_MS: Final = 10_000
WRITE_TIMEOUT_MS: Final = 5_000
"""A watcher that takes nothing for this long is dropped; it can come back and resume."""

_POSITION: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_GREETING: Final = b": watching\n\n"
_HEARTBEAT: Final = b": heartbeat\n\n"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def stream_events(request: web.Request, board: EventBoard) -> web.StreamResponse:
    """Answer with events until the watcher leaves, falls behind, or the daemon stops.

    Raises:
        WireError: `malformed`; Last-Event-ID is no number.
        SaleRefused: `too_many_watchers`.
    """
    after = _parse_position(request.headers.get("Last-Event-ID"))
    with board.subscribe(after) as subscription:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        try:
            await _write_events(response, subscription)
        except (ConnectionError, TimeoutError, SubscriberTooSlow) as error:
            log.info("watcher_dropped", reason=type(error).__name__)
    return response


async def _write_events(response: web.StreamResponse, subscription: Subscription) -> None:
    await _write(response, _GREETING)
    while True:
        event = await subscription.next(HEARTBEAT_MS)
        if event is not None:
            await _write(response, _dump_event(event))
        elif subscription.is_closed:
            return
        else:
            await _write(response, _HEARTBEAT)


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_MS / 1000):
        await response.write(chunk)


def _dump_event(event: TillEvent) -> bytes:
    # JSON has no raw line break, so one data line is enough.
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.sequence,
        event.kind.value.encode("ascii"),
        dump_message(event),
    )


def _parse_position(text: str | None) -> int | None:
    if text is None or not text:
        return None
    if _POSITION.fullmatch(text) is None:
        raise WireError("Last-Event-ID is the number of an event")
    return int(text)
