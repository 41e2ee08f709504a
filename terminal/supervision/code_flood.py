"""Tells a hand that shows codes from a device that pours them out.

A camera before a wall of codes, or a scanner gone wild, would make an attempt of every one of them: whoever
shows the first few is charged, the sale is used up, and what is left pays the next customer's. People show
one code, and after a refusal another; nobody manages two within GAP_MS.
"""

from __future__ import annotations

from typing import Final

GAP_MS: Final = 150
"""Two different codes closer than this come from no hand."""
QUIET_MS: Final = 1_000
"""A flood has ended when so long no two codes came close to each other."""

_NS_PER_MS: Final = 1_000_000


class CodeFlood:
    """Watches every payment code of one device, whether a sale is armed or not."""

    def __init__(self) -> None:
        self._last: tuple[str, int] | None = None
        self._until_ns: int | None = None
        self.is_news = False
        """Whether the last code was the one that made it a flood."""

    def is_flooded(self, text: str, read_ns: int) -> bool:
        """Take a code; say whether it is one of too many.

        Args:
            read_ns: when the device read it, of a clock that only rises.
        """
        last, self._last = self._last, (text, read_ns)
        is_close = last is not None and last[0] != text and read_ns - last[1] < GAP_MS * _NS_PER_MS
        was_flooded = self._until_ns is not None and read_ns < self._until_ns
        if is_close:
            self._until_ns = read_ns + QUIET_MS * _NS_PER_MS
        self.is_news = is_close and not was_flooded
        return is_close or was_flooded
