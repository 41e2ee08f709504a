"""A file of checksummed lines that only ever ends in whole ones, on a `Disk`.

The discipline is that of terminal/journal/journal.py: a line is the CRC-32 of its content in eight hex
digits, a space, the content. It counts once its newline is on disk, and every append is synced before the
next begins, so power loss can spoil nothing but the tail.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import PurePath
from typing import Final

import structlog

from terminal.disk import Disk

_CHECKSUM_CHARS: Final = 8

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class RecordFile:
    """One append-only file; its calls block and one thread at a time makes them."""

    def __init__(self, disk: Disk, name: str) -> None:
        """Open the file, or make it.

        Raises:
            OSError: it can't be opened for writing.
        """
        self._disk = disk
        self._name = name
        self._file = disk.open(name)
        self._good_bytes = 0
        self._is_spoilt = False
        self.line_count = 0
        """Lines on disk."""

    def load(self) -> list[bytes]:
        """Return the content of every whole line, oldest first, and cut the tail after the last of them.

        Lines before it that are damaged are left out here and kept, with all the others, in a file beside
        this one whose name ends in `.damaged`.

        Raises:
            OSError: it can't be read, or not be mended.
        """
        content = self._disk.read(self._name)
        lines, self._good_bytes, damaged_count = _parse_lines(content)
        self.line_count = len(lines)
        if damaged_count:
            # No torn tail but a damaged disk: kept for whoever looks into it.
            log.error("offline_file_damaged", file=self._name, line_count=damaged_count)
            self.keep_as_damaged()
            self.replace(lines)
        elif len(content) > self._good_bytes:
            self._cut_tail()
        return lines

    def keep_as_damaged(self) -> None:
        """Copy the file as it is beside itself, for whoever looks into it."""
        self._disk.write(f"{PurePath(self._name).stem}.damaged", self._disk.read(self._name))

    def append(self, contents: Iterable[bytes]) -> None:
        """Add lines by one write and sync them; after an error the file is as before.

        When this returns they survive power loss; power loss before that leaves the first few of them.

        Raises:
            OSError: they are not on disk.
        """
        lines = [_dump_line(content) for content in contents]
        if self._is_spoilt:
            self._cut_tail()
        self._is_spoilt = True
        try:
            self._file.append(b"".join(lines))
        except OSError:
            with suppress(OSError):
                self._cut_tail()
            raise
        self._good_bytes += sum(map(len, lines))
        self.line_count += len(lines)
        self._is_spoilt = False

    def replace(self, contents: Iterable[bytes]) -> None:
        """Put these lines in place of all in one step: after a power loss it is the old or the new file.

        Raises:
            OSError: it is one of the two; the next append or start mends what is left to mend.
        """
        lines = [_dump_line(content) for content in contents]
        content = b"".join(lines)
        self._file.replace(content)
        self._good_bytes, self.line_count = len(content), len(lines)
        # Until the new name is durable, nothing may be appended.
        self._is_spoilt = True
        self._cut_tail()

    def close(self) -> None:
        """Give the file back; may be called twice."""
        self._file.close()

    def _cut_tail(self) -> None:
        self._file.cut(self._good_bytes)
        self._is_spoilt = False


def _parse_lines(content: bytes) -> tuple[list[bytes], int, int]:
    """Return the whole lines, the length up to the last of them, and how many before it are damaged."""
    lines: list[bytes] = []
    good_bytes = position = bad_count = damaged_count = 0
    for line in content.split(b"\n")[:-1]:
        position += len(line) + 1
        checksum, _, payload = line.partition(b" ")
        if checksum != _checksum(payload):
            bad_count += 1
            continue
        lines.append(payload)
        good_bytes, damaged_count = position, bad_count
    return lines, good_bytes, damaged_count


def _dump_line(content: bytes) -> bytes:
    assert b"\n" not in content, "a newline would end the line early"
    return _checksum(content) + b" " + content + b"\n"


def _checksum(content: bytes) -> bytes:
    return f"{zlib.crc32(content):0{_CHECKSUM_CHARS}x}".encode("ascii")
