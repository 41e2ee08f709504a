"""What happened at this till, in order, for whoever watches; bounded, and never waiting for a watcher."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypedDict, TypeVar

import msgspec

from terminal.errors import SaleRefused
from wire.messages.payments import Decline, EntryMode
from wire.messages.till import DaemonEvent, Refusal, SaleEvent

EVENTS_KEPT_MAX: Final = 512
"""How far back a watcher can resume, and how far one may fall behind before it is dropped."""
SUBSCRIBERS_MAX: Final = 32


TillEvent = SaleEvent | DaemonEvent
AnyEvent = TypeVar("AnyEvent", SaleEvent, DaemonEvent)


class EventDetails(TypedDict, total=False):
    """What an event says beyond its kind and its sale."""

    reader: str
    entry_mode: EntryMode
    refusal: Refusal
    decline: Decline
    tap_to_answer_ms: int


class SubscriberTooSlow(Exception):
    """The watcher missed events that are no longer kept; it must begin anew."""


class EventBoard:
    """The last events of this daemon; every watcher reads them at its own pace."""

    def __init__(self, first_sequence: int) -> None:
        """Start empty.

        Args:
            first_sequence: of the first event. The daemon gives its start time in unix milliseconds, so
                that a watcher's position in an earlier run is never taken for one in this.
        """
        self._events: deque[TillEvent] = deque(maxlen=EVENTS_KEPT_MAX)
        self._next_sequence = first_sequence
        self._watchers: set[Subscription] = set()

    def publish(self, event: AnyEvent) -> AnyEvent:
        """Number an event, keep it, and wake every watcher; never blocks."""
        numbered: AnyEvent = msgspec.structs.replace(event, sequence=self._next_sequence)
        self._next_sequence += 1
        self._events.append(numbered)
        self._wake()
        return numbered

    @contextmanager
    def subscribe(self, after: int | None = None) -> Iterator[Subscription]:
        """Watch from now on, or from just after an event seen before, as far as it is still kept.

        Raises:
            SaleRefused: `too_many_watchers`.
        """
        if len(self._watchers) >= SUBSCRIBERS_MAX:
            raise SaleRefused("too many are watching this daemon already", code="too_many_watchers")
        subscription = Subscription(self, self._resume_at(after))
        self._watchers.add(subscription)
        try:
            yield subscription
        finally:
            self._watchers.discard(subscription)

    @property
    def last_sequence(self) -> int:
        """Number of the newest event; one less than the first where nothing has happened yet."""
        return self._next_sequence - 1

    def close(self) -> None:
        """End every watcher's iteration, so that a stopping daemon waits for none."""
        for watcher in self._watchers:
            watcher.is_closed = True
        self._wake()

    def find(self, sequence: int) -> TillEvent | None:
        """Return the event with this number; None if it has not happened yet.

        Raises:
            SubscriberTooSlow: it happened and is no longer kept.
        """
        if sequence >= self._next_sequence:
            return None
        oldest = self._next_sequence - len(self._events)
        if sequence < oldest:
            raise SubscriberTooSlow
        return self._events[sequence - oldest]

    def _resume_at(self, after: int | None) -> int:
        oldest = self._next_sequence - len(self._events)
        if after is None:
            return self._next_sequence
        # A position from beyond the newest event belongs to another run: all that is kept is news.
        return oldest if after >= self._next_sequence else max(after + 1, oldest)

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.wake()


class Subscription:
    """One watcher's place in the events."""

    def __init__(self, board: EventBoard, sequence: int) -> None:
        self._board = board
        self._sequence = sequence
        self._woken = asyncio.Event()
        self.is_closed = False

    async def next(self, timeout_ms: int) -> TillEvent | None:
        """Return the next event; None if none came in time or the daemon stops (`is_closed`).

        Raises:
            SubscriberTooSlow: events were missed.
        """
        event = self._board.find(self._sequence)
        if event is None and not self.is_closed:
            event = await self._wait(timeout_ms)
        if event is not None:
            self._sequence += 1
        return event

    def wake(self) -> None:
        """Tell the watcher that something happened."""
        self._woken.set()

    async def _wait(self, timeout_ms: int) -> TillEvent | None:
        self._woken.clear()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._woken.wait()
        except TimeoutError:
            return None
        return self._board.find(self._sequence)
