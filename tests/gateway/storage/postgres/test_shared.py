"""Several gateways on one database: no deadlock, no storm, and books that an audit finds whole."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from gateway.audit import audit
from gateway.holders.model import InstrumentStatus, Limits, WalletStatus
from gateway.payments.model import PaymentCodeUse, TokenUse, Verified
from wire.messages.payments import EntryMode

if TYPE_CHECKING:
    from gateway.storage.postgres.store import PostgresStore
    from tests.conftest import Shop
    from tests.postgres_server import PostgresServer

PAYERS = 8
AMPLE = Limits(per_payment_minor=10**9, per_day_minor=10**9)


async def add_payers(store: PostgresStore, shop: Shop) -> None:
    """Store wallets with plenty, and a phone of each."""
    for n in range(PAYERS):
        wallet = replace(shop.wallet, wallet_id=f"W{n}", account_id=f"many-wallets-{n:03d}".encode())
        await store.add_wallet(wallet)
        await store.fund_wallet(wallet.wallet_id, f"funding-many-{n:03d}".encode(), 10**6, shop.now_ms)
        await store.add_instrument(
            replace(
                shop.instrument,
                instrument_id=f"I{n}",
                wallet_id=wallet.wallet_id,
                key_id=f"key-{n:04d}".encode(),
                limits=AMPLE,
            )
        )


def payment(shop: Shop, number: int, payer: int, **changes: object):
    use = TokenUse(f"key-{payer:04d}".encode(), number, shop.token_use(number).claims_digest, None)
    return shop.booking(number, verdict=Verified(f"I{payer}", use), **changes)


async def test_two_gateways_on_one_merchant_never_overtake_each_other(
    store: PostgresStore, open_store, shop: Shop, postgres_url: str
) -> None:
    other = await open_store()
    await add_payers(store, shop)
    with capture_logs() as logs:
        records = await asyncio.gather(
            *(
                (store, other)[number % 2].book_payment(
                    payment(shop, number, number % PAYERS, amount_minor=1)
                )
                for number in range(1_000, 1_600)
            )
        )
    assert {record.outcome for record in records} == {"approved"}
    assert sorted(record.receipt_number for record in records) == [f"{n:06d}" for n in range(1, 601)]
    # One merchant, one fee account, wallets shared by both: nothing of it is a reason to decide anew.
    assert [line for line in logs if line["event"] == "batch_decided_anew"] == []
    report = audit(postgres_url)
    assert report.first_break is None
    assert report.payment_count == 600


async def test_two_gateways_spend_one_wallet_to_the_last_cent(
    store: PostgresStore, open_store, shop: Shop, postgres_url: str
) -> None:
    other = await open_store()
    await store.add_instrument(replace(shop.instrument, instrument_id="I1", key_id=b"key-0001", limits=AMPLE))
    records = await asyncio.gather(
        *(
            (store, other)[number % 2].book_payment(payment(shop, number, 1, amount_minor=1_000))
            for number in range(150)
        )
    )
    codes = [record.decline_code for record in records]
    assert codes.count(None) == shop.funds_minor // 1_000
    assert codes.count("insufficient_funds") == 150 - shop.funds_minor // 1_000
    found = await other.find_wallet(shop.wallet.wallet_id)
    assert found is not None
    assert found.available_minor == 0
    assert audit(postgres_url).is_ok


async def test_two_gateways_on_one_order_pay_it_once(
    store: PostgresStore, open_store, shop: Shop, postgres_url: str
) -> None:
    other = await open_store()
    await add_payers(store, shop)
    for order in range(5):
        records = await asyncio.gather(
            *(
                (store, other)[n % 2].book_payment(
                    payment(shop, order * 100 + n, n % PAYERS, order_id=f"table-{order}")
                )
                for n in range(40)
            )
        )
        assert (
            sorted((record.decline_code for record in records), key=str)
            == [None] + ["order_already_paid"] * 39
        )
    assert audit(postgres_url).payment_count == 5


@pytest.mark.parametrize("seed", [1, 2])
async def test_everything_at_once_ends_in_whole_books(
    store: PostgresStore,
    open_store,
    shop: Shop,
    postgres_url: str,
    postgres_server: PostgresServer,
    seed: int,
) -> None:
    """Payments, replays, codes, freezes, suspensions and fundings, from three gateways side by side."""
    rng = random.Random(seed)
    stores = (store, await open_store(), await open_store())
    await add_payers(store, shop)

    async def pay(number: int) -> None:
        payer = rng.randrange(PAYERS)
        booking = payment(shop, number // 2, payer, order_id=f"order-{number // 3}", amount_minor=10)
        await rng.choice(stores).book_payment(booking)

    async def pay_by_code(number: int) -> None:
        one, instrument = rng.choice(stores), f"I{rng.randrange(PAYERS)}"
        code = number.to_bytes(32, "big")
        await one.add_payment_code(code, instrument, shop.now_ms + 60_000, shop.now_ms)
        verdict = Verified(instrument, PaymentCodeUse(code))
        booking = shop.booking(number, verdict=verdict, entry_mode=EntryMode.CODE_NUMERIC, amount_minor=10)
        await asyncio.gather(*(another.book_payment(booking) for another in stores))

    async def change(number: int) -> None:
        one, payer = rng.choice(stores), rng.randrange(PAYERS)
        await one.set_wallet_status(f"W{payer}", rng.choice(list(WalletStatus)))
        await one.set_instrument_status(f"I{payer}", rng.choice(list(InstrumentStatus)))
        await one.fund_wallet(f"W{payer}", number.to_bytes(16, "big"), 5, shop.now_ms)

    works = (pay, pay, pay, pay, pay_by_code, change)
    await asyncio.gather(*(rng.choice(works)(number) for number in range(1, 400)))
    report = audit(postgres_url)
    assert report.first_break is None, f"seed {seed}: {report.first_break}"
    assert "deadlock" not in postgres_server.log
