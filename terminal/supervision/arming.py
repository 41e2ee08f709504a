"""The sale that is armed, and what the threads of all devices wait on."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from terminal.presentations import TermsSource


@dataclass(frozen=True, slots=True)
class Arming:
    """One arming of all readers; a presentation belongs to the arming it was read under."""

    terms: TermsSource
    at_ns: int
    """time.monotonic_ns when it began; what a scanner read before is not of this sale."""


class Switch:
    """What all threads wait on: the sale that is armed, and the order to stop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arming: Arming | None = None
        self._stopped = False

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def arming(self) -> Arming | None:
        return self._arming

    def arm(self, arming: Arming | None) -> None:
        with self._changed:
            self._arming = arming
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped, self._arming = True, None
            self._changed.notify_all()

    def rest(self, delay_ms: int) -> None:
        """Sleep, but not past an order to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, delay_ms / 1000)

    def await_arming(self, delay_ms: int) -> Arming | None:
        """Return the arming, waiting for one at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._arming is not None, delay_ms / 1000)
            return self._arming
