"""A file of checksummed lines that only ever ends in whole ones: the disk below terminal/offline.

The discipline is the journal's (terminal/journal.py): a line is the CRC-32 of its content in eight hex
digits, a space, the content. It counts once its newline is on disk, and every append is synced before the
next begins, so power loss can spoil nothing but the tail. These are the only operations of this package on
files that are appended to.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from terminal.data_folder import FILE_MODE, sync_folder, write_file_durably, write_whole

_CHECKSUM_CHARS: Final = 8

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class RecordFile:
    """One append-only file; its calls block and one thread at a time makes them."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            OSError: it can't be opened for writing.
        """
        self._path = path
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE_MODE)
        self._good_bytes = 0
        self._is_spoilt = False
        self.line_count = 0
        """Lines on disk."""

    def __del__(self) -> None:
        # As Python's own files do: a queue dropped without close() must not hold its descriptor for ever.
        self.close()

    def load(self) -> list[bytes]:
        """Return the content of every whole line, oldest first, and cut the tail after the last of them.

        Lines before it that are damaged are left out here and kept, with all the others, in a file beside
        this one whose name ends in `.damaged`.

        Raises:
            OSError: it can't be read, or not be mended.
        """
        content = self._path.read_bytes()
        lines, self._good_bytes, damaged_count = _parse_lines(content)
        self.line_count = len(lines)
        if damaged_count:
            # No torn tail but a damaged disk: kept for whoever looks into it.
            log.error("offline_file_damaged", file=self._path.name, line_count=damaged_count)
            self.keep_as_damaged()
            self.replace(lines)
        elif len(content) > self._good_bytes:
            self._cut_tail()
        sync_folder(self._path.parent)
        return lines

    def keep_as_damaged(self) -> None:
        """Copy the file as it is beside itself, for whoever looks into it."""
        write_file_durably(self._path.with_name(f"{self._path.name}.damaged"), self._path.read_bytes())

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
            write_whole(self._descriptor, b"".join(lines))
            os.fdatasync(self._descriptor)
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
        new = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, FILE_MODE)
        try:
            write_whole(descriptor, content)
            os.fsync(descriptor)
            new.replace(self._path)
        except OSError:
            os.close(descriptor)
            raise
        # From here on the name means the new file: appending to the old one would write into nothing.
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._good_bytes, self.line_count = len(content), len(lines)
        # Until the new name is durable, nothing may be appended.
        self._is_spoilt = True
        self._cut_tail()

    def close(self) -> None:
        """Give the descriptor back; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _cut_tail(self) -> None:
        os.ftruncate(self._descriptor, self._good_bytes)
        os.fsync(self._descriptor)
        sync_folder(self._path.parent)
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
