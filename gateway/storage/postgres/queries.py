"""Named queries: each .sql file holds statements under a `-- name:` line, with parameters as `:name`.

PostgreSQL numbers its parameters ($1, $2, …), which nobody can read once there are more than two. So a
statement is written as for SQLite, and translated once, when it is loaded: a name's first appearance gets
the next number, and every later one the same. A cast (`::bigint`) is not a parameter. Statements hold no
text constant with a colon in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\n", re.MULTILINE)
_PARAMETER = re.compile(r"(?<!:):([a-z][a-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with numbered parameters, and their names in the order of their numbers."""

    sql: str
    names: tuple[str, ...]

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        """Return the values in the order of their numbers; a name that is missing is our own bug."""
        return [values[name] for name in self.names]


def load_queries(topic: str) -> Mapping[str, Statement]:
    """Return the statements of queries/<topic>.sql by name.

    Two statements of one name are our own bug and asserted.
    """
    text = (resources.files(__package__) / "queries" / f"{topic}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, statements = parts[::2], [number_parameters(statement) for statement in parts[1::2]]
    assert len(set(names)) == len(names), f"queries/{topic}.sql names a statement twice"
    return MappingProxyType(dict(zip(names, statements, strict=True)))


def number_parameters(text: str) -> Statement:
    """Translate `:name` into `$n`.

    >>> number_parameters("SELECT :a, :b::bigint, :a ")
    Statement(sql='SELECT $1, $2::bigint, $1', names=('a', 'b'))
    """
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    sql = _PARAMETER.sub(number, text.strip())
    return Statement(sql, tuple(names))
