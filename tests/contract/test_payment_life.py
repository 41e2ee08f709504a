"""One suite for every store: what becomes of a payment after its decision, through the store's public door.

Many tests carry the name of a pain that other gateways gave their users: holds that oversold a balance, a
hold that was charged after it was refused, a refund booked twice, money that moved after a void, a failed
attempt that ate a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from gateway.audit import audit
from gateway.errors import GatewayError, IdempotencyConflict, NotFound, PaymentRefused
from gateway.holders.model import IdentityLevel, Limits, LimitTier, WalletStatus
from gateway.merchants.model import Location, TerminalStatus
from gateway.payments.life import (
    REFUNDS_MAX,
    Capture,
    Confirm,
    Expire,
    PaymentChange,
    Refund,
    Refuse,
    Reverse,
    Void,
)
from gateway.payments.life_changes import Changed
from gateway.payments.model import (
    ATTEMPT_REVERSED,
    VELOCITY_WINDOW_MS,
    PaymentBooking,
    PaymentRecord,
    Refused,
    Terms,
    TokenUse,
    Verified,
)
from gateway.payments.settlement import HOLD_GRACE_MS
from gateway.storage.store import PAGE_ROWS_MAX, Store
from simulators.auditor.books.books import check_books
from wire.messages.payments import CaptureMode, ConfirmationWay, EntryMode, PaymentState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Shop
    from tests.contract.conftest import OpenStore
    from tests.databases import Database

DAY_MS = 86_400_000
HOLD_MS = 3_600_000
CONFIRM_MS = 120_000
TILL = "TERMNA01"
CAPTURE_ID = "0CAPTVRE000000000000000001"
OTHER_TILL = "TERMNB01"


@pytest.fixture
async def store(open_store: OpenStore, database: Database, shop: Shop) -> AsyncIterator[Store]:
    """A shop where tips, refunds and PINs are possible; its books are audited when the test is over."""
    store = await open_store()
    await shop.furnish(store)
    await store.set_tip_margin(shop.merchant.merchant_id, 2_000)
    await store.set_refund_limit(TILL, 10**6)
    await store.set_wallet_pin(shop.wallet.wallet_id, "argon2id")
    yield store
    assert check_books(await database.read_books()) == []
    report = await asyncio.to_thread(audit, database.place)
    assert report.first_break is None


def held(shop: Shop, number: int, **changes: Any) -> PaymentBooking:
    """A hold of 12.50 for an hour, of which the last 2.00 are for a tip."""
    terms = Terms(CaptureMode.MANUAL, tip_max_minor=200, capture_by_ms=shop.now_ms + HOLD_MS)
    return shop.booking(number, **({"terms": terms} | changes))


def waiting(shop: Shop, number: int, **changes: Any) -> PaymentBooking:
    """12.50 that its holder has to agree to within two minutes."""
    terms = Terms(confirm_for="confirm_new_terminal", confirm_by_ms=shop.now_ms + CONFIRM_MS)
    return shop.booking(number, **({"terms": terms} | changes))


def waiting_hold(shop: Shop, number: int) -> PaymentBooking:
    """As both."""
    terms = Terms(
        CaptureMode.MANUAL,
        tip_max_minor=200,
        confirm_for="confirm_new_terminal",
        confirm_by_ms=shop.now_ms + CONFIRM_MS,
        capture_by_ms=shop.now_ms + HOLD_MS,
    )
    return shop.booking(number, terms=terms)


def tombstone(shop: Shop, number: int) -> PaymentBooking:
    """The reversal of the number's attempt, which nobody has seen."""
    return structs.replace(
        shop.booking(number),
        payment_id=f"0TMBSTNE{number:018d}",
        request_digest=bytes(32),
        verdict=Refused(ATTEMPT_REVERSED),
    )


def refund_of(record: PaymentRecord, total_minor: int, number: int = 1, **changes: Any) -> Refund:
    refund = Refund(record.payment_id, TILL, f"0REFVND0{number:018d}", total_minor, "broken cup", "STAFF1")
    return structs.replace(refund, **changes)


def capture_of(record: PaymentRecord, goods_minor: int = 1_050, tip_minor: int = 0) -> Capture:
    return Capture(record.payment_id, TILL, CAPTURE_ID, goods_minor, tip_minor)


def confirm_of(record: PaymentRecord, shop: Shop, way: ConfirmationWay = ConfirmationWay.PIN) -> Confirm:
    return Confirm(record.payment_id, way, shop.now_ms + HOLD_MS)


async def state_of(store: Store, record: PaymentRecord) -> PaymentState:
    found = await store.find_payment(TILL, record.payment_id)
    assert found is not None
    return found.life.state


async def wallet_of(store: Store, shop: Shop) -> tuple[int, int]:
    """What is missing from the wallet's money, and what of that is only held."""
    found = await store.find_wallet(shop.wallet.wallet_id)
    assert found is not None
    return shop.funds_minor - found.available_minor, found.pending_minor


async def merchant_of(store: Any, shop: Shop) -> int:
    account = await store.find_account(shop.merchant.account_id)
    return int(account.available_minor)


async def taken_of(database: Database, order_id: str = "order-1") -> tuple[int, int]:
    """What is taken of an order, and what the instrument spent in all."""
    orders, days = await database.read(
        (
            f"SELECT taken_minor FROM orders WHERE order_id = '{order_id}'",
            "SELECT coalesce(sum(spent_minor), 0) FROM spent_days",
        )
    )
    return int(orders[0][0]), int(days[0][0])


async def events_of(store: Store, after: int = 0) -> list[str]:
    return [event.payment_id for event in await store.list_terminal_events(TILL, after)]


async def set_pin_tries(database: Database, count: int) -> None:
    """Say how often a wrong PIN was entered."""
    await database.write([f"UPDATE wallets SET pin_tries = {count}"])


def tier(level: str, currency: str, **limits: int) -> LimitTier:
    """A tier with these limits and no other."""
    names = ("confirm_above", "pin_max", "per_payment", "per_day")
    return LimitTier(currency, IdentityLevel(level), *(limits.get(name, 10**9) for name in names))


async def told(*changes: Awaitable[Changed]) -> list[str]:
    """What each of several changes at once was answered: a state, or the code of a refusal."""
    answers = await asyncio.gather(*changes, return_exceptions=True)
    return [_word_of(answer) for answer in answers]


def _word_of(answer: Changed | BaseException) -> str:
    if isinstance(answer, PaymentRefused):
        return answer.code
    assert isinstance(answer, Changed), repr(answer)
    return answer.payment.life.state.value


async def refusal_of(store: Store, change: PaymentChange, now_ms: int) -> str:
    with pytest.raises(GatewayError) as caught:
        await store.change_payment(change, now_ms)
    return caught.value.code


# Holds and captures ----------------------------------------------------------------------------------------


async def test_hold_takes_money_order_and_limit_and_charges_nothing(
    store: Store, shop: Shop, database: Database
) -> None:
    record = await store.book_payment(held(shop, 1))
    assert (record.outcome, record.receipt_number) == ("authorised", None)
    assert (record.life.charged_minor, record.life.due_ms) == (0, shop.now_ms + HOLD_MS)
    assert await wallet_of(store, shop) == (1_250, 1_250)
    assert await merchant_of(store, shop) == 0
    assert await taken_of(database) == (1_050, 1_250)
    assert await store.find_payment(TILL, record.payment_id) == record


async def test_capture_charges_goods_and_tip_and_gives_the_rest_back(
    store: Store, shop: Shop, database: Database
) -> None:
    record = await store.book_payment(held(shop, 1))
    changed = await store.change_payment(capture_of(record, 900, 150), shop.now_ms + 1)
    life = changed.payment.life
    assert (life.state, life.charged_minor, life.tip_minor, life.fee_minor) == ("succeeded", 1_050, 150, 15)
    assert (changed.payment.receipt_number, life.due_ms) == ("000001", None)
    assert await wallet_of(store, shop) == (1_050, 0)
    assert await merchant_of(store, shop) == 1_050 - 15
    assert await taken_of(database) == (900, 1_050)
    assert await store.find_payment(TILL, record.payment_id) == changed.payment


async def test_repeated_capture_is_answered_by_what_it_did(store: Store, shop: Shop) -> None:
    record = await store.book_payment(held(shop, 1))
    first = await store.change_payment(capture_of(record, 900, 150), shop.now_ms + 1)
    assert await store.change_payment(capture_of(record, 900, 150), shop.now_ms + 2 * HOLD_MS) == first
    assert await refusal_of(store, capture_of(record, 901, 150), shop.now_ms) == "idempotency_conflict"
    assert await refusal_of(store, capture_of(record, 900, 149), shop.now_ms) == "idempotency_conflict"
    other = structs.replace(capture_of(record, 900, 150), capture_id="0CAPTVRE000000000000000002")
    assert await refusal_of(store, other, shop.now_ms) == "payment_not_open"
    assert await wallet_of(store, shop) == (1_050, 0)


async def test_repeated_capture_of_what_was_reversed_since_says_so(store: Store, shop: Shop) -> None:
    record = await store.book_payment(held(shop, 1))
    await store.change_payment(capture_of(record), shop.now_ms)
    reversed_ = await store.change_payment(Reverse(record.payment_id, TILL), shop.now_ms)
    assert await store.change_payment(capture_of(record), shop.now_ms) == reversed_
    assert reversed_.payment.life.state is PaymentState.REVERSED


@pytest.mark.parametrize(("goods", "tip"), [(1_051, 0), (1, 201), (1_051, 199)])
async def test_capture_takes_no_more_than_the_payer_agreed_to(
    store: Store, shop: Shop, goods: int, tip: int
) -> None:
    record = await store.book_payment(held(shop, 1))
    assert await refusal_of(store, capture_of(record, goods, tip), shop.now_ms) == "capture_exceeds_hold"
    assert await wallet_of(store, shop) == (1_250, 1_250)
    assert (
        await store.change_payment(capture_of(record, 1_050, 200), shop.now_ms)
    ).payment.life.charged_minor


async def test_tip_beyond_the_merchants_margin_is_declined_before_anything_is_held(
    store: Store, shop: Shop
) -> None:
    terms = Terms(CaptureMode.MANUAL, tip_max_minor=210, capture_by_ms=shop.now_ms + HOLD_MS)
    record = await store.book_payment(held(shop, 1, terms=terms, amount_minor=1_250))
    assert record.decline_code == "tip_margin_exceeded"
    exact = await store.book_payment(held(shop, 2, terms=terms, amount_minor=1_260))
    assert exact.outcome == "authorised"


async def test_holds_never_oversell_a_balance(store: Store, shop: Shop) -> None:
    big = replace(shop.instrument, instrument_id="BIG", key_id=b"big-key-", limits=Limits(10**9, 10**9))
    await store.add_instrument(big)
    bookings = [
        held(
            shop,
            number,
            amount_minor=30_000,
            verdict=Verified("BIG", structs.replace(shop.token_use(number), key_id=b"big-key-")),
        )
        for number in range(6)
    ]
    records = await asyncio.gather(*(store.book_payment(one) for one in bookings))
    assert (
        sorted(record.decline_code or "" for record in records) == ["", "", ""] + ["insufficient_funds"] * 3
    )
    assert await wallet_of(store, shop) == (90_000, 90_000)


async def test_frozen_wallet_stops_a_capture_and_keeps_the_hold(store: Store, shop: Shop) -> None:
    record = await store.book_payment(held(shop, 1))
    await store.set_wallet_status(shop.wallet.wallet_id, WalletStatus.FROZEN)
    assert await refusal_of(store, capture_of(record), shop.now_ms) == "payer_wallet_frozen"
    assert await state_of(store, record) is PaymentState.AUTHORISED
    await store.set_wallet_status(shop.wallet.wallet_id, WalletStatus.ACTIVE)
    assert (await store.change_payment(capture_of(record), shop.now_ms)).payment.life.state == "succeeded"


# Voids and deadlines ---------------------------------------------------------------------------------------


async def test_void_gives_back_money_order_and_limit_together(
    store: Store, shop: Shop, database: Database
) -> None:
    record = await store.book_payment(held(shop, 1))
    changed = await store.change_payment(Void(record.payment_id, TILL), shop.now_ms + 1)
    assert (changed.payment.life.state, changed.payment.life.code) == ("voided", "payment_voided")
    assert await wallet_of(store, shop) == (0, 0)
    assert await taken_of(database) == (0, 0)
    assert await store.change_payment(Void(record.payment_id, TILL), shop.now_ms + 2) == changed


async def test_no_money_moves_after_a_void(store: Store, shop: Shop) -> None:
    record = await store.book_payment(held(shop, 1))
    await store.change_payment(Void(record.payment_id, TILL), shop.now_ms)
    assert await refusal_of(store, capture_of(record), shop.now_ms) == "payment_not_open"
    assert await refusal_of(store, refund_of(record, 1), shop.now_ms) == "payment_not_open"
    assert await store.book_payment(held(shop, 1)) == await store.find_payment(TILL, record.payment_id)
    assert await wallet_of(store, shop) == (0, 0)


async def test_voided_order_can_be_paid_again(store: Store, shop: Shop, database: Database) -> None:
    record = await store.book_payment(held(shop, 1))
    await store.change_payment(Void(record.payment_id, TILL), shop.now_ms)
    again = await store.book_payment(shop.booking(2, order_id="order-1", amount_minor=1_050))
    assert again.outcome == "approved"
    assert await taken_of(database) == (1_050, 1_050)


async def test_failed_and_voided_attempts_eat_no_limit(store: Store, shop: Shop) -> None:
    for number in range(3):
        too_much = await store.book_payment(shop.booking(number, amount_minor=50_001))
        assert too_much.decline_code == "limit_per_payment_exceeded"
        await store.set_wallet_status(shop.wallet.wallet_id, WalletStatus.FROZEN)
        frozen = await store.book_payment(held(shop, 30 + number, amount_minor=50_000))
        assert frozen.decline_code == "wallet_frozen"
        await store.set_wallet_status(shop.wallet.wallet_id, WalletStatus.ACTIVE)
        record = await store.book_payment(held(shop, 10 + number, amount_minor=50_000))
        await store.change_payment(Void(record.payment_id, TILL), shop.now_ms)
    for number, amount_minor in ((20, 50_000), (21, 30_000)):
        assert (
            await store.book_payment(shop.booking(number, amount_minor=amount_minor))
        ).outcome == "approved"


async def test_hold_ends_at_its_deadline_and_not_before(store: Store, shop: Shop, database: Database) -> None:
    record = await store.book_payment(held(shop, 1))
    due_ms = shop.now_ms + HOLD_MS
    early = await store.change_payment(Expire(record.payment_id), due_ms - 1)
    assert early.payment.life.state is PaymentState.AUTHORISED
    changed = await store.change_payment(Expire(record.payment_id), due_ms)
    assert (changed.payment.life.state, changed.payment.life.code) == ("expired", "hold_expired")
    assert await store.change_payment(Expire(record.payment_id), due_ms + 1) == changed
    assert await wallet_of(store, shop) == (0, 0)
    assert await taken_of(database) == (0, 0)


async def test_capture_after_the_deadline_is_refused_though_nobody_swept(store: Store, shop: Shop) -> None:
    record = await store.book_payment(held(shop, 1))
    assert await refusal_of(store, capture_of(record), shop.now_ms + HOLD_MS) == "payment_not_open"
    assert (await store.change_payment(capture_of(record), shop.now_ms + HOLD_MS - 1)).payment.receipt_number


async def test_hold_that_the_ledger_let_go_itself_gives_back_order_and_limit_too(
    store: Any, shop: Shop, database: Database
) -> None:
    record = await store.book_payment(held(shop, 1))
    over_ms = shop.now_ms + HOLD_MS + HOLD_GRACE_MS
    assert await store.expire_pendings(over_ms - 1) == 0
    assert await store.expire_pendings(over_ms) == 1
    assert await wallet_of(store, shop) == (0, 0)
    assert await taken_of(database) == (1_050, 1_250)
    changed = await store.change_payment(Expire(record.payment_id), over_ms)
    assert changed.payment.life.state is PaymentState.EXPIRED
    assert await taken_of(database) == (0, 0)


@pytest.mark.parametrize("change", [Expire, Void, Reverse])
async def test_change_that_lets_the_ledger_go_first_writes_no_second_release(
    store: Store, shop: Shop, change: type
) -> None:
    record = await store.book_payment(held(shop, 1))
    over_ms = shop.now_ms + HOLD_MS + HOLD_GRACE_MS
    asked = Expire(record.payment_id) if change is Expire else change(record.payment_id, TILL)
    if change is Void:
        # What is over is the sweep's.
        assert await refusal_of(store, asked, over_ms) == "payment_not_open"
        asked = Reverse(record.payment_id, TILL)
    await store.change_payment(asked, over_ms)
    assert await wallet_of(store, shop) == (0, 0)


async def test_due_payments_are_listed_page_by_page(store: Store, shop: Shop, database: Database) -> None:
    await database.write(
        [
            "INSERT INTO open_payments (payment_id, state, due_ms)"
            f" VALUES ('{number:026d}', 'authorised', {shop.now_ms + number % 2})"
            for number in range(2 * PAGE_ROWS_MAX + 20)
        ]
    )
    due = [f"{number:026d}" for number in range(0, 2 * PAGE_ROWS_MAX + 20, 2)]
    first = await store.list_due_payments(shop.now_ms)
    assert first == due[:PAGE_ROWS_MAX]
    assert await store.list_due_payments(shop.now_ms, first[-1]) == due[PAGE_ROWS_MAX:]
    assert await store.list_due_payments(shop.now_ms - 1) == []
    assert len(await store.list_due_payments(shop.now_ms + 1, due[-1])) == 1
    await database.write(["DELETE FROM open_payments"])


# Confirmation ----------------------------------------------------------------------------------------------


async def test_confirmed_payment_is_charged_and_its_receipt_numbered_then(
    store: Store, shop: Shop, database: Database
) -> None:
    record = await store.book_payment(waiting(shop, 1))
    assert (record.outcome, record.confirm_code) == ("requires_confirmation", "confirm_new_terminal")
    assert record.confirm_ways == (ConfirmationWay.PIN, ConfirmationWay.DEVICE)
    other = await store.book_payment(shop.booking(2))
    changed = await store.change_payment(confirm_of(record, shop), shop.now_ms + 1)
    assert (other.receipt_number, changed.payment.receipt_number) == ("000001", "000002")
    assert (changed.payment.life.state, changed.payment.life.charged_minor) == ("succeeded", 1_250)
    assert await store.change_payment(confirm_of(record, shop), shop.now_ms + 2 * CONFIRM_MS) == changed
    assert await wallet_of(store, shop) == (2_500, 0)
    assert await taken_of(database) == (1_250, 2_500)


async def test_confirmed_hold_stays_held_until_it_is_captured(store: Store, shop: Shop) -> None:
    record = await store.book_payment(waiting_hold(shop, 1))
    changed = await store.change_payment(confirm_of(record, shop), shop.now_ms + 1)
    assert (changed.payment.life.state, changed.payment.life.due_ms) == ("authorised", shop.now_ms + HOLD_MS)
    assert await wallet_of(store, shop) == (1_250, 1_250)
    captured = await store.change_payment(capture_of(record, 1_050, 200), shop.now_ms + HOLD_MS - 1)
    assert (captured.payment.life.charged_minor, captured.payment.receipt_number) == (1_250, "000001")
    assert (await store.change_payment(confirm_of(record, shop), shop.now_ms)).payment == captured.payment


async def test_confirmation_can_not_stretch_a_hold_beyond_what_was_booked(store: Store, shop: Shop) -> None:
    record = await store.book_payment(waiting_hold(shop, 1))
    late = structs.replace(confirm_of(record, shop), capture_by_ms=shop.now_ms + 10 * DAY_MS)
    changed = await store.change_payment(late, shop.now_ms + 1)
    assert changed.payment.life.due_ms == shop.now_ms + HOLD_MS
    captured = await store.change_payment(capture_of(record), shop.now_ms + HOLD_MS - 1)
    assert captured.payment.life.state is PaymentState.SUCCEEDED


async def test_refused_payment_is_never_charged(store: Store, shop: Shop, database: Database) -> None:
    record = await store.book_payment(waiting(shop, 1))
    refuse = Refuse(record.payment_id, "confirmation_refused")
    changed = await store.change_payment(refuse, shop.now_ms + 1)
    assert (changed.payment.life.state, changed.payment.life.code) == ("declined", "confirmation_refused")
    assert await store.change_payment(refuse, shop.now_ms + 2) == changed
    assert await refusal_of(store, confirm_of(record, shop), shop.now_ms + 3) == "payment_not_open"
    assert await refusal_of(store, Refuse(record.payment_id, "pin_locked"), shop.now_ms) == "payment_not_open"
    assert await wallet_of(store, shop) == (0, 0)
    assert await taken_of(database) == (0, 0)


async def test_confirmation_that_comes_too_late_expires_the_payment(
    store: Store, shop: Shop, database: Database
) -> None:
    record = await store.book_payment(waiting(shop, 1))
    changed = await store.change_payment(confirm_of(record, shop), shop.now_ms + CONFIRM_MS)
    assert (changed.payment.life.state, changed.payment.life.code) == ("expired", "confirmation_expired")
    assert await events_of(store) == [record.payment_id]
    assert await refusal_of(store, confirm_of(record, shop), shop.now_ms) == "payment_not_open"
    assert await taken_of(database) == (0, 0)


async def test_confirmation_needs_a_way_that_was_offered(
    store: Store, shop: Shop, database: Database
) -> None:
    await set_pin_tries(database, 3)
    record = await store.book_payment(waiting(shop, 1))
    assert record.confirm_ways == (ConfirmationWay.DEVICE,)
    refused = await refusal_of(store, confirm_of(record, shop), shop.now_ms)
    assert refused == "confirmation_way_not_allowed"
    by_device = confirm_of(record, shop, ConfirmationWay.DEVICE)
    assert (await store.change_payment(by_device, shop.now_ms)).payment.life.state is PaymentState.SUCCEEDED


async def test_only_a_confirmation_by_pin_forgives_wrong_tries(
    store: Store, shop: Shop, database: Database
) -> None:
    for number, way, left in ((1, ConfirmationWay.DEVICE, 2), (2, ConfirmationWay.PIN, 0)):
        await set_pin_tries(database, 2)
        record = await store.book_payment(waiting(shop, number))
        await store.change_payment(confirm_of(record, shop, way), shop.now_ms)
        assert await database.read(["SELECT pin_tries FROM wallets"]) == [[(left,)]]


async def test_payment_that_nobody_could_confirm_is_declined(
    store: Store, shop: Shop, database: Database
) -> None:
    await set_pin_tries(database, 3)
    await database.write(["UPDATE instruments SET kind = 'applet_card'"])
    record = await store.book_payment(waiting(shop, 1))
    assert record.decline_code == "confirmation_unavailable"
    assert await wallet_of(store, shop) == (0, 0)


async def test_waiting_payment_can_be_confirmed_by_a_frozen_wallet_only_after_the_thaw(
    store: Store, shop: Shop
) -> None:
    record = await store.book_payment(waiting(shop, 1))
    await store.set_wallet_status(shop.wallet.wallet_id, WalletStatus.FROZEN)
    assert await refusal_of(store, confirm_of(record, shop), shop.now_ms) == "payer_wallet_frozen"
    await store.set_wallet_status(shop.wallet.wallet_id, WalletStatus.ACTIVE)
    assert (await store.change_payment(confirm_of(record, shop), shop.now_ms)).payment.receipt_number


# Refunds ---------------------------------------------------------------------------------------------------


async def test_refunds_rise_to_a_total_and_return_the_fee_whole(
    store: Store, shop: Shop, database: Database
) -> None:
    record = await store.book_payment(shop.booking(1))
    answers = [
        await store.change_payment(refund_of(record, total, number), shop.now_ms + number)
        for number, total in enumerate((250, 500, 750, 1_000, 1_250))
    ]
    refunds = [answer.refund for answer in answers if answer.refund is not None]
    assert [one.total_minor for one in refunds] == [250, 500, 750, 1_000, 1_250]
    # 18 cents of fee, 3.6 a fifth: rounded one by one they would make 20.
    assert [(one.amount_minor, one.fee_minor) for one in refunds] == [(250, fee) for fee in (4, 3, 4, 3, 4)]
    assert answers[-1].payment.life.refunded_minor == 1_250
    assert answers[-1].payment.life.state is PaymentState.SUCCEEDED
    assert await wallet_of(store, shop) == (0, 0)
    assert await merchant_of(store, shop) == 0
    # What was bought that day stays bought.
    assert await taken_of(database) == (1_250, 1_250)


async def test_refund_is_booked_once_however_often_and_by_whomever_it_is_asked(
    store: Store, shop: Shop
) -> None:
    record = await store.book_payment(shop.booking(1))
    first = await store.change_payment(refund_of(record, 500), shop.now_ms)
    by_another = refund_of(record, 500, 2, staff_id="STAFF2")
    assert await store.change_payment(refund_of(record, 500), shop.now_ms + 1) == first
    assert await store.change_payment(by_another, shop.now_ms + 1) == first
    assert await refusal_of(store, refund_of(record, 501), shop.now_ms) == "idempotency_conflict"
    assert await wallet_of(store, shop) == (750, 0)


async def test_refund_never_passes_what_was_charged_nor_goes_back(store: Store, shop: Shop) -> None:
    record = await store.book_payment(held(shop, 1))
    await store.change_payment(capture_of(record, 900, 100), shop.now_ms)
    assert await refusal_of(store, refund_of(record, 1_001), shop.now_ms) == "refund_exceeds_payment"
    await store.change_payment(refund_of(record, 600), shop.now_ms)
    assert await refusal_of(store, refund_of(record, 599, 2), shop.now_ms) == "refund_total_passed"
    assert await refusal_of(store, refund_of(record, 1_001, 3), shop.now_ms) == "refund_exceeds_payment"
    whole = await store.change_payment(refund_of(record, 1_000, 4), shop.now_ms)
    assert whole.payment.life.refunded_minor == 1_000
    assert await wallet_of(store, shop) == (0, 0)


async def test_refund_id_of_another_payment_is_a_conflict(store: Store, shop: Shop) -> None:
    first, second = [await store.book_payment(shop.booking(number)) for number in (1, 2)]
    await store.change_payment(refund_of(first, 500), shop.now_ms)
    assert await refusal_of(store, refund_of(second, 500), shop.now_ms) == "idempotency_conflict"
    assert await wallet_of(store, shop) == (2_000, 0)


async def test_refund_called_as_its_payment_does_not_keep_it_from_being_reversed(
    store: Store, shop: Shop
) -> None:
    record = await store.book_payment(shop.booking(1))
    await store.change_payment(refund_of(record, 500, refund_id=record.payment_id), shop.now_ms)
    changed = await store.change_payment(Reverse(record.payment_id, TILL), shop.now_ms)
    assert changed.payment.life.state is PaymentState.REVERSED
    assert await wallet_of(store, shop) == (0, 0)


async def test_terminal_refunds_no_more_than_its_limit_of_the_day(
    store: Store, shop: Shop, database: Database
) -> None:
    await store.set_refund_limit(TILL, 1_000)
    first, second = [await store.book_payment(shop.booking(number)) for number in (1, 2)]
    await store.change_payment(refund_of(first, 600), shop.now_ms)
    assert await refusal_of(store, refund_of(second, 401, 2), shop.now_ms) == "refund_limit_exceeded"
    await store.change_payment(refund_of(second, 400, 3), shop.now_ms)
    assert await refusal_of(store, refund_of(second, 401, 4), shop.now_ms) == "refund_limit_exceeded"
    await store.change_payment(refund_of(second, 401, 4), shop.now_ms + DAY_MS)


async def test_payment_has_a_bounded_number_of_refunds(store: Store, shop: Shop) -> None:
    record = await store.book_payment(shop.booking(1))
    for number in range(REFUNDS_MAX):
        await store.change_payment(refund_of(record, number + 1, number), shop.now_ms)
    too_many = refund_of(record, REFUNDS_MAX + 1, REFUNDS_MAX)
    assert await refusal_of(store, too_many, shop.now_ms) == "refund_limit_exceeded"
    assert (await store.change_payment(Reverse(record.payment_id, TILL), shop.now_ms)).payment.life.code


@pytest.mark.parametrize("booking_of", [held, waiting])
async def test_what_is_not_paid_is_not_refunded(store: Store, shop: Shop, booking_of: Any) -> None:
    record = await store.book_payment(booking_of(shop, 1))
    assert await refusal_of(store, refund_of(record, 1), shop.now_ms) == "payment_not_open"
    assert await wallet_of(store, shop) == (1_250, 1_250)


# Reversals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refunded_minor", [0, 500, 1_250])
async def test_reversal_gives_back_what_refunds_left(
    store: Store, shop: Shop, database: Database, refunded_minor: int
) -> None:
    record = await store.book_payment(shop.booking(1))
    if refunded_minor:
        await store.change_payment(refund_of(record, refunded_minor), shop.now_ms)
    changed = await store.change_payment(Reverse(record.payment_id, TILL), shop.now_ms + 1)
    life = changed.payment.life
    assert (life.state, life.code, life.refunded_minor) == ("reversed", "payment_reversed", 1_250)
    assert await wallet_of(store, shop) == (0, 0)
    assert await merchant_of(store, shop) == 0
    assert await taken_of(database) == (0, 0)
    assert await store.change_payment(Reverse(record.payment_id, TILL), shop.now_ms + 2) == changed
    assert await refusal_of(store, refund_of(record, 1_249, 9), shop.now_ms) == "payment_not_open"


@pytest.mark.parametrize("booking_of", [held, waiting])
async def test_reversal_of_what_is_open_voids_it(store: Store, shop: Shop, booking_of: Any) -> None:
    record = await store.book_payment(booking_of(shop, 1))
    changed = await store.change_payment(Reverse(record.payment_id, TILL), shop.now_ms)
    assert changed.payment.life.state is PaymentState.VOIDED
    assert await store.change_payment(Reverse(record.payment_id, TILL), shop.now_ms) == changed
    assert await wallet_of(store, shop) == (0, 0)


async def test_reversal_of_a_decline_leaves_it(store: Store, shop: Shop) -> None:
    record = await store.book_payment(shop.booking(1, amount_minor=60_000))
    changed = await store.change_payment(Reverse(record.payment_id, TILL), shop.now_ms)
    assert changed.payment == record


async def test_attempt_reversed_before_it_was_seen_stays_declined_when_it_arrives(
    store: Store, shop: Shop
) -> None:
    stone = await store.book_payment(tombstone(shop, 1))
    assert (stone.outcome, stone.decline_code) == ("declined", ATTEMPT_REVERSED)
    assert await store.book_payment(shop.booking(1)) == stone
    assert await store.book_payment(held(shop, 1)) == stone
    assert await store.book_payment(tombstone(shop, 1)) == stone
    assert await wallet_of(store, shop) == (0, 0)
    # Nothing of what the late one carried is spent: it may pay under another attempt.
    again = structs.replace(shop.booking(1), attempt_id="0ATTEMPT000000000000000099")
    assert (await store.book_payment(again)).outcome == "approved"


async def test_reversal_of_an_attempt_that_arrived_first_is_a_conflict_not_a_second_decision(
    store: Store, shop: Shop
) -> None:
    record = await store.book_payment(shop.booking(1))
    with pytest.raises(IdempotencyConflict):
        await store.book_payment(tombstone(shop, 1))
    assert await state_of(store, record) is PaymentState.SUCCEEDED


async def test_reversal_of_a_duplicate_leaves_the_paid_order_paid(
    store: Store, shop: Shop, database: Database
) -> None:
    paid = await store.book_payment(shop.booking(1))
    duplicate = await store.book_payment(shop.booking(2, order_id="order-1"))
    assert duplicate.decline_code == "order_already_paid"
    await store.change_payment(Reverse(duplicate.payment_id, TILL), shop.now_ms)
    assert await state_of(store, paid) is PaymentState.SUCCEEDED
    assert await taken_of(database) == (1_250, 1_250)
    third = await store.book_payment(shop.booking(3, order_id="order-1"))
    assert third.decline_code == "order_already_paid"


async def test_refund_of_one_half_of_a_split_order_leaves_the_other_paid(
    store: Store, shop: Shop, database: Database
) -> None:
    terms = Terms(order_amount_minor=2_000)
    halves = [
        await store.book_payment(shop.booking(number, order_id="order-1", amount_minor=1_000, terms=terms))
        for number in (1, 2)
    ]
    await store.change_payment(refund_of(halves[0], 1_000), shop.now_ms)
    assert await state_of(store, halves[1]) is PaymentState.SUCCEEDED
    # A refunded order is no order to be paid once more; a reversed half is.
    third = shop.booking(3, order_id="order-1", amount_minor=1_000, terms=terms)
    assert (await store.book_payment(third)).decline_code == "order_already_paid"
    await store.change_payment(Reverse(halves[1].payment_id, TILL), shop.now_ms)
    fourth = shop.booking(4, order_id="order-1", amount_minor=1_000, terms=terms)
    assert (await store.book_payment(fourth)).outcome == "approved"
    assert await taken_of(database) == (2_000, 2_000)


# Orders that several share ---------------------------------------------------------------------------------


async def test_order_is_never_paid_beyond_what_it_is_for(store: Store, shop: Shop) -> None:
    terms = Terms(order_amount_minor=2_000)
    parts = [shop.booking(number, order_id="order-1", amount_minor=600, terms=terms) for number in range(6)]
    records = await asyncio.gather(*(store.book_payment(part) for part in parts))
    codes = sorted(record.decline_code or "" for record in records)
    assert codes == ["", "", ""] + ["order_already_paid"] * 3
    rest = shop.booking(9, order_id="order-1", amount_minor=200, terms=terms)
    assert (await store.book_payment(rest)).outcome == "approved"


async def test_attempt_that_names_another_amount_for_an_order_is_declined(store: Store, shop: Shop) -> None:
    first = shop.booking(1, amount_minor=600, terms=Terms(order_amount_minor=2_000))
    other = shop.booking(2, order_id="order-1", amount_minor=600, terms=Terms(order_amount_minor=2_001))
    assert (await store.book_payment(first)).outcome == "approved"
    assert (await store.book_payment(other)).decline_code == "order_amount_differs"


async def test_attempt_larger_than_the_order_it_begins_is_declined(
    store: Store, shop: Shop, database: Database
) -> None:
    terms = Terms(order_amount_minor=1_000)
    too_much = await store.book_payment(shop.booking(1, amount_minor=1_001, terms=terms))
    assert too_much.decline_code == "order_amount_differs"
    assert await database.read(["SELECT count(*) FROM orders"]) == [[(0,)]]
    exact = shop.booking(2, order_id="order-1", amount_minor=1_000, terms=terms)
    assert (await store.book_payment(exact)).outcome == "approved"


async def test_details_of_an_order_are_those_of_whoever_began_it(
    store: Store, shop: Shop, database: Database
) -> None:
    for number, details in ((1, b'{"tax_minor":1}'), (2, b'{"tax_minor":2}')):
        terms = Terms(order_amount_minor=2_000, order_details=details)
        await store.book_payment(shop.booking(number, order_id="order-1", amount_minor=600, terms=terms))
    ((row,),) = await database.read(["SELECT details FROM orders"])
    assert bytes(row[0]) == b'{"tax_minor":1}'


# Limits of instruments, wallets and windows ----------------------------------------------------------------


async def test_amount_above_the_unconfirmed_limit_needs_its_holder(
    store: Store, shop: Shop, database: Database
) -> None:
    await store.set_confirm_above("INSTRUMENT1", 1_000)
    confirm = {"confirm_by_ms": shop.now_ms + CONFIRM_MS}
    above = await store.book_payment(shop.booking(1, amount_minor=1_001, terms=Terms(**confirm)))
    exact = await store.book_payment(shop.booking(2, amount_minor=1_000, terms=Terms(**confirm)))
    agreed = await store.book_payment(
        shop.booking(3, amount_minor=1_001, terms=Terms(confirmed=True, **confirm))
    )
    assert (above.outcome, above.confirm_code) == ("requires_confirmation", "confirm_above_limit")
    assert (exact.outcome, agreed.outcome) == ("approved", "approved")


async def test_lower_of_tier_and_instrument_says_what_needs_its_holder(
    store: Store, shop: Shop, database: Database
) -> None:
    await store.set_limit_tier(tier("verified", "EUR", confirm_above=500))
    await store.set_confirm_above("INSTRUMENT1", 1_000)
    confirm = Terms(confirm_by_ms=shop.now_ms + CONFIRM_MS)
    records = [
        await store.book_payment(shop.booking(number, amount_minor=amount_minor, terms=confirm))
        for number, amount_minor in ((1, 500), (2, 501))
    ]
    assert [record.outcome for record in records] == ["approved", "requires_confirmation"]


async def test_pin_is_not_enough_above_its_tiers_limit(store: Store, shop: Shop, database: Database) -> None:
    await store.set_limit_tier(tier("verified", "EUR", pin_max=1_249))
    record = await store.book_payment(waiting(shop, 1))
    assert record.confirm_ways == (ConfirmationWay.DEVICE,)


async def test_tier_of_the_wallets_level_and_no_other_counts(
    store: Store, shop: Shop, database: Database
) -> None:
    await store.set_limit_tier(tier("basic", "EUR", per_payment=1_249))
    await store.set_limit_tier(tier("verified", "USD", per_payment=1))
    assert (await store.book_payment(shop.booking(1))).outcome == "approved"
    await store.set_identity_level(shop.wallet.wallet_id, IdentityLevel.BASIC)
    record = await store.book_payment(shop.booking(2))
    assert record.decline_code == "limit_identity_per_payment_exceeded"


async def test_day_of_a_wallet_counts_over_all_its_instruments(
    store: Store, shop: Shop, database: Database
) -> None:
    await _add_watch(store, shop)
    await store.set_limit_tier(tier("verified", "EUR", per_day=2_500))
    first = await store.book_payment(shop.booking(1, amount_minor=1_500))
    second = await store.book_payment(_by_watch(shop, 2, amount_minor=1_001))
    exact = await store.book_payment(_by_watch(shop, 3, amount_minor=1_000))
    assert (first.outcome, exact.outcome) == ("approved", "approved")
    assert second.decline_code == "limit_identity_per_day_exceeded"
    tomorrow = shop.now_ms + DAY_MS
    assert (
        await store.book_payment(_by_watch(shop, 4, amount_minor=2_500, now_ms=tomorrow))
    ).outcome == "approved"


async def test_day_of_a_wallet_is_never_passed_by_two_instruments_at_once(
    open_store: OpenStore, store: Store, shop: Shop, database: Database
) -> None:
    other = await open_store()
    await _add_watch(store, shop)
    await store.set_limit_tier(tier("verified", "EUR", per_day=5 * 1_250))
    attempts = [
        one.book_payment(booking)
        for number in range(6)
        for one, booking in ((store, shop.booking(number)), (other, _by_watch(shop, 100 + number)))
    ]
    records = await asyncio.gather(*attempts)
    assert sum(record.outcome == "approved" for record in records) == 5
    assert {record.decline_code for record in records} == {None, "limit_identity_per_day_exceeded"}


async def test_many_payments_within_minutes_need_their_holder(store: Store, shop: Shop) -> None:
    start_ms = shop.now_ms // VELOCITY_WINDOW_MS * VELOCITY_WINDOW_MS
    outcomes = []
    for number in range(5):
        terms = Terms(payments_per_window_max=3, confirm_by_ms=shop.now_ms + DAY_MS)
        now_ms = start_ms + (VELOCITY_WINDOW_MS if number == 4 else number)
        record = await store.book_payment(shop.booking(number, terms=terms, now_ms=now_ms))
        outcomes.append((record.outcome, record.confirm_code))
    needs_holder = ("requires_confirmation", "confirm_velocity")
    assert outcomes == [("approved", None)] * 3 + [needs_holder, ("approved", None)]


async def test_declined_attempts_do_not_count_towards_the_window(store: Store, shop: Shop) -> None:
    terms = Terms(payments_per_window_max=2, confirm_by_ms=shop.now_ms + DAY_MS)
    for number in range(4):
        declined = await store.book_payment(shop.booking(number, amount_minor=50_001, terms=terms))
        assert declined.decline_code == "limit_per_payment_exceeded"
    for number in (10, 11):
        assert (await store.book_payment(shop.booking(number, terms=terms))).outcome == "approved"


async def test_window_lets_no_more_through_at_once_than_one_after_another(
    open_store: OpenStore, store: Store, shop: Shop
) -> None:
    other = await open_store()
    terms = Terms(payments_per_window_max=3, confirm_by_ms=shop.now_ms + DAY_MS)
    doors = (store, other)
    records = await asyncio.gather(
        *(doors[number % 2].book_payment(shop.booking(number, terms=terms)) for number in range(12))
    )
    assert sum(record.outcome == "approved" for record in records) == 3
    assert {record.confirm_code for record in records} == {None, "confirm_velocity"}


# What terminals are told -----------------------------------------------------------------------------------


async def test_terminal_is_told_of_what_it_did_not_ask_for_and_of_nothing_else(
    store: Store, shop: Shop
) -> None:
    confirmed, refused, late, let_go = [
        await store.book_payment(waiting(shop, number)) for number in range(4)
    ]
    hold = await store.book_payment(held(shop, 5))
    own = await store.book_payment(held(shop, 6))
    await store.change_payment(confirm_of(confirmed, shop), shop.now_ms)
    await store.change_payment(Refuse(refused.payment_id, "confirmation_refused"), shop.now_ms)
    await store.change_payment(Expire(late.payment_id), shop.now_ms)
    await store.change_payment(Expire(late.payment_id), shop.now_ms + CONFIRM_MS)
    await store.change_payment(Expire(hold.payment_id), shop.now_ms + HOLD_MS)
    expected = [one.payment_id for one in (confirmed, refused, late, hold)]
    assert await events_of(store) == expected
    # Repeats say nothing twice, and what a terminal did itself it knows.
    await store.change_payment(confirm_of(confirmed, shop), shop.now_ms)
    await store.change_payment(Refuse(refused.payment_id, "confirmation_refused"), shop.now_ms)
    await store.change_payment(Expire(hold.payment_id), shop.now_ms + HOLD_MS)
    await store.change_payment(Void(let_go.payment_id, TILL), shop.now_ms)
    await store.change_payment(capture_of(own), shop.now_ms)
    await store.change_payment(refund_of(own, 100), shop.now_ms)
    await store.change_payment(Reverse(own.payment_id, TILL), shop.now_ms)
    assert await events_of(store) == expected


async def test_terminal_is_told_of_a_wallet_that_pays_its_code(store: Store, shop: Shop) -> None:
    scan = {"entry_mode": EntryMode.QR_MERCHANT, "terms": Terms(confirmed=True)}
    paid = await store.book_payment(shop.booking(1, **scan))
    declined = await store.book_payment(shop.booking(2, amount_minor=60_000, **scan))
    await store.book_payment(shop.booking(3))
    await store.book_payment(shop.booking(1, **scan))
    assert await events_of(store) == [paid.payment_id, declined.payment_id]


async def test_events_are_read_from_the_last_one_seen_on_and_forgotten_after_a_while(
    store: Store, shop: Shop
) -> None:
    assert await store.find_last_event(TILL) == 0
    for number in (1, 2, 3):
        record = await store.book_payment(waiting(shop, number))
        await store.change_payment(confirm_of(record, shop), shop.now_ms + number)
    events = await store.list_terminal_events(TILL, 0)
    assert [event.at_ms for event in events] == [shop.now_ms + number for number in (1, 2, 3)]
    assert await store.list_terminal_events(TILL, events[1].sequence) == events[2:]
    assert await store.list_terminal_events(OTHER_TILL, 0) == []
    assert await store.find_last_event(TILL) == events[2].sequence
    assert await store.forget_terminal_events(shop.now_ms + 3) == 2
    assert await store.list_terminal_events(TILL, 0) == events[2:]


async def test_refused_change_writes_nothing_at_all(store: Store, shop: Shop, database: Database) -> None:
    record = await store.book_payment(held(shop, 1))
    tables = ("payment_steps", "refunds", "terminal_events", "ledger_groups")
    counts = [f"SELECT count(*) FROM {table}" for table in tables]
    before = await database.read(counts)
    await refusal_of(store, capture_of(record, 5_000), shop.now_ms)
    await refusal_of(store, refund_of(record, 5_000), shop.now_ms)
    await refusal_of(store, Refuse(record.payment_id, "confirmation_refused"), shop.now_ms)
    assert await database.read(counts) == before


# Whose payment it is ---------------------------------------------------------------------------------------


async def test_no_terminal_changes_the_payment_of_another_merchant(
    store: Store, shop: Shop, database: Database
) -> None:
    await _add_other_shop(store, shop)
    await store.set_refund_limit(OTHER_TILL, 10**6)
    hold, paid = await store.book_payment(held(shop, 1)), await store.book_payment(shop.booking(2))
    for change in (
        structs.replace(capture_of(hold), terminal_id=OTHER_TILL),
        Void(hold.payment_id, OTHER_TILL),
        Reverse(hold.payment_id, OTHER_TILL),
        Reverse(paid.payment_id, OTHER_TILL),
        refund_of(paid, 100, terminal_id=OTHER_TILL),
        Void(hold.payment_id, "UNKNOWN"),
    ):
        with pytest.raises(NotFound):
            await store.change_payment(change, shop.now_ms)
    assert await state_of(store, hold) is PaymentState.AUTHORISED
    assert await wallet_of(store, shop) == (2_500, 1_250)


async def test_withdrawn_terminal_changes_nothing(store: Store, shop: Shop) -> None:
    record = await store.book_payment(held(shop, 1))
    await store.revoke_terminal(TILL)
    for change in (capture_of(record), Void(record.payment_id, TILL), Reverse(record.payment_id, TILL)):
        with pytest.raises(NotFound):
            await store.change_payment(change, shop.now_ms)


async def test_payment_that_there_is_not_is_not_found(store: Store, shop: Shop) -> None:
    nobody = "0NEVERSEEN0000000000000000"
    for change in (Void(nobody, TILL), Expire(nobody), Refuse(nobody, "pin_locked")):
        with pytest.raises(NotFound):
            await store.change_payment(change, shop.now_ms)


# At once ---------------------------------------------------------------------------------------------------


async def test_two_captures_at_once_charge_once(open_store: OpenStore, store: Store, shop: Shop) -> None:
    other = await open_store()
    record = await store.book_payment(held(shop, 1))
    rival = structs.replace(capture_of(record, 500), capture_id="0CAPTVRE000000000000000002")
    words = await told(
        store.change_payment(capture_of(record), shop.now_ms), other.change_payment(rival, shop.now_ms)
    )
    assert sorted(words) == ["payment_not_open", "succeeded"]
    same = await told(*(one.change_payment(capture_of(record), shop.now_ms) for one in (store, other)))
    assert len(set(same)) == 1
    charged = {"payment_not_open": 500, "succeeded": 1_050}[words[0]]
    assert await wallet_of(store, shop) == (charged, 0)


async def test_capture_and_void_at_once_have_one_winner(
    open_store: OpenStore, store: Store, shop: Shop
) -> None:
    other = await open_store()
    for number in range(4):
        record = await store.book_payment(held(shop, number))
        words = await told(
            store.change_payment(capture_of(record), shop.now_ms),
            other.change_payment(Void(record.payment_id, TILL), shop.now_ms),
        )
        assert words in (["succeeded", "payment_not_open"], ["payment_not_open", "voided"])


async def test_refunds_at_once_under_one_id_and_under_several_give_back_once(
    open_store: OpenStore, store: Store, shop: Shop
) -> None:
    other = await open_store()
    record = await store.book_payment(shop.booking(1))
    answers = await asyncio.gather(
        *(
            one.change_payment(refund_of(record, 500, number), shop.now_ms)
            for one in (store, other)
            for number in (1, 1, 2, 3)
        )
    )
    assert len({answer.refund for answer in answers}) == 1
    assert await wallet_of(store, shop) == (750, 0)


async def test_refunds_at_once_to_different_totals_never_add_up(
    open_store: OpenStore, store: Store, shop: Shop
) -> None:
    other = await open_store()
    record = await store.book_payment(shop.booking(1))
    words = await told(
        store.change_payment(refund_of(record, 700, 1), shop.now_ms),
        other.change_payment(refund_of(record, 600, 2), shop.now_ms),
    )
    assert words in (["succeeded", "refund_total_passed"], ["succeeded", "succeeded"])
    assert await wallet_of(store, shop) == (550, 0)


async def test_refund_and_reversal_at_once_give_back_the_payment_once(
    open_store: OpenStore, store: Store, shop: Shop
) -> None:
    other = await open_store()
    for number in range(4):
        record = await store.book_payment(shop.booking(number))
        words = await told(
            store.change_payment(refund_of(record, 500, number), shop.now_ms),
            other.change_payment(Reverse(record.payment_id, TILL), shop.now_ms),
        )
        assert words in (["succeeded", "reversed"], ["payment_not_open", "reversed"])
        assert await wallet_of(store, shop) == (0, 0)


async def test_confirmation_and_expiry_at_once_have_one_winner(
    open_store: OpenStore, store: Store, shop: Shop
) -> None:
    other = await open_store()
    for number in range(4):
        record = await store.book_payment(waiting(shop, number))
        # The sweep's clock is ahead: in time for one, too late for the other.
        words = await told(
            store.change_payment(confirm_of(record, shop), shop.now_ms + CONFIRM_MS - 1),
            other.change_payment(Expire(record.payment_id), shop.now_ms + CONFIRM_MS),
        )
        assert words in (["succeeded", "succeeded"], ["payment_not_open", "expired"])
        assert await events_of(store, await _last_but(store, number)) == [record.payment_id]


async def test_attempt_and_its_reversal_at_once_leave_nothing_charged(
    open_store: OpenStore, store: Store, shop: Shop
) -> None:
    other = await open_store()
    for number in range(6):
        late, stone = await asyncio.gather(
            store.book_payment(shop.booking(number)),
            other.book_payment(tombstone(shop, number)),
            return_exceptions=True,
        )
        assert isinstance(late, PaymentRecord)
        if isinstance(stone, IdempotencyConflict):
            await other.change_payment(Reverse(late.payment_id, TILL), shop.now_ms)
        else:
            assert late == stone
        assert await wallet_of(store, shop) == (0, 0)


async def test_holds_and_sales_of_one_order_at_once_take_it_once(
    open_store: OpenStore, store: Store, shop: Shop, database: Database
) -> None:
    other = await open_store()
    terms = Terms(CaptureMode.MANUAL, order_amount_minor=1_250, capture_by_ms=shop.now_ms + HOLD_MS)
    attempts = [
        one.book_payment(booking)
        for number in range(5)
        for one, booking in (
            (store, shop.booking(number, order_id="order-1")),
            (other, shop.booking(50 + number, order_id="order-1", terms=terms)),
        )
    ]
    records = await asyncio.gather(*attempts)
    assert sum(record.outcome != "declined" for record in records) == 1
    assert await taken_of(database) == (1_250, 1_250)


# Helpers ---------------------------------------------------------------------------------------------------


async def _last_but(store: Store, count: int) -> int:
    """The sequence of the event before the newest, of `count` + 1 events."""
    events = await store.list_terminal_events(TILL, 0)
    assert len(events) == count + 1
    return events[-2].sequence if count else 0


async def _add_watch(store: Store, shop: Shop) -> None:
    watch = replace(
        shop.instrument, instrument_id="WATCH1", key_id=b"watch-ky", public_key=b"\x02" + bytes(32)
    )
    await store.add_instrument(watch)


def _by_watch(shop: Shop, number: int, **changes: Any) -> PaymentBooking:
    use = TokenUse(b"watch-ky", number, bytes(32), number.to_bytes(8, "big"))
    return shop.booking(number, verdict=Verified("WATCH1", use), **changes)


async def _add_other_shop(store: Store, shop: Shop) -> None:
    merchant_id = "MERCHANT0000002"
    await store.add_merchant(replace(shop.merchant, merchant_id=merchant_id, account_id=b"other-merchants-"))
    await store.add_location(Location("LOCATION2", merchant_id, "Harbour"))
    terminal = replace(
        shop.terminal,
        terminal_id=OTHER_TILL,
        merchant_id=merchant_id,
        location_id="LOCATION2",
        status=TerminalStatus.PENDING,
    )
    await store.add_terminal(terminal, b"o" * 32, shop.now_ms + 1)
    await store.enrol_terminal(b"o" * 32, b"otherkey", b"\x02" + bytes(32), "test", shop.now_ms)
