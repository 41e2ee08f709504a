"""An outcome nobody knows, through the till's door: shown as such, kept or taken back, and told at last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from terminal.config import ResolverSettings, UnknownSettings
from terminal.disk import FolderDisk
from terminal.journal.journal import read_journal
from tests.terminal.conftest import (
    IMPATIENT,
    GatewayStandIn,
    Till,
    lose_answer,
    make_presentation,
    reset_unread,
    until,
)
from wire.messages.base import parse_message
from wire.messages.till import AttemptStage, SaleEventKind, SaleState, SaleView, UnresolvedAttempt

StartTill = Callable[..., Awaitable[Till]]
Kind = SaleEventKind
RARELY = ResolverSettings(retry_delay_ms=3_600_000, retry_delay_ms_max=3_600_000)


async def sell_in_vain(till: Till, gateway: GatewayStandIn, fault: Callable[..., object]) -> SaleView:
    """Make a sale whose outcome is unknown when this returns, and let the gateway answer again."""
    gateway.faults.extend([fault] * 1_000)
    await till.start_sale()
    till.readers.present(make_presentation())
    event = await till.wait_for(Kind.UNKNOWN)
    gateway.faults.clear()
    return event.sale


async def order(till: Till, path: str) -> bytes:
    async with till.session.post(path) as response:
        assert response.status in (200, 204), await response.text()
        return await response.read()


@pytest.mark.parametrize(
    ("fault", "state", "code"),
    [
        (lose_answer, SaleState.CLOSED, "payment_reversed"),
        (reset_unread, SaleState.DECLINED, "attempt_reversed"),
    ],
)
async def test_customer_who_left_is_not_charged(
    start_till: StartTill,
    gateway: GatewayStandIn,
    fault: Callable[..., object],
    state: SaleState,
    code: str,
) -> None:
    till = await start_till(sale=IMPATIENT, resolver=RARELY)
    sale = await sell_in_vain(till, gateway, fault)
    assert sale.reverses_ms is not None
    view = parse_message(await order(till, f"/v1/sales/{sale.sale_id}/reverse"), SaleView)
    assert view.state in (SaleState.REVERSING, state)
    assert (await till.wait_for(Kind.REVERSING)).sale.reverses_ms is None
    end = await till.wait_for(Kind.CLOSED, Kind.DECLINED)
    assert end.sale.state is state
    assert end.decline is not None
    assert end.decline.code == code
    assert end.decline.cashier_text["zh-Hans"]
    assert [entry.code for entry in read_journal(FolderDisk(till.folder))] == [code]
    problem = await till.refusal_of("POST", f"/v1/sales/{sale.sale_id}/reverse")
    assert problem.code == "sale_finished"


async def test_goods_that_were_handed_over_are_paid_in_the_end(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(
        sale=IMPATIENT, resolver=RARELY, unknown=UnknownSettings(resend_ms=1, reverse_after_ms=1)
    )
    sale = await sell_in_vain(till, gateway, reset_unread)
    await order(till, f"/v1/sales/{sale.sale_id}/keep")
    assert (await till.wait_for(Kind.KEPT)).sale.reverses_ms is None
    assert (await till.wait_for(Kind.APPROVED)).sale.state is SaleState.APPROVED
    assert not [one for one in gateway.received if one.path == "/v1/reversals"]


async def test_unknown_outcome_is_taken_back_by_itself_after_a_time(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT, unknown=UnknownSettings(resend_ms=1, reverse_after_ms=1))
    gateway.find_faults.extend([reset_unread] * 10)
    await sell_in_vain(till, gateway, lose_answer)
    await till.wait_for(Kind.REVERSING)
    assert (await till.wait_for(Kind.CLOSED)).sale.state is SaleState.CLOSED


async def test_attempt_of_an_earlier_run_is_taken_back_by_its_id(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT, resolver=RARELY)
    sale = await sell_in_vain(till, gateway, lose_answer)
    await till.stop()
    gateway.find_faults.extend([reset_unread] * 10_000)
    again = await start_till()
    async with again.session.get("/v1/attempts") as response:
        (attempt,) = parse_message(await response.read(), list[UnresolvedAttempt])
    assert (attempt.attempt_id, attempt.stage) == (sale.attempt_id, AttemptStage.UNKNOWN)
    assert (await again.find_daemon()).unresolved[0].order_id == sale.order_id
    await order(again, f"/v1/attempts/{attempt.attempt_id}/reverse")
    await until(lambda: [entry.outcome for entry in read_journal(FolderDisk(again.folder))] == ["closed"])
    problem = await again.refusal_of("POST", f"/v1/attempts/{attempt.attempt_id}/keep")
    # The sale itself is told a moment after the journal.
    assert problem.code in ("sale_finished", "attempt_reversing")
    problem = await again.refusal_of("POST", "/v1/attempts/01ARYZ6S410000000000000000/keep")
    assert problem.code == "not_found"


async def test_order_about_a_sale_whose_outcome_is_known_is_refused(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT)
    sale = await till.start_sale()
    for word in ("reverse", "keep"):
        problem = await till.refusal_of("POST", f"/v1/sales/{sale.sale_id}/{word}")
        assert problem.code == "sale_submitting"
    till.readers.present(make_presentation())
    approved = await till.wait_for(Kind.APPROVED)
    for word in ("reverse", "keep"):
        problem = await till.refusal_of("POST", f"/v1/sales/{sale.sale_id}/{word}")
        assert problem.code == "sale_finished"
        problem = await till.refusal_of("POST", f"/v1/attempts/{approved.sale.attempt_id}/{word}")
        assert problem.code in ("sale_finished", "sale_submitting")


async def test_poisoned_attempt_is_shown_with_its_trouble(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT)
    gateway.find_faults.extend([reset_unread] * 10_000)
    await sell_in_vain(till, gateway, lose_answer)
    seen: list[UnresolvedAttempt] = []
    while not seen or seen[0].failure_count < 3:
        seen = (await till.find_daemon()).unresolved
    assert seen[0].trouble == "gateway_unreachable"
    assert seen[0].next_try_ms is not None
    assert b"SECRET" not in msgspec.json.encode(seen)
