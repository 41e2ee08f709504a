"""Every store's side of payments without a connection: what OfflineStore promises."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from gateway.errors import AuthenticationFailed, IdempotencyConflict, NotFound, PaymentRefused
from gateway.holders.model import InstrumentStatus, WalletStatus
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from gateway.merchants.model import MerchantStatus
from gateway.offline.model import OPEN_CREDENTIALS_MAX, CredentialState, SealedPayment
from gateway.payments.life import Refund, Reverse
from gateway.payments.model import ATTEMPT_REVERSED, Refused
from gateway.storage.postgres.store import open_postgres_store
from gateway.storage.sqlite.store import open_sqlite_store
from gateway.storage.store import Store
from tests.databases import open_linked_sqlite_store
from tests.offline_devices import DAY_MS, HOUR_MS, Device, OfflineWorld, Till
from wire.messages.payments import PaymentState

if TYPE_CHECKING:
    from tests.conftest import Shop

OpenStore = Callable[[], Awaitable[Any]]
ALLOWANCE = 5_000


@pytest.fixture(params=["sqlite", "sqlite through the link", "postgres"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens a store on the test's own database."""
    if request.param == "sqlite":
        return lambda: open_sqlite_store(tmp_path / "store.sqlite3")
    if request.param == "sqlite through the link":
        return lambda: open_linked_sqlite_store(tmp_path / "store.sqlite3")
    url: str = request.getfixturevalue("postgres_url")
    return lambda: open_postgres_store(url)


@pytest.fixture
async def open_store(opener: OpenStore) -> AsyncIterator[OpenStore]:
    """Opens a store on one and the same database, as often as a test has processes."""
    stores: list[Store] = []

    async def open_one() -> Store:
        stores.append(await opener())
        return stores[-1]

    yield open_one
    for store in stores:
        await store.close()


@dataclass
class Scene:
    """A phone with 50 euros set aside of 1,000, and a till."""

    store: Any
    shop: Shop
    world: OfflineWorld
    phone: Device
    till: Till

    async def settle(self, sealed: SealedPayment) -> Any:
        return await self.store.settle_record(sealed)

    async def sale(self, amount_minor: int, **changes: object) -> Any:
        """Tap, seal and settle at once."""
        return await self.settle(self.till.accept(self.phone.tap(amount_minor), amount_minor, **changes))

    async def wallet_minor(self) -> int:
        return (await self.store.find_wallet("WALLET1")).available_minor

    async def left_minor(self, index: int = 0) -> int:
        return (await self.store.list_credentials())[index].left_minor

    async def earned_minor(self) -> int:
        """What the merchant has, its fees put back."""
        merchant = await self.store.find_account(self.shop.merchant.account_id)
        fees = await self.store.find_account(operator_account_id(AccountKind.FEES, "EUR"))
        return merchant.available_minor + fees.available_minor

    async def lost_minor(self) -> int:
        losses = await self.store.find_account(operator_account_id(AccountKind.LOSSES, "EUR"))
        return -losses.available_minor

    async def payment(self, word: Any) -> Any:
        return await self.store.find_payment(word.terminal_id, word.payment_id)

    async def alarms(self) -> list[str]:
        return sorted(alarm.kind for alarm in await self.store.list_offline_alarms())

    async def is_suspended(self) -> bool:
        phone = await self.store.find_instrument_by_key(self.phone.key_id)
        return phone.status is InstrumentStatus.SUSPENDED


@pytest.fixture
async def scene(open_store: OpenStore, shop: Shop) -> Scene:
    store = await open_store()
    await shop.furnish(store)
    world = OfflineWorld(store, shop)
    phone, till = await world.device(), await world.till()
    await phone.get_credential(store, ALLOWANCE, shop.now_ms)
    return Scene(store, shop, world, phone, till)


# Setting aside ----------------------------------------------------------------------------------------------


async def test_an_allowance_leaves_the_wallet_once_however_often_it_is_asked_for(scene: Scene) -> None:
    wish = scene.phone.wish(1, ALLOWANCE, scene.shop.now_ms)
    again = structs.replace(wish, tag=b"another!", issued_ms=wish.issued_ms + 5_000)
    (issued,) = await scene.store.list_credentials()
    assert await scene.store.issue_credential(again) == issued
    assert (issued.state, issued.left_minor, issued.tag) == (CredentialState.LIVE, ALLOWANCE, wish.tag)
    assert await scene.wallet_minor() == scene.shop.funds_minor - ALLOWANCE


async def test_an_id_with_another_request_or_of_another_phone_is_a_conflict(scene: Scene) -> None:
    other = await scene.world.device(2)
    wish = scene.phone.wish(1, ALLOWANCE, scene.shop.now_ms)
    for wrong in (
        structs.replace(wish, request_digest=bytes(32)),
        structs.replace(wish, instrument_id=other.instrument_id),
    ):
        with pytest.raises(IdempotencyConflict):
            await scene.store.issue_credential(wrong)
    assert await scene.wallet_minor() == scene.shop.funds_minor - ALLOWANCE


async def test_what_the_wallet_does_not_cover_is_refused_and_leaves_nothing_behind(scene: Scene) -> None:
    wish = scene.phone.wish(2, scene.shop.funds_minor, scene.shop.now_ms)
    with pytest.raises(PaymentRefused) as refused:
        await scene.store.issue_credential(wish)
    assert refused.value.code == "allowance_not_covered"
    assert [one.state for one in await scene.store.list_credentials()] == [CredentialState.LIVE]
    await scene.store.issue_credential(structs.replace(wish, allowance_minor=1_000, per_payment_minor=1_000))


async def test_a_frozen_wallet_and_a_suspended_phone_get_no_credential(scene: Scene) -> None:
    wish = scene.phone.wish(2, 1_000, scene.shop.now_ms)
    await scene.store.set_wallet_status("WALLET1", WalletStatus.FROZEN)
    with pytest.raises(PaymentRefused) as refused:
        await scene.store.issue_credential(wish)
    assert refused.value.code == "payer_wallet_frozen"
    await scene.store.set_wallet_status("WALLET1", WalletStatus.ACTIVE)
    await scene.store.set_instrument_status("INSTRUMENT1", InstrumentStatus.SUSPENDED)
    with pytest.raises(AuthenticationFailed) as failed:
        await scene.store.issue_credential(wish)
    assert failed.value.code == "device_suspended"
    with pytest.raises(NotFound):
        await scene.store.issue_credential(structs.replace(wish, instrument_id="NOBODY"))


async def test_a_new_credential_replaces_the_old_one_which_keeps_its_money(scene: Scene) -> None:
    late = scene.till.accept(scene.phone.tap(1_000), 1_000)
    await scene.phone.get_credential(scene.store, 2_000, scene.shop.now_ms, number=2)
    credentials = await scene.store.list_credentials()
    assert [one.state for one in credentials] == [CredentialState.REPLACED, CredentialState.LIVE]
    assert len({one.status_index for one in credentials}) == 2
    assert await scene.wallet_minor() == scene.shop.funds_minor - ALLOWANCE - 2_000
    # What was accepted under the old one is paid by the old one.
    await scene.settle(late)
    assert (await scene.left_minor(0), await scene.left_minor(1)) == (ALLOWANCE - 1_000, 2_000)
    assert (await scene.sale(500)).loss_minor == 0
    assert await scene.left_minor(1) == 1_500


async def test_a_phone_has_a_bounded_number_of_open_credentials(scene: Scene) -> None:
    for number in range(2, OPEN_CREDENTIALS_MAX + 1):
        await scene.store.issue_credential(scene.phone.wish(number, 100, scene.shop.now_ms))
    with pytest.raises(PaymentRefused) as refused:
        await scene.store.issue_credential(scene.phone.wish(9, 100, scene.shop.now_ms))
    assert refused.value.code == "offline_not_offered"
    assert await scene.wallet_minor() == scene.shop.funds_minor - ALLOWANCE - 300


async def test_a_free_status_index_rests_while_there_are_others(scene: Scene) -> None:
    later_ms = scene.shop.now_ms + 14 * DAY_MS
    (first,) = await scene.store.list_credentials()
    await scene.store.end_credential(first.credential_id, later_ms)
    second = await scene.store.issue_credential(scene.phone.wish(2, 100, later_ms))
    assert (first.status_index, second.status_index) == (0, 1)


async def test_what_is_left_goes_back_once_and_not_before_its_time(scene: Scene) -> None:
    await scene.sale(1_200)
    (credential,) = await scene.store.list_credentials()
    early_ms, due_ms = credential.ends_ms - 1, credential.ends_ms
    assert await scene.store.list_due_credentials(early_ms) == []
    assert await scene.store.end_credential(credential.credential_id, early_ms) == 0
    assert await scene.store.list_due_credentials(due_ms) == [credential.credential_id]
    ended = await asyncio.gather(
        *(scene.store.end_credential(credential.credential_id, due_ms) for _ in range(3))
    )
    assert sorted(ended) == [0, 0, ALLOWANCE - 1_200]
    assert await scene.wallet_minor() == scene.shop.funds_minor - 1_200
    assert await scene.store.list_due_credentials(due_ms) == []
    with pytest.raises(NotFound):
        await scene.store.end_credential("NOBODY", due_ms)


# What a record becomes --------------------------------------------------------------------------------------


async def test_an_honest_record_is_paid_by_its_allowance_and_marked(scene: Scene) -> None:
    word = await scene.sale(1_250)
    assert (word.outcome, word.code, word.loss_minor, word.loss_bearer) == ("settled", "", 0, None)
    payment = await scene.payment(word)
    assert (payment.outcome, payment.is_offline, payment.receipt_number) == ("approved", True, "000001")
    assert (payment.attempt_id, payment.instrument_id) == (scene.till.sealed[0].attempt_id, "INSTRUMENT1")
    assert await scene.left_minor() == ALLOWANCE - 1_250
    assert await scene.wallet_minor() == scene.shop.funds_minor - ALLOWANCE
    assert await scene.earned_minor() == 1_250
    online = await scene.store.book_payment(scene.shop.booking(7, verdict=scene.shop.booking(900).verdict))
    assert (online.is_offline, online.receipt_number) == (False, "000002")


async def test_the_same_seal_gets_the_same_word_and_moves_nothing_again(scene: Scene) -> None:
    word = await scene.sale(1_250)
    again = structs.replace(scene.till.sealed[0], payment_id="0ANOTHER000000000000000000", now_ms=2**41)
    assert await scene.settle(again) == word
    assert await scene.earned_minor() == 1_250
    assert await scene.store.find_last_sequence("TERMNA01") == 1


async def test_another_seal_under_a_known_number_is_a_conflict_and_books_nothing(scene: Scene) -> None:
    first = await scene.sale(1_250)
    other = structs.replace(
        scene.till.sealed[0], link=b"o" * 32, attempt_id="0ATTEMPT0OTHER000000000000", amount_minor=700
    )
    for _ in range(2):
        word = await scene.settle(other)
        assert (word.outcome, word.code) == ("conflict", "offline_record_conflict")
        assert (word.payment_id, word.loss_minor, word.loss_bearer) == (None, 700, "merchant")
    assert await scene.settle(scene.till.sealed[0]) == first
    assert (await scene.earned_minor(), await scene.alarms()) == (1_250, ["sequence_conflict"])


@pytest.mark.parametrize("code", ["offline_rules_broken", "offline_record_too_old", "offline_record_invalid"])
async def test_what_broke_a_rule_is_declined_and_the_merchants(scene: Scene, code: str) -> None:
    word = await scene.sale(1_250, refusal=code)
    assert (word.outcome, word.code) == ("declined", code)
    assert (word.loss_minor, word.loss_bearer) == (1_250, "merchant")
    payment = await scene.payment(word)
    assert (payment.outcome, payment.decline_code, payment.receipt_number) == ("declined", code, None)
    assert (await scene.left_minor(), await scene.earned_minor()) == (ALLOWANCE, 0)
    (lost,) = await scene.store.list_offline_losses()
    assert lost == word


async def test_what_is_not_authentic_is_declined_and_accuses_nobody(scene: Scene) -> None:
    word = await scene.settle(scene.till.accept(None, 900, refusal="offline_record_invalid"))
    assert (word.outcome, word.code, word.loss_bearer) == ("declined", "offline_record_invalid", "merchant")
    assert (await scene.payment(word)).instrument_id is None


async def test_a_credential_that_was_never_issued_or_is_another_phones_pays_nothing(scene: Scene) -> None:
    other = await scene.world.device(2)
    other.tag, other.allowance_minor = scene.phone.tag, ALLOWANCE
    for device, tag in ((other, scene.phone.tag), (scene.phone, b"unheard!")):
        claim = structs.replace(device.tap(500), credential_tag=tag)
        word = await scene.settle(scene.till.accept(claim, 500))
        assert (word.outcome, word.code) == ("declined", "offline_record_invalid")
    assert await scene.earned_minor() == 0


async def test_a_record_without_a_word_waits_while_its_merchant_is_suspended(
    open_store: OpenStore, shop: Shop
) -> None:
    store = await open_store()
    shop.merchant = replace(shop.merchant, status=MerchantStatus.SUSPENDED)
    await shop.furnish(store)
    world = OfflineWorld(store, shop)
    phone, till = await world.device(), await world.till()
    await phone.get_credential(store, ALLOWANCE, shop.now_ms)
    with pytest.raises(PaymentRefused) as refused:
        await store.settle_record(till.accept(phone.tap(500), 500))
    assert refused.value.code == "offline_not_offered"
    assert await store.find_last_sequence("TERMNA01") == 0


async def test_a_withdrawn_till_gets_no_word(scene: Scene) -> None:
    await scene.store.revoke_terminal("TERMNA01")
    with pytest.raises(AuthenticationFailed) as failed:
        await scene.sale(500)
    assert failed.value.code == "terminal_revoked"


# Money that was set aside is there --------------------------------------------------------------------------


async def test_frozen_wallet_day_limit_and_suspension_stop_no_accepted_payment(scene: Scene) -> None:
    # 800 of 800 euros a day are spent online, in two payments that the day's limit just covers.
    for number in (901, 902):
        spent = await scene.store.book_payment(scene.shop.booking(number, amount_minor=40_000))
        assert spent.outcome == "approved"
    await scene.store.set_wallet_status("WALLET1", WalletStatus.FROZEN)
    await scene.store.set_instrument_status("INSTRUMENT1", InstrumentStatus.SUSPENDED)
    word = await scene.sale(1_250)
    assert (word.outcome, word.loss_minor) == ("settled", 0)
    assert await scene.left_minor() == ALLOWANCE - 1_250


async def test_what_was_spent_offline_counts_into_the_day_it_is_booked(scene: Scene) -> None:
    await scene.sale(1_250)
    for number, code in ((901, None), (902, "limit_per_day_exceeded")):
        booking = scene.shop.booking(number, amount_minor=39_500)
        assert (await scene.store.book_payment(booking)).decline_code == code


async def test_a_list_that_named_the_phone_makes_an_acceptance_the_merchants(scene: Scene) -> None:
    assert await scene.store.list_suspended(scene.shop.now_ms) == []
    await scene.store.set_instrument_status("INSTRUMENT1", InstrumentStatus.SUSPENDED)
    listed_ms = scene.shop.now_ms + 5_000
    for later_ms in (listed_ms, listed_ms + 60_000):
        assert await scene.store.list_suspended(later_ms) == [0]
    second = listed_ms // 1000
    assert (await scene.sale(100, list_issued_s=second)).outcome == "settled"
    word = await scene.sale(100, list_issued_s=second + 1)
    assert (word.outcome, word.code) == ("declined", "offline_rules_broken")
    await scene.store.set_instrument_status("INSTRUMENT1", InstrumentStatus.ACTIVE)
    assert await scene.store.list_suspended(listed_ms + 120_000) == []
    assert (await scene.sale(100, list_issued_s=second + 121)).outcome == "settled"


# One attempt, one order, one tap are charged once -----------------------------------------------------------


async def test_an_attempt_that_was_paid_online_is_settled_by_that_payment(scene: Scene) -> None:
    online = await scene.store.book_payment(scene.shop.booking(900))
    word = await scene.sale(1_250, attempt_id=online.attempt_id, order_id=online.order_id)
    assert (word.outcome, word.payment_id, word.loss_minor) == ("settled", online.payment_id, 0)
    assert (await scene.earned_minor(), await scene.left_minor()) == (1_250, ALLOWANCE)
    assert (await scene.payment(word)).is_offline is False


async def test_an_attempt_that_was_decided_otherwise_is_a_conflict(scene: Scene) -> None:
    reversed_ = scene.shop.booking(900, verdict=Refused(ATTEMPT_REVERSED))
    paid = await scene.store.book_payment(scene.shop.booking(901, amount_minor=800))
    gone = await scene.store.book_payment(scene.shop.booking(902, order_id="offline-TERMNA01-3"))
    await scene.store.change_payment(Reverse(gone.payment_id, "TERMNA01"), scene.shop.now_ms)
    known = [await scene.store.book_payment(reversed_), paid, gone]
    for one in known:
        word = await scene.sale(1_250, attempt_id=one.attempt_id)
        assert (word.outcome, word.payment_id) == ("conflict", one.payment_id)
        assert (word.loss_minor, word.loss_bearer) == (1_250, "merchant")
    assert await scene.alarms() == ["attempt_conflict"] * 3
    assert await scene.earned_minor() == 800


async def test_an_attempt_that_was_settled_can_not_be_paid_online_any_more(scene: Scene) -> None:
    word = await scene.sale(1_250)
    attempt_id = scene.till.sealed[0].attempt_id
    with pytest.raises(IdempotencyConflict):
        await scene.store.book_payment(scene.shop.booking(900, attempt_id=attempt_id))
    found = await scene.store.find_payment_by_attempt("TERMNA01", attempt_id)
    assert (found.payment_id, found.is_offline) == (word.payment_id, True)


async def test_an_order_is_paid_once(scene: Scene) -> None:
    await scene.store.book_payment(scene.shop.booking(900))
    word = await scene.sale(1_250, order_id="order-900")
    assert (word.outcome, word.code, word.loss_bearer) == ("declined", "order_already_paid", "merchant")
    assert await scene.left_minor() == ALLOWANCE


async def test_a_tap_is_one_payment_however_many_records_hold_it(scene: Scene) -> None:
    claim = scene.phone.tap(1_250)
    first = await scene.settle(scene.till.accept(claim, 1_250))
    second = await scene.settle(scene.till.accept(claim, 1_250))
    assert (second.outcome, second.payment_id) == ("conflict", first.payment_id)
    assert (await scene.earned_minor(), await scene.alarms()) == (1_250, ["tap_repeated"])
    assert not await scene.is_suspended()


# Copies -----------------------------------------------------------------------------------------------------


async def test_two_claims_under_one_counter_suspend_the_key_and_are_both_paid(scene: Scene) -> None:
    other, copied = await scene.world.till(2), scene.phone.copy()
    first = scene.till.accept(scene.phone.tap(1_000), 1_000)
    second = other.accept(structs.replace(copied.tap(1_000), claims_digest=b"c" * 32), 1_000)
    assert (await scene.settle(first)).code == ""
    word = await scene.settle(second)
    assert (word.outcome, word.code, word.loss_minor) == ("settled", "instrument_cloned", 0)
    assert await scene.is_suspended()
    assert await scene.store.list_suspended(scene.shop.now_ms) == [0]
    assert await scene.alarms() == ["key_copied"]
    assert (await scene.earned_minor(), await scene.left_minor()) == (2_000, ALLOWANCE - 2_000)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_till_that_lies_about_an_amount_does_not_get_its_payer_suspended(
    scene: Scene, order: tuple[int, int]
) -> None:
    lie = {"refusal": "offline_record_invalid"}
    records = [
        scene.till.accept(scene.phone.tap(1_000), 1_000),
        scene.till.accept(scene.phone.tap(500), 600, **lie),
    ]
    words = [await scene.settle(records[index]) for index in order]
    assert sorted(word.outcome for word in words) == ["declined", "settled"]
    honest = await scene.sale(300)
    assert (honest.outcome, honest.code) == ("settled", "")
    assert not await scene.is_suspended()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_total_that_misses_a_payment_suspends_the_key_in_either_order(
    scene: Scene, order: tuple[int, int]
) -> None:
    other, copied = await scene.world.till(2), scene.phone.copy()
    copied.counter += 7
    records = [
        scene.till.accept(scene.phone.tap(1_000), 1_000),
        other.accept(copied.tap(1_000), 1_000),
    ]
    words = [await scene.settle(records[index]) for index in order]
    assert [word.outcome for word in words] == ["settled", "settled"]
    assert [word.code for word in words] == ["", "instrument_cloned"]
    assert await scene.is_suspended()
    assert await scene.alarms() == ["total_forked"]


async def test_what_nobody_covers_is_the_operators_and_its_refund_too(scene: Scene) -> None:
    # The wallet keeps 10 euros beside the 50 set aside; phone and copy spend 50 each.
    await scene.store.book_payment(scene.shop.booking(900, amount_minor=50_000))
    await scene.store.book_payment(scene.shop.booking(901, amount_minor=29_000))
    booking = scene.shop.booking(902, amount_minor=15_000, now_ms=scene.shop.now_ms + DAY_MS)
    assert (await scene.store.book_payment(booking)).outcome == "approved"
    assert await scene.wallet_minor() == 1_000
    earned_minor = await scene.earned_minor()
    other, copied = await scene.world.till(2), scene.phone.copy()
    await scene.sale(ALLOWANCE)
    word = await scene.settle(
        other.accept(structs.replace(copied.tap(ALLOWANCE), claims_digest=b"c" * 32), ALLOWANCE)
    )
    assert (word.loss_minor, word.loss_bearer) == (4_000, "operator")
    assert await scene.earned_minor() == earned_minor + 2 * ALLOWANCE
    assert (await scene.wallet_minor(), await scene.left_minor(), await scene.lost_minor()) == (0, 0, 4_000)
    # What is given back goes to the operator first, for that is whose money it was.
    await scene.store.set_refund_limit("TERMNA01", 10_000)
    for number, total_minor in enumerate((3_000, 4_500)):
        refund = Refund(word.payment_id, "TERMNA01", f"0REFVND0{number:018d}", total_minor, "", "STAFF")
        await scene.store.change_payment(refund, scene.shop.now_ms)
    assert (await scene.lost_minor(), await scene.wallet_minor()) == (0, 500)
    changed = await scene.store.change_payment(Reverse(word.payment_id, "TERMNA01"), scene.shop.now_ms)
    assert changed.payment.life.state is PaymentState.REVERSED
    assert (await scene.lost_minor(), await scene.wallet_minor()) == (0, 1_000)


async def test_a_till_can_not_take_more_by_a_record_that_was_paid_online(scene: Scene) -> None:
    online = await scene.store.book_payment(scene.shop.booking(900, amount_minor=100))
    copied = scene.phone.copy()
    copied.counter += 7
    assert (await scene.sale(ALLOWANCE)).outcome == "settled"
    between = scene.till.accept(copied.tap(100), 100, attempt_id=online.attempt_id, order_id=online.order_id)
    assert (await scene.settle(between)).payment_id == online.payment_id
    word = await scene.settle(scene.till.accept(copied.tap(1_000), 1_000))
    assert (word.outcome, word.code, word.loss_bearer) == ("declined", "offline_rules_broken", "merchant")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_what_a_till_should_have_refused_itself_is_its_merchants(
    scene: Scene, order: tuple[int, int]
) -> None:
    copied = scene.phone.copy()
    copied.counter += 7
    records = [
        scene.till.accept(scene.phone.tap(1_000), 1_000),
        scene.till.accept(copied.tap(1_000), 1_000),
    ]
    words = [await scene.settle(records[index]) for index in order]
    assert [word.outcome for word in words] == ["settled", "declined"]
    assert (words[1].code, words[1].loss_bearer) == ("offline_rules_broken", "merchant")
    assert await scene.is_suspended()
    assert await scene.earned_minor() == 1_000


async def test_no_till_takes_more_of_a_key_than_its_allowance_whatever_it_seals(scene: Scene) -> None:
    await scene.phone.get_credential(scene.store, ALLOWANCE, scene.shop.now_ms, number=2)
    tags = [one.tag for one in await scene.store.list_credentials()]
    rng = random.Random(8)
    for _ in range(60):
        # A device that signs anything, and a till of the same hand that seals anything in any order.
        total_minor = rng.randint(500, ALLOWANCE)
        claim = structs.replace(
            scene.phone.claim(),
            counter=rng.randint(1, 200),
            claims_digest=rng.randbytes(32),
            running_total_minor=total_minor,
            credential_tag=rng.choice(tags),
        )
        refusal = rng.choice([None, None, None, "offline_record_too_old"])
        scene.till.accept(claim, rng.randint(1, total_minor), refusal=refusal)
    uploads = list(scene.till.sealed)
    rng.shuffle(uploads)
    words = [await scene.settle(one) for one in uploads]
    paid_minor = sum(word.amount_minor for word in words if word.outcome == "settled")
    assert 0 < paid_minor <= 2 * ALLOWANCE
    assert (await scene.earned_minor(), await scene.lost_minor()) == (paid_minor, 0)


# Chains -----------------------------------------------------------------------------------------------------


async def test_gaps_and_broken_chains_are_alarms_and_stop_nothing(scene: Scene) -> None:
    records = [scene.till.accept(scene.phone.tap(100), 100) for _ in range(4)]
    broken = structs.replace(records[3], previous_link=b"b" * 32)
    words = [await scene.settle(one) for one in (records[0], records[2], broken, records[1])]
    assert [word.outcome for word in words] == ["settled"] * 4
    assert await scene.alarms() == ["chain_broken", "gap"]
    assert await scene.store.find_last_sequence("TERMNA01") == 4


# Side by side -----------------------------------------------------------------------------------------------


async def test_a_batch_uploaded_to_two_gateways_at_once_is_settled_once(
    scene: Scene, open_store: OpenStore
) -> None:
    second = await open_store()
    records = [scene.till.accept(scene.phone.tap(400), 400) for _ in range(10)]
    twins = [structs.replace(one, payment_id=one.payment_id.replace("0SEA", "0TWN")) for one in records]
    words = await asyncio.gather(
        *(scene.store.settle_record(one) for one in records), *(second.settle_record(one) for one in twins)
    )
    assert words[:10] == words[10:]
    assert (await scene.earned_minor(), await scene.left_minor()) == (4_000, ALLOWANCE - 4_000)


async def test_copies_at_many_tills_at_once_cost_exactly_what_nobody_covers(
    scene: Scene, open_store: OpenStore
) -> None:
    second = await open_store()
    await scene.store.set_wallet_status("WALLET1", WalletStatus.FROZEN)
    tills = [scene.till, *[await scene.world.till(number) for number in range(2, 6)]]
    records = []
    for index, till in enumerate(tills):
        copied = scene.phone.copy()
        claim = structs.replace(copied.tap(2_500), claims_digest=bytes([index]) * 32)
        records.append(till.accept(claim, 2_500))
    stores = [scene.store, second]
    words = await asyncio.gather(*(stores[index % 2].settle_record(one) for index, one in enumerate(records)))
    assert {word.outcome for word in words} == {"settled"}
    # N tills, k each, A of it prefunded: min(N·k, ΣR) − A.
    assert sum(word.loss_minor for word in words) == 5 * 2_500 - ALLOWANCE == await scene.lost_minor()
    assert (await scene.earned_minor(), await scene.left_minor()) == (5 * 2_500, 0)
    assert await scene.is_suspended()


async def test_an_end_and_a_late_record_never_pay_one_cent_twice(scene: Scene, open_store: OpenStore) -> None:
    second = await open_store()
    (credential,) = await scene.store.list_credentials()
    sealed = scene.till.accept(scene.phone.tap(2_000), 2_000, now_ms=credential.ends_ms)
    given_back, word = await asyncio.gather(
        scene.store.end_credential(credential.credential_id, credential.ends_ms), second.settle_record(sealed)
    )
    assert given_back in (ALLOWANCE, ALLOWANCE - 2_000)
    assert (word.outcome, word.loss_minor, await scene.left_minor()) == ("settled", 0, 0)
    assert await scene.wallet_minor() == scene.shop.funds_minor - 2_000


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_honest_phones_cost_nobody_anything_in_whatever_order_their_records_come(
    scene: Scene, open_store: OpenStore, seed: int
) -> None:
    rng, stores = random.Random(seed), [scene.store, await open_store()]
    phones = [scene.phone, *[await scene.world.device(number) for number in range(2, 5)]]
    for phone in phones[1:]:
        await phone.get_credential(scene.store, ALLOWANCE, scene.shop.now_ms)
    tills = [scene.till, *[await scene.world.till(number) for number in range(2, 4)]]
    spent_minor = 0
    for _ in range(40):
        phone = rng.choice(phones)
        amount_minor = min(rng.randint(1, 900), ALLOWANCE - phone.total_minor)
        if amount_minor:
            rng.choice(tills).accept(phone.tap(amount_minor), amount_minor)
            spent_minor += amount_minor
    uploads = [one for till in tills for one in till.sealed] * 2
    rng.shuffle(uploads)
    words = await asyncio.gather(*(rng.choice(stores).settle_record(one) for one in uploads))
    assert {(word.outcome, word.code, word.loss_minor) for word in words} == {("settled", "", 0)}
    credentials = await scene.store.list_credentials()
    assert sum(one.left_minor for one in credentials) == len(phones) * ALLOWANCE - spent_minor
    assert (await scene.earned_minor(), await scene.lost_minor()) == (spent_minor, 0)
    assert set(await scene.alarms()) <= {"gap"}
    # And when all is over, what was not spent is the holders' again.
    for one in credentials:
        await scene.store.end_credential(one.credential_id, one.ends_ms + HOUR_MS)
    assert await scene.wallet_minor() == scene.shop.funds_minor - spent_minor
