"""Limit tiers in every store: judged over all instruments of a wallet, and exact in a batch of any size."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.holders.model import IdentityLevel, LimitTier, Wallet, WalletStatus
from gateway.payments.model import PaymentRecord, TokenUse, Verified
from gateway.storage.store import Store

if TYPE_CHECKING:
    from tests.conftest import Shop
    from tests.databases import Database

TIER = LimitTier("EUR", IdentityLevel.VERIFIED, 100_000, 100_000, 3_000, 5_000)
WALLETS = range(2, 9)


@pytest.fixture
async def store(database: Database, shop: Shop) -> AsyncIterator[Store]:
    opened: Store = await database.open_store()
    await shop.furnish(opened)
    await opened.set_limit_tier(TIER)
    yield opened
    await opened.close()


async def _add_wallet(store: Store, shop: Shop, number: int) -> None:
    """A wallet with enough money and two phones."""
    account_id = number.to_bytes(16, "big")
    wallet = Wallet(f"WALLET{number}", "Ben", "EUR", account_id, WalletStatus.ACTIVE, shop.now_ms)
    await store.add_wallet(wallet)
    await store.fund_wallet(wallet.wallet_id, (900 + number).to_bytes(16, "big"), 50_000, shop.now_ms)
    for place in "AB":
        phone = replace(
            shop.instrument,
            instrument_id=f"PHONE{number}{place}",
            wallet_id=wallet.wallet_id,
            key_id=f"key-{number}-{place}".encode().ljust(8, b"."),
        )
        await store.add_instrument(phone)


async def _pay(store: Store, shop: Shop, number: int, phone: str, amount_minor: int) -> PaymentRecord:
    digest = hashlib.sha256(f"{number} {phone}".encode()).digest()
    use = TokenUse(phone.encode().ljust(8, b".")[:8], number, digest, digest[:8])
    booking = shop.booking(number, amount_minor=amount_minor, verdict=Verified(phone, use))
    return await store.book_payment(booking)


async def test_a_day_is_counted_over_all_instruments_of_a_wallet(store: Store, shop: Shop) -> None:
    await _add_wallet(store, shop, 2)
    assert (await _pay(store, shop, 1, "PHONE2A", 3_000)).outcome == "approved"
    assert (await _pay(store, shop, 2, "PHONE2B", 2_001)).decline_code == "limit_identity_per_day_exceeded"
    assert (await _pay(store, shop, 3, "PHONE2B", 2_000)).outcome == "approved"
    assert (await _pay(store, shop, 4, "PHONE2A", 1)).decline_code == "limit_identity_per_day_exceeded"


async def test_one_payment_has_a_limit_of_its_own(store: Store, shop: Shop) -> None:
    await _add_wallet(store, shop, 2)
    record = await _pay(store, shop, 1, "PHONE2A", 3_001)
    assert record.decline_code == "limit_identity_per_payment_exceeded"


@pytest.mark.parametrize("wallet_count", [1, 2, 3, 5, 7])
async def test_every_wallet_of_a_batch_is_counted_once(store: Store, shop: Shop, wallet_count: int) -> None:
    """Whatever the size of the batch, what is exactly left may be spent, and nothing beyond it."""
    wallets = WALLETS[:wallet_count]
    for number in wallets:
        await _add_wallet(store, shop, number)
        assert (await _pay(store, shop, 10 + number, f"PHONE{number}A", 2_900)).outcome == "approved"
    exact = await asyncio.gather(
        *(_pay(store, shop, 20 + number, f"PHONE{number}B", 2_100) for number in wallets)
    )
    assert [record.outcome for record in exact] == ["approved"] * wallet_count
    beyond = await asyncio.gather(
        *(_pay(store, shop, 30 + number, f"PHONE{number}A", 1) for number in wallets)
    )
    assert {record.decline_code for record in beyond} == {"limit_identity_per_day_exceeded"}


async def test_two_phones_of_one_wallet_at_once_never_pass_its_day(store: Store, shop: Shop) -> None:
    await _add_wallet(store, shop, 2)
    records = await asyncio.gather(
        *(_pay(store, shop, number, f"PHONE2{'AB'[number % 2]}", 1_000) for number in range(1, 10))
    )
    assert sum(record.outcome == "approved" for record in records) == 5
