"""Shifts at a till: with the gateway, without it, and through a power loss in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from PIL import Image

from terminal.config import PrinterSettings
from terminal.disk import FolderDisk
from terminal.errors import GatewayUnreachable, SaleRefused
from terminal.people.gateway import StaffGateway
from terminal.people.shift_book import ORDERS_MAX, LocalShift, ShiftBook, ShiftOrder
from terminal.people.shift_desk import ShiftDesk, ShiftPorts
from terminal.people.shift_totals import reckon_provisionally
from tests.terminal.conftest import (
    EVENT_TIMEOUT_S,
    GatewayStandIn,
    Till,
    make_answer,
    make_presentation,
    make_problem,
    make_request,
    now_ms,
    until,
)
from tests.terminal.people.persons import AS_PERSON, MIRA, PIN, refused, sign_in, word_of
from wire.ids import make_ulid
from wire.messages.base import parse_message
from wire.messages.payments import PaymentState
from wire.messages.shifts import ShiftAnswer, ShiftTotals, ShiftView
from wire.messages.till import DaemonEventKind, SaleEventKind

StartTill = Callable[..., Awaitable[Till]]


async def order(till: Till, path: str = "/v1/shifts", status: int = 201) -> ShiftView:
    async with till.session.post(path, data=b"", headers=AS_PERSON) as response:
        assert response.status == status, await response.text()
        return parse_message(await response.read(), ShiftView)


async def show(till: Till, what: str) -> ShiftView:
    async with till.session.get(f"/v1/shifts/{what}") as response:
        assert response.status == 200, await response.text()
        return parse_message(await response.read(), ShiftView)


async def sell(till: Till, number: int = 1, amount_minor: int = 1_250) -> None:
    await till.start_sale(amount_minor)
    till.readers.present(make_presentation(number))
    await till.wait_for(SaleEventKind.APPROVED)


TELLING_MS_MAX = 10_000
"""What a loaded machine may take from a word to its being told; the till can't know of it."""


class TestWithTheGateway:
    async def test_a_cashier_opens_and_closes_with_the_gateways_totals(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        assert await refused(till, "POST", "/v1/shifts") == "staff_sign_in_needed"
        await sign_in(till, word_of(MIRA, PIN))
        opened = await order(till)
        assert opened.opened_by is not None
        assert (opened.opened_by.name, opened.is_provisional, opened.is_queued) == ("Mira 米拉", False, False)
        event = await till.wait_for_daemon(DaemonEventKind.SHIFT_OPENED)
        daemon = await till.find_daemon()
        assert daemon.shift == event.shift
        assert await refused(till, "POST", "/v1/shifts") == "shift_is_open"
        await sell(till)
        closed = await order(till, "/v1/shifts/close", 200)
        assert closed.totals == ShiftTotals(payment_count=1, charged_minor=1_250)
        assert closed.closed_by == opened.opened_by
        await till.wait_for_daemon(DaemonEventKind.SHIFT_CLOSED)
        assert await refused(till, "POST", "/v1/shifts/close") == "shift_not_open"
        assert (await till.refusal_of("GET", "/v1/shifts/current")).code == "not_found"
        assert await show(till, "last") == await show(till, closed.shift_id) == closed

    async def test_software_opens_a_shift_for_nobody(self, till: Till) -> None:
        async with till.session.post("/v1/shifts", data=b"") as response:
            assert parse_message(await response.read(), ShiftView).opened_by is None

    async def test_a_shift_that_this_till_lost_is_taken_up_again(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        lost = make_ulid(7, bytes(10))
        gateway.shifts[lost] = ShiftAnswer(
            shift_id=lost, currency="EUR", opened_ms=now_ms() - 9_000, totals=ShiftTotals()
        )
        await sign_in(till, word_of(MIRA, PIN))
        assert await refused(till, "POST", "/v1/shifts") == "shift_is_open"
        assert (await show(till, "current")).shift_id == lost
        assert (await order(till, "/v1/shifts/close", 200)).shift_id == lost

    async def test_somebody_the_gateway_knows_no_more_loses_no_shift(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        gateway.shift_faults.append(lambda: make_problem("staff_not_allowed", 403))
        opened = await order(till)
        assert not opened.is_queued
        assert gateway.shifts[opened.shift_id].opened_by is None


class TestWithoutTheGateway:
    async def test_a_shift_is_opened_and_closed_and_told_later_when_it_was(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await gateway.go_down()
        opened = await order(till)
        assert (opened.is_provisional, opened.is_queued) == (True, True)
        closed = await order(till, "/v1/shifts/close", 200)
        assert closed.is_provisional
        await gateway.come_back()
        await until(lambda: len(gateway.shifts) == 1 and gateway.open_shift is None)
        (told,) = gateway.shifts.values()
        assert told.closed_ms is not None
        # By the gateway's clock, which here is the till's own: as long ago as it was.
        assert abs(told.opened_ms - opened.opened_ms) < TELLING_MS_MAX
        assert abs(told.closed_ms - (closed.closed_ms or 0)) < TELLING_MS_MAX
        async with asyncio.timeout(EVENT_TIMEOUT_S):
            # The gateway has it a moment before its answer is here.
            while (final := await show(till, "last")).is_queued:
                pass
        assert (final.is_provisional, final.is_queued, final.opened_by) == (False, False, told.opened_by)

    async def test_a_power_loss_leaves_the_shift_open_and_its_telling_to_be_done(
        self, till: Till, start_till: StartTill, gateway: GatewayStandIn
    ) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await gateway.go_down()
        opened = await order(till)
        await till.stop()
        restarted = await start_till()
        assert (await restarted.find_daemon()).shift is not None
        assert (await show(restarted, "current")).shift_id == opened.shift_id
        await gateway.come_back()
        await until(lambda: opened.shift_id in gateway.shifts)
        assert gateway.shifts[opened.shift_id].opened_by == opened.opened_by

    async def test_totals_are_the_tills_own_and_called_provisional(
        self, till: Till, gateway: GatewayStandIn
    ) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await order(till)
        await sell(till)
        await till.wait_for_daemon(DaemonEventKind.SHIFT_OPENED)
        await gateway.go_down()
        current = await show(till, "current")
        assert current.is_provisional
        assert (current.totals.payment_count, current.totals.charged_minor) in ((1, 1_250), (1, 0), (0, 0))


def test_provisional_totals_count_what_was_decided_within() -> None:
    answers = [
        msgspec.structs.replace(make_answer(make_request(number)), **changes)
        for number, changes in enumerate(
            [
                {"decided_ms": 99, "charged_minor": 1_250},
                {"decided_ms": 100, "charged_minor": 1_250, "tip_minor": 50},
                {"decided_ms": 150, "charged_minor": 1_250, "refunded_minor": 300},
                {"decided_ms": 160, "charged_minor": 1_250, "state": PaymentState.REVERSED},
                {"decided_ms": 170, "state": PaymentState.VOIDED},
                {"decided_ms": 180, "state": PaymentState.DECLINED},
                {"decided_ms": 200, "charged_minor": 1_250},
            ]
        )
    ]
    totals = reckon_provisionally(answers, 100, 200)
    assert (totals.payment_count, totals.charged_minor, totals.tip_minor) == (3, 3_750, 50)
    assert (totals.refund_count, totals.refunded_minor) == (1, 300)
    assert (totals.reversed_count, totals.reversed_minor) == (1, 1_250)
    assert (totals.voided_count, totals.declined_count) == (1, 1)
    assert [(one.payment_count, one.charged_minor) for one in totals.by_entry_mode] == [(3, 3_750)]


def test_what_waits_for_the_gateway_has_a_bound(tmp_path: Path) -> None:
    book = ShiftBook(FolderDisk(tmp_path))
    for number in range(ORDERS_MAX // 2):
        shift = LocalShift(make_ulid(number, bytes(10)), number)
        book.open(shift)
        book.close(msgspec.structs.replace(shift, closed_ms=number))
    with pytest.raises(SaleRefused) as refusal:
        book.open(LocalShift(make_ulid(99, bytes(10)), 99))
    assert refusal.value.code == "shift_orders_full"
    assert ShiftBook(FolderDisk(tmp_path)).orders == book.orders


class TellingGateway:
    """Takes what it is told once it is up."""

    is_up = False

    async def tell_shift(self, order: ShiftOrder, staff_id: str | None, age_ms: int) -> ShiftAnswer:
        if not self.is_up:
            raise GatewayUnreachable("down")
        closed_ms = order.at_ms if order.what == "close" else None
        return ShiftAnswer(
            shift_id=order.shift_id, currency="EUR", opened_ms=1, totals=ShiftTotals(), closed_ms=closed_ms
        )


async def test_a_closing_is_not_lost_to_what_is_stored_of_a_telling_meanwhile(tmp_path: Path) -> None:
    book, gateway = ShiftBook(FolderDisk(tmp_path)), TellingGateway()
    under_way, begun = [0], asyncio.Event()

    async def run_blocking(change: Callable[[], object]) -> None:
        # In a thread, a change made from an older book would take another's place.
        under_way.append(under_way[-1] + 1)
        begun.set()
        for _ in range(20):
            await asyncio.sleep(0)
        change()
        under_way.append(under_way[-1] - 1)

    nothing = cast(Any, None)
    ports = ShiftPorts(
        cast(StaffGateway, gateway),
        cast(Any, SimpleNamespace(settled=list)),
        "EUR",
        publish=lambda event: None,
        describe_offline=lambda: nothing,
        now_ms=lambda: 2,
        entropy=bytes,
        run_blocking=run_blocking,
    )
    desk = ShiftDesk(book, ports)
    await desk.open(None)
    gateway.is_up = True
    begun.clear()
    telling = asyncio.create_task(desk.run())
    await begun.wait()
    closed = await desk.close(None)
    telling.cancel()
    assert max(under_way) == 1
    assert (book.current, book.orders) == (None, ())
    assert book.last is not None
    assert (book.last.shift_id, closed.is_queued) == (closed.shift_id, False)


class TestReport:
    async def test_as_text_in_the_tills_language_and_as_a_picture(self, till: Till) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await order(till)
        closed = await order(till, "/v1/shifts/close", 200)
        path = f"/v1/shifts/{closed.shift_id}/report"
        async with till.session.get(path) as response:
            text = await response.text()
        for words in ("Corner Shop", "SHIFT CLOSED", "Mira 米拉", "Payments", closed.shift_id):
            assert words in text
        assert "PROVISIONAL" not in text
        async with till.session.get(path, headers={"Accept": "image/png"}) as response:
            picture = Image.open(__import__("io").BytesIO(await response.read()))
        assert picture.size[0] == 384

    async def test_provisional_figures_say_so_on_paper(self, till: Till, gateway: GatewayStandIn) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        await gateway.go_down()
        opened = await order(till)
        async with till.session.get(f"/v1/shifts/{opened.shift_id}/report") as response:
            assert "PROVISIONAL" in await response.text()

    async def test_it_is_printed_where_there_is_a_printer(
        self, start_till: StartTill, tmp_path: Path
    ) -> None:
        paper = tmp_path / "printer"
        paper.touch()
        till = await start_till(printer=PrinterSettings(device=str(paper)))
        async with till.session.post("/v1/shifts", data=b"") as response:
            shift = parse_message(await response.read(), ShiftView)
        async with till.session.post(f"/v1/shifts/{shift.shift_id}/print", data=b"") as response:
            assert response.status == 204
        await until(lambda: b"\x1dv0" in paper.read_bytes())

    async def test_without_a_printer_it_says_so(self, till: Till) -> None:
        await sign_in(till, word_of(MIRA, PIN))
        opened = await order(till)
        assert await refused(till, "POST", f"/v1/shifts/{opened.shift_id}/print") == "printer_unavailable"
