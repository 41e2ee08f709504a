"""A handheld scanner on a pseudo-terminal: what it reads it types, one line a code."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from pathlib import Path
from typing import Final

from simulators.errors import SimulatorError

TERMINATOR: Final = b"\r"
"""What most scanners leave the factory with."""
WRITE_S_MAX: Final = 2.0
"""A code that nobody takes in this time is lost, as a real scanner's would be."""


class GunJammed(SimulatorError):
    """The scanner is unplugged, or whoever reads from it does not."""

    code = "gun_jammed"


class SerialGun:
    """A scanner on a cable; `stop` is the cable being pulled, `start` plugs it in again."""

    def __init__(self, link_path: Path | str | None = None) -> None:
        """Make an unplugged scanner.

        Args:
            link_path: where its device is to be found each time it is plugged in, as udev would link it.
        """
        self._link = None if link_path is None else Path(link_path)
        self._ends: tuple[int, int] | None = None
        self._device_path = ""
        self._lock = threading.Lock()
        self._pulled = threading.Event()

    @property
    def device_path(self) -> str:
        """The serial device; the part after `serial:` in terminal.toml."""
        return str(self._link) if self._link is not None else self._device_path

    def start(self) -> None:
        """Plug the scanner in.

        Raises:
            OSError: no pseudo-terminal to be had, or the link cannot be made.
        """
        with self._lock:
            if self._ends is not None:
                return
            # Both ends raw, or the line discipline would echo and rewrite what the scanner types.
            ours, theirs = os.openpty()
            tty.setraw(ours)
            tty.setraw(theirs)
            os.set_blocking(ours, False)
            self._device_path = os.ttyname(theirs)
            self._ends = ours, theirs
            self._pulled.clear()
            self._make_link()

    def scan(self, text: str, *, terminator: bytes = TERMINATOR, byte_pause_s: float = 0.0) -> None:
        """Read a code and type it.

        Args:
            terminator: what ends the line; empty for a scanner set up without one.
            byte_pause_s: pause after each byte, as on a slow line.

        Raises:
            GunJammed: unplugged, or nobody took it within WRITE_S_MAX.
        """
        self._type(text.encode("utf-8") + terminator, byte_pause_s)

    def scan_half(self, text: str) -> None:
        """Type the first half of a code and stop, as a scanner does whose battery gives out."""
        self._type(text.encode("utf-8")[: len(text) // 2], 0.0)

    def type_bytes(self, data: bytes) -> None:
        """Type anything, code or not; errors as `scan`."""
        self._type(data, 0.0)

    def stop(self) -> None:
        """Pull the cable; may be called twice."""
        self._pulled.set()
        with self._lock:
            ends, self._ends = self._ends, None
            for end in ends or ():
                os.close(end)
            if ends and self._link is not None:
                self._link.unlink(missing_ok=True)

    def _type(self, data: bytes, byte_pause_s: float) -> None:
        pieces = [data] if byte_pause_s <= 0 else [data[i : i + 1] for i in range(len(data))]
        for piece in pieces:
            self._write(piece)
            if byte_pause_s > 0:
                self._pulled.wait(byte_pause_s)

    def _write(self, data: bytes) -> None:
        deadline = time.monotonic() + WRITE_S_MAX
        while data:
            with self._lock:
                if self._ends is None:
                    raise GunJammed("the scanner is unplugged")
                data = data[_write_some(self._ends[0], data) :]
            if data and time.monotonic() > deadline:
                raise GunJammed("nobody reads what the scanner types")

    def _make_link(self) -> None:
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(self._device_path)


def _write_some(descriptor: int, data: bytes) -> int:
    """Write what fits within a moment and return how much that was."""
    select.select([], [descriptor], [], 0.05)
    with contextlib.suppress(BlockingIOError):
        return os.write(descriptor, data)
    return 0
