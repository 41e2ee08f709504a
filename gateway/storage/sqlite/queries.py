"""Named queries: each .sql file holds statements under a `-- name:` line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

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
