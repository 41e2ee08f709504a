"""The daemon's folder on disk: written so that power may fail at any moment, readable by nobody else."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

from terminal.errors import ConfigurationError

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
LOCK_FILE: Final = "daemon.lock"
LOCK_BYTES_MAX: Final = 256


def prepare_folder(folder: Path) -> Path:
    """Make the data folder if it is not there and return it.

    Raises:
        ConfigurationError: it can't be made.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"data_folder can't be made: {error.strerror}") from None
    return folder


def write_file_durably(path: Path, content: bytes) -> None:
    """Put a whole file in place, or leave the old one: after return, either survives power loss.

    Raises:
        OSError: it could not be written; what was there before is untouched.
    """
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    try:
        write_whole(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)
    sync_folder(path.parent)


def write_whole(descriptor: int, content: bytes) -> None:
    """Write all the bytes; a short write, as before a full disk, is continued until it is an error."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a renamed or new file is only there after this."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DaemonLock:
    """Held by the one daemon of a data folder; the file also says where its till API listens."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            # Two daemons on one journal would each resend what the other has in flight.
            raise ConfigurationError(
                "another daemon already uses this data_folder and its readers: stop it first"
            ) from None
        os.ftruncate(self._descriptor, 0)

    def publish_address(self, url: str) -> None:
        """Write where the till API listens, for the commands that ask the running daemon."""
        os.pwrite(self._descriptor, url.encode("ascii"), 0)

    def close(self) -> None:
        """Let the next daemon in; the operating system does the same if this process dies."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> DaemonLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def find_daemon_address(folder: Path) -> str | None:
    """Return where the till API of this folder's daemon listens, or None if none has said so."""
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            return file.read(LOCK_BYTES_MAX).decode("ascii") or None
    except (OSError, UnicodeDecodeError):
        return None
