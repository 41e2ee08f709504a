"""The contract every code scanner keeps: three calls, all blocking, all from one owner thread."""

from __future__ import annotations

import time
from typing import Protocol

CODE_CHARS_MAX = 1024
"""Longest text a scanner hands on; our longest code is 512 characters (protocol section 4)."""


class CodeScanner(Protocol):
    """A device that sees or is fed codes."""

    path: str

    @property
    def seen_ns(self) -> int:
        """time.monotonic_ns at which what was last returned or refused was read from the device.

        What lay in a queue when a sale was armed is older than the sale, and pays nothing. A driver that
        keeps no queue may leave this as it is: it says now.
        """
        return time.monotonic_ns()

    def open(self) -> None:
        """Take the device; errors as CardReader.open."""

    def wait_for_code(self, timeout_ms: int) -> str | None:
        """Return the next code's text within the time, else None; may return up to 500 ms late.

        A text longer than CODE_CHARS_MAX is cut to that length plus one, so that the caller refuses it.
        A camera that goes on seeing one code may return it again and again; the sale ignores repeats.

        Raises:
            ReaderUnavailable: the device failed; close it, open it again later.
            PresentationRefused: `code_incomplete`; a scanner typed a part of a code and stopped.
        """

    def close(self) -> None:
        """Give the device back; never raises, may be called twice."""


def cut_code(text: str) -> str:
    """Return a code's text, cut where it is longer than any code of ours, so that it is still refused."""
    return text[: CODE_CHARS_MAX + 1]
