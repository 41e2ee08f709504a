"""What happened in a world, in order: one hash that two runs of a seed must share, and lines to read."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

LINES_KEPT_MAX = 400


class Trace:
    """Collects lines; the last ones can be shown, all of them are in the hash."""

    def __init__(self, now_s: Callable[[], float], show: Callable[[str], None] | None = None) -> None:
        """Begin.

        Args:
            now_s: the virtual time.
            show: told every line at once, for a person who watches.
        """
        self._now_s = now_s
        self._show = show
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: deque[str] = deque(maxlen=LINES_KEPT_MAX)

    def note(self, who: str, what: str) -> None:
        """Add a line."""
        line = f"{self._now_s():12.6f} {who:10} {what}"
        self._hash.update(line.encode())
        self.lines.append(line)
        if self._show is not None:
            self._show(line)

    @property
    def hash(self) -> str:
        """Of everything that was noted."""
        return self._hash.hexdigest()
