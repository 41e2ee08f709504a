"""The files a journal is kept in: what is promised of them, and the folder that keeps the promise.

A disk is trusted with little: what was synced is there after a power loss, what was not may be there, may be
missing, and may be half there. So every call here says what is synced when it returns.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from terminal.data_folder import FILE_MODE, sync_folder, write_file_durably, write_whole


class DiskFile(Protocol):
    """One open file that grows at its end; used by one thread at a time."""

    def append(self, content: bytes) -> None:
        """Add bytes and sync them: they survive power loss when this returns.

        Raises:
            OSError: any part of them may be in the file, now or after a power loss.
        """

    def replace(self, content: bytes) -> None:
        """Put other content in the place of the whole file, in one step.

        Until the next `cut` has returned, a power loss may bring the old content back, whole.

        Raises:
            OSError: the old content stands.
        """

    def cut(self, size_bytes: int) -> None:
        """Keep that many bytes and sync them, with the file's name: they survive power loss.

        Raises:
            OSError: it may have been cut all the same.
        """

    def close(self) -> None:
        """Give the file back; may be called twice, and loses nothing that was synced."""


class Disk(Protocol):
    """A folder of few files, known by their names."""

    def read(self, name: str) -> bytes:
        """Return a file's content; nothing where there is no such file.

        Raises:
            OSError: it can't be read.
        """

    def open(self, name: str) -> DiskFile:
        """Open a file to add to it, making it if it is not there; its name survives power loss.

        Raises:
            OSError: it can't be written.
        """

    def write(self, name: str, content: bytes) -> None:
        """Put a whole file in place: it survives power loss when this returns.

        Raises:
            OSError: what was there before is untouched.
        """


class FolderDisk:
    """Keeps `Disk` in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        """Prepare; the folder is needed as soon as a file is opened or written."""
        self._folder = folder

    def read(self, name: str) -> bytes:
        """As `Disk.read`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return b""

    def open(self, name: str) -> FolderFile:
        """As `Disk.open`."""
        return FolderFile(self._folder / name)

    def write(self, name: str, content: bytes) -> None:
        """As `Disk.write`."""
        write_file_durably(self._folder / name, content)


class FolderFile:
    """Keeps `DiskFile` for one path."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            OSError: it can't be written.
        """
        self._path = path
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE_MODE)
        sync_folder(path.parent)

    def __del__(self) -> None:
        # As Python's own files do: one dropped without close() must not hold its descriptor for ever.
        self.close()

    def append(self, content: bytes) -> None:
        """As `DiskFile.append`."""
        write_whole(self._descriptor, content)
        os.fdatasync(self._descriptor)

    def replace(self, content: bytes) -> None:
        """As `DiskFile.replace`."""
        new = self._path.with_suffix(".new")
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

    def cut(self, size_bytes: int) -> None:
        """As `DiskFile.cut`."""
        os.ftruncate(self._descriptor, size_bytes)
        os.fsync(self._descriptor)
        sync_folder(self._path.parent)

    def close(self) -> None:
        """As `DiskFile.close`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
