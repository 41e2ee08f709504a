"""The card's own processor: answers APDUs in a thread of its own, so that a field can ask for more time.

A field must answer within the frame waiting time whether or not the card has finished thinking. The card
therefore works here, and the field waits for it in slices.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Final, TypeGuard, cast

from simulators.cards.card import MemoryTag, SimulatedCard

SETTLE_S_MAX: Final = 1.0
"""How long leaving the field waits for an answer in the making; a card that hangs is left behind."""


def is_memory_tag(card: SimulatedCard | MemoryTag) -> TypeGuard[MemoryTag]:
    """Say whether this is a Type 2 tag rather than a card with a processor."""
    return hasattr(card, "exchange")


def processor_of(card: SimulatedCard | MemoryTag) -> SimulatedCard:
    """Return a card that is no memory tag as what it is; a tag here is our bug."""
    # TypeGuard narrows only where it holds, so the other half needs saying.
    assert not is_memory_tag(card)
    return cast(SimulatedCard, card)


class CardWorker:
    """Runs one card's `transmit`, one command at a time, in a daemon thread."""

    def __init__(self, card: SimulatedCard) -> None:
        self._card = card
        self._commands: SimpleQueue[tuple[bytes, Future[bytes]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._busy = threading.Lock()

    def submit(self, command: bytes) -> Future[bytes]:
        """Give the card a command; the future holds its answer or what it raised."""
        if self._thread is None:
            # Daemonic, because a scripted card may never answer and must not keep the process alive.
            self._thread = threading.Thread(target=self._run, name="simulated-card", daemon=True)
            self._thread.start()
        future: Future[bytes] = Future()
        self._commands.put((command, future))
        return future

    def settle(self) -> None:
        """Wait, within bounds, until no command is in the making."""
        if self._busy.acquire(timeout=SETTLE_S_MAX):
            self._busy.release()

    def close(self) -> None:
        """Let the thread end after what it is doing; may be called twice."""
        if self._thread is not None:
            self._commands.put(None)
            self._thread = None

    def _run(self) -> None:
        while (item := self._commands.get()) is not None:
            command, future = item
            with self._busy:
                self._answer(command, future)

    def _answer(self, command: bytes, future: Future[bytes]) -> None:
        try:
            future.set_result(self._card.transmit(command))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the answer
            future.set_exception(error)
