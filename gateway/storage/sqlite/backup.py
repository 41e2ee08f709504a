"""Copies of a database file: made while a gateway books, and put back in its place.

SQLite's backup API starts over whenever another process writes between two of its steps, so beside a busy
gateway it would never end. Within an open read transaction it does not: in WAL mode every step then reads the
one snapshot that the transaction began with (https://sqlite.org/backup.html, https://sqlite.org/wal.html).
The gateway is not held up; its log only grows until the copy is done.

A copy is written under another name in the folder it is meant for, synced, and renamed when it is whole, so
that under its own name there is never half of one. It is one file: what a log held is in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.errors import BackupRefused, StoreUnavailable
from gateway.storage.sqlite.database import listen_to_signals, open_connection, translated_errors
from gateway.storage.sqlite.database_lock import give_to_owner, take_database
from gateway.storage.sqlite.migrate import APPLICATION_ID, migrate

PAGES_PER_STEP: Final = 4_096
"""Pages copied between two calls of `progress`: 16 MiB."""
COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file while it is in use, and finds there after a crash."""

SETTLE_TIMEOUT_MS: Final = 1_000
_NO_SECOND_NAMES: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
"""What link(2) answers on a file system without hard links, such as a memory stick's."""
_DAMAGE: Final = ("SQLITE_NOTADB", "SQLITE_CORRUPT")

CopyProgress = Callable[[str, int, int | None], None]
"""Told what is done (`copy`, `check`), with how many pages, and of how many; None where nobody knows."""
Examine = Callable[[Path], None]
"""Audits a copy before it gets its name; an exception keeps it from getting it."""


def back_up(
    database: Path, target: Path, *, force: bool, examine: Examine | None, progress: CopyProgress
) -> None:
    """Copy a database, as it is when the copying begins, into one file that only its owner may read.

    Everything that was answered before the call is in it. When it returns, the file and its name are on disk;
    if it raises, there is no new file, and an old one is as it was.

    Args:
        target: a path in an existing folder.
        force: replace a file that is there.
        examine: called with the whole copy, once its pages are known to hang together; None: neither.

    Raises:
        BackupRefused: there is such a file, or it is the database itself.
        StoreUnavailable: the database can't be read, or the target not be written.
    """
    database, target = database.resolve(), target.resolve()
    if target in _files_of(database):
        raise BackupRefused(f"{target} is the database itself", code="target_is_database")
    if target.exists() and not force:
        raise BackupRefused(f"{target} exists: --force replaces it", code="target_exists")
    for companion in _files_of(target)[1:]:
        if companion.exists():
            # It would be taken for the new file's own.
            raise BackupRefused(f"{companion} says that {target} is a database in use", code="target_exists")
    with _translated_file_errors(target), _arriving(target) as arriving:
        with contextlib.closing(open_connection(database, writable=False)) as connection:
            _copy(connection, arriving, progress)
        if examine is not None:
            _check_pages(arriving, database, progress)
            examine(arriving)
        _sync(arriving)
        _place(arriving, target, replace=force)


def restore(
    source: Path,
    database: Path,
    *,
    force: bool,
    now_ms: int,
    examine: Examine,
    progress: CopyProgress,
) -> Path | None:
    """Put a backup in a database's place, brought up to this program's version; nothing may be using it.

    The backup is copied and examined before anything is changed. A database that is there is kept under
    another name with the date. At every moment, also if the machine dies, there is one whole database
    under the name or (if there was none before) none.

    Args:
        database: its folder is made if need be.
        force: there is a database; set it aside.
        now_ms: goes into the name of what is set aside.
        examine: called with the whole copy, before it is put in place.

    Returns: the path the replaced database has now, or None if there was none.

    Raises:
        BackupRefused: the database is in use or exists, or the source is no whole backup.
        ConfigurationError: the source is of a newer program.
        StoreUnavailable: something can't be read or written.
    """
    source, database = source.resolve(), database.resolve()
    if source in _files_of(database):
        raise BackupRefused(f"{source} is the database itself", code="target_is_database")
    with _translated_file_errors(database):
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = take_database(database)
    try:
        is_there = database.exists()
        if is_there and not force:
            raise BackupRefused(
                f"there is a database {database}: --force sets it aside", code="database_exists"
            )
        with _translated_file_errors(database), _arriving(database) as arriving:
            give_to_owner(arriving, database)
            _take_over(source, arriving, progress)
            _check_pages(arriving, source, progress)
            migrate(arriving)
            examine(arriving)
            _sync(arriving)
            kept = _set_aside(database, now_ms, is_there=is_there)
            _place(arriving, database, replace=is_there)
            return kept
    finally:
        lock.release()


@contextlib.contextmanager
def _translated_file_errors(file: Path) -> Iterator[None]:
    """Turn what the file system says into our error; it names the file, which the operator named."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"{file} can't be written: {error.strerror}") from error


@contextlib.contextmanager
def _arriving(place: Path) -> Iterator[Path]:
    """Make a private file in the folder of `place`; gone at the end, unless it was renamed."""
    descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent)
    arriving = Path(name)
    os.close(descriptor)
    try:
        yield arriving
    finally:
        for file in _files_of(arriving):
            file.unlink(missing_ok=True)


def _copy(connection: sqlite3.Connection, target: Path, progress: CopyProgress) -> None:
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy, translated_errors():
        # Nobody reads it before it is whole and synced.
        copy.execute("PRAGMA synchronous = OFF")
        copy.execute("PRAGMA journal_mode = OFF")
        connection.execute("BEGIN")
        # A transaction has its snapshot from its first read on.
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application_id != APPLICATION_ID:
            raise BackupRefused("it belongs to another program", code="source_unusable")
        connection.backup(
            copy, pages=PAGES_PER_STEP, progress=lambda _, left, total: progress("copy", total - left, total)
        )
        # The pages say that there is a log beside them. Alone in its folder, and perhaps on a disk that
        # can't be written, a copy has to do without.
        copy.execute("PRAGMA journal_mode = DELETE")


def _take_over(source: Path, arriving: Path, progress: CopyProgress) -> None:
    """Copy a backup, which is never written to."""
    try:
        with translated_errors(), contextlib.closing(_open_to_read(source)) as connection:
            _copy(connection, arriving, progress)
    except BackupRefused as error:
        raise BackupRefused(f"{source}: {error}", code=error.code) from None
    except StoreUnavailable as error:
        if _errorname(error).startswith(_DAMAGE):
            raise BackupRefused(f"{source} is no whole backup: {error}", code="source_damaged") from error
        if _errorname(error).startswith("SQLITE_CANTOPEN"):
            raise BackupRefused(f"{source} can't be opened", code="source_unusable") from error
        raise


def _check_pages(copy: Path, source: Path, progress: CopyProgress) -> None:
    """See that every page is readable, every index says what its table says, and every CHECK holds."""
    progress("check", 0, None)
    try:
        with contextlib.closing(open_connection(copy, writable=False)) as connection, translated_errors():
            listen_to_signals(connection)
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except StoreUnavailable as error:
        if not _errorname(error).startswith(_DAMAGE):
            raise
        found = str(error)
    if found != "ok":
        # What SQLite finds is told by table, index and page, never by what is in them.
        raise BackupRefused(f"{source} is damaged: {' '.join(found.split())}", code="source_damaged")
    progress("check", 1, 1)


def _set_aside(database: Path, now_ms: int, *, is_there: bool) -> Path | None:
    """Give what is there a second name with the date; what a crash left beside it gets that name only."""
    date = datetime.fromtimestamp(now_ms / 1000, UTC)
    aside = database.with_name(f"{database.name}.replaced-{date:%Y%m%dT%H%M%S}{now_ms % 1000:03d}Z")
    if is_there:
        _settle(database)
        _link(database, aside)
    # A log found beside the new file would be taken for its own.
    for file, kept in zip(_files_of(database)[1:], _files_of(aside)[1:], strict=True):
        if file.exists():
            file.rename(kept)
    return aside if is_there else None


def _settle(database: Path) -> None:
    """Bring a database's log into its file, which only works while nobody else has it open.

    One that is too damaged to be read is left as it is, with everything beside it.

    Raises:
        BackupRefused: somebody has (`database_in_use`).
    """
    try:
        with translated_errors():
            # Opened for reading first: when one opened for writing is closed, a log that makes no sense goes.
            with contextlib.closing(_open_to_read(database)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            with contextlib.closing(open_connection(database, writable=True)) as connection:
                connection.execute(f"PRAGMA busy_timeout = {SETTLE_TIMEOUT_MS}")
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("ROLLBACK")
    except StoreUnavailable as error:
        if _errorname(error).startswith(_DAMAGE):
            return
        if _errorname(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise BackupRefused(
                f"another program has {database} open: close it first", code="database_in_use"
            ) from error
        raise


def _sync(file: Path) -> None:
    left = [companion.name for companion in _files_of(file)[1:] if companion.exists()]
    assert not left, "whoever looked at a copy closed it"
    _sync_path(file)


def _place(arriving: Path, place: Path, *, replace: bool) -> None:
    """Give a whole file its name, for good."""
    if replace:
        arriving.replace(place)
    else:
        _link(arriving, place)
        arriving.unlink(missing_ok=True)
    _sync_path(place.parent)


def _link(file: Path, name: Path) -> None:
    """Give a file a second name that nobody has; where there are no second names, its only one."""
    try:
        os.link(file, name)
    except OSError as error:
        if name.exists():
            raise BackupRefused(f"{name} exists", code="target_exists") from None
        if error.errno not in _NO_SECOND_NAMES:
            raise
        file.rename(name)


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files_of(database: Path) -> list[Path]:
    return [database, *(database.with_name(database.name + suffix) for suffix in COMPANIONS)]


def _open_to_read(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, isolation_level=None)


def _errorname(error: StoreUnavailable) -> str:
    return str(getattr(error.__cause__, "sqlite_errorname", ""))
