"""Shifts in every store: one at a till at a time, and totals of what was booked between two moments."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from gateway.merchants.model import EntryModeSum, ShiftSums, StaffMember, StaffRef, StaffStatus
from tests.gateway.storage.payment_lives import keep_lives
from tests.offline_devices import OfflineWorld
from wire.messages.payments import EntryMode
from wire.messages.shifts import SHIFT_MS_MAX
from wire.messages.staff import StaffRole

if TYPE_CHECKING:
    from gateway.storage.store import Store
    from tests.conftest import Shop
    from tests.contract.conftest import OpenStore
    from tests.databases import Database

TILL = "TERMNA01"
DAY_MS = 86_400_000
ONE, OTHER = "0SHJFT00000000000000000001", "0SHJFT00000000000000000002"
MIRA = StaffRef("STAFF1", "Mira")


async def open_one(store: Store, shift_id: str, at_ms: int, *, by: str | None = None) -> object:
    return await store.open_shift(shift_id, TILL, at_ms, by, at_ms)


async def test_a_shift_is_opened_and_closed_once_and_says_by_whom(store: Store, shop: Shop) -> None:
    merchant_id = shop.merchant.merchant_id
    await store.add_staff(
        StaffMember("STAFF1", merchant_id, "Mira", StaffRole.CASHIER, "hash", 0, StaffStatus.ACTIVE, 1)
    )
    opened = await store.open_shift(ONE, TILL, shop.now_ms, "STAFF1", shop.now_ms)
    assert opened is not None
    assert (opened.opened_ms, opened.opened_by, opened.closed_ms) == (shop.now_ms, MIRA, None)
    assert await store.open_shift(ONE, TILL, shop.now_ms + 9, None, shop.now_ms + 9) == opened
    assert await store.find_open_shift(TILL) == opened
    closed = await store.close_shift(ONE, TILL, shop.now_ms + 50, None)
    assert closed is not None
    assert (closed.closed_ms, closed.closed_by, closed.opened_by) == (shop.now_ms + 50, None, MIRA)
    assert await store.close_shift(ONE, TILL, shop.now_ms + 99, "STAFF1") == closed
    assert await store.open_shift(ONE, TILL, shop.now_ms + 99, None, shop.now_ms + 99) == closed
    assert await store.find_open_shift(TILL) is None
    assert await store.find_shift(TILL, ONE) == closed


async def test_a_second_shift_waits_for_the_first_one_to_end(store: Store, shop: Shop) -> None:
    await open_one(store, ONE, shop.now_ms)
    assert await open_one(store, OTHER, shop.now_ms + 1) is None
    await store.close_shift(ONE, TILL, shop.now_ms + 100, None)
    # Told late and said to have begun before the other one ended: no moment is in two shifts.
    after = await store.open_shift(OTHER, TILL, shop.now_ms + 40, None, shop.now_ms + 200)
    assert after is not None
    assert after.opened_ms == shop.now_ms + 100


async def test_two_gateways_at_once_open_one_shift(open_store: OpenStore, shop: Shop) -> None:
    one, other = await open_store(), await open_store()
    await shop.furnish(one)
    ids = [f"0SHJFT{number:020d}" for number in range(12)]
    opened = await asyncio.gather(
        *(
            open_one(store, shift_id, shop.now_ms)
            for store, shift_id in zip([one, other] * 6, ids, strict=True)
        )
    )
    (winner,) = [shift for shift in opened if shift is not None]
    assert await other.find_open_shift(TILL) == winner


async def test_two_gateways_at_once_close_it_at_one_moment(open_store: OpenStore, shop: Shop) -> None:
    one, other = await open_store(), await open_store()
    await shop.furnish(one)
    await open_one(one, ONE, shop.now_ms)
    closed = await asyncio.gather(
        *(store.close_shift(ONE, TILL, shop.now_ms + n, None) for n, store in enumerate([one, other] * 6, 1))
    )
    assert len({shift.closed_ms for shift in closed if shift is not None}) == 1


async def test_a_forgotten_shift_ends_by_itself(store: Store, shop: Shop) -> None:
    await open_one(store, ONE, shop.now_ms)
    late_ms = shop.now_ms + SHIFT_MS_MAX
    assert await open_one(store, OTHER, late_ms - 1) is None
    assert await open_one(store, OTHER, late_ms) is not None
    ended = await store.find_shift(TILL, ONE)
    assert ended is not None
    assert ended.closed_ms == late_ms
    closed = await store.close_shift(OTHER, TILL, late_ms + 2 * SHIFT_MS_MAX, None)
    assert closed is not None
    assert closed.closed_ms == late_ms + SHIFT_MS_MAX


async def test_a_shift_of_another_terminal_is_nobodys_business(store: Store, shop: Shop) -> None:
    await open_one(store, ONE, shop.now_ms)
    assert await store.find_shift("TERMNB01", ONE) is None
    assert await store.close_shift(ONE, "TERMNB01", shop.now_ms, None) is None
    assert await store.find_open_shift("TERMNB01") is None


async def test_totals_are_what_the_ledger_says_of_everything_that_can_happen(
    database: Database, open_store: OpenStore, shop: Shop
) -> None:
    await keep_lives(database, shop)
    store = await open_store()
    totals = await store.reckon_shift(TILL, shop.now_ms, shop.now_ms + DAY_MS)
    # As payment_lives.py has them: five sales, three held or confirmed ones, tips of 1.50 and 2.00.
    assert totals == ShiftSums(
        payment_count=8,
        charged_minor=5 * 1_250 + 1_050 + 1_250 + 1_200,
        tip_minor=350,
        fee_minor=totals.fee_minor,
        refund_count=4,
        refunded_minor=333 + 467 + 300 + 1_250,
        reversed_count=3,
        reversed_minor=950 + 0 + 1_200,
        voided_count=1,
        declined_count=2,
        by_entry_mode=(EntryModeSum(EntryMode.NFC_APP, 8, totals.charged_minor),),
    )
    merchant = await store.find_account(shop.merchant.account_id)  # type: ignore[attr-defined]
    fees = await store.find_account(operator_account_id(AccountKind.FEES, "EUR"))  # type: ignore[attr-defined]
    taken_minor = totals.charged_minor - totals.refunded_minor - totals.reversed_minor
    assert taken_minor == merchant.available_minor + fees.available_minor
    assert 0 < totals.fee_minor < totals.charged_minor // 50


async def test_what_happens_at_the_edge_of_two_shifts_is_in_the_later_one(store: Store, shop: Shop) -> None:
    for number, at_ms in enumerate((shop.now_ms - 1, shop.now_ms, shop.now_ms + 1), 1):
        await store.book_payment(shop.booking(number, amount_minor=10**number, now_ms=at_ms))

    async def charged(from_ms: int, to_ms: int) -> int:
        return (await store.reckon_shift(TILL, from_ms, to_ms)).charged_minor

    assert await charged(shop.now_ms - 5, shop.now_ms) == 10
    assert await charged(shop.now_ms, shop.now_ms + 1) == 100
    assert await charged(shop.now_ms, shop.now_ms + 2) == 1_100
    assert await charged(shop.now_ms + 1, shop.now_ms + 1 + SHIFT_MS_MAX) == 1_000


async def test_a_shift_over_midnights_counts_every_day_once(store: Store, shop: Shop) -> None:
    for number in range(6):
        await store.book_payment(
            shop.booking(number + 1, amount_minor=100, now_ms=shop.now_ms + number * DAY_MS)
        )
    totals = await store.reckon_shift(TILL, shop.now_ms, shop.now_ms + 5 * DAY_MS)
    assert (totals.payment_count, totals.charged_minor) == (5, 500)


async def test_payments_of_another_till_are_in_its_own_shift(store: Store, shop: Shop) -> None:
    await store.book_payment(shop.booking(1))
    totals = await store.reckon_shift("TERMNB01", shop.now_ms, shop.now_ms + DAY_MS)
    assert totals == ShiftSums()


async def test_what_was_handed_in_from_offline_is_charged_and_shown_apart(store: Store, shop: Shop) -> None:
    world = OfflineWorld(store, shop)
    phone, till = await world.device(), await world.till()
    await phone.get_credential(store, 5_000, shop.now_ms)
    await store.settle_record(till.accept(phone.tap(800), 800))
    paid = await store.book_payment(shop.booking(9, amount_minor=200))
    assert paid.outcome == "approved"
    totals = await store.reckon_shift(till.terminal_id, shop.now_ms - DAY_MS, shop.now_ms + DAY_MS)
    assert (totals.offline_count, totals.offline_minor) == (1, 800)
    at_shop = await store.reckon_shift(TILL, shop.now_ms - DAY_MS, shop.now_ms + DAY_MS)
    both_minor = (
        totals.charged_minor if till.terminal_id == TILL else totals.charged_minor + at_shop.charged_minor
    )
    assert both_minor == 1_000
