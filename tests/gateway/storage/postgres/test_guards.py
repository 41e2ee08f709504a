"""What changes between reading and writing is noticed by the guard of the statement that writes.

Each test lets a payment read its facts and stops it before it writes, by holding the head of the chain; then
changes one of those facts, and lets go. What comes out must be what a payment after the change gets.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from gateway.audit import audit
from gateway.errors import AuthenticationFailed, IdempotencyConflict
from gateway.holders.model import CardKeyBatch, InstrumentKind
from gateway.ledger.model import Transfer, TransferGroup, TransferKind
from gateway.ledger.outcomes import Outcome
from gateway.payments.model import CardCounter, PaymentCodeUse, Verified
from gateway.storage.postgres.booking import TRIES_WITHOUT_LOCK_MAX, book_payments
from gateway.storage.postgres.database import connect
from wire.messages.payments import EntryMode

if TYPE_CHECKING:
    from gateway.storage.postgres.store import PostgresStore
    from tests.conftest import Shop
    from tests.gateway.storage.postgres.conftest import Hand

CODE_HASH = b"code-hash-of-32-bytes-----------"


def quoted(value: bytes) -> str:
    return f"'\\x{value.hex()}'"


@pytest.mark.parametrize(
    ("change", "guard", "code"),
    [
        ("UPDATE accounts SET frozen = true WHERE kind = 'wallet'", "accounts", "wallet_frozen"),
        (
            "UPDATE accounts SET debits_posted = credits_posted - 1249 WHERE kind = 'wallet'",
            "accounts",
            "insufficient_funds",
        ),
        ("UPDATE merchants SET status = 'suspended'", "merchants", "merchant_suspended"),
        ("UPDATE instruments SET status = 'suspended'", "allowances", "instrument_suspended"),
        ("UPDATE instruments SET per_payment_minor = 1249", "allowances", "limit_per_payment_exceeded"),
        ("UPDATE instruments SET per_day_minor = 1249", "allowances", "limit_per_day_exceeded"),
        (
            "INSERT INTO spent_days (day, instrument_id, spent_minor) VALUES ({day}, 'INSTRUMENT1', 78751)",
            "allowances",
            "limit_per_day_exceeded",
        ),
        (
            "INSERT INTO orders VALUES ('order-1', 'MERCHANT0000001', 1250, 1)",
            "orders",
            "order_already_paid",
        ),
        (
            "INSERT INTO token_uses VALUES ({key_id}, 1, {digest}, 'OTHER', NULL, NULL, '')",
            "token_uses_pkey",
            "token_replayed",
        ),
        (
            "INSERT INTO token_uses VALUES ({key_id}, 1, sha256(''), 'OTHER', NULL, NULL, '')",
            "token_uses_pkey",
            "instrument_cloned",
        ),
        (
            "INSERT INTO token_uses VALUES ({key_id}, 7, {digest}, 'TERMNA01', {nonce}, {day}, '')",
            "token_uses_nonce_day_terminal_nonce_terminal_id_key",
            "token_replayed",
        ),
    ],
)
async def test_payment_is_decided_anew_when(
    store: PostgresStore, shop: Shop, hand: Hand, change: str, guard: str, code: str
) -> None:
    use = shop.token_use(1)
    assert use.terminal_nonce is not None
    change = change.format(
        day=shop.now_ms // 86_400_000,
        key_id=quoted(use.key_id),
        digest=quoted(use.claims_digest),
        nonce=quoted(use.terminal_nonce),
    )
    await hand.take_head()
    with capture_logs() as logs:
        paying = asyncio.create_task(store.book_payment(shop.booking(1)))
        await hand.until_waiting()
        await hand.execute(change)
        await hand.let_go()
        record = await paying
    assert record.decline_code == code
    assert [line["guard"] for line in logs if line["event"] == "batch_decided_anew"] == [guard]


async def test_terminal_that_was_withdrawn_meanwhile_is_turned_away(
    store: PostgresStore, shop: Shop, hand: Hand
) -> None:
    await hand.take_head()
    paying = asyncio.create_task(store.book_payment(shop.booking(1)))
    await hand.until_waiting()
    await hand.execute("UPDATE terminals SET status = 'revoked'")
    await hand.let_go()
    with pytest.raises(AuthenticationFailed):
        await paying
    assert await store.find_payment_by_attempt("TERMNA01", shop.booking(1).attempt_id) is None


async def test_weakest_entry_mode_that_was_raised_meanwhile_declines(
    store: PostgresStore, shop: Shop, hand: Hand
) -> None:
    booking = shop.booking(1, entry_mode=EntryMode.QR_CONSUMER)
    await hand.take_head()
    paying = asyncio.create_task(store.book_payment(booking))
    await hand.until_waiting()
    await hand.execute("UPDATE instruments SET weakest_entry_mode = 'nfc_app'")
    await hand.let_go()
    assert (await paying).decline_code == "entry_mode_not_allowed"


async def test_card_counter_that_rose_meanwhile_declines(
    store: PostgresStore, shop: Shop, hand: Hand
) -> None:
    await store.add_card_key_batch(CardKeyBatch(7, b"sealed-meta", b"sealed-master", shop.now_ms))
    card = replace(
        shop.instrument,
        instrument_id="CARD1",
        kind=InstrumentKind.NTAG424_CARD,
        key_id=b"card-key",
        public_key=None,
        card_key_batch=7,
    )
    await store.add_instrument(card)
    booking = shop.booking(1, verdict=Verified("CARD1", CardCounter(5)), entry_mode=EntryMode.NFC_SDM)
    await hand.take_head()
    paying = asyncio.create_task(store.book_payment(booking))
    await hand.until_waiting()
    await hand.execute("UPDATE instruments SET card_counter = 5 WHERE instrument_id = 'CARD1'")
    await hand.let_go()
    assert (await paying).decline_code == "card_counter_old"


@pytest.mark.parametrize(
    "change", ["UPDATE payment_codes SET used_by = 'other'", "UPDATE payment_codes SET expires_ms = 1"]
)
async def test_code_that_was_used_or_withdrawn_meanwhile_declines(
    store: PostgresStore, shop: Shop, hand: Hand, change: str
) -> None:
    await store.add_payment_code(CODE_HASH, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms)
    verdict = Verified("INSTRUMENT1", PaymentCodeUse(CODE_HASH))
    await hand.take_head()
    paying = asyncio.create_task(
        store.book_payment(shop.booking(1, verdict=verdict, entry_mode=EntryMode.CODE_NUMERIC))
    )
    await hand.until_waiting()
    await hand.execute(change)
    await hand.let_go()
    assert (await paying).decline_code == "payment_code_invalid"


async def test_attempt_that_another_gateway_decided_meanwhile_gets_that_decision(
    store: PostgresStore, open_store, shop: Shop, hand: Hand
) -> None:
    other = await open_store()
    await hand.take_head()
    # Both have read that the attempt is new before either may write.
    paying = [
        asyncio.create_task(
            one.book_payment(structs.replace(shop.booking(1), payment_id=f"0PAYMENT{n:018d}"))
        )
        for n, one in enumerate((store, other))
    ]
    conflicting = structs.replace(shop.booking(2), request_digest=bytes(32))
    await hand.until_waiting(2)
    await hand.let_go()
    first, second = await asyncio.gather(*paying)
    assert first == second
    assert first.outcome == "approved"
    await store.book_payment(shop.booking(2))
    with pytest.raises(IdempotencyConflict):
        await other.book_payment(conflicting)


async def test_group_and_hold_are_booked_once_by_two_gateways(
    store: PostgresStore, open_store, shop: Shop, hand: Hand, postgres_url: str
) -> None:
    other = await open_store()
    hold = Transfer(
        b"hold-transfer-id",
        TransferKind.PENDING,
        shop.wallet.account_id,
        shop.merchant.account_id,
        500,
        "EUR",
        expires_ms=shop.now_ms + 1_000,
    )
    post = structs.replace(
        hold,
        transfer_id=b"post-transfer-id",
        kind=TransferKind.POST,
        pending_id=hold.transfer_id,
        expires_ms=None,
    )
    void = structs.replace(post, transfer_id=b"void-transfer-id", kind=TransferKind.VOID)
    await store.book([TransferGroup((hold,))], shop.now_ms)
    await hand.take_head()
    posting = asyncio.create_task(store.book([TransferGroup((post,))], shop.now_ms))
    voiding = asyncio.create_task(other.book([TransferGroup((void,))], shop.now_ms))
    await hand.until_waiting(2)
    await hand.let_go()
    outcomes = {(await posting)[0].outcome, (await voiding)[0].outcome}
    assert outcomes in (
        {Outcome.BOOKED, Outcome.PENDING_ALREADY_POSTED},
        {Outcome.BOOKED, Outcome.PENDING_ALREADY_VOIDED},
    )
    (again,) = await other.book([TransferGroup((hold,))], shop.now_ms)
    assert (again.outcome, again.sequence) == (Outcome.EXISTS, 2)
    assert audit(postgres_url).is_ok


async def test_hold_that_two_gateways_let_go_is_let_go_once(
    store: PostgresStore, open_store, shop: Shop, hand: Hand, postgres_url: str
) -> None:
    other = await open_store()
    hold = Transfer(
        b"hold-transfer-id",
        TransferKind.PENDING,
        shop.wallet.account_id,
        shop.merchant.account_id,
        500,
        "EUR",
        expires_ms=shop.now_ms + 1_000,
    )
    await store.book([TransferGroup((hold,))], shop.now_ms)
    await hand.take_head()
    later_ms = shop.now_ms + 1_000
    sweeping = asyncio.create_task(store.expire_pendings(later_ms))
    paying = asyncio.create_task(other.book_payment(shop.booking(1, now_ms=later_ms)))
    await hand.until_waiting(2)
    await hand.let_go()
    assert await sweeping in (0, 1)
    assert (await paying).outcome == "approved"
    found = await store.find_wallet(shop.wallet.wallet_id)
    assert found is not None
    assert (found.available_minor, found.pending_minor) == (shop.funds_minor - 1_250, 0)
    assert audit(postgres_url).is_ok


async def test_batch_that_is_overtaken_again_and_again_is_decided_under_the_lock(
    store: PostgresStore, shop: Shop, hand: Hand, other_hand: Hand, postgres_url: str
) -> None:
    pay_order = "INSERT INTO orders VALUES ('order-{}', 'MERCHANT0000001', 1250, 1250)"
    connection = await connect(postgres_url)
    await hand.take_head()
    try:
        with capture_logs() as logs:
            paying = asyncio.create_task(book_payments(connection, [shop.booking(n) for n in range(4)]))
            # Each time it has read its facts, another of its orders is paid before it may write; and
            # before it may read again, the next hand has queued up for the head.
            for number in range(3):
                await hand.until_waiting()
                taking = asyncio.create_task(other_hand.take_head())
                await hand.until_blocked(2)
                await hand.execute(pay_order.format(number))
                await hand.let_go()
                await taking
                hand, other_hand = other_hand, hand
            await hand.let_go()
            records = await paying
    finally:
        await connection.close()
    assert [record.decline_code for record in records] == ["order_already_paid"] * 3 + [None]
    assert len([line for line in logs if line["event"] == "batch_decided_anew"]) == TRIES_WITHOUT_LOCK_MAX
