"""A payment that waits for its holder: by PIN at the till, by phone, until its time is over."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from simulators.cards.payment_card import PaymentCard
from terminal.config import GatewaySettings, ResolverSettings, SaleSettings
from terminal.disk import FolderDisk
from terminal.journal.journal import read_journal
from tests.terminal.conftest import (
    READER,
    GatewayStandIn,
    Till,
    hold,
    lose_answer,
    make_answer,
    make_json,
    make_presentation,
    make_request,
    reset_unread,
    until,
)
from wire.messages.base import parse_message
from wire.messages.payments import ConfirmationWay, ConfirmRequest
from wire.messages.till import AttemptStage, SaleEvent, SaleEventKind, SaleState, SaleView

StartTill = Callable[..., Awaitable[Till]]
Kind = SaleEventKind
BOTH = (ConfirmationWay.PIN, ConfirmationWay.DEVICE)
RARELY = ResolverSettings(retry_delay_ms=3_600_000, retry_delay_ms_max=3_600_000)


async def sell_and_wait(
    till: Till, gateway: GatewayStandIn, ways: tuple[ConfirmationWay, ...] = BOTH
) -> SaleEvent:
    """Make a sale that waits for its holder when this returns."""
    gateway.confirms.append(ways)
    await till.start_sale()
    till.readers.present(make_presentation())
    return await till.wait_for(Kind.CONFIRMING)


async def enter(till: Till, sale_id: str, pin: str) -> SaleView:
    async with till.session.post(f"/v1/sales/{sale_id}/pin", json={"pin": pin}) as response:
        assert response.status == 200, await response.text()
        return parse_message(await response.read(), SaleView)


def outcomes(till: Till) -> list[str]:
    return [entry.outcome for entry in read_journal(FolderDisk(till.folder))]


def confirmations_of(gateway: GatewayStandIn) -> list[ConfirmRequest]:
    return [
        parse_message(one.body, ConfirmRequest)
        for one in gateway.received
        if one.path.endswith("/confirmations")
    ]


async def test_right_pin_approves_and_the_cashier_was_told_why_how_and_until_when(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    waiting = await sell_and_wait(till, gateway)
    assert waiting.sale.state is SaleState.CONFIRMING
    assert not till.readers.is_armed
    assert waiting.sale.answer is not None
    asked = waiting.sale.answer.confirmation
    assert asked is not None
    assert (asked.code, asked.ways) == ("confirm_above_limit", BOTH)
    assert asked.cashier_text["zh-Hans"]
    problem = await till.refusal_of("POST", "/v1/sales", data=b'{"amount_minor": 100}')
    assert problem.code == "sale_in_progress"
    view = await enter(till, waiting.sale.sale_id, gateway.pin)
    assert view.state is SaleState.APPROVED
    assert (await till.wait_for(Kind.APPROVED)).sale == view
    await until(lambda: outcomes(till) == ["approved"])


async def test_wrong_pin_is_told_and_may_be_tried_again(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    sale_id = (await sell_and_wait(till, gateway)).sale.sale_id
    problem = await till.refusal_of("POST", f"/v1/sales/{sale_id}/pin", json={"pin": "1111"})
    assert (problem.code, problem.status) == ("pin_wrong", 403)
    refused = await till.wait_for(Kind.NOT_CONFIRMED)
    assert refused.sale.state is SaleState.CONFIRMING
    assert refused.refusal is not None
    assert refused.refusal.code == "pin_wrong"
    assert (await enter(till, sale_id, gateway.pin)).state is SaleState.APPROVED
    first, second = confirmations_of(gateway)
    assert first.confirmation_id != second.confirmation_id


async def test_what_is_held_there_instead_of_the_card_is_told_and_the_sale_waits_on(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    before_ns = time.monotonic_ns()
    waiting = await sell_and_wait(till, gateway, (ConfirmationWay.CARD, ConfirmationWay.PIN))
    await until(lambda: till.readers.is_armed)
    till.readers.refuse("card_removed", noticed_ns=before_ns)
    # A phone: it would sign what it was never told, so it is not asked to.
    phone = PaymentCard(ec.derive_private_key(1, ec.SECP256R1()), rng=random.Random(1))
    till.readers.tap(phone)
    told = await till.wait_for(Kind.NOT_CONFIRMED)
    assert told.refusal is not None
    assert (told.refusal.code, told.refusal.reader) == ("card_differs", READER)
    assert told.sale.state is SaleState.CONFIRMING
    assert (await enter(till, waiting.sale.sale_id, gateway.pin)).state is SaleState.APPROVED


async def test_lost_answer_to_a_pin_is_asked_for_again_under_its_id(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    sale_id = (await sell_and_wait(till, gateway)).sale.sale_id
    gateway.confirm_faults.extend([lose_answer, reset_unread])
    assert (await enter(till, sale_id, gateway.pin)).state is SaleState.APPROVED
    entries = confirmations_of(gateway)
    assert len(entries) == 3
    assert len(set(entries)) == 1


async def test_pin_that_nobody_judges_leaves_the_sale_waiting(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(resolver=RARELY, sale=SaleSettings(answer_deadline_ms=1_000))
    sale_id = (await sell_and_wait(till, gateway)).sale.sale_id
    gateway.confirm_faults.extend([reset_unread] * 1_000)
    problem = await till.refusal_of("POST", f"/v1/sales/{sale_id}/pin", json={"pin": gateway.pin})
    assert (problem.code, problem.status) == ("gateway_unreachable", 503)
    assert (await till.find_sale(sale_id)).state is SaleState.CONFIRMING
    gateway.confirm_faults.clear()
    assert (await enter(till, sale_id, gateway.pin)).state is SaleState.APPROVED


@pytest.mark.parametrize("body", [b'{"pin": "12a4"}', b'{"pin": "123"}', b'{"pin": 2468}', b"{}", b"2468"])
async def test_pin_that_is_none_never_leaves_the_till(
    start_till: StartTill, gateway: GatewayStandIn, body: bytes
) -> None:
    till = await start_till()
    sale_id = (await sell_and_wait(till, gateway)).sale.sale_id
    problem = await till.refusal_of("POST", f"/v1/sales/{sale_id}/pin", data=body)
    assert problem.code == "malformed"
    assert confirmations_of(gateway) == []


async def test_pin_is_in_no_log_no_journal_and_no_event(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    gateway.pin = "918273645546"
    with capture_logs() as lines:
        till = await start_till()
        sale_id = (await sell_and_wait(till, gateway)).sale.sale_id
        await till.refusal_of("POST", f"/v1/sales/{sale_id}/pin", json={"pin": "102938475665"})
        gateway.confirm_faults.append(lose_answer)
        await enter(till, sale_id, gateway.pin)
        await till.wait_for(Kind.APPROVED)
        async with till.session.get("/v1/events", headers={"Last-Event-ID": "0"}) as response:
            told = await response.content.readuntil(b"event: approved")
    on_disk = b"".join(path.read_bytes() for path in till.folder.iterdir() if path.is_file())
    assert lines
    for pin in (gateway.pin, "102938475665"):
        assert pin not in str(lines)
        assert pin.encode() not in told
        assert pin.encode() not in on_disk


async def test_pin_where_only_the_phone_counts_is_refused(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    sale_id = (await sell_and_wait(till, gateway, (ConfirmationWay.DEVICE,))).sale.sale_id
    problem = await till.refusal_of("POST", f"/v1/sales/{sale_id}/pin", json={"pin": gateway.pin})
    assert problem.code == "confirmation_way_not_allowed"


async def test_pin_for_a_sale_that_waits_for_none_is_refused(start_till: StartTill) -> None:
    till = await start_till()
    sale = await till.start_sale()
    problem = await till.refusal_of("POST", f"/v1/sales/{sale.sale_id}/pin", json={"pin": "2468"})
    assert problem.code == "sale_not_confirming"


@pytest.mark.parametrize("streams", [True, False])
async def test_phone_decides_and_the_till_hears_of_it(
    start_till: StartTill, gateway: GatewayStandIn, streams: bool
) -> None:
    gateway.streams = streams
    till = await start_till(resolver=RARELY)
    if streams:
        await until(lambda: len(gateway.listeners) == 1)
    waiting = await sell_and_wait(till, gateway)
    assert waiting.sale.attempt_id is not None
    await gateway.tell(gateway.decide(waiting.sale.attempt_id))
    assert (await till.wait_for(Kind.APPROVED)).sale.sale_id == waiting.sale.sale_id


async def test_refused_by_the_phone_another_card_may_be_presented(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(resolver=RARELY)
    waiting = await sell_and_wait(till, gateway)
    assert waiting.sale.attempt_id is not None
    await gateway.tell(gateway.decide(waiting.sale.attempt_id, "confirmation_refused"))
    declined = await till.wait_for(Kind.DECLINED)
    assert declined.sale.state is SaleState.ARMED
    assert till.readers.is_armed
    till.readers.present(make_presentation(2))
    assert (await till.wait_for(Kind.APPROVED)).sale.attempt_count == 2


async def test_event_that_overtakes_the_answer_is_not_lost(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(resolver=RARELY, sale=SaleSettings(answer_deadline_ms=5_000))
    gateway.confirms.append(BOTH)

    async def confirm_first(
        stand_in: GatewayStandIn, request: object, process: Callable[[], object]
    ) -> object:
        waiting = process()
        await stand_in.tell(stand_in.decide(waiting.attempt_id))
        await until(lambda: outcomes(till) == ["approved"])
        return make_json(waiting)

    gateway.faults.append(confirm_first)
    await till.start_sale()
    till.readers.present(make_presentation())
    assert (await till.wait_for(Kind.APPROVED)).sale.state is SaleState.APPROVED


async def test_cancelled_while_waiting_is_let_go(start_till: StartTill, gateway: GatewayStandIn) -> None:
    till = await start_till(resolver=RARELY)
    sale_id = (await sell_and_wait(till, gateway)).sale.sale_id
    async with till.session.delete(f"/v1/sales/{sale_id}") as response:
        assert parse_message(await response.read(), SaleView).state in (SaleState.REVERSING, SaleState.CLOSED)
    closed = await till.wait_for(Kind.CLOSED)
    assert closed.decline is not None
    assert closed.decline.code == "payment_voided"
    (answer,) = (one for _, one in gateway.booked.values())
    assert answer.outcome == "closed"
    assert await till.start_sale()


async def test_cancel_waits_for_a_pin_that_is_on_its_way(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    sale_id = (await sell_and_wait(till, gateway)).sale.sale_id
    gateway.confirm_faults.append(hold)
    entering = asyncio.create_task(enter(till, sale_id, gateway.pin))
    await gateway.held.wait()
    assert (await till.refusal_of("DELETE", f"/v1/sales/{sale_id}")).code == "sale_submitting"
    gateway.release.set()
    assert (await entering).state is SaleState.APPROVED


@pytest.mark.parametrize(
    ("code", "outcome", "state"),
    [(None, "", SaleState.APPROVED), ("confirmation_expired", "closed", SaleState.CLOSED)],
)
async def test_deadline_is_not_a_verdict_the_gateway_is_asked(
    start_till: StartTill, gateway: GatewayStandIn, code: str | None, outcome: str, state: SaleState
) -> None:
    till = await start_till(resolver=RARELY)
    gateway.confirm_ms = 1
    waiting = await sell_and_wait(till, gateway)
    assert waiting.sale.attempt_id is not None
    gateway.decide(waiting.sale.attempt_id, code, outcome)
    assert (await till.wait_for(Kind.APPROVED, Kind.CLOSED)).sale.state is state


async def test_deadline_without_an_answer_is_unknown_and_resolved_later(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(resolver=RARELY, sale=SaleSettings(answer_deadline_ms=50))
    gateway.confirm_ms = 1
    gateway.find_faults.extend([reset_unread] * 10_000)
    waiting = await sell_and_wait(till, gateway)
    unknown = await till.wait_for(Kind.UNKNOWN)
    assert unknown.sale.reverses_ms is not None
    assert (await till.find_daemon()).unresolved[0].stage is AttemptStage.UNKNOWN
    await till.session.post(f"/v1/sales/{waiting.sale.sale_id}/reverse")
    assert (await till.wait_for(Kind.CLOSED)).sale.state is SaleState.CLOSED


async def test_restart_while_waiting_goes_on_with_the_same_sale(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(resolver=RARELY)
    waiting = await sell_and_wait(till, gateway)
    await until(lambda: [one.stage for one in read_journal(FolderDisk(till.folder))] == ["confirming"])
    await till.stop()
    again = await start_till(resolver=RARELY)
    view = await again.find_sale(waiting.sale.sale_id)
    assert view.state is SaleState.CONFIRMING
    assert view.answer is not None
    assert view.answer.confirmation is not None
    assert await again.start_sale()
    assert (await enter(again, view.sale_id, gateway.pin)).state is SaleState.APPROVED
    # The sale that has the till keeps its readers.
    assert again.readers.is_armed


async def test_decision_made_while_the_daemon_was_down_is_heard_after_the_restart(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(resolver=RARELY, gateway=GatewaySettings(event_poll_ms=20))
    await gateway.tell(make_answer(make_request(9)))
    waiting = await sell_and_wait(till, gateway)
    await until(lambda: b'"last":1' in (till.folder / "gateway-events.json").read_bytes())
    await till.stop()
    assert waiting.sale.attempt_id is not None
    await gateway.tell(gateway.decide(waiting.sale.attempt_id))
    again = await start_till(resolver=RARELY)
    async with asyncio.timeout(8):
        while (await again.find_sale(waiting.sale.sale_id)).state is not SaleState.APPROVED:
            pass
    assert outcomes(again) == ["approved"]
