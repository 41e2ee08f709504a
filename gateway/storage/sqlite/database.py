"""Connections to the file, and the one place where sqlite3's errors become ours.

`synchronous=FULL` in WAL mode syncs the log at every commit: what was answered survives a power cut.
Other processes (the command line) may write the same file, so every writer waits its turn for up to
BUSY_TIMEOUT_MS.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError, IdempotencyConflict, NotFound, StoreUnavailable

BUSY_TIMEOUT_MS: Final = 5_000
CACHE_KIB: Final = 8_192
"""Page cache of one connection; the gateway at rest may take 120 MiB in all."""
STATEMENTS_CACHED_MAX: Final = 256
CHECKPOINT_PAGES: Final = 4_000
"""How long the log grows before its pages go to their places in the file: 16 MiB. Pages that every payment
touches are then copied once for thousands of payments, and a commit is seldom held up by it; a pause of some
tens of milliseconds is what a much longer log would cost. Readers that stay open let it grow further."""
OPERATIONS_PER_STEP: Final = 200_000
"""Operations of SQLite's machine, about ten milliseconds, between two looks for a signal."""

_UNIQUE: Final = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")


def open_connection(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open an existing file in our settings; transactions are begun and ended by the caller.

    That it is in WAL mode is a property of the file, set by `migrate`.

    Raises:
        StoreUnavailable: it can't be opened now.
    """
    with translated_errors():
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=BUSY_TIMEOUT_MS / 1000,
            check_same_thread=False,
            cached_statements=STATEMENTS_CACHED_MAX,
        )
    try:
        _configure(connection, writable=writable)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what sqlite3 raises into our errors; the message says what, never with which values.

    A constraint that fails here was not foreseen by a statement, so it is our own bug: `internal`.
    """
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise GatewayError(f"a constraint failed: {error.sqlite_errorname}") from error
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if name == "SQLITE_INTERRUPT":
            # Only `listen_to_signals` interrupts.
            raise KeyboardInterrupt from None
        raise StoreUnavailable(f"the database answers {name}") from error


def listen_to_signals(connection: sqlite3.Connection) -> None:
    """Let Ctrl-C end a statement that runs for minutes, as sorting or checking a large file does.

    Such a statement is one call of C code, within which Python runs no handler of a signal. Now it runs a
    few steps of Python every now and then; an exception there ends the statement, but sqlite3 forgets which
    exception it was, so `translated_errors` raises KeyboardInterrupt anew.
    """
    connection.set_progress_handler(_take_a_step, OPERATIONS_PER_STEP)


@contextlib.contextmanager
def savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a block all or nothing inside the open transaction; any exception undoes it and goes on."""
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        # A full disk or an I/O error may have ended the whole transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")


def insert(connection: sqlite3.Connection, statement: str, values: Mapping[str, object]) -> int:
    """Insert a row whose key may be taken and whose parents may be missing; return the row count.

    Raises:
        IdempotencyConflict: a unique key is taken.
        NotFound: a row it refers to does not exist.
    """
    try:
        return connection.execute(statement, values).rowcount
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorname in _UNIQUE:
            raise IdempotencyConflict("this id or key is taken") from error
        if error.sqlite_errorname == "SQLITE_CONSTRAINT_FOREIGNKEY":
            raise NotFound("something this belongs to does not exist") from error
        raise


def _configure(connection: sqlite3.Connection, *, writable: bool) -> None:
    connection.row_factory = sqlite3.Row
    settings = (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "synchronous = FULL",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "temp_store = MEMORY",
        f"cache_size = -{CACHE_KIB}",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"query_only = {'OFF' if writable else 'ON'}",
    )
    with translated_errors():
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")


def _take_a_step() -> int:
    return 0
