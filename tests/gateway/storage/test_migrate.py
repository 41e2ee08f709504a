"""Migrations: what they make equals schema.sql, and a file is never guessed at."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.storage.sqlite.migrate import migrate, read_migrations
from wire.messages.payments import EntryMode


def shape_of(connection: sqlite3.Connection) -> dict[str, object]:
    """Everything a schema is: the objects as SQLite keeps them, and the rows that come with it."""
    objects = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    tables = [name for kind, name, _ in objects if kind == "table"]
    rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
    return {"objects": objects, "rows": rows}


def test_migrations_applied_equal_the_readable_schema(tmp_path: Path) -> None:
    migrate(tmp_path / "store.sqlite3")
    migrated = sqlite3.connect(tmp_path / "store.sqlite3")
    written = sqlite3.connect(":memory:")
    written.executescript((resources.files("gateway.storage.sqlite") / "schema.sql").read_text("utf-8"))
    assert shape_of(migrated) == shape_of(written)
    migrated.close()
    written.close()


def test_every_table_is_strict(tmp_path: Path) -> None:
    migrate(tmp_path / "store.sqlite3")
    connection = sqlite3.connect(tmp_path / "store.sqlite3")
    tables = connection.execute(
        "SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    assert [name for name, strict in tables if not strict] == []
    connection.close()


def test_entry_modes_are_ordered_as_on_the_wire(tmp_path: Path) -> None:
    migrate(tmp_path / "store.sqlite3")
    connection = sqlite3.connect(tmp_path / "store.sqlite3")
    stored = connection.execute("SELECT entry_mode FROM entry_modes ORDER BY weakness").fetchall()
    assert [mode for (mode,) in stored] == list(EntryMode)
    connection.close()


def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    assert migrate(path) == migrate(path) == len(read_migrations())


def test_two_processes_may_migrate_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        versions = list(pool.map(migrate, [tmp_path / "store.sqlite3"] * 4))
    assert versions == [len(read_migrations())] * 4


def test_file_is_private_to_its_owner(tmp_path: Path) -> None:
    migrate(tmp_path / "store.sqlite3")
    assert stat.S_IMODE((tmp_path / "store.sqlite3").stat().st_mode) == 0o600


def test_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.sqlite3")
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    before = (tmp_path / "other.sqlite3").read_bytes()
    with pytest.raises(ConfigurationError):
        migrate(tmp_path / "other.sqlite3")
    assert (tmp_path / "other.sqlite3").read_bytes() == before


def test_file_newer_than_the_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    migrate(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(read_migrations()) + 1}")
    connection.close()
    with pytest.raises(ConfigurationError):
        migrate(path)


def test_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, whatever its name says" * 100)
    with pytest.raises(StoreUnavailable):
        migrate(tmp_path / "text")
    with pytest.raises(StoreUnavailable):
        migrate(tmp_path / "no such folder" / "store.sqlite3")


@pytest.mark.parametrize("table", ["ledger_groups", "transfers", "payments"])
def test_history_has_guards_against_change_and_removal(tmp_path: Path, table: str) -> None:
    migrate(tmp_path / "store.sqlite3")
    connection = sqlite3.connect(tmp_path / "store.sqlite3")
    guards = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND type = 'trigger'", [table]
    )
    text = " ".join(sql for (sql,) in guards)
    assert f"BEFORE UPDATE ON {table}" in text
    assert f"BEFORE DELETE ON {table}" in text
    connection.close()
