"""A device's state as the till sees it, and how long it took to heal.

Threads come and go (one whose driver never returns is replaced); the health of their device stays. A thread
writes through its tenure, and what one writes that was replaced meanwhile counts for nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from wire.messages.till import ReaderState, ReaderView
from wire.notices import find_notice

CALL_MS_MAX: Final = 9_000
"""A driver call that lasts longer hangs: a whole dialogue takes at most 5 s and its last command 3 s more."""
OPEN_MS_MAX: Final = 15_000
"""The same for opening a device; USB readers are looked for one after another."""

_NS_PER_MS: Final = 1_000_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Standing:
    """A state and why it is so."""

    state: ReaderState
    code: str = ""
    """A condition of wire/notices; empty for starting and ready."""
    reason: str = ""


class Health:
    """One device's state; written by one tenure at a time, read by any thread."""

    def __init__(self, path: str, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._standing = Standing(ReaderState.STARTING)
        self._since_ms = now_ms()
        self._presentation_count = self._fault_count = 0
        self._fault_ns: int | None = None
        self._recovery_ms_last: int | None = None
        self._recovery_ms_max: int | None = None
        self._before_hanging: Standing | None = None
        self._tenure = Tenure(self)
        self._lock = threading.Lock()

    @property
    def tenure(self) -> Tenure:
        """The tenure that counts."""
        return self._tenure

    def take_over(self) -> Tenure:
        """Give the device to another thread; from now on only that one's word counts."""
        with self._lock:
            self._before_hanging = None
            self._tenure = Tenure(self)
            return self._tenure

    def note_hanging(self, code: str) -> None:
        """Call the device faulty because its driver does not return, until it does after all."""
        with self._lock:
            if self._before_hanging is None:
                self._before_hanging = self._standing
            self._set(Standing(ReaderState.FAULTY, code, "the driver does not return"))

    def view(self, *, is_armed: bool, left_behind_count: int) -> ReaderView:
        """Return everything about the device."""
        with self._lock:
            standing = self._standing
            is_ready = standing.state is ReaderState.READY
            return ReaderView(
                path=self._path,
                state=standing.state,
                since_ms=self._since_ms,
                reason=standing.reason,
                presentation_count=self._presentation_count,
                code=standing.code,
                cashier_text=find_notice(standing.code).cashier_text if standing.code else {},
                is_armed=is_armed and is_ready,
                fault_count=self._fault_count,
                recovery_ms_last=self._recovery_ms_last,
                recovery_ms_max=self._recovery_ms_max,
                left_behind_count=left_behind_count,
            )

    def note(self, tenure: Tenure, standing: Standing) -> None:
        """Take a tenure's word on the state."""
        with self._lock:
            if tenure is self._tenure:
                self._before_hanging = None
                self._set(standing)

    def count(self, tenure: Tenure) -> None:
        """Count something presented."""
        with self._lock:
            self._presentation_count += tenure is self._tenure

    def note_return(self, tenure: Tenure) -> None:
        """Take that a driver that hung has returned after all."""
        with self._lock:
            if tenure is self._tenure and self._before_hanging is not None:
                before, self._before_hanging = self._before_hanging, None
                self._set(before)

    def _set(self, standing: Standing) -> None:
        if standing == self._standing:
            return
        self._standing, self._since_ms = standing, self._now_ms()
        recovery_ms = self._time_recovery(standing.state)
        log.info(
            "reader_state",
            reader=self._path,
            state=standing.state.value,
            code=standing.code,
            reason=standing.reason,
            recovery_ms=recovery_ms,
        )

    def _time_recovery(self, state: ReaderState) -> int | None:
        now_ns = time.monotonic_ns()
        if state is ReaderState.FAULTY and self._fault_ns is None:
            self._fault_ns = now_ns
            self._fault_count += 1
        if state is not ReaderState.READY or self._fault_ns is None:
            return None
        recovery_ms, self._fault_ns = (now_ns - self._fault_ns) // _NS_PER_MS, None
        self._recovery_ms_last = recovery_ms
        self._recovery_ms_max = max(recovery_ms, self._recovery_ms_max or 0)
        return recovery_ms


class Tenure:
    """One thread's time with a device: how it writes to the health, and when it was last heard of."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._overdue_ns: int | None = None

    @property
    def is_current(self) -> bool:
        """Whether no other thread has taken the device over."""
        return self._health.tenure is self

    @property
    def is_overdue(self) -> bool:
        """Whether the thread has been in its driver's hands for longer than any call lasts."""
        overdue_ns = self._overdue_ns
        return overdue_ns is not None and time.monotonic_ns() > overdue_ns

    def note(self, state: ReaderState, code: str = "", reason: str = "") -> None:
        """Say how the device stands."""
        self._health.note(self, Standing(state, code, reason))

    def count(self) -> None:
        """Count something presented."""
        self._health.count(self)

    def beat(self, limit_ms: int) -> None:
        """Say that the thread is in its own hands, and for how long it may now be in its driver's."""
        self._overdue_ns = time.monotonic_ns() + limit_ms * _NS_PER_MS
        self._health.note_return(self)

    def end(self) -> None:
        """Say that the thread is done with the device for good."""
        self._overdue_ns = None
