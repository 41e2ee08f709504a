"""Moves a whole SQLite ledger into an empty PostgreSQL database, row for row.

Ids, chain and counters stay what they are, so attempts that tills resend are still known, and the audit of
the copy ends at the same chain head. It is one transaction: the database is as empty as before, or holds all.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.errors import ConfigurationError
from gateway.storage.postgres.database import (
    READING_SETTINGS,
    Connection,
    Patience,
    connect,
    copy_rows,
    end_connection,
    startup_errors,
)
from gateway.storage.postgres.migrate import migrate_database
from gateway.storage.sqlite.database import open_connection, translated_errors
from gateway.storage.sqlite.migrate import read_migrations

ROWS_PER_STEP: Final = 20_000
PATIENCE: Final = Patience(statement_ms=0, idle_in_transaction_ms=0, command_ms=0)
"""A table takes as long as it takes."""

TABLES: Final = (
    "accounts",
    "ledger_groups",
    "transfers",
    "pendings",
    "merchants",
    "locations",
    "terminals",
    "staff",
    "staff_rights",
    "wallets",
    "limit_tiers",
    "card_key_batches",
    "instruments",
    "card_orders",
    "staff_tags",
    "payment_codes",
    "request_nonces",
    "token_uses",
    "spent_days",
    "orders",
    "payments",
    "open_payments",
    "payment_steps",
    "refunds",
    "credentials",
    "offline_records",
    "offline_alarms",
    "intents",
    "shifts",
)
"""Parents before children. Left out is what a migration fills by itself, the chain's head, the status index
given last (any that is free will do), what terminals were still to be told, who ask again when they find
another gateway, and conversations with cards, which are begun again."""

_PLACE_HEAD: Final = """
UPDATE chain_head SET sequence = last.sequence, hash = last.hash
FROM (SELECT sequence, hash FROM ledger_groups ORDER BY sequence DESC LIMIT 1) AS last
"""
_COLUMNS: Final = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position
"""

Progress = Callable[[str, int, int | None], None]
"""Told which table is copied, how many of its rows are, and of how many."""


def move_ledger(source: Path, url: str, progress: Progress) -> int:
    """Copy everything of a SQLite file into the empty database at `url`, and return the number of rows.

    The caller sees to it that nobody works with the file meanwhile.

    Raises:
        ConfigurationError: the file has another version of the schema, or the database is not empty.
        StoreUnavailable: one of the two can't be used; nothing was copied.
    """
    with contextlib.closing(open_connection(source, writable=False)) as ledger:
        _check_version(ledger)
        return asyncio.run(_move(ledger, url, progress))


async def _move(ledger: sqlite3.Connection, url: str, progress: Progress) -> int:
    await migrate_database(url)
    connection = await connect(url, PATIENCE, READING_SETTINGS)
    try:
        with startup_errors(), translated_errors():
            async with connection.transaction():
                await _check_empty(connection)
                counts = [await _copy_table(ledger, connection, table, progress) for table in TABLES]
                await connection.execute(_PLACE_HEAD)
            await connection.execute("ANALYZE")
            return sum(counts)
    finally:
        await end_connection(connection)


async def _copy_table(
    ledger: sqlite3.Connection, connection: Connection, table: str, progress: Progress
) -> int:
    columns = {row["column_name"]: row["data_type"] for row in await connection.fetch(_COLUMNS, table)}
    flags = [place for place, data_type in enumerate(columns.values()) if data_type == "boolean"]
    total = _count(ledger, table)
    rows = _read_rows(ledger, table, list(columns), flags, lambda done: progress(table, done, total))
    await copy_rows(connection, table, list(columns), rows)
    return total


def _read_rows(
    ledger: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    flags: Sequence[int],
    report: Callable[[int], None],
) -> Iterator[tuple[Any, ...]]:
    cursor = ledger.cursor()
    cursor.row_factory = None
    # Names of tables and columns, which are ours; values never stand in a statement.
    cursor.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608
    done = 0
    while rows := cursor.fetchmany(ROWS_PER_STEP):
        yield from (_with_flags(row, flags) for row in rows) if flags else rows
        done += len(rows)
        report(done)


def _with_flags(row: tuple[Any, ...], flags: Sequence[int]) -> tuple[Any, ...]:
    return tuple(bool(value) if place in flags else value for place, value in enumerate(row))


def _count(ledger: sqlite3.Connection, table: str) -> int:
    return int(ledger.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def _check_version(ledger: sqlite3.Connection) -> None:
    with translated_errors():
        (version,) = ledger.execute("PRAGMA user_version").fetchone()
    if version != len(read_migrations()):
        raise ConfigurationError("the database file has another version: migrate it first")


async def _check_empty(connection: Connection) -> None:
    for table in TABLES:
        row = await connection.fetchrow(f"SELECT EXISTS (SELECT FROM {table}) AS is_used")  # noqa: S608
        if row is None or row["is_used"]:
            raise ConfigurationError(f"the PostgreSQL database is not empty: there are {table} in it")
