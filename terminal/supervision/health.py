"""A device's state as the till sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from wire.messages.till import ReaderState, ReaderView

CALL_MS_MAX: Final = 15_000
"""A driver call that lasts longer makes its device faulty in the eyes of the till."""

_NS_PER_MS: Final = 1_000_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Health:
    """A device's state as the till sees it; written by its thread, read by any."""

    def __init__(self, path: str, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._state, self._reason, self._since_ms = ReaderState.STARTING, "", now_ms()
        self._presentation_count = 0
        self._alive_ns = time.monotonic_ns()
        self._lock = threading.Lock()

    def set(self, state: ReaderState, reason: str = "") -> None:
        with self._lock:
            if (state, reason) != (self._state, self._reason):
                self._state, self._reason, self._since_ms = state, reason, self._now_ms()
                log.info("reader_state", reader=self._path, state=state.value, reason=reason)

    def count(self) -> None:
        with self._lock:
            self._presentation_count += 1

    def beat(self) -> None:
        """Say that the thread is in its own hands and not in its driver's."""
        self._alive_ns = time.monotonic_ns()

    def view(self) -> ReaderView:
        silent_ms = (time.monotonic_ns() - self._alive_ns) // _NS_PER_MS
        with self._lock:
            state, reason, since_ms = self._state, self._reason, self._since_ms
            count = self._presentation_count
        if state in (ReaderState.READY, ReaderState.STARTING) and silent_ms > CALL_MS_MAX:
            state, reason = ReaderState.FAULTY, "the driver does not return"
            since_ms = max(since_ms, self._now_ms() - silent_ms)
        return ReaderView(self._path, state, since_ms, reason, count)
