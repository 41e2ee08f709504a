"""Brings a database up to date: numbered migrations, each in its own transaction, one process at a time."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import Final

from gateway.errors import ConfigurationError
from gateway.storage.postgres.database import Connection, Patience, connect, end_connection, startup_errors

MIGRATION_LOCK: Final = 0x5441_5053_4341_4E00
"""Key of the advisory lock that a migrating process holds: `TAPSCAN` and a zero byte."""

PATIENCE: Final = Patience(statement_ms=0, lock_ms=0, command_ms=0)
"""A migration takes the time it takes, and whoever waits for its turn waits for another one's migration."""

_TABLES: Final = """
SELECT count(*) FILTER (WHERE relname = 'tapscan_migrations') AS ours, count(*) AS tables
FROM pg_class AS c
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'f', 'v', 'm')
    AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
"""
"""What stands in the schema we would use, apart from what extensions keep there."""


def migrate(url: str) -> int:
    """Bring a database up to date from outside an event loop; as `migrate_database`."""
    return asyncio.run(migrate_database(url))


async def migrate_database(url: str) -> int:
    """Apply what the database lacks, and return its version.

    Repeatable, and safe when two processes start at once. The database itself must exist.

    Raises:
        ConfigurationError: the database is another program's, or newer than this program; the server is
            too old; or the user may not make tables there.
        StoreUnavailable: the server can't be reached, or is read-only.
    """
    connection = await connect(url, PATIENCE)
    try:
        with startup_errors():
            for number, script in enumerate(read_migrations(), start=1):
                if await read_version(connection) < number:
                    await _apply(connection, number, script)
            return await read_version(connection)
    finally:
        await end_connection(connection)


def find_version(url: str) -> int:
    """Return a database's version from outside an event loop; as `find_database_version`."""
    return asyncio.run(find_database_version(url))


async def find_database_version(url: str) -> int:
    """Return how many migrations a database has, changing nothing; errors as `migrate_database`."""
    connection = await connect(url)
    try:
        with startup_errors():
            return await read_version(connection)
    finally:
        await end_connection(connection)


async def read_version(connection: Connection) -> int:
    """Return how many migrations a database of ours has, 0 if it is empty.

    Raises:
        ConfigurationError: it is another program's, or newer than this program.
    """
    row = await connection.fetchrow(_TABLES)
    assert row is not None, "counting gives a row"
    if row["ours"] == 0:
        if row["tables"]:
            raise ConfigurationError("the database belongs to another program")
        return 0
    latest = await connection.fetchrow("SELECT max(number) AS number FROM tapscan_migrations")
    version = latest["number"] if latest is not None else None
    if version is None or version > len(read_migrations()):
        raise ConfigurationError("the database is newer than this program")
    return int(version)


def read_migrations() -> list[str]:
    """Return the migrations in order; the first brings an empty database to version 1."""
    folder = resources.files(__package__) / "migrations"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda f: f.name)
    for number, file in enumerate(files, start=1):
        assert file.name.startswith(f"{number:04d}_"), "migrations are numbered without a gap"
    return [file.read_text(encoding="utf-8") for file in files]


async def _apply(connection: Connection, number: int, script: str) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        # The version is read again under the lock: another process may have been faster.
        if await read_version(connection) < number:
            await connection.execute(script)
            await connection.execute("INSERT INTO tapscan_migrations (number) VALUES ($1)", number)
