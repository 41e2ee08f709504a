"""How many receipt pages one process makes, so that strangers at pages cost payments nothing."""

from __future__ import annotations

from typing import Final

PAGES_PER_S: Final = 50
PAGES_AT_ONCE_MAX: Final = 100
"""Pages that may be asked for at one moment after a quiet one."""


class PageRate:
    """A bucket that fills with time; each page takes one drop, and an empty one refuses."""

    __slots__ = ("_at_ms", "_drops_m")

    def __init__(self) -> None:
        self._drops_m = PAGES_AT_ONCE_MAX * 1_000
        self._at_ms = 0

    def take(self, now_ms: int) -> bool:
        """Take a drop; False where there is none."""
        passed_ms = max(0, now_ms - self._at_ms)
        self._at_ms = now_ms
        self._drops_m = min(PAGES_AT_ONCE_MAX * 1_000, self._drops_m + passed_ms * PAGES_PER_S)
        if self._drops_m < 1_000:
            return False
        self._drops_m -= 1_000
        return True
