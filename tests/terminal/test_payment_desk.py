"""Holds, captures, voids and refunds through the till's door, and the list that remembers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.terminal.conftest import (
    GatewayStandIn,
    Till,
    lose_answer,
    make_decline,
    make_json,
    make_presentation,
    now_ms,
    until,
)
from wire.ids import make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.payments import (
    CaptureMode,
    CaptureRequest,
    LineItem,
    OrderDetails,
    PaymentAnswer,
    PaymentRequest,
    PaymentState,
    RefundAnswer,
    RefundRequest,
    StaffProof,
    VoidRequest,
)
from wire.messages.till import SaleEventKind, SaleState, TillPayment

StartTill = Callable[..., Awaitable[Till]]
ORDER_ID = make_ulid(1_800_000_000_000, bytes(10))
STAFF = StaffProof(staff_id=make_ulid(1, bytes(10)), pin="918273")


def closed(answer: PaymentAnswer, state: PaymentState, code: str) -> PaymentAnswer:
    return msgspec.structs.replace(answer, outcome="closed", state=state, decline=make_decline(code))


async def hold_money(till: Till, amount_minor: int = 1_500, **fields: object) -> PaymentAnswer:
    await till.start_sale(amount_minor, capture=CaptureMode.MANUAL, **fields)
    till.readers.present(make_presentation())
    sale = (await till.wait_for(SaleEventKind.APPROVED)).sale
    assert sale.state is SaleState.APPROVED
    assert sale.answer is not None
    while not await list_payments(till):
        pass
    return sale.answer


async def list_payments(till: Till) -> list[TillPayment]:
    async with till.session.get("/v1/payments") as response:
        return parse_message(await response.read(), list[TillPayment])


async def give(till: Till, payment_id: str, what: str, order: object, kind: type) -> object:
    async with till.session.post(f"/v1/payments/{payment_id}/{what}", data=dump_message(order)) as response:
        assert response.status == 200, await response.text()
        return parse_message(await response.read(), kind)


async def test_hold_that_ran_out_is_over_in_the_list_without_being_asked_about(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    held = await hold_money(till)
    await gateway.tell(closed(held, PaymentState.EXPIRED, "hold_expired"))

    async def is_over() -> bool:
        (listed,) = await list_payments(till)
        return (listed.state, listed.code) == (PaymentState.EXPIRED, "hold_expired")

    while not await is_over():
        pass


async def test_late_news_of_a_hold_does_not_undo_its_capture(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    held = await hold_money(till)
    capture = CaptureRequest(capture_id=ORDER_ID, amount_minor=1_500)
    await give(till, held.payment_id, "capture", capture, PaymentAnswer)
    await gateway.tell(held)
    await until(lambda: b'"last":1' in (till.folder / "gateway-events.json").read_bytes())
    (listed,) = await list_payments(till)
    assert listed.state is PaymentState.SUCCEEDED


async def test_sale_with_a_tip_is_held_and_captured(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till()
    order = OrderDetails(amount_minor=1_250, lines=(LineItem(name="Soup", total_minor=1_250),))
    held = await hold_money(till, 1_500, tip_max_minor=250, order=order)
    assert held.state is PaymentState.AUTHORISED
    (sent,) = (parse_message(one.body, PaymentRequest) for one in gateway.payments)
    assert (sent.capture, sent.tip_max_minor, sent.order) == (CaptureMode.MANUAL, 250, order)
    capture = CaptureRequest(capture_id=ORDER_ID, amount_minor=1_250, tip_minor=200)
    captured = await give(till, held.payment_id, "capture", capture, PaymentAnswer)
    assert captured.charged_minor == 1_450
    (listed,) = await list_payments(till)
    assert (listed.state, listed.charged_minor, listed.tip_minor) == (PaymentState.SUCCEEDED, 1_450, 200)


async def test_receipt_of_a_hold_does_not_say_paid(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till()
    sale = await till.start_sale(1_500, capture=CaptureMode.MANUAL)
    till.readers.present(make_presentation())
    await till.wait_for(SaleEventKind.APPROVED)
    async with till.session.get(f"/v1/sales/{sale.sale_id}/receipt") as response:
        text = await response.text()
    assert "HELD" in text
    assert "PAID" not in text


async def test_hold_is_let_go_and_the_list_says_why(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till()
    held = await hold_money(till)
    await give(till, held.payment_id, "void", VoidRequest(void_id=ORDER_ID), PaymentAnswer)
    (listed,) = await list_payments(till)
    assert (listed.state, listed.code) == (PaymentState.VOIDED, "payment_voided")


async def test_refund_is_signed_by_the_terminals_own_key_and_its_pin_is_kept_nowhere(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    with capture_logs() as lines:
        till = await start_till()
        await until(lambda: bool(gateway.sessions))
        paid = await hold_money(till)
        refund = RefundRequest(refund_id=ORDER_ID, total_minor=500, staff=STAFF, reason="cold soup")
        answer = await give(till, paid.payment_id, "refund", refund, RefundAnswer)
    assert answer.payment.refunded_minor == 500
    (sent,) = [one for one in gateway.received if one.path.endswith("/refunds")]
    assert not sent.is_in_session
    assert (await list_payments(till))[0].refunded_minor == 500
    on_disk = b"".join(path.read_bytes() for path in till.folder.iterdir() if path.is_file())
    assert STAFF.pin.encode() not in on_disk
    assert STAFF.pin not in str(lines)


async def test_refusal_keeps_the_gateways_code_and_a_lost_answer_may_be_repeated(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    held = await hold_money(till)
    path = f"/v1/payments/{held.payment_id}/capture"
    too_much = CaptureRequest(capture_id=ORDER_ID, amount_minor=9_999)
    problem = await till.refusal_of("POST", path, data=dump_message(too_much))
    assert (problem.code, problem.status) == ("capture_exceeds_hold", 422)
    gateway.change_faults.append(lose_answer)
    capture = CaptureRequest(capture_id=ORDER_ID, amount_minor=1_000)
    problem = await till.refusal_of("POST", path, data=dump_message(capture))
    assert (problem.code, problem.retryable) == ("gateway_unreachable", True)
    assert (await give(till, held.payment_id, "capture", capture, PaymentAnswer)).charged_minor == 1_000


async def test_answer_about_another_payment_is_not_believed(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    held = await hold_money(till)
    other = msgspec.structs.replace(held, payment_id=make_ulid(now_ms(), bytes(10)))

    async def answer_other(*_: object) -> object:
        return make_json(other, 200)

    gateway.change_faults.append(answer_other)
    path = f"/v1/payments/{held.payment_id}/void"
    problem = await till.refusal_of("POST", path, data=dump_message(VoidRequest(void_id=ORDER_ID)))
    assert problem.code == "gateway_unreachable"
    assert (await list_payments(till))[0].state is PaymentState.AUTHORISED


@pytest.mark.parametrize("payment_id", ["x", "..%2Fpayments", "01ARYZ6S41000000000000000U"])
async def test_payment_id_that_is_none_never_reaches_the_gateway(
    start_till: StartTill, gateway: GatewayStandIn, payment_id: str
) -> None:
    till = await start_till()
    body = dump_message(VoidRequest(void_id=ORDER_ID))
    problem = await till.refusal_of("POST", f"/v1/payments/{payment_id}/void", data=body)
    assert problem.status in (400, 404)
    assert not [one for one in gateway.received if "void" in one.path]
