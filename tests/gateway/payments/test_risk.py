"""What makes the gateway ask a holder beyond limits: many payments, a new till, an unusual amount."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.config import RiskSettings
from gateway.payments.service import PaymentService
from wire.messages.payments import PaymentAnswer

DAY_MS = 86_400_000
QUIET = RiskSettings(payments_per_window_max=0, floor_units=0, new_terminal_hours=0, unusual_times=0)


class Payer:
    """Somebody with one phone who pays at one till, under chosen rules."""

    def __init__(self, counter: Any, settings: RiskSettings) -> None:
        self._counter = counter
        self._counter.service = PaymentService(counter.store, counter.vault, risk=settings)
        self._taps = 0

    async def pay(self, amount_minor: int = 1_250, *, day: int = 0) -> PaymentAnswer:
        self._taps += 1
        now_ms = self._counter.shop.now_ms + day * DAY_MS
        presentation = self._counter.tap(counter=self._taps, amount=_money(amount_minor), at_s=now_ms // 1000)
        request = self._counter.request(presentation, amount_minor=amount_minor, presented_ms=now_ms)
        answer: PaymentAnswer = await self._counter.send(request, now_ms=now_ms)
        return answer


def _money(minor: int) -> Any:
    from wire.money import Money, find_currency

    return Money(minor, find_currency("EUR"))


def _asked(answer: PaymentAnswer) -> str | None:
    return None if answer.confirmation is None else answer.confirmation.code


def _with(**changes: int) -> RiskSettings:
    fields = {name: getattr(QUIET, name) for name in QUIET.__struct_fields__} | changes
    return RiskSettings(**fields)


async def test_the_payment_after_many_within_minutes_is_asked_about(counter: Any) -> None:
    payer = Payer(counter, _with(payments_per_window_max=3))
    asked = [_asked(await payer.pay(100)) for _ in range(4)]
    assert asked == [None, None, None, "confirm_velocity"]
    assert _asked(await payer.pay(100, day=1)) is None


@pytest.mark.parametrize(("hours_ago", "asked"), [(0, "confirm_new_terminal"), (24, None)])
async def test_a_new_till_is_asked_about_until_it_is_no_more(
    counter: Any, hours_ago: int, asked: str | None
) -> None:
    enrolled_ms = counter.shop.now_ms - hours_ago * 3_600_000
    counter.terminal = replace(
        counter.terminal, terminal=replace(counter.terminal.terminal, enrolled_ms=enrolled_ms)
    )
    assert _asked(await Payer(counter, _with(new_terminal_hours=24)).pay()) == asked


async def test_small_amounts_are_not_asked_about_by_these_rules(counter: Any) -> None:
    payer = Payer(counter, _with(new_terminal_hours=720, floor_units=10))
    assert _asked(await payer.pay(1_000)) is None
    assert _asked(await payer.pay(1_001)) == "confirm_new_terminal"


async def test_an_amount_far_outside_the_habit_is_asked_about(counter: Any) -> None:
    payer = Payer(counter, _with(unusual_times=5))
    for day in range(5):
        assert _asked(await payer.pay(200, day=day)) is None
    assert _asked(await payer.pay(1_000, day=6)) is None
    assert _asked(await payer.pay(1_801, day=7)) == "confirm_unusual_amount"


async def test_a_few_payments_are_no_habit_and_old_ones_are_forgotten(counter: Any) -> None:
    payer = Payer(counter, _with(unusual_times=5))
    for day in range(4):
        await payer.pay(200, day=day)
    assert _asked(await payer.pay(2_500, day=5)) is None
    await payer.pay(200, day=6)
    assert _asked(await payer.pay(2_500, day=60)) is None
