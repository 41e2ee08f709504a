"""The service from request to answer, over a real store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gateway.errors import IdempotencyConflict
from gateway.holders.model import InstrumentStatus, WalletStatus
from gateway.payments.model import Life, PaymentRecord
from gateway.payments.service import answer_of
from wire.messages.base import dump_message, parse_message
from wire.messages.payments import EntryMode, NfcSdmPresentation, PaymentAnswer, PaymentState
from wire.notices import NOTICES, NoticeKind

if TYPE_CHECKING:
    from tests.gateway.payments.conftest import CheckoutCounter

DECLINE_CODES = [code for code, notice in NOTICES.items() if notice.kind is NoticeKind.DECLINE]


def code_of(answer: PaymentAnswer) -> str | None:
    return None if answer.decline is None else answer.decline.code


async def test_every_entry_mode_settles(
    counter: CheckoutCounter, make_link: Callable[..., NfcSdmPresentation]
) -> None:
    meta_key, file_master = await counter.add_batch(1)
    await counter.add_card(1, file_master)
    answers = [
        await counter.pay(counter.tap(counter=1)),
        await counter.pay(counter.qr(counter=2)),
        await counter.pay(make_link(meta_key, file_master)),
        await counter.pay(await counter.code()),
    ]
    # A merchant's code comes another way: a wallet asks for it, not a till.
    assert [answer.entry_mode for answer in answers] == [
        mode for mode in EntryMode if mode is not EntryMode.QR_MERCHANT
    ]
    assert [code_of(answer) for answer in answers] == [None] * 4
    assert [answer.receipt.receipt_number for answer in answers] == ["000001", "000002", "000003", "000004"]
    found = await counter.store.find_wallet("WALLET1")
    assert found.available_minor == counter.shop.funds_minor - 4 * 1_250


async def test_approved_answer_carries_what_a_receipt_states(counter: CheckoutCounter) -> None:
    answer = await counter.pay(counter.tap())
    assert answer.decline is None
    receipt = answer.receipt
    assert (receipt.merchant_name, receipt.location_name) == ("Tea House", "Old Town")
    assert (receipt.instrument_label, receipt.receipt_number) == ("Phone ·· 4821", "000001")
    assert parse_message(dump_message(answer), PaymentAnswer) == answer


async def test_declined_answer_says_why_to_both_in_both_languages(counter: CheckoutCounter) -> None:
    await counter.store.set_wallet_status("WALLET1", WalletStatus.FROZEN)
    answer = await counter.pay(counter.tap())
    notice = NOTICES["wallet_frozen"]
    assert answer.receipt is None
    assert answer.decline.cashier_text == {"en": notice.cashier_en, "zh-Hans": notice.cashier_zh}
    assert answer.decline.holder_text == {"en": notice.holder_en, "zh-Hans": notice.holder_zh}
    assert answer.decline.retryable is False


@pytest.mark.parametrize("code", DECLINE_CODES)
def test_every_decline_can_be_told(counter: CheckoutCounter, code: str) -> None:
    record = PaymentRecord(
        payment_id=counter.ulid(),
        attempt_id=counter.ulid(),
        terminal_id="TERMNA01",
        merchant_id="MERCHANT0000001",
        order_id="order-1",
        outcome="declined",
        decline_code=code,
        amount_minor=1_250,
        currency="EUR",
        entry_mode=EntryMode.NFC_APP,
        instrument_id=None,
        instrument_label=None,
        merchant_name="Tea House",
        location_name="Old Town",
        receipt_number=None,
        decided_ms=counter.shop.now_ms,
        life=Life(PaymentState.DECLINED),
    )
    answer = answer_of(record)
    assert parse_message(dump_message(answer), PaymentAnswer) == answer
    assert answer.decline.cashier_text.keys() == answer.decline.holder_text.keys() == {"en", "zh-Hans"}


async def test_resent_request_gets_the_first_answer_after_its_token_expired(counter: CheckoutCounter) -> None:
    request = counter.request(counter.qr())
    first = await counter.send(request)
    much_later = await counter.send(request, now_ms=counter.shop.now_ms + 3_600_000)
    assert first.outcome == "approved"
    assert much_later == first


async def test_attempt_id_with_another_amount_is_a_conflict(counter: CheckoutCounter) -> None:
    request = counter.request(counter.qr())
    await counter.send(request)
    with pytest.raises(IdempotencyConflict):
        await counter.pay(
            request.presentation, attempt_id=request.attempt_id, order_id=request.order_id, amount_minor=1
        )


async def test_answer_is_found_again_by_both_ids(counter: CheckoutCounter) -> None:
    answer = await counter.pay(counter.tap())
    assert await counter.service.find(answer.payment_id, counter.terminal) == answer
    assert await counter.service.find_by_attempt(answer.attempt_id, counter.terminal) == answer
    assert await counter.service.find(counter.ulid(), counter.terminal) is None
    assert await counter.service.find_by_attempt(counter.ulid(), counter.terminal) is None


async def test_other_tills_payment_is_not_found(counter: CheckoutCounter) -> None:
    answer = await counter.pay(counter.tap())
    elsewhere = replace(counter.terminal, terminal=replace(counter.terminal.terminal, terminal_id="TERMNA99"))
    assert await counter.service.find(answer.payment_id, elsewhere) is None


async def test_tampered_amount_spends_the_token_and_no_money(counter: CheckoutCounter) -> None:
    tap = counter.tap()
    refused = await counter.pay(tap, amount_minor=99_999)
    replayed = await counter.pay(tap)
    assert (code_of(refused), code_of(replayed)) == ("amount_mismatch", "token_replayed")
    found = await counter.store.find_wallet("WALLET1")
    assert found.available_minor == counter.shop.funds_minor


async def test_token_from_the_future_is_spent_before_its_time(counter: CheckoutCounter) -> None:
    shown = counter.qr(age_s=-45)
    early = await counter.pay(shown)
    counter.shop.now_ms += 45_000
    assert (code_of(early), code_of(await counter.pay(shown))) == ("token_not_yet_valid", "token_replayed")


async def test_forged_token_leaves_the_genuine_one_good(counter: CheckoutCounter) -> None:
    tap = counter.tap()
    forged = type(tap)(token=tap.token[:-1] + bytes((tap.token[-1] ^ 1,)))
    assert code_of(await counter.pay(forged)) == "token_invalid"
    assert code_of(await counter.pay(tap)) is None


async def test_copied_key_is_noticed_and_the_instrument_stopped(counter: CheckoutCounter) -> None:
    await counter.pay(counter.tap(counter=5))
    assert code_of(await counter.pay(counter.tap(counter=5))) == "instrument_cloned"
    assert code_of(await counter.pay(counter.tap(counter=6))) == "instrument_suspended"


async def test_instrument_suspended_after_its_key_was_remembered_is_declined(
    counter: CheckoutCounter,
) -> None:
    await counter.pay(counter.tap(counter=1))
    await counter.store.set_instrument_status("INSTRUMENT1", InstrumentStatus.SUSPENDED)
    assert code_of(await counter.pay(counter.tap(counter=2))) == "instrument_suspended"


async def test_cloned_card_declines_by_its_old_counter(
    counter: CheckoutCounter, make_link: Callable[..., NfcSdmPresentation]
) -> None:
    keys = await counter.add_batch(1)
    await counter.add_card(1, keys[1])
    codes = [code_of(await counter.pay(make_link(*keys, counter=number))) for number in (2, 1, 2, 3)]
    assert codes == [None, "card_counter_old", "card_counter_old", None]


async def test_one_token_sent_many_times_at_once_pays_once(counter: CheckoutCounter) -> None:
    shown = counter.qr()
    answers = await asyncio.gather(*(counter.pay(shown) for _ in range(40)))
    assert sorted(map(code_of, answers), key=str) == [None] + ["token_replayed"] * 39
