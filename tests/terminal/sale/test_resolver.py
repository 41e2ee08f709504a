"""Attempts without an answer are asked about after a restart, and one of them never stops the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from terminal.config import ResolverSettings
from terminal.disk import FolderDisk
from terminal.errors import GatewayUnreachable
from terminal.journal.journal import Journal, read_journal
from terminal.sale.resolver import AttemptResolver
from tests.terminal.conftest import (
    IMPATIENT,
    GatewayStandIn,
    Process,
    Till,
    lose_answer,
    make_json,
    make_presentation,
    make_problem,
    make_request,
    reset_unread,
    until,
)
from wire.messages.payments import PaymentAnswer, PaymentRequest
from wire.messages.till import SaleEventKind

StartTill = Callable[..., Awaitable[Till]]
NEVER = ResolverSettings(retry_delay_ms=3_600_000, retry_delay_ms_max=3_600_000)


def outcomes(till: Till) -> list[str]:
    return [entry.outcome for entry in read_journal(FolderDisk(till.folder))]


async def leave_unresolved(
    till: Till, gateway: GatewayStandIn, fault: Callable[..., object], number: int
) -> None:
    """Make a sale whose outcome is unknown when this returns."""
    gateway.faults.extend([fault] * 1_000)
    await till.start_sale()
    till.readers.present(make_presentation(number))
    await till.wait_for(SaleEventKind.UNKNOWN)
    gateway.faults.clear()


async def test_answer_lost_before_a_restart_is_found_after_it(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT, resolver=NEVER)
    await leave_unresolved(till, gateway, lose_answer, 1)
    sent_count = len(gateway.payments)
    assert outcomes(till) == ["unresolved"]
    await till.stop()
    again = await start_till()
    await until(lambda: outcomes(again) == ["approved"])
    assert len(gateway.payments) == sent_count
    assert len(gateway.booked) == 1


async def test_attempt_the_gateway_never_saw_is_sent_again_under_its_id(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT, resolver=NEVER)
    await leave_unresolved(till, gateway, reset_unread, 1)
    assert gateway.booked == {}
    await till.stop()
    again = await start_till()
    await until(lambda: outcomes(again) == ["approved"])
    assert len(set(gateway.attempt_ids)) == 1
    assert len({one.body for one in gateway.payments}) == 1
    assert len(gateway.booked) == 1


async def test_poisoned_attempt_does_not_stop_the_others(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT, resolver=NEVER)
    for number in (1, 2):
        await leave_unresolved(till, gateway, lose_answer, number)
    await till.stop()
    poisoned_id = gateway.attempt_ids[0]

    async def poison(stand_in: GatewayStandIn, request: web.Request, process: Process) -> web.StreamResponse:
        stand_in.find_faults.append(poison)
        if request.query["attempt_id"] == poisoned_id:
            return make_problem("malformed", 400)
        return await answer_found(stand_in, request, process)

    gateway.find_faults.append(poison)
    again = await start_till()
    await until(lambda: outcomes(again) == ["unresolved", "approved"])
    (stuck,) = [entry for entry in read_journal(FolderDisk(again.folder)) if entry.outcome == "unresolved"]
    assert stuck.attempt_id == poisoned_id


async def answer_found(_: GatewayStandIn, __: web.Request, process: Process) -> web.StreamResponse:
    return make_json(process(), 200)


async def test_attempt_in_flight_at_a_stop_is_left_in_the_journal(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT, resolver=NEVER)
    gateway.faults.extend([lose_answer] * 1_000)
    await till.start_sale()
    till.readers.present(make_presentation())
    await till.wait_for(SaleEventKind.SUBMITTING)
    await till.stop()
    assert outcomes(till) == ["unresolved"]
    gateway.faults.clear()
    again = await start_till()
    await until(lambda: outcomes(again) == ["approved"])


async def test_attempt_answered_during_a_stop_is_finished(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till(sale=IMPATIENT, resolver=NEVER)
    gateway.faults.append(lose_answer)
    await till.start_sale()
    till.readers.present(make_presentation())
    await till.wait_for(SaleEventKind.SUBMITTING)
    await till.stop()
    assert outcomes(till) == ["approved"]


async def test_attempt_that_was_refused_while_another_was_asked_about_is_not_sent_again(
    tmp_path: Path,
) -> None:
    journal = Journal(FolderDisk(tmp_path))
    slow, refused = make_request(1), make_request(2)
    journal.record_attempt(slow, at_ms=1)
    journal.record_attempt(refused, at_ms=2)
    asked: list[str] = []

    class SlowGateway:
        """Has never seen anything; while it looks for the first attempt, the second one's sale ends."""

        async def find_by_attempt(self, request: PaymentRequest) -> PaymentAnswer | None:
            asked.append(request.attempt_id)
            journal.record_refusal(refused.attempt_id, "signature_expired", at_ms=3)
            raise GatewayUnreachable("too slow")

        async def pay(self, request: PaymentRequest, **_: object) -> PaymentAnswer:
            raise AssertionError("sent again")

    resolver = AttemptResolver(
        journal,
        SlowGateway(),
        is_on_its_way=lambda attempt_id: False,
        on_answer=lambda answer: None,
        retry_delay_ms=10,
        retry_delay_ms_max=50,
        now_ms=lambda: 4,
        monotonic_ns=lambda: 0,
        jitter=lambda: 0.5,
    )
    await resolver.resolve_due()
    assert asked == [slow.attempt_id]
