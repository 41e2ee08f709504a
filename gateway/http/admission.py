"""How many payments are let in at once, and how they are let at the processor a few at a time.

Overload is refused at the door: a payment more than the bound is answered 503 `gateway_busy` before its
header is parsed or its signature verified (gateway/http/door.py), because what a refusal costs is taken
from those who are served. Measured beside 250 µs for a payment: 20 µs for a refusal, 130 µs for one through
aiohttp's own way.

What was let in is not started at once. Hundreds of sockets can be ready in one turn of the event loop; if
each of their payments began there, with 160 µs of signatures, nobody would be read, refused or told that
we are live for a tenth of a second. So they are counted first, queue, and start a few per turn; and a few
more for those that were refused in it, or else refusing would take all the time there is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from gateway.errors import GatewayBusy

STARTS_PER_TURN_MAX: Final = 8
"""About two milliseconds of work between two looks at the sockets."""
REFUSALS_PER_START: Final = 2
"""One more payment is started for so many refusals: four times the work that they were."""
REFUSALS_REPORT_S: Final = 1.0
"""Refusals are logged as a number per second: a line each would cost as much as they do."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Admission:
    """Counts the payments this process is deciding; used within one event loop."""

    __slots__ = ("_in_flight", "_in_flight_max", "_refused", "_refused_this_turn", "_starts")

    def __init__(self, in_flight_max: int) -> None:
        self._in_flight_max = in_flight_max
        self._in_flight = 0
        self._refused = 0
        self._refused_this_turn = 0
        self._starts: deque[Callable[[], None]] = deque()

    @property
    def is_full(self) -> bool:
        """Say whether one more payment would be too many."""
        return self._in_flight >= self._in_flight_max

    def check(self) -> None:
        """Return if there is room for one more, else raise GatewayBusy."""
        if self.is_full:
            self.note_refusal()
            raise GatewayBusy("too many payments are being decided")

    def enter(self) -> None:
        """Take a place; whoever took it leaves it.

        Raises:
            GatewayBusy: there is none.
        """
        self.check()
        self._in_flight += 1

    def leave(self) -> None:
        """Give a place back."""
        self._in_flight -= 1

    def start_soon(self, start: Callable[[], None]) -> None:
        """Call back in this or a later turn of the event loop, in the order of the calls."""
        self._starts.append(start)
        if len(self._starts) == 1:
            asyncio.get_running_loop().call_soon(self._start_some)

    def note_refusal(self) -> None:
        """Count a payment that was turned away."""
        if not self._refused:
            asyncio.get_running_loop().call_later(REFUSALS_REPORT_S, self._report_refusals)
        self._refused += 1
        self._refused_this_turn += 1

    def _start_some(self) -> None:
        starts_max = STARTS_PER_TURN_MAX + self._refused_this_turn // REFUSALS_PER_START
        self._refused_this_turn = 0
        starts = [self._starts.popleft() for _ in range(min(starts_max, len(self._starts)))]
        if self._starts:
            asyncio.get_running_loop().call_soon(self._start_some)
        for start in starts:
            start()

    def _report_refusals(self) -> None:
        log.warning("payments_refused", code=GatewayBusy.code, count=self._refused, in_flight=self._in_flight)
        self._refused = 0
