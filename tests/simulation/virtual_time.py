"""An event loop whose time is virtual: when nothing is ready it jumps to the next timer.

No thread and no socket wakes it, so what happens follows from what was scheduled, in the same order every
time. A loop in which nothing is ready and nothing is scheduled would wait for ever: it says so instead.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

TURNS_MAX = 2_000_000
"""Turns of one loop; a world that takes more goes round in a circle."""


class Deadlock(Exception):
    """Everybody waits for somebody; the text says who."""


class TooManyTurns(Exception):
    """The loop turned and turned, and time did not end it."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """One world's time, in seconds from 0."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._turns = 0
        super().__init__(_NothingToSelect(self))
        # A nanosecond is lost in sums of floating-point seconds; what is due by a microsecond is due.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return the virtual time."""
        return self._now_s

    def wait(self, timeout: float | None) -> None:
        """Let time pass, in no time."""
        self._turns += 1
        if self._turns > TURNS_MAX:
            raise TooManyTurns(f"after {self._now_s:.3f} s")
        if timeout is None:
            waiting = sorted(repr(task.get_coro()) for task in asyncio.all_tasks(self))
            raise Deadlock(f"at {self._now_s:.3f} s nobody will ever wake:\n  " + "\n  ".join(waiting))
        if timeout > 0:
            self._now_s += timeout

    def begin_anew(self) -> None:
        """Count the turns from here."""
        self._turns = 0

    # A loop's pipe wakes it from another thread; here is none, so whoever calls finds it awake.

    def _make_self_pipe(self) -> None:
        self._internal_fds = 0

    def _close_self_pipe(self) -> None:
        return

    def _write_to_self(self) -> None:
        return


class _NothingToSelect(selectors.BaseSelector):
    """A selector without files: it lets virtual time pass where another would wait."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise AssertionError("there are no files and sockets in virtual time")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise KeyError(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.wait(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


def run_virtually(main: Any) -> Any:
    """Run a coroutine in a loop of its own and return its result; what it leaves behind is cancelled.

    Raises:
        Deadlock, TooManyTurns: it would never end.
    """
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            _end_all(loop)
        finally:
            loop.close()


def _end_all(loop: VirtualTimeLoop) -> None:
    """Cancel what is left, and let it end."""
    loop.begin_anew()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
