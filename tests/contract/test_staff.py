"""Staff in every store: who is listed, what a tag is good for, what is written down, who answered for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.errors import IdempotencyConflict, NotFound
from gateway.holders.model import CardKeyBatch
from gateway.merchants.model import StaffMember, StaffRights, StaffStatus, StaffTagRecord
from gateway.payments.life import Refund, Void
from gateway.payments.model import PaymentAct, Terms
from wire.messages.payments import CaptureMode
from wire.messages.staff import STAFF_PER_PAGE_MAX, StaffRight, StaffRole

if TYPE_CHECKING:
    from gateway.storage.store import Store
    from tests.conftest import Shop
    from tests.contract.conftest import OpenStore

TILL = "TERMNA01"
KEY_ID, ENTRY, OTHER_ENTRY = b"tag-key1", b"entry one", b"entry two"


def member_of(shop: Shop, number: int, **changes: object) -> StaffMember:
    mira = StaffMember(
        f"STAFF{number:04d}",
        shop.merchant.merchant_id,
        "Mira",
        StaffRole.CASHIER,
        "hash",
        0,
        StaffStatus.ACTIVE,
        1,
    )
    return replace(mira, **changes)  # type: ignore[arg-type]


async def add_tag(store: Store, shop: Shop) -> StaffTagRecord:
    await store.add_staff(member_of(shop, 1))
    await store.add_card_key_batch(CardKeyBatch(1, 1, b"sealed", b"sealed", shop.now_ms))
    tag = StaffTagRecord(KEY_ID, "STAFF0001", 1, 1, shop.now_ms)
    await store.add_staff_tag(tag)
    return tag


async def test_a_merchants_active_staff_is_listed_page_by_page(store: Store, shop: Shop) -> None:
    other = replace(shop.merchant, merchant_id="MERCHANT0000002", account_id=b"merchant-accoun2")
    await store.add_merchant(other)
    await store.add_staff(member_of(shop, 0, merchant_id=other.merchant_id))
    for number in range(1, STAFF_PER_PAGE_MAX + 4):
        await store.add_staff(member_of(shop, number))
    await store.set_staff_status("STAFF0002", StaffStatus.LEFT)
    page = await store.list_merchant_staff(shop.merchant.merchant_id)
    assert len(page) == STAFF_PER_PAGE_MAX + 1, "one more than a page, by which it is seen that more come"
    assert [one.staff_id for one in page[:2]] == ["STAFF0001", "STAFF0003"]
    rest = await store.list_merchant_staff(shop.merchant.merchant_id, page[STAFF_PER_PAGE_MAX - 1].staff_id)
    assert [one.staff_id for one in rest] == [f"STAFF{STAFF_PER_PAGE_MAX + n:04d}" for n in (2, 3)]


async def test_a_tap_is_good_for_one_entry_and_no_older_one_comes_after_it(store: Store, shop: Shop) -> None:
    await add_tag(store, shop)
    taken = await store.take_staff_tag(KEY_ID, 5, ENTRY)
    assert taken is not None
    assert taken.staff_id == "STAFF0001"
    assert await store.take_staff_tag(KEY_ID, 5, ENTRY) == taken, "its answer may have been lost"
    assert await store.take_staff_tag(KEY_ID, 5, OTHER_ENTRY) is None
    assert await store.take_staff_tag(KEY_ID, 4, ENTRY) is None
    assert await store.take_staff_tag(KEY_ID, 6, OTHER_ENTRY) is not None
    assert await store.take_staff_tag(KEY_ID, 5, ENTRY) is None
    assert await store.take_staff_tag(b"unknown1", 9, ENTRY) is None


async def test_one_tap_at_two_gateways_at_once_has_one_winner(open_store: OpenStore, shop: Shop) -> None:
    one, other = await open_store(), await open_store()
    await shop.furnish(one)
    await add_tag(one, shop)
    taken = await asyncio.gather(
        *(store.take_staff_tag(KEY_ID, 7, bytes([n])) for n, store in enumerate([one, other] * 4))
    )
    assert sum(member is not None for member in taken) == 1


async def test_a_tag_of_somebody_who_left_and_one_that_is_removed_open_nothing(
    store: Store, shop: Shop
) -> None:
    await add_tag(store, shop)
    await store.set_staff_status("STAFF0001", StaffStatus.LEFT)
    assert await store.take_staff_tag(KEY_ID, 1, ENTRY) is None
    await store.set_staff_status("STAFF0001", StaffStatus.ACTIVE)
    assert await store.take_staff_tag(KEY_ID, 1, ENTRY) is not None
    await store.remove_staff_tag(KEY_ID)
    assert await store.take_staff_tag(KEY_ID, 2, ENTRY) is None
    assert await store.list_staff_tags("STAFF0001") == []
    with pytest.raises(NotFound):
        await store.remove_staff_tag(KEY_ID)


async def test_a_card_that_pays_is_nobodys_tag_and_a_tag_never_pays(store: Store, shop: Shop) -> None:
    tag = await add_tag(store, shop)
    assert await store.list_staff_tags("STAFF0001") == [tag]
    with pytest.raises(IdempotencyConflict):
        await store.add_staff_tag(replace(tag, key_id=shop.instrument.key_id))
    with pytest.raises(IdempotencyConflict):
        await store.add_instrument(replace(shop.instrument, instrument_id="INSTRUMENT9", key_id=KEY_ID))
    with pytest.raises(NotFound):
        await store.add_staff_tag(replace(tag, key_id=b"tag-key2", staff_id="NOBODY"))


async def test_rights_are_written_down_by_role_and_forgotten_again(store: Store, shop: Shop) -> None:
    merchant_id = shop.merchant.merchant_id
    assert await store.list_staff_rights(merchant_id) == []
    written = StaffRights(merchant_id, StaffRole.CASHIER, (StaffRight.SELL, StaffRight.VOID))
    await store.set_staff_rights(replace(written, rights=(StaffRight.SELL,)))
    await store.set_staff_rights(written)
    nothing = StaffRights(merchant_id, StaffRole.MANAGER, ())
    await store.set_staff_rights(nothing)
    assert await store.list_staff_rights(merchant_id) == [written, nothing]
    await store.forget_staff_rights(merchant_id, StaffRole.CASHIER)
    assert await store.list_staff_rights(merchant_id) == [nothing]
    with pytest.raises(NotFound):
        await store.set_staff_rights(replace(written, merchant_id="MERCHANT0000009"))


async def test_who_voided_a_payment_and_who_refunded_it_is_kept(store: Store, shop: Shop) -> None:
    await store.add_staff(member_of(shop, 1))
    await store.set_refund_limit(TILL, 10_000)
    terms = Terms(CaptureMode.MANUAL, capture_by_ms=shop.now_ms + 3_600_000)
    first, second, paid = [
        await store.book_payment(shop.booking(number, **changes))
        for number, changes in ((1, {"terms": terms}), (2, {"terms": terms}), (3, {}))
    ]
    assert await store.list_payment_acts(first.payment_id) == []
    await store.change_payment(Void(first.payment_id, TILL, "STAFF0001"), shop.now_ms + 1)
    # Asked for again by software: it was hers, and stays hers.
    await store.change_payment(Void(first.payment_id, TILL), shop.now_ms + 2)
    await store.change_payment(Void(second.payment_id, TILL), shop.now_ms + 3)
    refund = Refund(paid.payment_id, TILL, "0REFVND0000000000000000001", 300, "broken cup", "STAFF0001")
    await store.change_payment(refund, shop.now_ms + 4)
    assert await store.list_payment_acts(first.payment_id) == [
        PaymentAct(shop.now_ms + 1, "voided", 0, "payment_voided", "STAFF0001", "Mira")
    ]
    assert await store.list_payment_acts(second.payment_id) == [
        PaymentAct(shop.now_ms + 3, "voided", 0, "payment_voided", None, None)
    ]
    assert await store.list_payment_acts(paid.payment_id) == [
        PaymentAct(shop.now_ms + 4, "refunded", 300, None, "STAFF0001", "Mira")
    ]
