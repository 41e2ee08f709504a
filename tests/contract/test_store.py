"""One suite for every store: what gateway/storage/store.py promises, through its public door."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from gateway.errors import (
    AuthenticationFailed,
    ConfigurationError,
    EnrolmentRefused,
    IdempotencyConflict,
    NotFound,
    StoreUnavailable,
)
from gateway.holders.model import (
    CardKeyBatch,
    Instrument,
    InstrumentKind,
    InstrumentStatus,
    Limits,
    RequestNonce,
    WalletStatus,
)
from gateway.ledger.model import Transfer, TransferGroup, TransferKind
from gateway.ledger.outcomes import Outcome
from gateway.merchants.model import Location, MerchantStatus, TerminalStatus
from gateway.payments.model import CardCounter, PaymentCodeUse, PaymentRecord, Refused, TokenUse, Verified
from gateway.storage.store import Store
from wire.errors import MoneyError
from wire.messages.payments import EntryMode

if TYPE_CHECKING:
    from tests.conftest import Shop
    from tests.contract.conftest import OpenStore
    from tests.databases import Database

DAY_MS = 86_400_000
UNKNOWN = "UNKNOWN"


async def balance_of(store: Store, shop: Shop) -> int:
    found = await store.find_wallet(shop.wallet.wallet_id)
    assert found is not None
    return found.available_minor


# Deciding and repeating ------------------------------------------------------------------------------------


async def test_payment_is_approved_and_moves_money_once(store: Store, shop: Shop) -> None:
    record = await store.book_payment(shop.booking(1))
    assert (record.outcome, record.decline_code) == ("approved", None)
    assert record.receipt_number == "000001"
    assert (record.merchant_name, record.location_name) == ("Tea House", "Old Town")
    assert (record.instrument_id, record.instrument_label) == ("INSTRUMENT1", "Phone ·· 4821")
    assert await balance_of(store, shop) == shop.funds_minor - 1_250


async def test_repeat_returns_the_first_decision_and_changes_nothing(store: Store, shop: Shop) -> None:
    first = await store.book_payment(shop.booking(1))
    again = structs.replace(
        shop.booking(1), payment_id="0ANOTHER000000000000000000", now_ms=shop.now_ms + 5_000
    )
    assert await store.book_payment(again) == first
    assert await balance_of(store, shop) == shop.funds_minor - 1_250


async def test_repeat_of_a_decline_stays_declined_after_its_reason_is_gone(store: Store, shop: Shop) -> None:
    await store.set_wallet_status("WALLET1", WalletStatus.FROZEN)
    first = await store.book_payment(shop.booking(1))
    await store.set_wallet_status("WALLET1", WalletStatus.ACTIVE)
    assert first.decline_code == "wallet_frozen"
    assert await store.book_payment(shop.booking(1)) == first


async def test_attempt_id_with_another_request_is_a_conflict(store: Store, shop: Shop) -> None:
    first = await store.book_payment(shop.booking(1))
    with pytest.raises(IdempotencyConflict):
        await store.book_payment(structs.replace(shop.booking(1), request_digest=bytes(32)))
    assert await store.find_payment_by_attempt("TERMNA01", first.attempt_id) == first


async def test_decision_is_found_by_both_ids_and_by_this_merchants_tills_only(
    store: Store, shop: Shop
) -> None:
    record = await store.book_payment(shop.booking(1))
    assert await store.find_payment("TERMNA01", record.payment_id) == record
    assert await store.find_payment_by_attempt("TERMNA01", record.attempt_id) == record
    assert await store.find_payment(UNKNOWN, record.payment_id) is None
    assert await store.find_payment_by_attempt(UNKNOWN, record.attempt_id) is None
    assert await store.find_payment_by_attempt("TERMNA01", "0NEVERSEEN0000000000000000") is None


async def test_decision_survives_closing_the_store(store: Store, open_store: OpenStore, shop: Shop) -> None:
    record = await store.book_payment(shop.booking(1))
    await store.close()
    assert await (await open_store()).book_payment(shop.booking(1)) == record


async def test_receipt_numbers_rise_by_one_over_approved_payments_only(store: Store, shop: Shop) -> None:
    too_much = shop.booking(2, amount_minor=60_000)
    records = [await store.book_payment(one) for one in (shop.booking(1), too_much, shop.booking(3))]
    assert [record.receipt_number for record in records] == ["000001", None, "000002"]


async def test_fee_is_kept_from_the_merchant_not_taken_from_the_payer(store: Store, shop: Shop) -> None:
    await store.book_payment(shop.booking(1))
    # 1.4 % of 12.50 is 17.5 cents, and half goes to the even neighbour.
    merchant = await store.find_account(shop.merchant.account_id)
    assert merchant.available_minor == 1_250 - 18
    assert await balance_of(store, shop) == shop.funds_minor - 1_250


# What declines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount_minor": 50_001}, "limit_per_payment_exceeded"),
        ({"currency": "USD"}, "currency_mismatch"),
        ({"verdict": Refused("token_invalid")}, "token_invalid"),
        ({"verdict": Refused("amount_mismatch", "INSTRUMENT1")}, "amount_mismatch"),
    ],
)
async def test_payment_is_declined_when(
    store: Store, shop: Shop, changes: dict[str, object], code: str
) -> None:
    record = await store.book_payment(shop.booking(1, **changes))
    assert (record.outcome, record.decline_code, record.receipt_number) == ("declined", code, None)
    assert await balance_of(store, shop) == shop.funds_minor
    assert await store.find_payment("TERMNA01", record.payment_id) == record


async def test_payment_is_declined_without_funds_and_takes_what_is_left_with_them(
    store: Store, shop: Shop
) -> None:
    await store.book_payment(shop.booking(1, amount_minor=50_000))
    later = shop.now_ms + DAY_MS
    await store.book_payment(shop.booking(2, amount_minor=49_000, now_ms=later))
    short = await store.book_payment(shop.booking(3, amount_minor=1_001, now_ms=later))
    exact = await store.book_payment(shop.booking(4, amount_minor=1_000, now_ms=later))
    assert (short.decline_code, exact.outcome) == ("insufficient_funds", "approved")
    assert await balance_of(store, shop) == 0


async def test_frozen_wallet_can_be_funded_but_not_spent_from(store: Store, shop: Shop) -> None:
    await store.set_wallet_status("WALLET1", WalletStatus.FROZEN)
    assert (await store.book_payment(shop.booking(1))).decline_code == "wallet_frozen"
    await store.fund_wallet("WALLET1", b"another-transfer", 500, shop.now_ms)
    assert await balance_of(store, shop) == shop.funds_minor + 500


async def test_suspended_instrument_is_declined_and_may_come_back(store: Store, shop: Shop) -> None:
    await store.set_instrument_status("INSTRUMENT1", InstrumentStatus.SUSPENDED)
    assert (await store.book_payment(shop.booking(1))).decline_code == "instrument_suspended"
    await store.set_instrument_status("INSTRUMENT1", InstrumentStatus.ACTIVE)
    assert (await store.book_payment(shop.booking(2))).outcome == "approved"


@pytest.mark.parametrize("weakest", EntryMode)
@pytest.mark.parametrize("presented", EntryMode)
async def test_entry_mode_weaker_than_the_instruments_minimum_is_declined(
    open_store: OpenStore, shop: Shop, weakest: EntryMode, presented: EntryMode
) -> None:
    store = await open_store()
    await shop.furnish(store)
    strict = replace(shop.instrument, instrument_id="STRICT", key_id=b"strict-k", weakest_entry_mode=weakest)
    await store.add_instrument(strict)
    verdict = Verified("STRICT", structs.replace(shop.token_use(1), key_id=b"strict-k"))
    record = await store.book_payment(shop.booking(1, entry_mode=presented, verdict=verdict))
    order = list(EntryMode)
    expected = None if order.index(presented) <= order.index(weakest) else "entry_mode_not_allowed"
    assert record.decline_code == expected


async def test_suspended_merchant_is_declined(open_store: OpenStore, shop: Shop) -> None:
    store = await open_store()
    shop.merchant = replace(shop.merchant, status=MerchantStatus.SUSPENDED)
    await shop.furnish(store)
    assert (await store.book_payment(shop.booking(1))).decline_code == "merchant_suspended"


async def test_merchant_is_suspended_and_let_go_on_from_the_next_payment(store: Store, shop: Shop) -> None:
    merchant_id = shop.merchant.merchant_id
    for number, status, code in (
        (1, MerchantStatus.SUSPENDED, "merchant_suspended"),
        (2, MerchantStatus.ACTIVE, None),
    ):
        await store.set_merchant_status(merchant_id, status)
        assert (await store.book_payment(shop.booking(number))).decline_code == code
    with pytest.raises(NotFound):
        await store.set_merchant_status("NOBODY000000001", MerchantStatus.SUSPENDED)


async def test_withdrawn_terminal_is_turned_away_and_nothing_is_stored(store: Store, shop: Shop) -> None:
    await store.revoke_terminal("TERMNA01")
    with pytest.raises(AuthenticationFailed) as caught:
        await store.book_payment(shop.booking(1))
    assert caught.value.code == "terminal_revoked"
    assert await store.find_payment_by_attempt("TERMNA01", shop.booking(1).attempt_id) is None
    assert await balance_of(store, shop) == shop.funds_minor


async def test_withdrawn_terminal_still_learns_what_became_of_its_attempt(store: Store, shop: Shop) -> None:
    record = await store.book_payment(shop.booking(1))
    await store.revoke_terminal("TERMNA01")
    assert await store.book_payment(shop.booking(1)) == record


# Single use ------------------------------------------------------------------------------------------------


async def test_token_pays_once(store: Store, shop: Shop) -> None:
    await store.book_payment(shop.booking(1))
    replay = await store.book_payment(shop.booking(2, verdict=shop.booking(1).verdict))
    assert replay.decline_code == "token_replayed"
    assert (await store.book_payment(shop.booking(3))).outcome == "approved"


async def test_token_is_spent_by_a_declined_attempt(store: Store, shop: Shop) -> None:
    declined = await store.book_payment(shop.booking(1, amount_minor=50_001))
    replay = await store.book_payment(shop.booking(2, verdict=shop.booking(1).verdict))
    assert declined.decline_code == "limit_per_payment_exceeded"
    assert replay.decline_code == "token_replayed"


async def test_token_is_spent_by_a_refusal_that_names_it(store: Store, shop: Shop) -> None:
    verdict = Refused("amount_mismatch", "INSTRUMENT1", shop.token_use(1))
    await store.book_payment(shop.booking(1, verdict=verdict))
    replay = await store.book_payment(shop.booking(2, verdict=Verified("INSTRUMENT1", shop.token_use(1))))
    assert replay.decline_code == "token_replayed"


async def test_two_claims_under_one_counter_suspend_the_instrument(store: Store, shop: Shop) -> None:
    await store.book_payment(shop.booking(1))
    forged = structs.replace(shop.token_use(1), claims_digest=bytes(32), terminal_nonce=b"other-no")
    clone = await store.book_payment(shop.booking(2, verdict=Verified("INSTRUMENT1", forged)))
    assert clone.decline_code == "instrument_cloned"
    assert (await store.book_payment(shop.booking(3))).decline_code == "instrument_suspended"
    instrument = await store.find_instrument_by_key(shop.instrument.key_id)
    assert instrument is not None
    assert instrument.status is InstrumentStatus.SUSPENDED


async def test_copied_key_is_reported_even_when_the_presentation_is_refused(store: Store, shop: Shop) -> None:
    await store.book_payment(shop.booking(1))
    forged = structs.replace(shop.token_use(1), claims_digest=bytes(32))
    verdict = Refused("amount_mismatch", "INSTRUMENT1", forged)
    assert (await store.book_payment(shop.booking(2, verdict=verdict))).decline_code == "instrument_cloned"


async def test_terminal_nonce_is_good_for_one_token_and_both_are_spent(store: Store, shop: Shop) -> None:
    await store.book_payment(shop.booking(1))
    same_nonce = structs.replace(shop.token_use(2), terminal_nonce=shop.token_use(1).terminal_nonce)
    for number in (2, 3):
        record = await store.book_payment(shop.booking(number, verdict=Verified("INSTRUMENT1", same_nonce)))
        assert record.decline_code == "token_replayed"


async def test_tokens_without_a_nonce_do_not_meet(store: Store, shop: Shop) -> None:
    for number in (1, 2):
        use = structs.replace(shop.token_use(number), terminal_nonce=None)
        verdict = Verified("INSTRUMENT1", use)
        record = await store.book_payment(
            shop.booking(number, verdict=verdict, entry_mode=EntryMode.QR_CONSUMER)
        )
        assert record.outcome == "approved"


@pytest.fixture
async def card(store: Store, shop: Shop) -> Instrument:
    """An NTAG 424 card beside the phone."""
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
    return card


async def test_card_counter_must_rise_and_does_not_suspend(
    store: Store, shop: Shop, card: Instrument
) -> None:
    codes = []
    for number, counter in enumerate((5, 5, 4, 6), start=1):
        verdict = Verified("CARD1", CardCounter(counter))
        booking = shop.booking(number, verdict=verdict, entry_mode=EntryMode.NFC_SDM)
        codes.append((await store.book_payment(booking)).decline_code)
    assert codes == [None, "card_counter_old", "card_counter_old", None]
    found = await store.find_instrument_by_key(card.key_id)
    assert found == replace(card, card_counter=6)


async def test_card_counter_is_spent_by_a_declined_attempt(
    store: Store, shop: Shop, card: Instrument
) -> None:
    verdict = Verified("CARD1", CardCounter(5))
    tap = {"verdict": verdict, "entry_mode": EntryMode.NFC_SDM}
    await store.book_payment(shop.booking(1, amount_minor=50_001, **tap))
    assert (await store.book_payment(shop.booking(2, **tap))).decline_code == "card_counter_old"


async def test_numeric_code_pays_once_within_its_time(store: Store, shop: Shop) -> None:
    code = PaymentCodeUse(hashlib.sha256(b"code").digest())
    presented = {"verdict": Verified("INSTRUMENT1", code), "entry_mode": EntryMode.CODE_NUMERIC}
    await store.add_payment_code(code.code_hash, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms)
    late = await store.book_payment(shop.booking(1, now_ms=shop.now_ms + 60_000, **presented))
    first = await store.book_payment(shop.booking(2, **presented))
    second = await store.book_payment(shop.booking(3, **presented))
    assert late.decline_code == "payment_code_invalid"
    assert first.outcome == "approved"
    assert second.decline_code == "payment_code_invalid"


# Limits and orders -----------------------------------------------------------------------------------------


async def test_daily_limit_is_reached_exactly_and_never_passed(store: Store, shop: Shop) -> None:
    amounts = (50_000, 29_999, 2, 1, 1)
    codes = [
        (await store.book_payment(shop.booking(number, amount_minor=amount))).decline_code
        for number, amount in enumerate(amounts)
    ]
    assert codes == [None, None, "limit_per_day_exceeded", None, "limit_per_day_exceeded"]


async def test_daily_limit_begins_anew_at_midnight_utc(store: Store, shop: Shop) -> None:
    midnight = (shop.now_ms // DAY_MS + 1) * DAY_MS
    before = [shop.booking(number, amount_minor=40_000, now_ms=midnight - 1) for number in (1, 2, 3)]
    codes = [(await store.book_payment(booking)).decline_code for booking in before]
    after = await store.book_payment(shop.booking(4, amount_minor=20_000, now_ms=midnight))
    assert codes == [None, None, "limit_per_day_exceeded"]
    assert after.outcome == "approved"


async def test_daily_limit_below_the_first_payment_declines(store: Store, shop: Shop) -> None:
    tight = replace(shop.instrument, instrument_id="TIGHT", key_id=b"tight-ke", limits=Limits(50_000, 1_000))
    await store.add_instrument(tight)
    verdict = Verified("TIGHT", structs.replace(shop.token_use(1), key_id=b"tight-ke"))
    record = await store.book_payment(shop.booking(1, amount_minor=1_001, verdict=verdict))
    assert record.decline_code == "limit_per_day_exceeded"


async def test_declined_attempt_eats_no_limit(store: Store, shop: Shop) -> None:
    await store.set_wallet_status("WALLET1", WalletStatus.FROZEN)
    for number in range(1, 5):
        await store.book_payment(shop.booking(number, amount_minor=40_000))
    await store.set_wallet_status("WALLET1", WalletStatus.ACTIVE)
    for number in (5, 6):
        assert (await store.book_payment(shop.booking(number, amount_minor=40_000))).outcome == "approved"


async def test_order_is_paid_once(store: Store, shop: Shop) -> None:
    first = await store.book_payment(shop.booking(1, order_id="table-4"))
    second = await store.book_payment(shop.booking(2, order_id="table-4"))
    smaller = await store.book_payment(shop.booking(3, order_id="table-4", amount_minor=1))
    assert first.outcome == "approved"
    assert second.decline_code == smaller.decline_code == "order_already_paid"
    assert await balance_of(store, shop) == shop.funds_minor - 1_250


async def test_order_may_be_paid_after_a_decline(store: Store, shop: Shop) -> None:
    await store.book_payment(shop.booking(1, order_id="table-4", amount_minor=50_001))
    assert (await store.book_payment(shop.booking(2, order_id="table-4"))).outcome == "approved"


async def test_token_tried_on_a_paid_order_is_spent(store: Store, shop: Shop) -> None:
    await store.book_payment(shop.booking(1, order_id="table-4"))
    await store.book_payment(shop.booking(2, order_id="table-4"))
    replay = await store.book_payment(shop.booking(3, verdict=shop.booking(2).verdict))
    assert replay.decline_code == "token_replayed"


# Many at once ----------------------------------------------------------------------------------------------


def codes_of(records: list[PaymentRecord]) -> list[str | None]:
    return sorted((record.decline_code for record in records), key=str)


async def test_many_attempts_with_one_token_at_once_pay_once(store: Store, shop: Shop) -> None:
    verdict = shop.booking(0).verdict
    records = await asyncio.gather(
        *(store.book_payment(shop.booking(number, verdict=verdict)) for number in range(50))
    )
    assert codes_of(records) == [None] + ["token_replayed"] * 49


async def test_many_attempts_on_one_order_at_once_pay_once(store: Store, shop: Shop) -> None:
    records = await asyncio.gather(
        *(store.book_payment(shop.booking(number, order_id="table-4")) for number in range(50))
    )
    assert codes_of(records) == [None] + ["order_already_paid"] * 49
    assert await balance_of(store, shop) == shop.funds_minor - 1_250


async def test_many_sends_of_one_attempt_at_once_are_decided_once(store: Store, shop: Shop) -> None:
    records = await asyncio.gather(
        *(
            store.book_payment(structs.replace(shop.booking(1), payment_id=f"0PAYMENT{number:018d}"))
            for number in range(50)
        )
    )
    assert len(set(records)) == 1
    assert await balance_of(store, shop) == shop.funds_minor - 1_250


async def test_two_processes_agree_on_one_token_and_on_the_limit(open_store: OpenStore, shop: Shop) -> None:
    first, second = await open_store(), await open_store()
    await shop.furnish(first)
    verdict = shop.booking(0).verdict
    replays = await asyncio.gather(
        *(
            store.book_payment(shop.booking(number, verdict=verdict, amount_minor=10_000))
            for number, store in enumerate((first, second) * 10)
        )
    )
    rest = await asyncio.gather(
        *(
            store.book_payment(shop.booking(number, amount_minor=10_000))
            for number, store in enumerate((first, second) * 10, start=100)
        )
    )
    assert codes_of(replays) == [None] + ["token_replayed"] * 19
    # Eighty thousand a day are eight payments, one of which is made already.
    assert codes_of(rest) == [None] * 7 + ["limit_per_day_exceeded"] * 13
    assert await balance_of(second, shop) == shop.funds_minor - 80_000


# Merchants and terminals -----------------------------------------------------------------------------------


async def test_merchants_are_listed_in_order_behind_an_id(store: Store, shop: Shop) -> None:
    second = replace(
        shop.merchant, merchant_id="MERCHANT0000002", account_id=b"merchant-other--", name="Book Shop"
    )
    await store.add_merchant(second)
    assert await store.list_merchants() == [shop.merchant, second]
    assert await store.list_merchants(shop.merchant.merchant_id) == [second]


async def test_merchant_id_can_not_be_taken_twice(store: Store, shop: Shop) -> None:
    with pytest.raises(IdempotencyConflict):
        await store.add_merchant(replace(shop.merchant, account_id=b"merchant-other--"))
    # Nor did the account that was opened first stay behind.
    assert await store.find_account(b"merchant-other--") is None


async def test_location_and_terminal_need_their_merchant(store: Store, shop: Shop) -> None:
    with pytest.raises(NotFound):
        await store.add_location(Location("LOCATION2", UNKNOWN, "Nowhere"))
    stray = replace(shop.terminal, terminal_id="TERMNA02", location_id="LOCATION2")
    with pytest.raises(NotFound):
        await store.add_terminal(stray, b"f" * 32, shop.now_ms)


async def test_terminal_is_enrolled_with_its_key_and_found_by_it(store: Store, shop: Shop) -> None:
    enrolled = await shop.enrol(store)
    assert enrolled.terminal.status is TerminalStatus.ACTIVE
    assert (enrolled.merchant, enrolled.location) == (shop.merchant, shop.location)
    assert enrolled.terminal.key_id is not None
    assert await store.find_terminal_by_key(enrolled.terminal.key_id) == enrolled
    assert await store.list_terminals() == [enrolled]
    assert await store.find_terminal_by_key(b"no-such-") is None


async def test_enrolment_code_answers_again_to_its_own_key_even_after_its_time(
    store: Store, shop: Shop
) -> None:
    first = await shop.enrol(store)
    shop.now_ms += 600_000
    assert await shop.enrol(store) == first


async def test_enrolment_code_is_refused_to_another_key_or_when_late_or_wrong(
    store: Store, shop: Shop
) -> None:
    await store.add_terminal(replace(shop.terminal, terminal_id="TERMNA02"), b"f" * 32, shop.now_ms + 60_000)
    refused = [
        (b"e" * 32, b"otherkey", shop.now_ms, "enrolment_code_invalid"),
        (b"g" * 32, b"otherkey", shop.now_ms, "enrolment_code_invalid"),
        (b"f" * 32, b"otherkey", shop.now_ms + 60_000, "enrolment_code_invalid"),
    ]
    for code_hash, key_id, now_ms, code in refused:
        with pytest.raises(EnrolmentRefused) as caught:
            await store.enrol_terminal(code_hash, key_id, b"\x02" * 33, "", now_ms)
        assert caught.value.code == code


async def test_key_of_one_terminal_can_not_be_enrolled_for_another(store: Store, shop: Shop) -> None:
    enrolled = await shop.enrol(store)
    await store.add_terminal(replace(shop.terminal, terminal_id="TERMNA02"), b"f" * 32, shop.now_ms + 60_000)
    key_id, public_key = enrolled.terminal.key_id, enrolled.terminal.public_key
    with pytest.raises(EnrolmentRefused) as caught:
        await store.enrol_terminal(b"f" * 32, key_id, public_key, "", shop.now_ms)
    assert caught.value.code == "key_already_enrolled"


async def test_withdrawn_terminal_stays_withdrawn(store: Store, shop: Shop) -> None:
    await store.revoke_terminal("TERMNA01")
    await store.revoke_terminal("TERMNA01")
    with pytest.raises(EnrolmentRefused):
        await shop.enrol(store)
    (listed,) = await store.list_terminals()
    assert listed.terminal.status is TerminalStatus.REVOKED
    with pytest.raises(NotFound):
        await store.revoke_terminal(UNKNOWN)


# Wallets, instruments, codes -------------------------------------------------------------------------------


async def test_wallet_is_funded_once_per_transfer(store: Store, shop: Shop) -> None:
    await store.fund_wallet("WALLET1", b"funding-transfer", shop.funds_minor, shop.now_ms + 1)
    assert await balance_of(store, shop) == shop.funds_minor
    with pytest.raises(IdempotencyConflict):
        await store.fund_wallet("WALLET1", b"funding-transfer", 1, shop.now_ms)
    with pytest.raises(NotFound):
        await store.fund_wallet(UNKNOWN, b"another-transfer", 1, shop.now_ms)


async def test_transfer_that_funded_one_wallet_does_not_fund_another(store: Store, shop: Shop) -> None:
    await store.add_wallet(replace(shop.wallet, wallet_id="WALLET2", account_id=b"wallet-account-2"))
    with pytest.raises(IdempotencyConflict):
        await store.fund_wallet("WALLET2", b"funding-transfer", shop.funds_minor, shop.now_ms)


@pytest.mark.parametrize("amount_minor", [0, -1, 10**15 + 1])
async def test_wallet_is_not_funded_with_an_impossible_amount(
    store: Store, shop: Shop, amount_minor: int
) -> None:
    with pytest.raises(MoneyError):
        await store.fund_wallet("WALLET1", b"another-transfer", amount_minor, shop.now_ms)
    assert await balance_of(store, shop) == shop.funds_minor


async def test_wallets_are_found_and_listed_with_their_balances(store: Store, shop: Shop) -> None:
    second = replace(
        shop.wallet, wallet_id="WALLET2", account_id=b"wallet-account-2", status=WalletStatus.FROZEN
    )
    await store.add_wallet(second)
    listed = await store.list_wallets()
    assert [(one.wallet, one.available_minor) for one in listed] == [
        (shop.wallet, shop.funds_minor),
        (second, 0),
    ]
    assert await store.find_wallet("WALLET2") == listed[1]
    assert await store.find_wallet(UNKNOWN) is None
    with pytest.raises(NotFound):
        await store.set_wallet_status(UNKNOWN, WalletStatus.FROZEN)


async def test_instrument_is_found_by_key_and_its_key_is_taken(store: Store, shop: Shop) -> None:
    assert await store.find_instrument_by_key(shop.instrument.key_id) == shop.instrument
    assert await store.list_instruments() == [shop.instrument]
    with pytest.raises(IdempotencyConflict):
        await store.add_instrument(replace(shop.instrument, instrument_id="INSTRUMENT2"))
    with pytest.raises(NotFound):
        await store.add_instrument(
            replace(shop.instrument, instrument_id="INSTRUMENT2", key_id=b"otherkey", wallet_id=UNKNOWN)
        )
    with pytest.raises(NotFound):
        await store.set_instrument_status(UNKNOWN, InstrumentStatus.SUSPENDED)


async def test_card_key_batches_are_listed_newest_first_and_bounded(store: Store, shop: Shop) -> None:
    batches = [CardKeyBatch(number, 1, b"meta", b"master", shop.now_ms) for number in range(1, 17)]
    for batch in batches:
        await store.add_card_key_batch(batch)
    with pytest.raises(ConfigurationError):
        await store.add_card_key_batch(CardKeyBatch(17, 1, b"meta", b"master", shop.now_ms))
    assert await store.list_card_key_batches() == batches[::-1]


async def test_card_key_batch_number_is_taken_once(store: Store, shop: Shop) -> None:
    await store.add_card_key_batch(CardKeyBatch(1, 1, b"meta", b"master", shop.now_ms))
    with pytest.raises(IdempotencyConflict):
        await store.add_card_key_batch(CardKeyBatch(1, 1, b"other", b"other", shop.now_ms))


async def test_fresh_code_withdraws_the_instruments_earlier_unused_one(store: Store, shop: Shop) -> None:
    expires_ms = shop.now_ms + 60_000
    for code_hash in (b"1" * 32, b"2" * 32):
        await store.add_payment_code(code_hash, "INSTRUMENT1", expires_ms, shop.now_ms)
    assert await store.find_payment_code(b"1" * 32, shop.now_ms) is None
    assert await store.find_payment_code(b"2" * 32, shop.now_ms) == shop.instrument
    assert await store.find_payment_code(b"2" * 32, expires_ms) is None


async def test_codes_issued_at_once_leave_one_that_pays(
    store: Store, open_store: OpenStore, shop: Shop, database: Database
) -> None:
    other = await open_store()
    for number in range(5):
        expires_ms = shop.now_ms + 60_000
        await asyncio.gather(
            *(
                one.add_payment_code(bytes((number, index)) * 16, "INSTRUMENT1", expires_ms, shop.now_ms)
                for one in (store, other)
                for index in range(2 if one is store else 4)
            ),
            return_exceptions=True,
        )
        assert await database.read(["SELECT count(*) FROM payment_codes WHERE used_by IS NULL"]) == [[(1,)]]


async def test_used_code_still_says_whose_it_is(store: Store, shop: Shop) -> None:
    await store.add_payment_code(b"1" * 32, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms)
    verdict = Verified("INSTRUMENT1", PaymentCodeUse(b"1" * 32))
    await store.book_payment(shop.booking(1, verdict=verdict, entry_mode=EntryMode.CODE_NUMERIC))
    await store.add_payment_code(b"2" * 32, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms)
    assert await store.find_payment_code(b"1" * 32, shop.now_ms) == shop.instrument


async def test_code_in_use_by_another_instrument_is_a_conflict_until_it_expires(
    store: Store, shop: Shop
) -> None:
    other = replace(shop.instrument, instrument_id="INSTRUMENT2", key_id=b"otherkey")
    await store.add_instrument(other)
    expires_ms = shop.now_ms + 60_000
    await store.add_payment_code(b"1" * 32, "INSTRUMENT1", expires_ms, shop.now_ms)
    with pytest.raises(IdempotencyConflict):
        await store.add_payment_code(b"1" * 32, "INSTRUMENT2", expires_ms, shop.now_ms)
    assert await store.find_payment_code(b"1" * 32, shop.now_ms) == shop.instrument
    await store.add_payment_code(b"1" * 32, "INSTRUMENT2", expires_ms + 60_000, expires_ms)
    assert await store.find_payment_code(b"1" * 32, expires_ms) == other


async def test_code_needs_its_instrument(store: Store, shop: Shop) -> None:
    with pytest.raises(NotFound):
        await store.add_payment_code(b"1" * 32, UNKNOWN, shop.now_ms + 60_000, shop.now_ms)


# The store itself ------------------------------------------------------------------------------------------


async def test_health_is_fine_until_the_store_is_closed(store: Store) -> None:
    await store.check_health()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.check_health()
    with pytest.raises(StoreUnavailable):
        await store.list_merchants()


async def test_refusal_of_an_unknown_instrument_names_none(store: Store, shop: Shop) -> None:
    use = TokenUse(b"unknown!", 1, bytes(32), None)
    record = await store.book_payment(shop.booking(1, verdict=Refused("instrument_unknown", None, use)))
    assert (record.instrument_id, record.instrument_label) == (None, None)


async def test_hold_that_is_over_does_not_keep_money_from_a_payment(store: Store, shop: Shop) -> None:
    hold = Transfer(
        transfer_id=b"hold-transfer-id",
        kind=TransferKind.PENDING,
        debit_account_id=shop.wallet.account_id,
        credit_account_id=shop.merchant.account_id,
        amount_minor=shop.funds_minor,
        currency="EUR",
        expires_ms=shop.now_ms + 1_000,
    )
    (answer,) = await store.book([TransferGroup((hold,))], shop.now_ms)
    held = await store.book_payment(shop.booking(1))
    over = await store.book_payment(shop.booking(2, now_ms=shop.now_ms + 1_000))
    assert answer.outcome is Outcome.BOOKED
    assert (held.decline_code, over.outcome) == ("insufficient_funds", "approved")


# Many keys at once -----------------------------------------------------------------------------------------


async def test_instruments_of_many_keys_are_found_together(store: Store, shop: Shop) -> None:
    others = [
        replace(shop.instrument, instrument_id=f"OTHER{number}", key_id=b"key-%04d" % number)
        for number in range(7)
    ]
    for other in others:
        await store.add_instrument(other)
    asked = [other.key_id for other in others[:5]]
    found = await store.find_instruments_by_keys([*asked, b"nobody's", asked[0]])
    assert sorted(found, key=lambda one: one.key_id) == others[:5]
    assert await store.find_instruments_by_keys([]) == []


# Nonces of requests ----------------------------------------------------------------------------------------


async def test_replayed_request_gets_no_second_code_from_any_process(
    open_store: OpenStore, store: Store, shop: Shop
) -> None:
    nonce = RequestNonce(b"phonekey", "nonce-of-16-chars", shop.now_ms + 600_000)
    await store.add_payment_code(b"a" * 32, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms, nonce)
    another = await open_store()
    with pytest.raises(AuthenticationFailed) as refused:
        await another.add_payment_code(b"b" * 32, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms, nonce)
    assert refused.value.code == "nonce_replayed"
    assert await store.find_payment_code(b"b" * 32, shop.now_ms) is None
    assert await store.find_payment_code(b"a" * 32, shop.now_ms) is not None, "the first code stays good"


async def test_request_whose_code_was_not_stored_may_come_again(store: Store, shop: Shop) -> None:
    other = replace(shop.instrument, instrument_id="INSTRUMENT2", key_id=b"otherkey")
    await store.add_instrument(other)
    await store.add_payment_code(b"a" * 32, "INSTRUMENT2", shop.now_ms + 60_000, shop.now_ms)
    nonce = RequestNonce(b"phonekey", "nonce-of-16-chars", shop.now_ms + 600_000)
    with pytest.raises(IdempotencyConflict):
        await store.add_payment_code(b"a" * 32, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms, nonce)
    await store.add_payment_code(b"b" * 32, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms, nonce)


async def test_expired_nonces_are_forgotten(store: Store, shop: Shop) -> None:
    nonce = RequestNonce(b"phonekey", "nonce-of-16-chars", shop.now_ms + 1_000)
    await store.add_payment_code(b"a" * 32, "INSTRUMENT1", shop.now_ms + 60_000, shop.now_ms, nonce)
    later_ms = shop.now_ms + 1_000
    await store.add_payment_code(b"b" * 32, "INSTRUMENT1", later_ms + 60_000, later_ms, nonce)


async def test_terminal_nonce_of_late_yesterday_is_still_known_today(store: Store, shop: Shop) -> None:
    midnight_ms = (shop.now_ms // DAY_MS + 1) * DAY_MS
    nonce = shop.token_use(1).terminal_nonce
    same_nonce = structs.replace(shop.token_use(2), terminal_nonce=nonce)
    await store.book_payment(shop.booking(1, now_ms=midnight_ms - 1))
    second = await store.book_payment(
        shop.booking(2, now_ms=midnight_ms, verdict=Verified("INSTRUMENT1", same_nonce))
    )
    assert second.decline_code == "token_replayed"
