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
from gateway.errors import AuthenticationFailed, IdempotencyConflict, NotFound
from gateway.holders.model import CardKeyBatch, InstrumentKind
from gateway.ledger.model import Transfer, TransferGroup, TransferKind
from gateway.ledger.outcomes import Outcome
from gateway.payments.life import Refund, Void
from gateway.payments.model import CardCounter, PaymentBooking, PaymentCodeUse, PaymentRecord, Terms, Verified
from gateway.storage.postgres.booking import TRIES_WITHOUT_LOCK_MAX, book_payments
from gateway.storage.postgres.database import connect
from wire.messages.payments import CaptureMode, EntryMode

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


HELD = Terms(CaptureMode.MANUAL, capture_by_ms=2**45)
TIER = (
    "INSERT INTO limit_tiers VALUES ('EUR', 'verified', {above}, 1000000, 1000000, {day})"
    " ON CONFLICT (currency, identity_level) DO UPDATE"
    " SET confirm_above_minor = excluded.confirm_above_minor, per_day_minor = excluded.per_day_minor"
)


async def overtaken(
    store: PostgresStore, hand: Hand, booking: PaymentBooking, *changes: str
) -> tuple[PaymentRecord, list[str]]:
    """Book a payment whose facts somebody changes before it is written; return it and the guards that saw."""
    await hand.take_head()
    with capture_logs() as logs:
        paying = asyncio.create_task(store.book_payment(booking))
        await hand.until_waiting()
        await hand.execute(*changes)
        await hand.let_go()
        record = await paying
    return record, [line["guard"] for line in logs if line["event"] == "batch_decided_anew"]


async def test_day_of_a_wallet_that_another_instrument_spent_meanwhile_declines(
    store: PostgresStore, shop: Shop, hand: Hand
) -> None:
    await store.add_instrument(replace(shop.instrument, instrument_id="WATCH1", key_id=b"watch-ky"))
    await hand.execute(TIER.format(above=1_000_000, day=2_500))
    spent = (
        "INSERT INTO spent_days (day, instrument_id, spent_minor)"
        f" VALUES ({shop.now_ms // 86_400_000}, 'WATCH1', 1251)"
    )
    record, guards = await overtaken(store, hand, shop.booking(1), spent)
    assert (record.decline_code, guards) == ("limit_identity_per_day_exceeded", ["wallet_days"])
    assert (await store.book_payment(shop.booking(2, amount_minor=1_249))).outcome == "approved"


async def test_tier_that_was_lowered_meanwhile_declines(store: PostgresStore, shop: Shop, hand: Hand) -> None:
    await hand.execute(TIER.format(above=1_000_000, day=2_500))
    lowered = TIER.format(above=1_000_000, day=1_249)
    record, guards = await overtaken(store, hand, shop.booking(1), lowered)
    assert (record.decline_code, guards) == ("limit_identity_per_day_exceeded", ["wallet_days"])


@pytest.mark.parametrize(
    ("order", "terms", "code"),
    [
        ("'order-1', 'MERCHANT0000001', 2001, 0", Terms(order_amount_minor=2_000), "order_amount_differs"),
        ("'order-1', 'MERCHANT0000001', 2000, 751", Terms(order_amount_minor=2_000), "order_already_paid"),
        ("'order-1', 'MERCHANT0000001', 1249, 0", Terms(), "order_already_paid"),
        ("'order-1', 'MERCHANT0000001', 2000, 751", HELD, "order_already_paid"),
    ],
)
async def test_order_that_was_begun_otherwise_meanwhile_declines(
    store: PostgresStore, shop: Shop, hand: Hand, order: str, terms: Terms, code: str
) -> None:
    insert = f"INSERT INTO orders (order_id, merchant_id, amount_minor, taken_minor) VALUES ({order})"
    record, guards = await overtaken(store, hand, shop.booking(1, terms=terms), insert)
    assert (record.decline_code, guards) == (code, ["orders"])


async def test_order_with_another_amount_but_room_for_it_is_shared(
    store: PostgresStore, shop: Shop, hand: Hand
) -> None:
    insert = (
        "INSERT INTO orders (order_id, merchant_id, amount_minor, taken_minor)"
        " VALUES ('order-1', 'MERCHANT0000001', 9000, 0)"
    )
    record, guards = await overtaken(store, hand, shop.booking(1), insert)
    assert (record.outcome, guards) == ("approved", ["orders"])


@pytest.mark.parametrize(
    "change",
    ["UPDATE instruments SET confirm_above_minor = 1249", TIER.format(above=1_249, day=1_000_000)],
    ids=["instrument", "tier"],
)
async def test_unconfirmed_limit_that_was_lowered_meanwhile_asks_the_holder(
    store: PostgresStore, shop: Shop, hand: Hand, change: str
) -> None:
    booking = shop.booking(1, terms=Terms(confirm_by_ms=shop.now_ms + 120_000))
    record, guards = await overtaken(store, hand, booking, change)
    assert (record.outcome, record.confirm_code) == ("requires_confirmation", "confirm_above_limit")
    assert guards == ["allowances"]
    agreed = shop.booking(2, terms=Terms(confirmed=True))
    assert (await store.book_payment(agreed)).outcome == "approved"


@pytest.mark.parametrize(
    "terms", [HELD, Terms(confirm_for="confirm_new_terminal", confirm_by_ms=2**45)], ids=["held", "waiting"]
)
async def test_merchant_that_was_suspended_meanwhile_holds_nothing(
    store: PostgresStore, shop: Shop, hand: Hand, terms: Terms
) -> None:
    suspended = "UPDATE merchants SET status = 'suspended'"
    record, guards = await overtaken(store, hand, shop.booking(1, terms=terms), suspended)
    assert (record.decline_code, guards) == ("merchant_suspended", ["merchants"])
    found = await store.find_wallet(shop.wallet.wallet_id)
    assert found is not None
    assert (found.available_minor, found.pending_minor) == (shop.funds_minor, 0)


async def test_payment_that_became_one_too_many_meanwhile_asks_the_holder(
    store: PostgresStore, shop: Shop, hand: Hand
) -> None:
    window = shop.now_ms // 600_000
    many = (
        "INSERT INTO spent_days (day, instrument_id, spent_minor, payment_count, recent_window, recent_count)"
        f" VALUES ({shop.now_ms // 86_400_000}, 'INSTRUMENT1', 0, 3, {window}, 3)"
    )
    terms = Terms(payments_per_window_max=3, confirm_by_ms=shop.now_ms + 120_000)
    record, guards = await overtaken(store, hand, shop.booking(1, terms=terms), many)
    assert (record.confirm_code, guards) == ("confirm_velocity", ["recent_payments"])


async def test_hold_that_would_oversell_meanwhile_is_declined(
    store: PostgresStore, shop: Shop, hand: Hand
) -> None:
    spent = "UPDATE accounts SET debits_pending = credits_posted - 1249 WHERE kind = 'wallet'"
    record, guards = await overtaken(store, hand, shop.booking(1, terms=HELD), spent)
    assert (record.decline_code, guards) == ("insufficient_funds", ["accounts"])


async def test_terminal_is_not_withdrawn_between_reading_and_writing_a_refund(
    store: PostgresStore, shop: Shop, hand: Hand, other_hand: Hand
) -> None:
    await hand.execute("UPDATE terminals SET refund_limit_minor = 1000")
    record = await store.book_payment(shop.booking(1))
    refund = Refund(record.payment_id, "TERMNA01", "0REFVND0000000000000000001", 500, "", "STAFF1")
    # The terminal is being withdrawn, and the refund waits to learn whether it is.
    await other_hand.begin()
    await other_hand.execute("UPDATE terminals SET status = 'revoked'")
    refunding = asyncio.create_task(store.change_payment(refund, shop.now_ms))
    await hand.until_blocked(1)
    await other_hand.let_go()
    with pytest.raises(NotFound):
        await refunding
    with pytest.raises(NotFound):
        await store.change_payment(Void(record.payment_id, "TERMNA01"), shop.now_ms)


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
    await store.add_card_key_batch(CardKeyBatch(7, 1, b"sealed-meta", b"sealed-master", shop.now_ms))
    card = replace(
        shop.instrument,
        instrument_id="CARD1",
        kind=InstrumentKind.NTAG424_CARD,
        key_id=b"card-key",
        public_key=None,
        card_key_batch=7,
        card_key_version=1,
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
