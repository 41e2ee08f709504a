"""Named queries: each is used, each one used exists, the server understands them, and none scans a table."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.ledger.model import Transfer, TransferGroup, TransferKind
from gateway.payments.model import PaymentCodeUse, Verified
from gateway.storage.postgres.database import connect
from gateway.storage.postgres.queries import load_queries, number_parameters
from gateway.storage.postgres.store import PostgresStore, open_postgres_store
from wire.messages.payments import EntryMode
from wire.messages.shifts import SHIFT_MS_MAX

if TYPE_CHECKING:
    from tests.conftest import Shop

FOLDER = Path(str(resources.files("gateway.storage.postgres")))
TOPICS = (
    "audit",
    "cards",
    "directory",
    "ledger",
    "life",
    "offline",
    "payments",
    "people",
    "policy",
    "shifts",
)
ROWS = 20_000
# As the tables stand after a while: nothing in them is of the test's shop.
FILL = f"""
INSERT INTO accounts SELECT decode(md5(n::text), 'hex'), 'wallet', 'EUR', true, false, 0, 0, 0, 0, 0
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO wallets (wallet_id, holder_name, account_id, identity_level, pin_hash, pin_tries, created_ms)
SELECT 'FILL' || n, '', decode(md5(n::text), 'hex'), 'basic', NULL, 0, 0
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO instruments SELECT 'FILL' || n, 'FILL' || n, 'phone_key', '', 'active', int8send(n),
    decode(repeat('00', 33), 'hex'), 'code_numeric', 1, 1, NULL, 0, NULL, NULL, 0
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO merchants SELECT 'FILL' || n, '', 0, 0, decode(md5(n::text), 'hex'), 'active', 0, 0
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO locations SELECT 'FILL' || n, 'FILL' || n, '' FROM generate_series(1, {ROWS}) AS n;
INSERT INTO terminals SELECT 'FILL' || n, 'FILL' || n, 'FILL' || n, 'pending', NULL, NULL, '', int8send(n),
    0, 0, 0 FROM generate_series(1, {ROWS}) AS n;
INSERT INTO payment_codes SELECT sha256(int8send(n)), 'FILL' || n, 0 FROM generate_series(1, {ROWS}) AS n;
INSERT INTO token_uses SELECT int8send(n), 1, sha256(''), 'FILL' || n, int8send(n), n, ''
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO orders SELECT 'FILL' || n, 'FILL' || n, 1, 1 FROM generate_series(1, {ROWS}) AS n;
INSERT INTO spent_days SELECT n, 'FILL' || n, 1 FROM generate_series(1, {ROWS}) AS n;
INSERT INTO pendings SELECT decode(md5(n::text), 'hex'), n, 'voided' FROM generate_series(1, {ROWS}) AS n;
INSERT INTO request_nonces SELECT int8send(n), n, {2**62} FROM generate_series(1, {ROWS}) AS n;
INSERT INTO payments SELECT 'FILL' || n, 'FILL' || n, sha256(''), 'FILL' || n, '', '', 'declined', 'x', 1,
    0, 0, 'EUR', 'nfc_app', false, NULL, NULL, NULL, NULL, '', '', NULL, NULL, 0, NULL, 0
    FROM generate_series(1, {ROWS}) AS n;
"""
READS = """
SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS rows
FROM pg_stat_user_tables ORDER BY relname
"""
ROUNDS = 40
READS_PER_ROUND_MAX = 40
"""Rows of one table that five bookings may read: for their facts, by their guards, and what they update."""


def strings_of_the_package() -> set[str]:
    # The shared ones name their statements for both stores.
    shared = ("life_rows.py", "offline_rows.py", "policies.py", "people.py", "shifts.py", "cards.py")
    paths = [*FOLDER.glob("*.py"), *(FOLDER.parent / name for name in shared)]
    trees = [ast.parse(path.read_text("utf-8")) for path in paths]
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_named_query_is_used_and_every_used_one_exists() -> None:
    named = {name for topic in TOPICS for name in load_queries(topic)}
    used = {
        name
        for path in FOLDER.glob("*.py")
        for name in re.findall(r'\b\w*SQL\["(\w+)"\]', path.read_text("utf-8"))
    }
    assert named <= strings_of_the_package()
    assert used <= named
    assert {path.stem for path in (FOLDER / "queries").glob("*.sql")} == set(TOPICS)


def test_parameters_are_numbered_by_their_first_appearance() -> None:
    statement = number_parameters("SELECT :b, :a::bigint, :b -- 12:30")
    assert statement.sql == "SELECT $1, $2::bigint, $1 -- 12:30"
    assert statement.arguments({"a": 1, "b": 2}) == [2, 1]


@pytest.mark.parametrize("topic", TOPICS)
async def test_every_query_compiles_against_the_schema(topic: str, postgres_url: str) -> None:
    connection = await connect(postgres_url)
    for statement in load_queries(topic).values():
        prepared = await connection.prepare(statement.sql)
        assert len(prepared.get_parameters()) == len(statement.names)
    await connection.close()


@pytest.mark.parametrize("function", ["book_batch", "payment_facts"])
async def test_functions_are_called_with_their_arguments_in_order(function: str, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    names = await connection.fetchval(
        "SELECT proargnames[:pronargs] FROM pg_proc WHERE proname = $1", function
    )
    await connection.close()
    assert list(load_queries("payments")[function].names) == names


@pytest.fixture
async def grown_store(postgres_url: str, shop: Shop) -> AsyncIterator[PostgresStore]:
    """A store that was opened, and made its plans, while every table was empty, and has many rows now."""
    store = await open_postgres_store(postgres_url)
    await shop.furnish(store)
    await book_one_of_each(store, shop, 8)
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("VACUUM ANALYZE")
    for number in range(8):
        await book_one_of_each(store, shop, number)
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(FILL)
    await connection.close()
    yield store
    await store.close()


async def book_one_of_each(store: PostgresStore, shop: Shop, number: int) -> None:
    await store.book_payment(shop.booking(number, amount_minor=1))
    await store.book_payment(shop.booking(number, amount_minor=1))
    code = PaymentCodeUse(number.to_bytes(32, "big"))
    await store.add_payment_code(code.code_hash, "INSTRUMENT1", shop.now_ms + 1_000, shop.now_ms)
    presented = {"verdict": Verified("INSTRUMENT1", code), "entry_mode": EntryMode.CODE_NUMERIC}
    await store.book_payment(shop.booking(10_000 + number, amount_minor=1, **presented))
    hold = Transfer(
        number.to_bytes(16, "big"),
        TransferKind.PENDING,
        shop.wallet.account_id,
        shop.merchant.account_id,
        1,
        "EUR",
        expires_ms=shop.now_ms + 1,
    )
    await store.book([TransferGroup((hold,))], shop.now_ms)
    await store.expire_pendings(shop.now_ms + 1)


async def reads_of(connection: asyncpg.Connection) -> dict[str, int]:
    await connection.execute("SELECT pg_stat_force_next_flush()")
    return {row["relname"]: row["rows"] for row in await connection.fetch(READS)}


async def test_bookings_read_a_few_rows_however_many_there_are(
    grown_store: PostgresStore, shop: Shop, postgres_url: str
) -> None:
    connection = await asyncpg.connect(postgres_url)
    # What a connection counted is told when it is idle or ends; so the store comes and goes.
    await grown_store.check_health()
    before = await reads_of(connection)
    for number in range(100, 100 + ROUNDS):
        await book_one_of_each(grown_store, shop, number)
        await grown_store.find_terminal_by_key(shop.instrument.key_id)
        await grown_store.find_instrument_by_key(shop.instrument.key_id)
        await grown_store.find_payment_by_attempt("TERMNA01", shop.booking(number).attempt_id)
    await grown_store.close()
    after = await reads_of(connection)
    await connection.close()
    read = {table: after[table] - before[table] for table in after}
    assert read["payments"] > ROUNDS, "what was read is counted"
    assert {table: count for table, count in read.items() if count > ROUNDS * READS_PER_ROUND_MAX} == {}


async def test_a_shifts_totals_read_its_tills_rows_and_no_others(
    grown_store: PostgresStore, shop: Shop, postgres_url: str
) -> None:
    connection = await asyncpg.connect(postgres_url)
    await grown_store.check_health()
    before = await reads_of(connection)
    totals = await grown_store.reckon_shift("TERMNA01", shop.now_ms, shop.now_ms + SHIFT_MS_MAX)
    await grown_store.close()
    after = await reads_of(connection)
    await connection.close()
    assert totals.payment_count > 10
    seen = totals.payment_count + totals.declined_count
    tables = ("payments", "payment_steps", "refunds", "offline_records")
    read = {table: after[table] - before[table] for table in tables}
    assert read["payments"] >= seen, "what was read is counted"
    assert {table: count for table, count in read.items() if count > 2 * seen} == {}
