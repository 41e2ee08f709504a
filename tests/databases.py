"""A database of either kind, as tests meet it: open stores on it, and read its books behind their back."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.storage.sqlite.store import open_sqlite_store
from simulators.auditor.books import Books
from simulators.auditor.snapshot import read_books

KINDS = ("sqlite",)


@dataclass(frozen=True)
class Database:
    """One database of one kind."""

    kind: str
    open_store: Callable[[], Awaitable[Any]]
    """Opens it once more; whoever opened a store closes it."""
    read_books: Callable[[], Awaitable[Books]]
    """Reads what stands, as one snapshot."""


def sqlite_database(path: Path) -> Database:
    """Return the database in a file, which is made when it is first opened."""

    async def read() -> Books:
        return read_sqlite_books(path)

    return Database("sqlite", lambda: open_sqlite_store(path), read)


def read_sqlite_books(path: Path) -> Books:
    """Read the books of a file, which a gateway may be using."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        return read_books(lambda query: connection.execute(query).fetchall())
