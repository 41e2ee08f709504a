"""A database of either kind, as tests meet it: open stores on it, and read its books behind their back."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from gateway.storage.link.client import open_linked_store
from gateway.storage.link.server import serve_store
from gateway.storage.postgres.store import open_postgres_store
from gateway.storage.sqlite.store import open_sqlite_store
from gateway.storage.store import Store
from simulators.auditor.books.books import Books
from simulators.auditor.books.snapshot import QUERIES, read_books

KINDS = ("sqlite", "postgres")

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Database:
    """One database of one kind."""

    kind: str
    place: Path | str
    """As an audit is told it."""
    open_store: Callable[[], Awaitable[Any]]
    """Opens it once more; whoever opened a store closes it."""
    read: Callable[[Sequence[str]], Awaitable[list[Rows]]]
    """Runs queries behind the stores' back, all on one snapshot, and returns the rows of each."""
    write: Callable[[Sequence[str]], Awaitable[None]]
    """Runs statements behind the stores' back, in one transaction."""

    async def read_books(self) -> Books:
        """Return the books as they stand."""
        rows = await self.read(QUERIES)
        return read_books(dict(zip(QUERIES, rows, strict=True)).__getitem__)


def sqlite_database(path: Path) -> Database:
    """Return the database in a file, which is made when it is first opened."""

    async def read(queries: Sequence[str]) -> list[Rows]:
        return read_sqlite(path, queries)

    async def write(statements: Sequence[str]) -> None:
        write_sqlite(path, statements)

    return Database("sqlite", path, lambda: open_sqlite_store(path), read, write)


def postgres_database(url: str) -> Database:
    """Return the database at a URL, which must be up to date."""

    async def read(queries: Sequence[str]) -> list[Rows]:
        return await read_postgres(url, queries)

    async def write(statements: Sequence[str]) -> None:
        await write_postgres(url, statements)

    return Database("postgres", url, lambda: open_postgres_store(url), read, write)


async def read_postgres(url: str, queries: Sequence[str]) -> list[Rows]:
    """Return the rows of queries on one snapshot of a database, which gateways may be using."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return [[tuple(row) for row in await connection.fetch(query)] for query in queries]
    finally:
        await connection.close()


async def write_postgres(url: str, statements: Sequence[str]) -> None:
    """Run statements in one transaction on a database, which gateways may be using."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
    finally:
        await connection.close()


def read_sqlite(path: Path, queries: Sequence[str]) -> list[Rows]:
    """Return the rows of queries on one snapshot of a file, which a gateway may be using."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        return [connection.execute(query).fetchall() for query in queries]


async def open_linked_sqlite_store(path: Path) -> Store:
    """Open a store as a worker process has it: at the other end of a socket from the one on the file."""
    behind = await open_sqlite_store(path)
    ours, theirs = socket.socketpair()
    server = await serve_store(behind, theirs)
    store = await open_linked_store(ours)
    close_link = store.close

    async def close_both_ends() -> None:
        await close_link()
        await server.close()
        await behind.close()

    store.close = close_both_ends  # type: ignore[method-assign]
    return store


def write_sqlite(path: Path, statements: Sequence[str]) -> None:
    """Run statements in one transaction on a file, which a gateway may be using."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
