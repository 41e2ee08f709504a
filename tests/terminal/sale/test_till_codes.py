"""The till's own code: shown, paid by a wallet, replaced when used up, and never payable after the sale."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from terminal.config import CodeSettings
from terminal.disk import FolderDisk
from terminal.journal.journal import read_journal
from terminal.sale.sale_code import CODES_MAX
from tests.terminal.conftest import (
    GatewayStandIn,
    Till,
    hold,
    lose_answer,
    make_answer,
    make_presentation,
    make_request,
    reset_unread,
    until,
)
from wire.messages.payments import EntryMode
from wire.messages.till import DaemonEventKind, SaleEvent, SaleEventKind, SaleState

StartTill = Callable[..., Awaitable[Till]]
Kind = SaleEventKind
ON = CodeSettings(enabled=True)


async def show_code(till: Till, gateway: GatewayStandIn) -> SaleEvent:
    await until(lambda: bool(gateway.listeners))
    await till.start_sale(1_250, order_id="table-7")
    return await till.wait_for(Kind.CODE_SHOWN)


def outcomes(till: Till) -> dict[str, str]:
    return {entry.attempt_id: entry.outcome for entry in read_journal(FolderDisk(till.folder))}


async def test_wallet_pays_the_shown_code(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till(codes=ON)
    shown = await show_code(till, gateway)
    (intent,) = gateway.intents
    assert shown.sale.code_text == f"CODE-{intent.intent_id}"
    assert shown.sale.state is SaleState.ARMED
    assert (intent.order_id, intent.amount_minor, intent.currency) == ("table-7", 1_250, "EUR")
    await gateway.pay_code(intent)
    approved = await till.wait_for(Kind.APPROVED)
    assert approved.entry_mode is EntryMode.QR_MERCHANT
    assert (approved.sale.attempt_id, approved.sale.code_text) == (intent.intent_id, None)
    assert not till.readers.is_armed
    assert outcomes(till) == {intent.intent_id: "approved"}
    async with till.session.get(f"/v1/sales/{approved.sale.sale_id}/receipt") as response:
        assert "PAID" in await response.text()


async def test_declined_scan_uses_the_code_up_and_a_fresh_one_is_shown(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(codes=ON)
    await show_code(till, gateway)
    for number in range(1, CODES_MAX):
        await gateway.pay_code(gateway.intents[-1], "insufficient_funds")
        declined = await till.wait_for(Kind.DECLINED)
        assert declined.sale.state is SaleState.ARMED
        assert declined.decline is not None
        fresh = await till.wait_for(Kind.CODE_SHOWN)
        assert len({one.intent_id for one in gateway.intents}) == number + 1
        assert fresh.sale.code_text == f"CODE-{gateway.intents[-1].intent_id}"
    await gateway.pay_code(gateway.intents[-1], "insufficient_funds")
    assert (await till.wait_for(Kind.DECLINED)).sale.code_text is None
    till.readers.present(make_presentation())
    await till.wait_for(Kind.APPROVED)
    assert len(gateway.intents) == CODES_MAX


@pytest.mark.parametrize("ends_by", ["cancel", "tap"])
async def test_code_of_a_sale_that_ended_otherwise_is_taken_back(
    start_till: StartTill, gateway: GatewayStandIn, ends_by: str
) -> None:
    till = await start_till(codes=ON)
    shown = await show_code(till, gateway)
    (intent,) = gateway.intents
    gateway.reversal_faults.append(reset_unread)
    if ends_by == "cancel":
        await till.session.delete(f"/v1/sales/{shown.sale.sale_id}")
    else:
        till.readers.present(make_presentation())
        await till.wait_for(Kind.APPROVED)
    await until(lambda: outcomes(till).get(intent.intent_id) == "declined")
    assert gateway.booked[intent.intent_id][1].outcome == "declined"


async def test_late_payment_of_a_code_that_is_over_is_given_back(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(codes=ON)
    shown = await show_code(till, gateway)
    (intent,) = gateway.intents
    gateway.reversal_faults.append(hold)
    await till.session.delete(f"/v1/sales/{shown.sale.sale_id}")
    await gateway.held.wait()
    await gateway.pay_code(intent)
    gateway.release.set()
    await until(lambda: outcomes(till).get(intent.intent_id) == "closed")
    assert (await till.find_sale(shown.sale.sale_id)).state is SaleState.CANCELLED


async def test_code_paid_while_a_tap_is_on_its_way_ends_the_sale_as_paid(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(codes=ON)
    await show_code(till, gateway)
    gateway.faults.append(hold)
    gateway.decline_codes.append("order_already_paid")
    till.readers.present(make_presentation())
    await gateway.held.wait()
    await gateway.pay_code(gateway.intents[0])
    await until(lambda: outcomes(till).get(gateway.intents[0].intent_id) == "approved")
    gateway.release.set()
    approved = await till.wait_for(Kind.APPROVED)
    assert approved.sale.attempt_id == gateway.intents[0].intent_id


async def test_tap_declined_before_the_code_is_told_as_paid_does_not_end_the_sale(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(codes=ON)
    await show_code(till, gateway)
    gateway.decline_codes.append("order_already_paid")
    till.readers.present(make_presentation())
    assert (await till.wait_for(Kind.DECLINED)).sale.state is SaleState.ARMED
    await gateway.pay_code(gateway.intents[0])
    assert (await till.wait_for(Kind.APPROVED)).sale.attempt_id == gateway.intents[0].intent_id


async def test_code_left_open_by_a_stop_is_taken_back_at_the_next_start(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(codes=ON)
    await show_code(till, gateway)
    (intent,) = gateway.intents
    gateway.reversal_faults.extend([lose_answer] * 1_000)
    await till.stop()
    gateway.reversal_faults.clear()
    again = await start_till()
    await until(lambda: outcomes(again).get(intent.intent_id) == "declined")


async def test_sale_goes_on_where_there_is_no_code(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till(codes=ON)
    gateway.intent_faults.append(lose_answer)
    await till.start_sale()
    await until(lambda: len(gateway.intents) == 1)
    till.readers.present(make_presentation())
    assert (await till.wait_for(Kind.APPROVED)).sale.code_text is None
    await until(lambda: gateway.intents[0].intent_id in outcomes(till))


async def test_payment_at_the_sticker_reaches_the_till_without_a_sale(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    await until(lambda: bool(gateway.listeners))
    answer = make_answer(make_request(5))
    await gateway.tell(make_counter_payment(answer))
    event = await till.wait_for_daemon(DaemonEventKind.COUNTER_PAYMENT)
    assert event.payment is not None
    assert event.payment.attempt_id == answer.attempt_id
    assert outcomes(till) == {answer.attempt_id: "approved"}
    await gateway.tell(make_counter_payment(answer))
    await gateway.tell(make_counter_payment(make_answer(make_request(6))))
    assert (await till.wait_for_daemon(DaemonEventKind.COUNTER_PAYMENT)).payment != event.payment
    assert till.daemon_events.empty()


def make_counter_payment(answer: object) -> object:
    return msgspec.structs.replace(answer, entry_mode=EntryMode.QR_MERCHANT)
