"""Shifts over HTTP: who opens and closes them, and what a till with a slow or wrong clock gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from wire.messages.base import dump_message
from wire.messages.shifts import ShiftClosing, ShiftOpening
from wire.messages.staff import StaffRole

NOW_MS = 1_767_225_600_000


@dataclass
class Counter:
    """An enrolled till with a cashier."""

    shop: Any
    staff_id: str

    @property
    def till(self) -> Any:
        return self.shop.till

    async def open(self, **fields: Any) -> Any:
        request = ShiftOpening(**({"shift_id": self.till.new_id(), "staff_id": self.staff_id} | fields))
        return await self.till.call(
            "POST", "/v1/shifts", dump_message(request), idempotency_key=request.shift_id
        )

    async def close(self, shift_id: str, **fields: Any) -> Any:
        request = ShiftClosing(**({"shift_id": shift_id, "staff_id": self.staff_id} | fields))
        return await self.till.call(
            "POST", f"/v1/shifts/{shift_id}/close", dump_message(request), idempotency_key=shift_id
        )

    async def find(self, what: str) -> Any:
        return await self.till.call("GET", f"/v1/shifts/{what}")


@pytest.fixture
async def counter(shop: Any) -> Counter:
    await shop.enrol()
    terminal = shop.pending.terminal
    member = await shop.office.staff.add_staff(
        terminal.merchant_id, "Mira 米拉", StaffRole.CASHIER, "2580", now_ms=NOW_MS
    )
    return Counter(shop, member.staff_id)


async def test_a_shift_runs_from_opening_to_closing_with_its_totals(counter: Counter, clock: Any) -> None:
    before = await counter.till.pay(counter.shop.request(500))
    assert before.status == 201
    clock.ms += 10
    opened = await counter.open()
    assert (opened.status, opened.json["opened_by"]["name"]) == (201, "Mira 米拉")
    shift_id = opened.json["shift_id"]
    assert opened.json["totals"] == {}
    await counter.till.pay(counter.shop.request(1_250))
    assert (await counter.find("open")).json["totals"]["charged_minor"] == 1_250
    clock.ms += 1_000
    closed = await counter.close(shift_id)
    assert closed.json["closed_ms"] == NOW_MS + 1_010
    clock.ms += 5
    await counter.till.pay(counter.shop.request(700))
    again = await counter.close(shift_id)
    assert again.json == closed.json == (await counter.find(shift_id)).json
    assert closed.json["totals"] == {
        "payment_count": 1,
        "charged_minor": 1_250,
        "fee_minor": closed.json["totals"]["fee_minor"],
        "by_entry_mode": [{"entry_mode": "qr_consumer", "payment_count": 1, "charged_minor": 1_250}],
    }
    assert (await counter.find("open")).status == 404


async def test_another_shift_is_refused_while_one_is_open(counter: Counter) -> None:
    shift_id = (await counter.open()).json["shift_id"]
    answer = await counter.open()
    assert (answer.status, answer.code) == (409, "shift_is_open")
    assert (await counter.open(shift_id=shift_id)).status == 201


async def test_what_a_till_tells_late_began_when_it_began(counter: Counter, clock: Any) -> None:
    clock.ms += 600_000
    counter.till.now_ms += 600_000
    opened = await counter.open(age_ms=600_000)
    assert opened.json["opened_ms"] == NOW_MS
    closed = await counter.close(opened.json["shift_id"], age_ms=200_000)
    assert closed.json["closed_ms"] == NOW_MS + 400_000


async def test_staff_of_another_merchant_opens_nothing(counter: Counter) -> None:
    office = counter.shop.office
    other = await office.merchants.add_merchant("Elsewhere", "EUR", 0, now_ms=NOW_MS)
    stranger = await office.staff.add_staff(other.merchant_id, "Bo", StaffRole.MANAGER, "2580", now_ms=NOW_MS)
    answer = await counter.open(staff_id=stranger.staff_id)
    assert (answer.status, answer.code) == (403, "staff_not_allowed")
    assert (await counter.find("open")).status == 404


async def test_a_shift_that_is_not_there_is_not_closed(counter: Counter) -> None:
    assert (await counter.close(counter.till.new_id())).status == 404
    assert (await counter.find(counter.till.new_id())).status == 404
    assert (await counter.find("x")).status == 400
