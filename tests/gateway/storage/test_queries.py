"""Named queries: each is used, each one used exists, and SQLite understands them all."""

from __future__ import annotations

import ast
import contextlib
import re
import sqlite3
from importlib import resources
from pathlib import Path

import pytest

from gateway.storage.sqlite.migrate import migrate
from gateway.storage.sqlite.queries import expand_keys, load_queries

FOLDER = Path(str(resources.files("gateway.storage.sqlite")))
KEYS = 64
TOPICS = {
    "ledger": "ledger.py",
    "payments": "payments.py",
    "life": "life.py",
    "offline": "offline.py",
    "policy": "statements.py",
    "people": "statements.py",
    "shifts": "statements.py",
    "directory": "directory.py",
    "cards": "cards.py",
    "audit": "audit_source.py",
}


# Lists that the statement itself is given or makes, each with a bound.
BOUNDED_SCANS = {"SCAN keys", f"SCAN {KEYS} CONSTANT ROWS", "SCAN CONSTANT ROW", "SCAN hours", "SCAN days"}


def strings_of(module: str) -> set[str]:
    # These name their statements for both stores.
    shared = {
        "life.py": ["life_rows.py"],
        "offline.py": ["offline_rows.py"],
        "statements.py": ["policies.py", "people.py", "shifts.py"],
        "cards.py": ["cards.py"],
    }.get(module, [])
    modules = [FOLDER / module, *(FOLDER.parent / name for name in shared)]
    return {
        node.value
        for path in modules
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def subscripts_of(module: str) -> set[str]:
    return set(re.findall(r'\bSQL\["(\w+)"\]', (FOLDER / module).read_text("utf-8")))


def explain(connection: sqlite3.Connection, how: str, statement: str) -> list[tuple[object, ...]]:
    """Explain a statement with as many keys as a batch might have, and all values unknown."""
    width = re.search(r"keys \(([^)]*)\) AS", statement)
    statement = expand_keys(statement, width[1].count(",") + 1 if width else 1, KEYS)
    names = re.findall(r":(\w+)", statement)
    numbers = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    values = dict.fromkeys(names) if names else [None] * (max(numbers, default=0) or statement.count("?"))
    return connection.execute(f"{how} {statement}", values).fetchall()


@pytest.mark.parametrize("topic", TOPICS)
def test_every_named_query_is_used_and_every_used_one_exists(topic: str) -> None:
    named = set(load_queries(topic))
    assert named <= strings_of(TOPICS[topic])
    others = {
        name for other, module in TOPICS.items() if module == TOPICS[topic] for name in load_queries(other)
    }
    assert subscripts_of(TOPICS[topic]) <= named | others


def test_every_file_of_queries_has_its_module() -> None:
    assert {path.stem for path in (FOLDER / "queries").glob("*.sql")} == set(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_query_compiles_against_the_schema(topic: str, tmp_path: Path) -> None:
    migrate(tmp_path / "store.sqlite3")
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite3")) as connection:
        for name, statement in load_queries(topic).items():
            assert explain(connection, "EXPLAIN", statement), name


@pytest.mark.parametrize("topic", ["payments", "ledger", "shifts"])
def test_no_query_of_a_payment_or_a_shift_scans_a_table(topic: str, tmp_path: Path) -> None:
    migrate(tmp_path / "store.sqlite3")
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite3")) as connection:
        for name, statement in load_queries(topic).items():
            steps = [row[3] for row in explain(connection, "EXPLAIN QUERY PLAN", statement)]
            # The chain's head is the last row of its table, found without looking at any other; of keys, all
            # are wanted.
            scans = [step for step in steps if step.startswith("SCAN") and name != "find_chain_head"]
            scans = [step for step in scans if step not in BOUNDED_SCANS]
            assert scans == [], name
