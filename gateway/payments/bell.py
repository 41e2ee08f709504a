"""Wakes whoever streams a terminal's events, so that they need not wait for their next look.

Within one process only: what another process wrote is found by looking, twice a second.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.errors import GatewayBusy

LISTENERS_MAX: Final = 1_024


class TerminalBell:
    """Who listens for which terminal; used within one event loop."""

    def __init__(self, listeners_max: int = LISTENERS_MAX) -> None:
        self._listeners_max = listeners_max
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._count = 0

    def ring(self, terminal_id: str) -> None:
        """Say that something of this terminal was written."""
        for listener in self._listeners.get(terminal_id, ()):
            listener.set()

    def ring_all(self) -> None:
        """Say that everybody should look, such as because the process stops."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.set()

    @contextmanager
    def listen(self, terminal_id: str) -> Iterator[asyncio.Event]:
        """Listen while the block runs; whoever was woken clears the event.

        Raises:
            GatewayBusy: too many listen already.
        """
        if self._count >= self._listeners_max:
            raise GatewayBusy("too many terminals stream their events")
        rung = asyncio.Event()
        self._count += 1
        self._listeners[terminal_id].add(rung)
        try:
            yield rung
        finally:
            self._count -= 1
            self._listeners[terminal_id].discard(rung)
            if not self._listeners[terminal_id]:
                del self._listeners[terminal_id]
