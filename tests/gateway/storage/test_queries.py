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
from gateway.storage.sqlite.queries import load_queries

FOLDER = Path(str(resources.files("gateway.storage.sqlite")))
TOPICS = {
    "ledger": "ledger.py",
    "payments": "payments.py",
    "directory": "directory.py",
    "audit": "audit_source.py",
}


def strings_of(module: str) -> set[str]:
    tree = ast.parse((FOLDER / module).read_text("utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def subscripts_of(module: str) -> set[str]:
    return set(re.findall(r'\bSQL\["(\w+)"\]', (FOLDER / module).read_text("utf-8")))


@pytest.mark.parametrize("topic", TOPICS)
def test_every_named_query_is_used_and_every_used_one_exists(topic: str) -> None:
    named = set(load_queries(topic))
    assert named <= strings_of(TOPICS[topic])
    assert subscripts_of(TOPICS[topic]) <= named


def test_every_file_of_queries_has_its_module() -> None:
    assert {path.stem for path in (FOLDER / "queries").glob("*.sql")} == set(TOPICS)


@pytest.mark.parametrize("topic", TOPICS)
def test_every_query_compiles_against_the_schema(topic: str, tmp_path: Path) -> None:
    migrate(tmp_path / "store.sqlite3")
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite3")) as connection:
        for name, statement in load_queries(topic).items():
            values = dict.fromkeys(re.findall(r":(\w+)", statement))
            plan = connection.execute(f"EXPLAIN {statement}", values).fetchall()
            assert plan, name


@pytest.mark.parametrize("topic", ["payments", "ledger"])
def test_no_query_of_a_payment_scans_a_table(topic: str, tmp_path: Path) -> None:
    migrate(tmp_path / "store.sqlite3")
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite3")) as connection:
        for name, statement in load_queries(topic).items():
            values = dict.fromkeys(re.findall(r":(\w+)", statement))
            steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            # The chain's head is the last row of its table, found without looking at any other.
            scans = [step for step in steps if step.startswith("SCAN") and name != "find_chain_head"]
            assert scans == [], name
