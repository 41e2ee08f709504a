"""One sale, through the daemon's own doors: readers on one side, till API on the other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from terminal.config import SaleSettings, TerminalConfig
from terminal.data_folder import prepare_folder
from terminal.disk import FolderDisk
from terminal.journal.journal import UNRESOLVED_MAX, Journal, read_journal
from terminal.sale.session import ATTEMPTS_MAX
from tests.terminal.conftest import (
    IMPATIENT,
    READER,
    GatewayStandIn,
    Process,
    Till,
    be_busy,
    hold,
    lose_answer,
    make_json,
    make_presentation,
    make_problem,
    make_request,
    now_ms,
    reset_unread,
    until,
)
from wire.cards.payment_terms import parse_payment_terms
from wire.messages.base import parse_message
from wire.messages.payments import EntryMode, PaymentRequest
from wire.messages.till import SaleEventKind, SaleState

StartTill = Callable[..., Awaitable[Till]]
Kind = SaleEventKind


async def test_approved_sale_tells_every_step_and_disarms_at_once(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    sale = await till.start_sale(1250, order_id="order-7")
    assert till.readers.is_armed
    till.readers.present(make_presentation())
    events = [await till.events.get() for _ in range(4)]
    assert [event.kind for event in events] == [Kind.ARMED, Kind.READING, Kind.SUBMITTING, Kind.APPROVED]
    assert [event.sequence - events[0].sequence for event in events] == [0, 1, 2, 3]
    last = events[-1]
    assert not till.readers.is_armed
    assert last.sale.state is SaleState.APPROVED
    assert (last.reader, last.entry_mode) == (READER, EntryMode.QR_CONSUMER)
    assert last.tap_to_answer_ms is not None
    assert 0 <= last.tap_to_answer_ms < 5_000
    assert last.sale.answer is not None
    assert last.sale.answer.order_id == "order-7"
    assert (await till.find_sale(sale.sale_id)) == last.sale
    assert len(gateway.booked) == 1


async def test_attempt_is_in_the_journal_when_it_reaches_the_gateway(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    seen: list[list[str]] = []

    async def look(_: GatewayStandIn, __: web.Request, process: Process) -> web.StreamResponse:
        seen.append([entry.outcome for entry in read_journal(FolderDisk(till.folder))])
        return make_json(process())

    gateway.faults.append(look)
    await till.start_sale()
    till.readers.present(make_presentation())
    await till.wait_for(Kind.APPROVED)
    assert seen == [["unresolved"]]


async def test_decline_keeps_the_sale_armed_and_another_instrument_is_a_new_attempt(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.decline_codes.extend(["insufficient_funds", None])
    await till.start_sale(order_id="order-1")
    till.readers.present(make_presentation(1))
    declined = await till.wait_for(Kind.DECLINED)
    assert declined.sale.state is SaleState.ARMED
    assert declined.decline is not None
    assert declined.decline.code == "insufficient_funds"
    assert set(declined.decline.cashier_text) == {"en", "zh-Hans"}
    assert till.readers.is_armed
    till.readers.present(make_presentation(2))
    approved = await till.wait_for(Kind.APPROVED)
    assert approved.sale.attempt_count == 2
    first, second = (answer for _, answer in gateway.booked.values())
    assert first.attempt_id != second.attempt_id
    assert first.order_id == second.order_id == "order-1"


async def test_last_possible_decline_ends_the_sale(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till()
    gateway.decline_codes.extend(["limit_per_day_exceeded"] * ATTEMPTS_MAX)
    await till.start_sale()
    for number in range(ATTEMPTS_MAX):
        assert till.readers.is_armed
        till.readers.present(make_presentation(number))
        event = await till.wait_for(Kind.DECLINED)
    assert event.sale.state is SaleState.DECLINED
    assert not till.readers.is_armed


async def test_decline_that_no_other_card_can_change_ends_the_sale(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.decline_codes.append("order_already_paid")
    await till.start_sale()
    till.readers.present(make_presentation())
    assert (await till.wait_for(Kind.DECLINED)).sale.state is SaleState.DECLINED
    assert not till.readers.is_armed


async def test_refused_presentation_keeps_the_sale_going(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    await till.start_sale()
    till.readers.refuse("uid_only_card")
    refused = await till.wait_for(Kind.REFUSED)
    assert refused.sale.state is SaleState.ARMED
    assert refused.refusal is not None
    assert (refused.refusal.code, refused.refusal.reader) == ("uid_only_card", READER)
    assert set(refused.refusal.cashier_text) == {"en", "zh-Hans"}
    till.readers.present(make_presentation())
    assert (await till.wait_for(Kind.APPROVED)).sale.attempt_count == 1
    assert len(gateway.payments) == 1


async def test_same_presentation_twice_in_one_sale_is_refused_and_not_sent(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.decline_codes.append("token_expired")
    await till.start_sale()
    till.readers.present(make_presentation(1))
    await till.wait_for(Kind.DECLINED)
    till.readers.present(make_presentation(1))
    refused = await till.wait_for(Kind.REFUSED)
    assert refused.refusal is not None
    assert refused.refusal.code == "already_presented"
    assert len(gateway.payments) == 1


async def test_same_presentation_in_the_next_sale_is_sent(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.decline_codes.extend(["order_already_paid", "token_replayed"])
    for _ in range(2):
        await till.start_sale()
        till.readers.present(make_presentation(1))
        await till.wait_for(Kind.DECLINED)
        sale = (await till.start_sale()) if gateway.decline_codes else None
        if sale is not None:
            await till.session.delete(f"/v1/sales/{sale.sale_id}")
            await till.wait_for(Kind.CANCELLED)
    assert len(gateway.payments) == 2


async def test_two_presentations_at_once_give_one_attempt(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    await till.start_sale()
    barrier = threading.Barrier(4)

    def tap(number: int) -> None:
        barrier.wait()
        till.readers.present(make_presentation(number))

    await asyncio.gather(*(asyncio.to_thread(tap, number) for number in range(4)))
    approved = await till.wait_for(Kind.APPROVED)
    assert approved.sale.attempt_count == 1
    assert len(gateway.booked) == 1


async def test_presentation_while_submitting_is_ignored(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.faults.append(hold)
    gateway.decline_codes.append("wallet_frozen")
    await till.start_sale()
    till.readers.present(make_presentation(1))
    await gateway.held.wait()
    till.readers.present(make_presentation(2))
    till.readers.refuse("uid_only_card")
    gateway.release.set()
    declined = await till.wait_for(Kind.DECLINED, Kind.REFUSED, Kind.READING)
    while declined.kind is Kind.READING:
        declined = await till.wait_for(Kind.DECLINED, Kind.REFUSED, Kind.READING)
    assert declined.kind is Kind.DECLINED
    assert declined.sale.attempt_count == 1
    assert len(gateway.booked) == 1


async def test_presentation_of_before_the_sale_is_not_charged_to_it(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    before_ns = time.monotonic_ns()
    await till.start_sale()
    till.readers.present(make_presentation(1), noticed_ns=before_ns)
    till.readers.present(make_presentation(2))
    await till.wait_for(Kind.APPROVED)
    (body,) = (one.body for one in gateway.payments)
    assert parse_message(body, PaymentRequest).presentation == make_presentation(2)


async def test_what_a_reader_told_of_before_the_sale_is_not_shown_in_it(start_till: StartTill) -> None:
    till = await start_till()
    before_ns = time.monotonic_ns()
    await till.start_sale()
    # Told while an earlier sale was on; the event loop comes to it in this one.
    till.readers.refuse("uid_only_card", noticed_ns=before_ns)
    till.readers.present(make_presentation(1), noticed_ns=before_ns)
    till.readers.refuse("card_not_supported")
    kinds = (Kind.ARMED, Kind.READING, Kind.REFUSED, Kind.SUBMITTING)
    told = [await till.wait_for(*kinds) for _ in range(3)]
    assert [event.kind for event in told] == [Kind.ARMED, Kind.READING, Kind.REFUSED]
    assert told[-1].refusal is not None
    assert told[-1].refusal.code == "card_not_supported"


async def test_second_sale_waits_for_the_first(start_till: StartTill) -> None:
    till = await start_till()
    await till.start_sale()
    problem = await till.refusal_of("POST", "/v1/sales", data=b'{"amount_minor": 100}')
    assert problem.code == "sale_in_progress"


async def test_cancel_ends_an_armed_sale_once(start_till: StartTill) -> None:
    till = await start_till()
    sale = await till.start_sale()
    async with till.session.delete(f"/v1/sales/{sale.sale_id}") as response:
        assert response.status == 200
    assert (await till.wait_for(Kind.CANCELLED)).sale.state is SaleState.CANCELLED
    assert not till.readers.is_armed
    problem = await till.refusal_of("DELETE", f"/v1/sales/{sale.sale_id}")
    assert problem.code == "sale_finished"


async def test_cancel_is_refused_while_submitting(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till()
    gateway.faults.append(hold)
    sale = await till.start_sale()
    till.readers.present(make_presentation())
    await gateway.held.wait()
    problem = await till.refusal_of("DELETE", f"/v1/sales/{sale.sale_id}")
    assert problem.code == "sale_submitting"
    gateway.release.set()
    assert (await till.wait_for(Kind.APPROVED)).sale.sale_id == sale.sale_id


async def test_sale_times_out_when_nothing_is_presented(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    sale = await till.start_sale(deadline_ms=1_000)
    assert sale.deadline_ms == sale.created_ms + 1_000
    assert (await till.wait_for(Kind.TIMED_OUT)).sale.state is SaleState.TIMED_OUT
    assert not till.readers.is_armed
    till.readers.present(make_presentation())
    assert (await till.find_sale(sale.sale_id)).state is SaleState.TIMED_OUT
    assert gateway.payments == []


async def test_decline_after_the_deadline_ends_the_sale(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=SaleSettings(answer_deadline_ms=5_000))
    gateway.faults.extend([hold, hold, hold, hold])
    gateway.decline_codes.append("insufficient_funds")
    sale = await till.start_sale(deadline_ms=1_000)
    till.readers.present(make_presentation())
    await gateway.held.wait()
    await until(lambda: now_ms() > sale.deadline_ms + 20)
    assert (await till.find_sale(sale.sale_id)).state is SaleState.SUBMITTING
    gateway.release.set()
    assert (await till.wait_for(Kind.DECLINED)).sale.state is SaleState.DECLINED
    assert not till.readers.is_armed


async def test_missing_answer_is_unknown_and_its_late_word_is_told(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT)
    gateway.faults.extend([lose_answer] * 100)
    gateway.find_faults.extend([reset_unread] * 3)
    sale = await till.start_sale()
    till.readers.present(make_presentation())
    unknown = await till.wait_for(Kind.UNKNOWN)
    assert unknown.sale.state is SaleState.UNKNOWN
    assert not till.readers.is_armed
    approved = await till.wait_for(Kind.APPROVED)
    assert approved.sale.sale_id == sale.sale_id
    assert approved.sale.state is SaleState.APPROVED
    assert len(gateway.booked) == 1
    assert len(set(gateway.attempt_ids)) == 1


async def test_next_sale_may_start_while_an_outcome_is_unknown(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT)
    gateway.faults.extend([reset_unread] * 100)
    gateway.find_faults.extend([reset_unread] * 10_000)
    await till.start_sale()
    till.readers.present(make_presentation(1))
    await till.wait_for(Kind.UNKNOWN)
    gateway.faults.clear()
    await till.start_sale()
    till.readers.present(make_presentation(2))
    await till.wait_for(Kind.APPROVED)
    # The approved one is written off in the journal after the cashier was told.
    await until(
        lambda: (
            [entry.outcome for entry in read_journal(FolderDisk(till.folder))] == ["unresolved", "approved"]
        )
    )
    assert (await till.find_daemon()).unresolved_attempt_count == 1


async def test_refusal_by_the_gateway_ends_the_sale_with_its_reason(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    async def refuse(*_: object) -> object:
        return make_problem("terminal_revoked", 403)

    till = await start_till()
    gateway.faults.append(refuse)
    await till.start_sale()
    till.readers.present(make_presentation())
    declined = await till.wait_for(Kind.DECLINED)
    assert declined.sale.state is SaleState.DECLINED
    assert declined.sale.answer is None
    assert declined.decline is not None
    assert declined.decline.code == "terminal_revoked"
    assert not till.readers.is_armed


async def test_busy_gateway_is_asked_again_within_the_sale(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    gateway.faults.extend([be_busy, be_busy, lose_answer])
    await till.start_sale()
    till.readers.present(make_presentation())
    assert (await till.wait_for(Kind.APPROVED)).sale.attempt_count == 1
    assert len(gateway.payments) == 4
    assert len(gateway.booked) == 1


async def test_attempt_that_cannot_be_stored_is_not_sent_and_may_be_presented_again(
    start_till: StartTill, gateway: GatewayStandIn, make_config: Callable[..., TerminalConfig]
) -> None:
    folder = prepare_folder(make_config().data_path)
    journal = Journal(FolderDisk(folder))
    for number in range(UNRESOLVED_MAX):
        journal.record_attempt(make_request(number), at_ms=now_ms())
    journal.close()
    gateway.find_faults.append(hold)
    till = await start_till()
    await till.start_sale()
    till.readers.present(make_presentation())
    refused = await till.wait_for(Kind.REFUSED)
    assert refused.refusal is not None
    assert refused.refusal.code == "journal_unwritable"
    assert refused.sale.state is SaleState.ARMED
    assert gateway.payments == []
    gateway.find_faults.clear()
    gateway.release.set()
    await until(lambda: len(gateway.booked) > 1)
    till.readers.present(make_presentation())
    assert (await till.wait_for(Kind.APPROVED)).sale.attempt_count == 1


async def test_every_select_gets_terms_of_this_sale_with_a_fresh_nonce(start_till: StartTill) -> None:
    till = await start_till()
    await till.start_sale(1999)
    assert till.readers.terms is not None
    terms = [till.readers.terms() for _ in range(100)]
    assert len({one.nonce for one in terms}) == 100
    read_back = parse_payment_terms(terms[0].encode())
    assert str(read_back.amount) == "19.99 EUR"
    assert (read_back.terminal_id, read_back.merchant_id) == ("TERM0001", "MERCHANT0000001")


async def test_stopping_cancels_an_armed_sale(start_till: StartTill) -> None:
    till = await start_till()
    await till.start_sale()
    stopping = asyncio.create_task(till.stop())
    assert (await till.wait_for(Kind.CANCELLED)).sale.state is SaleState.CANCELLED
    await stopping
    assert till.readers.was_stopped
    assert not till.readers.is_armed
