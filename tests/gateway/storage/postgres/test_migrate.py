"""Migrations: what they make equals schema.sql, and a database is never guessed at."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import pytest

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.storage.postgres.migrate import migrate, read_migrations
from tests.postgres_server import PostgresServer
from wire.messages.payments import EntryMode

VERSION = len(read_migrations())


@pytest.fixture
def make_empty(postgres_server: PostgresServer, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Makes databases without anything in them."""

    def make(name: str) -> str:
        request.addfinalizer(lambda: postgres_server.drop_database(name))
        return postgres_server.create_database(name)

    return make


def shape_of(server: PostgresServer, database: str) -> list[str]:
    """Everything a schema is, and the rows that come with it; not which migrations brought it there."""
    command = [str(server.programs / "pg_dump"), "--host", str(server.folder), "--username", "tapscan"]
    command += ["--inserts", "--exclude-table-data=tapscan_migrations", database]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line for line in dump.splitlines() if not re.match(r"\\(un)?restrict ", line)]


def test_migrations_applied_equal_the_readable_schema(
    postgres_server: PostgresServer, make_empty: Callable[[str], str]
) -> None:
    make_empty("written")
    schema = (resources.files("gateway.storage.postgres") / "schema.sql").read_text("utf-8")
    postgres_server.run_sql(schema, "written")
    assert shape_of(postgres_server, "written") == shape_of(postgres_server, "migrated")


def test_both_stores_have_the_same_tables_and_columns(postgres_server: PostgresServer) -> None:
    sqlite = (resources.files("gateway.storage.sqlite") / "schema.sql").read_text("utf-8")
    tables = re.findall(r"^CREATE TABLE (\w+) \((.*?)^\)", sqlite, re.MULTILINE | re.DOTALL)
    expected = {
        (table, column)
        for table, body in tables
        for column in re.findall(r"^ {4}([a-z_]+) ", body, re.MULTILINE)
    }
    found = postgres_server.run_sql(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'",
        "migrated",
    )
    columns = {tuple(line.split("|")) for line in found.splitlines()}
    # What a file keeps in its header, or reads as its last row, is a table of its own here; and a view is a
    # table to this catalogue.
    assert {table for table, _ in columns - expected} == {
        "tapscan_migrations",
        "chain_head",
        "payments_now",
    }
    assert expected <= columns


def test_entry_modes_are_ordered_as_on_the_wire(postgres_server: PostgresServer) -> None:
    stored = postgres_server.run_sql("SELECT entry_mode FROM entry_modes ORDER BY weakness", "migrated")
    assert stored.splitlines() == list(EntryMode)


def test_migrating_again_changes_nothing(
    postgres_server: PostgresServer, make_empty: Callable[[str], str]
) -> None:
    url = make_empty("again")
    assert migrate(url) == migrate(url) == VERSION
    assert shape_of(postgres_server, "again") == shape_of(postgres_server, "migrated")


def test_several_processes_may_migrate_at_once(make_empty: Callable[[str], str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(migrate, [make_empty("at_once")] * 4)) == [VERSION] * 4


def test_database_of_another_program_is_left_alone(
    postgres_server: PostgresServer, make_empty: Callable[[str], str]
) -> None:
    url = make_empty("theirs")
    postgres_server.run_sql("CREATE TABLE theirs (a integer)", "theirs")
    before = shape_of(postgres_server, "theirs")
    with pytest.raises(ConfigurationError, match="another program"):
        migrate(url)
    assert shape_of(postgres_server, "theirs") == before


def test_schema_of_ones_own_beside_another_program_is_used(
    postgres_server: PostgresServer, make_empty: Callable[[str], str]
) -> None:
    url = make_empty("shared")
    postgres_server.run_sql("CREATE TABLE theirs (a integer)", "shared")
    postgres_server.run_sql("CREATE SCHEMA tapscan", "shared")
    assert migrate(f"{url}&search_path=tapscan") == VERSION
    assert postgres_server.run_sql("SELECT count(*) FROM tapscan.payments", "shared") == "0"


def test_database_newer_than_the_program_is_refused(
    postgres_server: PostgresServer, make_empty: Callable[[str], str]
) -> None:
    url = make_empty("newer")
    migrate(url)
    postgres_server.run_sql(f"INSERT INTO tapscan_migrations (number) VALUES ({VERSION + 1})", "newer")
    with pytest.raises(ConfigurationError, match="newer"):
        migrate(url)


def test_failing_migration_leaves_nothing_behind(
    postgres_server: PostgresServer, make_empty: Callable[[str], str]
) -> None:
    url = make_empty("read_only")
    postgres_server.run_sql("ALTER DATABASE read_only SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable):
        migrate(url)
    postgres_server.run_sql("ALTER DATABASE read_only RESET default_transaction_read_only")
    assert migrate(url) == VERSION


@pytest.mark.parametrize("table", ["ledger_groups", "transfers", "payments"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET amount_minor = 1", "DELETE FROM {}", "TRUNCATE {}"])
def test_history_has_guards_against_change_and_removal(
    postgres_server: PostgresServer, table: str, statement: str
) -> None:
    if table == "ledger_groups":
        statement = statement.replace("amount_minor", "booked_ms")
    with pytest.raises(AssertionError, match="append-only"):
        postgres_server.run_sql(statement.format(table), "migrated")
