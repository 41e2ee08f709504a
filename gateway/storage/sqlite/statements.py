"""Runs the statements that mean the same in every store.

What they mean say gateway/storage/policies.py, people.py, shifts.py and cards.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.errors import NotFound
from gateway.storage.sqlite.database import insert
from gateway.storage.sqlite.queries import list_named_rows, load_queries

SQL = {
    **load_queries("policy"),
    **load_queries("people"),
    **load_queries("shifts"),
    **load_queries("cards"),
}


def change_one(connection: sqlite3.Connection, name: str, values: Mapping[str, Any]) -> None:
    """Change one row; NotFound if there is none."""
    if connection.execute(SQL[name], values).rowcount == 0:
        raise NotFound("there is none with this id")


def add(connection: sqlite3.Connection, name: str, values: Mapping[str, Any]) -> bool:
    """Add a row; False if the statement left what was there."""
    return insert(connection, SQL[name], dict(values)) > 0


def take(connection: sqlite3.Connection, name: str, values: Mapping[str, Any]) -> sqlite3.Row | None:
    """Change one row and return it; None if none is as it must be."""
    rows: list[sqlite3.Row] = connection.execute(SQL[name], values).fetchall()
    return rows[0] if rows else None


def list_rows(connection: sqlite3.Connection, name: str, values: Mapping[str, Any]) -> list[sqlite3.Row]:
    """Read rows."""
    return connection.execute(SQL[name], values).fetchall()


def list_habit(connection: sqlite3.Connection, instrument_id: str, days: Sequence[int]) -> list[sqlite3.Row]:
    """Read what an instrument spent on these days."""
    return list_named_rows(connection, SQL["list_habit"], [(day, instrument_id) for day in days])
