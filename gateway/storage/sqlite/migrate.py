"""Brings a database file up to date: numbered migrations, each in its own transaction."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.storage.sqlite.database import open_connection, translated_errors

APPLICATION_ID: Final = 0x54415053
"""`TAPS`: marks the file as ours for `file(1)` and for the check below (SQLite file format, 1.3.17)."""


def migrate(path: Path | str) -> int:
    """Create the file if it is missing, apply what it lacks, and return its version.

    Repeatable, and safe when two processes start at once. The file is readable by its owner only.

    Raises:
        ConfigurationError: the file is another program's, or newer than this program.
        StoreUnavailable: it can't be written.
    """
    file = Path(path)
    _create_private(file)
    with contextlib.closing(open_connection(file, writable=True)) as connection, translated_errors():
        _check_ours(connection)
        # Stays with the file, so that every later connection has it. Nothing is changed before the check.
        connection.execute("PRAGMA journal_mode = WAL")
        for number, script in enumerate(read_migrations(), start=1):
            _apply(connection, number, script)
        return _version(connection)


def read_migrations() -> list[str]:
    """Return the migrations in order; the first brings an empty file to version 1."""
    folder = resources.files(__package__) / "migrations"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda f: f.name)
    for number, file in enumerate(files, start=1):
        assert file.name.startswith(f"{number:04d}_"), "migrations are numbered without a gap"
    return [file.read_text(encoding="utf-8") for file in files]


def _create_private(file: Path) -> None:
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"the database file can't be opened: {error.strerror}") from error


def _check_ours(connection: sqlite3.Connection) -> None:
    # One snapshot: another process may be applying the first migration at this moment.
    connection.execute("BEGIN")
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (table_count,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    version = _version(connection)
    connection.execute("COMMIT")
    if application_id != APPLICATION_ID and table_count:
        raise ConfigurationError("the database file belongs to another program")
    if version > len(read_migrations()):
        raise ConfigurationError("the database file is newer than this program")


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    # The version is read again under the write lock: another process may have been faster.
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection) < number:
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    # executescript would commit first; this keeps the whole migration in one transaction.
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    assert not current.strip() or current.lstrip().startswith("--"), "a migration ends with a whole statement"
    return statements


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
