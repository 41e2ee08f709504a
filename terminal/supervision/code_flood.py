"""Tells a hand that shows codes from a device that pours them out.

A camera before a wall of codes, or a scanner gone wild, would make an attempt of every one of them: whoever
shows the first few is charged, and the sale is used up. People show one code, and after a refusal another.
"""

from __future__ import annotations

from collections import deque
from typing import Final

CODES_MAX: Final = 3
"""Different codes within the window; a customer who was refused shows the next one after seconds."""
WINDOW_MS: Final = 1_000

_NS_PER_MS: Final = 1_000_000


class CodeFlood:
    """Watches the codes of one device; keeps at most CODES_MAX + 1 of them, for a window."""

    def __init__(self) -> None:
        self._seen: deque[tuple[str, int]] = deque(maxlen=CODES_MAX + 1)
        self._is_flooded = False
        self.is_news = False
        """Whether the last code was the one that made it a flood."""

    @property
    def is_on(self) -> bool:
        """Whether the last code was one of too many."""
        return self._is_flooded

    def is_flooded(self, text: str, now_ns: int) -> bool:
        """Take a code; say whether it is one of too many, until a window has passed with few.

        Args:
            now_ns: of a clock that only rises.
        """
        self._forget_until(now_ns - WINDOW_MS * _NS_PER_MS)
        if all(text != known for known, _ in self._seen):
            self._seen.append((text, now_ns))
        was_flooded = self._is_flooded
        # Once it floods, half a window's codes do not end it: it must have become one code at a time.
        limit = 1 if was_flooded else CODES_MAX
        self._is_flooded = len(self._seen) > limit
        self.is_news = self._is_flooded and not was_flooded
        return self._is_flooded

    def _forget_until(self, before_ns: int) -> None:
        while self._seen and self._seen[0][1] < before_ns:
            self._seen.popleft()
