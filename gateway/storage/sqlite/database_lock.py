"""Who has a database file: many share it to book, one may take it to put another in its place.

The lock is on a small file of its own beside the database, which stays when the database is replaced; a lock
on the database would go away with the file that is set aside, and somebody could start on either of the two.
The kernel lets go of it when its process ends, however it ends (flock(2)).
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from gateway.errors import BackupRefused, StoreUnavailable

SUFFIX: Final = ".lock"


class DatabaseLock:
    """Held until it is released or the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let go; repeatable."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def share_database(path: Path) -> DatabaseLock:
    """Say that this process works with a database, beside others that do.

    Raises:
        StoreUnavailable: another one is being put in its place just now, or its folder can't be written.
    """
    try:
        return _lock(path, fcntl.LOCK_SH)
    except BlockingIOError:
        raise StoreUnavailable("the database is being replaced by `restore`") from None


def take_database(path: Path) -> DatabaseLock:
    """Keep everybody from working with a database, which need not exist yet.

    Raises:
        BackupRefused: somebody does (`database_in_use`).
        StoreUnavailable: its folder can't be written.
    """
    try:
        return _lock(path, fcntl.LOCK_EX)
    except BlockingIOError:
        raise BackupRefused(
            f"a gateway or another command is using {path}: stop it first", code="database_in_use"
        ) from None


def give_to_owner(file: Path, database: Path) -> None:
    """Let whoever a database belongs to, or else its folder, use a file that root made there.

    Raises:
        OSError: it can't be given away.
    """
    if os.geteuid() == 0:
        owner = (database if database.exists() else database.parent).stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def _lock(path: Path, operation: int) -> DatabaseLock:
    database = path.resolve()
    file = database.with_name(database.name + SUFFIX)
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        give_to_owner(file, database)
    except OSError as error:
        raise StoreUnavailable(f"the file {file} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return DatabaseLock(descriptor)
