"""Moving a file into a PostgreSQL database: everything, in order, or nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from gateway.audit import audit
from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.holders.model import RequestNonce, WalletStatus
from gateway.ledger.model import Transfer, TransferGroup, TransferKind
from gateway.ledger.outcomes import Outcome
from gateway.storage.postgres.move import TABLES, move_ledger
from gateway.storage.postgres.store import open_postgres_store
from gateway.storage.sqlite.store import open_sqlite_store
from tests.databases import read_postgres, read_sqlite

if TYPE_CHECKING:
    from tests.conftest import Shop

PAYMENTS = 40
HOLD = Transfer(
    b"hold".ljust(16), TransferKind.PENDING, b"wallet-account-1", b"merchant-account", 70, "EUR", None, 2**42
)


def say_nothing(table: str, done_count: int, total_count: int | None) -> None:
    """Nobody looks."""


async def fill(path: Path, shop: Shop) -> None:
    """Make a file that holds something in every table."""
    store = await open_sqlite_store(path)
    await shop.furnish(store)
    await asyncio.gather(*(store.book_payment(shop.booking(number)) for number in range(PAYMENTS)))
    await store.book_payment(shop.booking(99, amount_minor=10_000_000))
    await store.book([TransferGroup((HOLD,))], shop.now_ms)
    nonce = RequestNonce(b"phonekey", "nonce-of-16-chars", shop.now_ms + 600_000)
    await store.add_payment_code(b"a" * 32, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms, nonce)
    await store.set_wallet_status("WALLET1", WalletStatus.FROZEN)
    await store.close()


@pytest.fixture
async def file(tmp_path: Path, shop: Shop) -> Path:
    path = tmp_path / "ledger.sqlite3"
    await fill(path, shop)
    return path


async def test_every_row_moves_and_the_chain_ends_at_the_same_head(file: Path, postgres_url: str) -> None:
    moved_count = await asyncio.to_thread(move_ledger, file, postgres_url, say_nothing)
    queries = [f"SELECT count(*) FROM {table}" for table in TABLES]
    there = read_sqlite(file, queries)
    assert await read_postgres(postgres_url, queries) == there
    assert moved_count == sum(rows[0][0] for rows in there)
    before = await asyncio.to_thread(audit, file)
    after = await asyncio.to_thread(audit, postgres_url)
    assert after.is_ok
    assert after == before


async def test_moved_ledger_knows_its_attempts_and_goes_on_where_it_stood(
    file: Path, postgres_url: str, shop: Shop
) -> None:
    await asyncio.to_thread(move_ledger, file, postgres_url, say_nothing)
    store = await open_postgres_store(postgres_url)
    try:
        repeated = await store.book_payment(shop.booking(1))
        assert repeated.receipt_number is not None
        assert int(repeated.receipt_number) <= PAYMENTS
        frozen = await store.book_payment(shop.booking(200))
        assert frozen.decline_code == "wallet_frozen"
        await store.set_wallet_status("WALLET1", WalletStatus.ACTIVE)
        fresh = await store.book_payment(shop.booking(201))
        assert fresh.receipt_number == f"{PAYMENTS + 1:06d}"
        end = structs.replace(
            HOLD,
            transfer_id=b"end".ljust(16),
            kind=TransferKind.VOID,
            pending_id=HOLD.transfer_id,
            expires_ms=None,
        )
        (answer,) = await store.book([TransferGroup((end,))], shop.now_ms)
        assert answer.outcome is Outcome.BOOKED
    finally:
        await store.close()
    assert (await asyncio.to_thread(audit, postgres_url)).is_ok


async def test_database_in_use_is_refused_and_left_as_it_was(
    file: Path, postgres_url: str, shop: Shop
) -> None:
    store = await open_postgres_store(postgres_url)
    await store.add_wallet(replace(shop.wallet, wallet_id="OTHER", account_id=b"other-account---"))
    await store.close()
    with pytest.raises(ConfigurationError, match="not empty"):
        await asyncio.to_thread(move_ledger, file, postgres_url, say_nothing)
    assert (await asyncio.to_thread(audit, postgres_url)).group_count == 0


async def test_move_that_breaks_off_leaves_nothing_behind(file: Path, postgres_url: str) -> None:
    def break_off(table: str, done_count: int, total_count: int | None) -> None:
        if table == "payments":
            raise InterruptedError

    with pytest.raises((InterruptedError, StoreUnavailable)):
        await asyncio.to_thread(move_ledger, file, postgres_url, break_off)
    assert await read_postgres(postgres_url, [f"SELECT count(*) FROM {table}" for table in TABLES]) == [
        [(0,)] for _ in TABLES
    ]
