"""Codes that a handheld scanner has typed, until somebody asks for them; whatever it types them into."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from terminal.errors import PresentationRefused
from terminal.scanners.code_scanner import cut_code

CODES_MAX: Final = 8
"""Codes kept that nobody asked for yet; more mean a scanner gone wild, and the oldest go."""

_NS_PER_MS: Final = 1_000_000


class TypedCodes:
    """A bounded queue of codes and of scans that broke off."""

    def __init__(self) -> None:
        self._codes: deque[tuple[str | None, int]] = deque(maxlen=CODES_MAX)
        """With the time each was read; None is a scan that broke off."""
        self.taken_ns = 0
        """When what `take` returned or refused last was read."""

    def add(self, text: str, now_ns: int) -> None:
        """Keep a code; nothing typed is none."""
        if text:
            self._codes.append((cut_code(text), now_ns))

    def add_half(self, now_ns: int) -> None:
        """Keep that a scan broke off."""
        self._codes.append((None, now_ns))

    def take(self) -> str | None:
        """Return the oldest code not yet taken.

        Raises:
            PresentationRefused: `code_incomplete`; a part of a code came in its place.
        """
        if not self._codes:
            return None
        code, self.taken_ns = self._codes.popleft()
        if code is None:
            raise PresentationRefused("half a scan", code="code_incomplete")
        return code

    def clear(self) -> None:
        """Forget all of them."""
        self._codes.clear()

    def wait(self, timeout_ms: int, read_until: Callable[[int], None]) -> str | None:
        """Return the next code, reading on for one at most so long; errors as `take`, and the reading's own.

        Args:
            read_until: reads once, waiting at most until a time of the monotonic clock, in nanoseconds.
        """
        deadline_ns = time.monotonic_ns() + timeout_ms * _NS_PER_MS
        while True:
            # At least one read, so that waiting no time still takes what is there; but no waiting for more
            # while a code is there, or a burst would be handed on one by one, into the next sale.
            read_until(0 if self._codes else deadline_ns)
            code = self.take()
            if code is not None or time.monotonic_ns() >= deadline_ns:
                return code
