"""Named queries: each .sql file holds statements under a `-- name:` line.

Three kinds of parameters, each where it reads best: `:name` for a few values, given as a mapping; `?` or
`?1` for rows that are written many at once, given as tuples; and one `:keys` for a list of keys to be looked
up together, given to `list_rows`.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

KEYS_PER_STATEMENT_MAX: Final = 1_024
KEYS: Final = ":keys"
Row = tuple[Any, ...]
"""Columns in the order the statement names them; SQLite's types are dynamic."""

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\n", re.MULTILINE)


def load_queries(topic: str) -> Mapping[str, str]:
    """Return the statements of queries/<topic>.sql by name.

    A statement is passed to SQLite as it stands in the file, so what a profiler or a trace shows can be
    searched for. Two statements of one name are our own bug and asserted.
    """
    text = (resources.files(__package__) / "queries" / f"{topic}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, statements = parts[::2], [statement.strip() for statement in parts[1::2]]
    assert len(set(names)) == len(names), f"queries/{topic}.sql names a statement twice"
    return MappingProxyType(dict(zip(names, statements, strict=True)))


def list_rows(
    connection: sqlite3.Connection, statement: str, keys: Collection[Sequence[object]]
) -> list[Row]:
    """Return the rows of a statement for all keys at once; a key may be answered more than once.

    Args:
        keys: each a sequence of the columns that the statement's `keys` have.
    """
    cursor = connection.cursor()
    cursor.row_factory = None
    return _look_up(cursor, statement, keys)


def list_named_rows(
    connection: sqlite3.Connection, statement: str, keys: Collection[Sequence[object]]
) -> list[sqlite3.Row]:
    """As `list_rows`, but columns have their names; for rows that are read one by one."""
    return _look_up(connection.cursor(), statement, keys)


def write_rows(connection: sqlite3.Connection, statement: str, rows: Collection[Sequence[object]]) -> int:
    """Run a statement once for each row, and return how many rows it changed in all."""
    return connection.executemany(statement, rows).rowcount if rows else 0


@functools.lru_cache(maxsize=256)
def expand_keys(statement: str, width: int, size: int) -> str:
    """Return the statement with room for `size` keys of `width` values each."""
    key = f"({', '.join('?' * width)})"
    return statement.replace(KEYS, f"VALUES {', '.join([key] * size)}")


def _look_up(cursor: sqlite3.Cursor, statement: str, keys: Collection[Sequence[object]]) -> list[Any]:
    rows: list[Any] = []
    remaining = list(keys)
    while remaining:
        chunk, remaining = remaining[:KEYS_PER_STATEMENT_MAX], remaining[KEYS_PER_STATEMENT_MAX:]
        # Sizes are powers of two, so that few statements are prepared; the last key fills up.
        size = 1 << (len(chunk) - 1).bit_length()
        chunk += chunk[-1:] * (size - len(chunk))
        values = list(chain.from_iterable(chunk))
        rows += cursor.execute(expand_keys(statement, len(chunk[0]), size), values)
    return rows
