"""Cards are made, proven, mended and wiped in conversations that any process of any gateway may take up."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest

from gateway.cards.model import CARD_SESSIONS_PER_TERMINAL_MAX, CardOrderState
from gateway.cards.orders import CARD_ORDER_LIFE_MS
from gateway.cards.sessions import CARD_SESSION_LIFE_MS
from gateway.errors import CardRefused, IdempotencyConflict, NotFound, PaymentRefused
from gateway.holders.model import InstrumentStatus
from gateway.payments.card_keys import CardKeyRing
from gateway.payments.life import Void
from gateway.payments.service import PaymentService
from gateway.storage.store import Store
from simulators.cards.card import CardTorn
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import deliver_chip, personalise_chip
from tests.card_bench import LINK_BASE, UID, CardBench, chip_of, keys_of_batch, make_chip, read_link
from tests.conftest import Shop
from wire.cards.ntag424.card_profile import derive_card_keys
from wire.messages.cards import CardAnswerRequest, CardPurpose, CardSessionAnswer, CardSessionRequest
from wire.messages.payments import ConfirmationWay, NfcSdmPresentation, PaymentAnswer, PaymentRequest
from wire.money import Money, find_currency

PERSONALISE, VERIFY = CardPurpose.PERSONALISE, CardPurpose.VERIFY
RECOVER, WIPE, CONFIRM = CardPurpose.RECOVER, CardPurpose.WIPE, CardPurpose.CONFIRM
SEED = 424
OpenStore = Callable[[], Awaitable[Store]]


@pytest.fixture
async def bench(open_store: OpenStore, shop: Shop) -> CardBench:
    store = await open_store()
    return CardBench(store, await shop.furnish(store), SEED)


async def make_card(bench: CardBench) -> tuple[Ntag424Card, str]:
    """Return a card of a new wallet, with its instrument's id."""
    wallet_id = await bench.furnish()
    card = make_chip(SEED)
    done = await bench.hold(card, PERSONALISE, await bench.order(wallet_id))
    assert done.state == "done", done.code
    assert done.card is not None
    assert done.card.instrument_id is not None
    return card, done.card.instrument_id


async def tap(bench: CardBench, card: Ntag424Card) -> bytes | None:
    """Return whose tap the gateway takes a card's link for."""
    found = await CardKeyRing(bench.store, bench.vault).verify_tap(read_link(card))
    return None if found is None else found.key_id


async def test_an_ordered_chip_becomes_the_wallets_card(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    code = await bench.order(wallet_id, label="Blue card")
    card = make_chip(SEED)
    done = await bench.hold(card, PERSONALISE, code)
    assert (done.state, done.code) == ("done", None)
    assert done.card is not None
    assert (done.card.label, done.card.status, done.card.key_version) == ("Blue card", "active", 1)
    instrument = await bench.store.find_instrument(done.card.instrument_id or "")
    assert instrument is not None
    assert instrument.wallet_id == wallet_id
    assert instrument.key_id == await tap(bench, card)
    # The link that proved it went through the terminal: it pays nothing any more.
    assert instrument.card_counter == card.counter - 1
    (order,) = await bench.store.list_card_orders()
    assert (order.state, order.instrument_id) == (CardOrderState.DONE, instrument.instrument_id)
    assert card.memory.random_uid
    assert UID not in b"".join((order.card_key_id or b"", instrument.key_id))


async def test_a_code_makes_one_card(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    code = await bench.order(wallet_id)
    await bench.hold(make_chip(SEED), PERSONALISE, code)
    with pytest.raises(CardRefused) as refused:
        await bench.hold(make_chip(1, b"\x04" + bytes(6)), PERSONALISE, code)
    assert refused.value.code == "card_code_invalid"
    assert len(await bench.store.list_instruments()) == 2


@pytest.mark.parametrize("how", ["unknown", "cancelled", "late", "not a code", "none"])
async def test_a_code_that_is_not_open_begins_nothing(bench: CardBench, how: str) -> None:
    wallet_id = await bench.furnish()
    code: str | None = await bench.order(wallet_id)
    (order,) = await bench.store.list_card_orders()
    if how == "cancelled":
        await bench.orders.cancel(order.order_id)
        with pytest.raises(NotFound):
            await bench.orders.cancel(order.order_id)
    elif how == "late":
        bench.now_ms += CARD_ORDER_LIFE_MS
    else:
        code = {"unknown": "0000-0000-0000", "not a code": "!!!!!!!!", "none": None}[how]
    card = make_chip(SEED)
    with pytest.raises(CardRefused) as refused:
        await bench.hold(card, PERSONALISE, code)
    assert refused.value.code == "card_code_invalid"
    assert card.memory == deliver_chip(UID)


async def test_an_order_needs_its_wallet_and_its_batch(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    with pytest.raises(NotFound):
        await bench.order(bench.new_id())
    with pytest.raises(NotFound):
        await bench.order(wallet_id, batch=9)


async def test_an_order_cancelled_meanwhile_makes_no_instrument_and_its_chip_can_be_wiped(
    bench: CardBench,
) -> None:
    wallet_id = await bench.furnish()
    code = await bench.order(wallet_id)
    (order,) = await bench.store.list_card_orders()
    card = make_chip(SEED)
    card.power_on()
    asked = await bench.begin(PERSONALISE, code)
    while asked.command is not None:
        if asked.stage == "proof":
            with contextlib.suppress(NotFound):
                await bench.orders.cancel(order.order_id)
        asked = await bench.answer(asked, card.transmit(asked.command))
    assert (asked.state, asked.code) == ("refused", "card_code_invalid")
    assert len(await bench.store.list_instruments()) == 1
    assert (await bench.hold(card, RECOVER)).code == "card_not_ordered"
    assert (await bench.hold(card, WIPE)).state == "done"


async def test_an_order_belongs_to_the_chip_it_was_begun_with(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    code = await bench.order(wallet_id)
    first = make_chip(SEED)
    first.tear_at_apdu = 20
    with pytest.raises(CardTorn):
        await bench.hold(first, PERSONALISE, code)
    (order,) = await bench.store.list_card_orders()
    assert order.card_key_id is not None
    other = make_chip(2, b"\x04" + bytes(6))
    assert (await bench.hold(other, PERSONALISE, code)).code == "card_differs"
    assert other.memory == deliver_chip(b"\x04" + bytes(6))
    # Begun in time, it is finished whenever the card is back.
    bench.now_ms += CARD_ORDER_LIFE_MS
    assert (await bench.hold(first, PERSONALISE, code)).state == "done"


async def test_a_card_of_a_wallet_is_not_made_another_ones(bench: CardBench) -> None:
    card, instrument_id = await make_card(bench)
    before = card.memory.copy()
    wallet = await bench.holders.add_wallet("Bo", "EUR", now_ms=bench.now_ms)
    code = await bench.order(wallet.wallet_id)
    assert (await bench.hold(card, PERSONALISE, code)).code == "card_in_use"
    await bench.store.set_instrument_status(instrument_id, InstrumentStatus.SUSPENDED)
    assert (await bench.hold(card, PERSONALISE, code)).code == "card_in_use"
    assert card.memory == before


async def test_verify_proves_a_card_and_changes_nothing(bench: CardBench) -> None:
    card, instrument_id = await make_card(bench)
    before = card.memory.copy()
    done = await bench.hold(card, VERIFY)
    assert done.card is not None
    assert (done.state, done.card.instrument_id, done.card.is_newest) == ("done", instrument_id, True)
    before.sdm_counter = card.counter
    assert card.memory == before
    instrument = await bench.store.find_instrument(instrument_id)
    assert instrument is not None
    assert instrument.card_counter == card.counter


async def test_verify_goes_on_where_a_gateway_broke_off_after_noting_what_was_proven(
    bench: CardBench,
) -> None:
    card, instrument_id = await make_card(bench)
    instrument = await bench.store.find_instrument(instrument_id)
    assert instrument is not None
    card.power_on()
    step, is_noted = await bench.begin(VERIFY), False
    while step.command is not None:
        answer = card.transmit(step.command)
        if card.counter > instrument.card_counter and not is_noted:
            # As a gateway leaves it that is killed between noting the card's counter and taking the step.
            is_noted = await bench.store.renew_card(
                instrument_id, instrument.key_id, instrument.key_id, 1, card.counter
            )
        step = await bench.answer(step, answer)
    assert is_noted
    assert (step.state, step.code) == ("done", None)


async def test_verify_tells_a_stranger_from_what_was_begun(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    card = make_chip(SEED)
    assert (await bench.hold(card, VERIFY)).code == "card_not_ordered"
    assert (await bench.hold(card, RECOVER)).code == "card_not_ordered"
    assert (await bench.hold(card, WIPE)).code == "card_not_ordered"
    card.tear_at_apdu = 20
    with pytest.raises(CardTorn):
        await bench.hold(card, PERSONALISE, await bench.order(wallet_id))
    assert (await bench.hold(card, VERIFY)).code == "card_incomplete"


async def test_a_card_with_keys_of_others_is_refused(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    card = make_chip(SEED)
    for cell in card.memory.keys:
        cell.key = b"\x77" * 16
    assert (await bench.hold(card, PERSONALISE, await bench.order(wallet_id))).code == "card_keys_unknown"
    card.memory.random_uid = True
    assert (await bench.hold(card, VERIFY)).code == "card_keys_unknown"


async def test_a_copy_of_its_link_proves_no_card(bench: CardBench) -> None:
    card, _ = await make_card(bench)
    forged = chip_of(card.memory, 1)
    for number in (0, 2, 3, 4):
        forged.memory.keys[number].key = b"\x77" * 16
    assert (await bench.hold(forged, VERIFY)).code == "card_incomplete"


async def test_new_keys_reach_cards_by_recover_and_older_ones_go_on_paying(bench: CardBench) -> None:
    card, instrument_id = await make_card(bench)
    old_key_id = await tap(bench, card)
    await bench.add_keys(2)
    assert await tap(bench, card) == old_key_id
    verified = await bench.hold(card, VERIFY)
    assert verified.card is not None
    assert (verified.card.key_version, verified.card.is_newest) == (1, False)
    renewed = await bench.hold(card, RECOVER)
    assert renewed.card is not None
    assert (renewed.state, renewed.card.key_version, renewed.card.is_newest) == ("done", 2, True)
    instrument = await bench.store.find_instrument(instrument_id)
    assert instrument is not None
    assert instrument.card_key_version == 2
    assert await tap(bench, card) == instrument.key_id != old_key_id
    assert [cell.version for cell in card.memory.keys] == [2] * 5


async def test_a_card_of_another_batch_is_found(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    await bench.add_keys(1, batch=2)
    await bench.add_keys(1, batch=3)
    card = make_chip(SEED)
    assert (await bench.hold(card, PERSONALISE, await bench.order(wallet_id, batch=2))).state == "done"
    assert (await bench.hold(card, VERIFY)).state == "done"
    assert max(cell.total_failures for cell in card.memory.keys) < 3


async def test_only_what_can_not_pay_is_wiped_and_nothing_is_issued_twice_under_the_same_keys(
    bench: CardBench,
) -> None:
    card, instrument_id = await make_card(bench)
    before = card.memory.copy()
    assert (await bench.hold(card, WIPE)).code == "card_not_suspended"
    assert card.memory == before
    await bench.store.set_instrument_status(instrument_id, InstrumentStatus.SUSPENDED)
    assert (await bench.hold(card, WIPE)).state == "done"
    delivered = deliver_chip(UID)
    delivered.random_uid, delivered.sdm_counter = True, card.counter
    assert card.memory == delivered
    # Links made in its earlier life would be good again: the same keys are not given out twice.
    wallet = await bench.holders.add_wallet("Bo", "EUR", now_ms=bench.now_ms)
    code = await bench.order(wallet.wallet_id)
    assert (await bench.hold(card, PERSONALISE, code)).code == "card_needs_new_keys"
    await bench.add_keys(2)
    done = await bench.hold(card, PERSONALISE, code)
    assert done.card is not None
    assert (done.state, done.card.key_version) == ("done", 2)
    assert done.card.instrument_id != instrument_id


async def test_a_counter_set_back_is_read_past_what_was_seen_or_needs_new_keys(bench: CardBench) -> None:
    card, instrument_id = await make_card(bench)
    for _ in range(30):
        read_link(card)
    assert (await bench.hold(card, VERIFY)).state == "done"
    seen = card.counter
    card.memory.sdm_counter = 0
    assert (await bench.hold(card, VERIFY)).code == "card_incomplete"
    assert (await bench.hold(card, RECOVER)).state == "done"
    assert card.counter > seen
    instrument = await bench.store.find_instrument(instrument_id)
    assert instrument is not None
    assert instrument.card_counter == card.counter
    for _ in range(70):
        read_link(card)
    await bench.hold(card, VERIFY)
    card.memory.sdm_counter = 0
    assert (await bench.hold(card, RECOVER)).code == "card_needs_new_keys"
    await bench.add_keys(2)
    assert (await bench.hold(card, RECOVER)).state == "done"


async def test_any_process_takes_the_next_answer(bench: CardBench, open_store: OpenStore) -> None:
    wallet_id = await bench.furnish()
    services = [bench.service, bench.make_service(await open_store())]
    card = make_chip(SEED)
    card.power_on()
    asked = await bench.begin(PERSONALISE, await bench.order(wallet_id))
    for turn in range(200):
        if asked.command is None:
            break
        bench.service = services[turn % 2]
        asked = await bench.answer(asked, card.transmit(asked.command))
    assert asked.state == "done"


async def test_a_lost_answer_of_the_gateway_is_given_again(bench: CardBench) -> None:
    wallet_id = await bench.furnish()
    request = CardSessionRequest(
        session_id=bench.new_id(), purpose=PERSONALISE, code=await bench.order(wallet_id)
    )
    card = make_chip(SEED)
    card.power_on()
    begun = await bench.service.begin(request, bench.terminal, now_ms=bench.now_ms)
    asked = await bench.service.begin(request, bench.terminal, now_ms=bench.now_ms)
    assert asked == begun
    while asked.command is not None:
        answer = card.transmit(asked.command)
        first = await bench.answer(asked, answer)
        asked = await bench.answer(asked, answer)
        assert asked == first
    assert asked.state == "done"
    assert len(await bench.store.list_instruments()) == 2
    other = CardSessionRequest(session_id=request.session_id, purpose=VERIFY)
    with pytest.raises(IdempotencyConflict):
        await bench.service.begin(other, bench.terminal, now_ms=bench.now_ms)


async def test_two_answers_to_one_command_count_once(bench: CardBench) -> None:
    await bench.furnish()
    card = make_chip(SEED)
    card.power_on()
    asked = await bench.begin(VERIFY)
    assert asked.command is not None
    answer = card.transmit(asked.command)
    outcomes = await asyncio.gather(
        bench.answer(asked, answer), bench.answer(asked, b"\x6a\x82"), return_exceptions=True
    )
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert len(refused) == 1
    assert isinstance(refused[0], CardRefused)
    assert refused[0].code == "card_session_out_of_step"


async def test_answers_out_of_turn_late_or_of_others_are_refused(bench: CardBench) -> None:
    await bench.furnish()
    asked = await bench.begin(VERIFY)
    for step in (1, 7):
        request = CardAnswerRequest(answer_id=bench.new_id(), step=step, answer=b"\x90\x00")
        with pytest.raises(CardRefused) as refused:
            await bench.service.take_answer(asked.session_id, request, bench.terminal, now_ms=bench.now_ms)
        assert refused.value.code == "card_session_out_of_step"
    bench.now_ms += CARD_SESSION_LIFE_MS
    with pytest.raises(CardRefused) as over:
        await bench.answer(asked, b"\x90\x00")
    assert over.value.code == "card_session_over"


async def test_conversations_of_a_terminal_are_few(bench: CardBench) -> None:
    await bench.furnish()
    begun = []
    for _ in range(CARD_SESSIONS_PER_TERMINAL_MAX + 1):
        bench.now_ms += 1
        begun.append(await bench.begin(VERIFY))
    with pytest.raises(CardRefused) as over:
        await bench.answer(begun[0], b"\x90\x00")
    assert over.value.code == "card_session_over"
    assert (await bench.answer(begun[1], b"\x90\x00")).state == "asking"


async def test_a_card_that_babbles_is_refused(bench: CardBench) -> None:
    await bench.furnish()
    asked = await bench.begin(VERIFY)
    while asked.command is not None:
        # The longest answer that each command lets through.
        frame = b"\x04\x04" + bytes(254)
        status = b"\x90\x00" if asked.command[0] == 0 else b"\x91\xaf"
        asked = await bench.answer(asked, (b"" if asked.command[0] == 0 else frame) + status)
    assert (asked.state, asked.code) == ("refused", "card_answer_invalid")
    with pytest.raises(CardRefused) as over:
        await bench.answer(asked, b"\x90\x00")
    assert over.value.code == "card_session_out_of_step"


async def ask_for_the_card(bench: CardBench) -> tuple[Ntag424Card, PaymentAnswer]:
    """Return a card, and what its tap was answered: above its limit, so it waits for the card itself."""
    card, instrument_id = await make_card(bench)
    instrument = await bench.store.find_instrument(instrument_id)
    assert instrument is not None
    await bench.holders.fund_wallet(
        instrument.wallet_id, Money(5_000, find_currency("EUR")), now_ms=bench.now_ms
    )
    await bench.store.set_confirm_above(instrument_id, 1_000)
    link = read_link(card)
    request = PaymentRequest(
        attempt_id=bench.new_id(),
        order_id="order-1",
        amount_minor=1_500,
        currency="EUR",
        presentation=NfcSdmPresentation(
            picc_data_hex=link.picc_data.hex().upper(), mac_hex=link.mac.hex().upper()
        ),
        presented_ms=bench.now_ms,
    )
    payments = PaymentService(bench.store, bench.vault)
    asked = await payments.pay(request, bench.terminal, payment_id=bench.new_id(), now_ms=bench.now_ms)
    assert asked.confirmation is not None
    assert asked.confirmation.ways == (ConfirmationWay.CARD,)
    return card, asked


async def carry(bench: CardBench, card: Ntag424Card, asked: CardSessionAnswer) -> CardSessionAnswer:
    """Carry a conversation that was begun to its end."""
    while asked.command is not None:
        asked = await bench.answer(asked, card.transmit(asked.command))
    return asked


async def held_minor(bench: CardBench, card: Ntag424Card) -> tuple[int, int]:
    """Return what is left in the card's wallet, and what is held."""
    key_id = await tap(bench, card)
    assert key_id is not None
    instrument = await bench.store.find_instrument_by_key(key_id)
    assert instrument is not None
    held = await bench.holders.find_wallet(instrument.wallet_id)
    return held.available_minor, held.pending_minor


async def test_a_card_that_is_there_confirms_its_payment_once(bench: CardBench) -> None:
    card, asked = await ask_for_the_card(bench)
    card.power_on()
    step = await bench.begin(CONFIRM, payment_id=asked.payment_id)
    while step.command is not None:
        answer = card.transmit(step.command)
        before, step = step, await bench.answer(step, answer)
    assert step.state == "done"
    assert step.payment is not None
    assert (step.payment.outcome, step.payment.charged_minor) == ("approved", 1_500)
    assert await bench.answer(before, answer) == step
    assert await held_minor(bench, card) == (3_500, 0)
    with pytest.raises(PaymentRefused) as refused:
        await bench.hold(card, CONFIRM, payment_id=asked.payment_id)
    assert refused.value.code == "payment_not_open"


@pytest.mark.parametrize("how", ["another card", "a copy of its link", "no card of ours"])
async def test_what_is_not_the_card_confirms_nothing(bench: CardBench, how: str) -> None:
    card, asked = await ask_for_the_card(bench)
    other = chip_of(card.memory, 9)
    if how == "another card":
        uid = b"\x04" + bytes(6)
        keys = derive_card_keys(*keys_of_batch(1, 1), uid)
        other = Ntag424Card(personalise_chip(uid, keys, LINK_BASE), rng=random.Random(SEED))
    elif how == "a copy of its link":
        other.memory.keys[3].key = b"\x77" * 16
    else:
        other = make_chip(9)
    ended = await bench.hold(other, CONFIRM, payment_id=asked.payment_id)
    assert (ended.state, ended.code) == ("refused", "card_differs")
    assert await held_minor(bench, card) == (3_500, 1_500)
    # Held there again, the right one still does.
    assert (await bench.hold(card, CONFIRM, payment_id=asked.payment_id)).state == "done"


async def test_a_payment_that_waits_for_nobody_is_not_confirmed(bench: CardBench) -> None:
    card, asked = await ask_for_the_card(bench)
    with pytest.raises(NotFound):
        await bench.begin(CONFIRM, payment_id=bench.new_id())
    card.power_on()
    step = await bench.begin(CONFIRM, payment_id=asked.payment_id)
    await bench.store.change_payment(
        Void(asked.payment_id, bench.terminal.terminal.terminal_id), bench.now_ms
    )
    with pytest.raises(PaymentRefused):
        await carry(bench, card, step)
    assert await held_minor(bench, card) == (5_000, 0)


async def test_a_card_that_comes_too_late_leaves_nothing_charged(bench: CardBench) -> None:
    card, asked = await ask_for_the_card(bench)
    bench.now_ms += 119_000
    card.power_on()
    step = await bench.begin(CONFIRM, payment_id=asked.payment_id)
    bench.now_ms += 2_000
    step = await carry(bench, card, step)
    assert step.payment is not None
    assert (step.payment.outcome, step.payment.charged_minor) == ("closed", 0)
    assert await held_minor(bench, card) == (5_000, 0)
