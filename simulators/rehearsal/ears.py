"""What a till has told so far: its events, kept in order, for whoever waits for one of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from simulators.demo.till_client import TillClient
from wire.messages.till import SaleEvent

EVENTS_KEPT_MAX: Final = 500
"""More than any value makes; what is older is nobody's any more."""


class TillEars:
    """Listens to one till all the time, also while somebody else's software drives it."""

    def __init__(self, till: TillClient) -> None:
        self._till = till
        self._heard: deque[SaleEvent] = deque(maxlen=EVENTS_KEPT_MAX)
        self._news = asyncio.Condition()

    async def listen(self) -> None:
        """Take in events until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._till.watch())
            while True:
                event = await self._till.events.get()
                async with self._news:
                    self._heard.append(event)
                    self._news.notify_all()

    @property
    def newest(self) -> SaleEvent | None:
        """The event heard last; None before the first."""
        return self._heard[-1] if self._heard else None

    @property
    def last_sequence(self) -> int:
        """Number of the newest event heard; 0 before the first."""
        return self._heard[-1].sequence if self._heard else 0

    async def find(
        self, is_wanted: Callable[[SaleEvent], bool], *, after: int, within_s: float
    ) -> SaleEvent | None:
        """Return the first event behind a number that is wanted, waiting for it; None if it does not come."""
        try:
            async with asyncio.timeout(within_s), self._news:
                while True:
                    for event in self._heard:
                        if event.sequence > after and is_wanted(event):
                            return event
                    await self._news.wait()
        except TimeoutError:
            return None
