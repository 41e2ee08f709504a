"""The audit reads a PostgreSQL database as it reads a file: in one snapshot, to the first break."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.audit import BreakCode, audit, audit_books
from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.ledger.model import Transfer, TransferGroup, TransferKind
from gateway.storage.postgres.audit_source import ROWS_PER_FETCH, open_audit_source
from gateway.storage.postgres.store import PostgresStore, open_postgres_store
from gateway.storage.sqlite.store import open_sqlite_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Shop
    from tests.postgres_server import PostgresServer


async def keep_books(store: PostgresStore, shop: Shop) -> None:
    """Book something of everything."""
    await shop.furnish(store)
    await asyncio.gather(*(store.book_payment(shop.booking(number)) for number in range(3)))
    await store.book_payment(shop.booking(4, amount_minor=50_001))
    holds = [hold(number, shop) for number in (1, 2)]
    await store.book([TransferGroup(tuple(holds))], shop.now_ms)
    assert await store.expire_pendings(shop.now_ms + 1) == 1


def hold(number: int, shop: Shop) -> Transfer:
    return Transfer(
        b"hold".ljust(15, b".") + bytes((48 + number,)),
        TransferKind.PENDING,
        shop.wallet.account_id,
        shop.merchant.account_id,
        10,
        "EUR",
        expires_ms=shop.now_ms + number,
    )


@pytest.fixture
async def books_url(postgres_url: str, shop: Shop) -> str:
    store = await open_postgres_store(postgres_url)
    await keep_books(store, shop)
    await store.close()
    return postgres_url


async def test_clean_books_pass_and_are_counted(books_url: str) -> None:
    report = audit(books_url)
    assert report.first_break is None
    assert (report.group_count, report.transfer_count, report.payment_count) == (6, 10, 3)
    assert report.account_count == 4


async def test_both_stores_seal_one_history_alike(postgres_url: str, tmp_path: Path, shop: Shop) -> None:
    for store in (await open_postgres_store(postgres_url), await open_sqlite_store(tmp_path / "s.sqlite3")):
        await shop.furnish(store)
        for number in range(3):
            await store.book_payment(shop.booking(number))
        await store.book([TransferGroup((hold(1, shop), hold(2, shop)))], shop.now_ms)
        await store.expire_pendings(shop.now_ms + 2)
        await store.close()
    assert audit(postgres_url).chain_head == audit(tmp_path / "s.sqlite3").chain_head


@pytest.mark.parametrize(
    ("statement", "code", "where"),
    [
        ("UPDATE transfers SET amount_minor = 1 WHERE group_sequence = 2", "hash_mismatch", "group 2"),
        ("DELETE FROM ledger_groups WHERE sequence = 3", "transfer_without_group", "group 3"),
        ("UPDATE accounts SET credits_posted = credits_posted + 1 WHERE kind = 'wallet'", None, None),
        ("UPDATE merchants SET receipt_count = 7", "receipt_count_differs", "merchant MERCHANT0000001"),
        ("UPDATE orders SET taken_minor = 1", "order_total_differs", None),
        ("UPDATE spent_days SET spent_minor = 1", "day_total_differs", None),
        ("UPDATE pendings SET state = 'voided' WHERE state = 'expired'", "pending_state_differs", None),
        ("DELETE FROM token_uses WHERE counter = 1", "token_use_missing", None),
    ],
)
async def test_audit_names_what_was_falsified(
    books_url: str, postgres_server: PostgresServer, statement: str, code: str | None, where: str | None
) -> None:
    database = books_url.partition("@/")[2].partition("?")[0]
    # What only somebody who may do anything on the server can do.
    postgres_server.run_sql(f"SET session_replication_role = replica; {statement}", database)
    found = audit(books_url).first_break
    assert found is not None
    assert found.code == (code or BreakCode.DEBITS_DIFFER_FROM_CREDITS)
    assert where is None or where in found.where


async def test_audit_sees_one_snapshot_while_bookings_go_on(books_url: str, shop: Shop) -> None:
    store = await open_postgres_store(books_url)
    with open_audit_source(books_url) as source:
        before = source.count_groups()
        await store.book_payment(shop.booking(100))
        assert source.count_groups() == before
        assert audit_books(source).is_ok
    await store.close()
    assert audit(books_url).group_count == before + 1


async def test_more_rows_than_one_fetch_are_all_read(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    database = postgres_url.partition("@/")[2].partition("?")[0]
    count = 2 * ROWS_PER_FETCH + 1
    postgres_server.run_sql(
        "INSERT INTO accounts SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), 'wallet', 'EUR', true, false, "
        f"0, 0, 0, 0, 0 FROM generate_series(1, {count}) AS n",
        database,
    )
    with open_audit_source(postgres_url) as source:
        # Two streams side by side, as the auditor reads them.
        pairs = list(zip(source.accounts(), source.accounts(), strict=True))
    assert len(pairs) == count
    assert all(one == other for one, other in pairs)


async def test_database_that_is_not_up_to_date_is_not_audited(
    postgres_server: PostgresServer, request: pytest.FixtureRequest
) -> None:
    url = postgres_server.create_database("never_migrated")
    request.addfinalizer(lambda: postgres_server.drop_database("never_migrated"))
    with pytest.raises(ConfigurationError, match="migrate"):
        audit(url)
    with pytest.raises(ConfigurationError, match="no such database"):
        audit(postgres_server.url("nowhere"))


async def test_lost_server_ends_the_audit_as_unavailable(
    books_url: str, postgres_server: PostgresServer
) -> None:
    with open_audit_source(books_url) as source:
        accounts = source.accounts()
        next(accounts)
        postgres_server.run_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE xact_start < now()"
        )
        with pytest.raises(StoreUnavailable):
            source.count_groups()
