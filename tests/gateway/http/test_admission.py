"""Admission: a bound that holds, and starts that neither flood a turn of the loop nor starve."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from gateway.errors import GatewayBusy
from gateway.http.admission import REFUSALS_PER_START, STARTS_PER_TURN_MAX, Admission

IN_FLIGHT_MAX = 100


def make_full(started: list[int]) -> Admission:
    """Return an admission that is full, with every payment still to be started."""
    admission = Admission(IN_FLIGHT_MAX)
    for number in range(IN_FLIGHT_MAX):
        admission.enter()
        admission.start_soon(partial(started.append, number))
    return admission


async def one_turn() -> None:
    """Let everything run that is due in this turn of the event loop."""
    await asyncio.sleep(0)


async def test_one_more_than_the_bound_is_refused_until_one_has_left() -> None:
    admission = make_full([])
    with pytest.raises(GatewayBusy):
        admission.enter()
    admission.leave()
    admission.enter()
    assert admission.is_full


async def test_a_few_start_per_turn_in_their_order() -> None:
    started: list[int] = []
    make_full(started)
    await one_turn()
    assert started == list(range(STARTS_PER_TURN_MAX))
    await one_turn()
    assert started == list(range(2 * STARTS_PER_TURN_MAX))


async def test_refusals_of_a_turn_let_more_start_in_it() -> None:
    started: list[int] = []
    admission = make_full(started)
    for _ in range(10 * REFUSALS_PER_START):
        admission.note_refusal()
    await one_turn()
    assert len(started) == STARTS_PER_TURN_MAX + 10
    await one_turn()
    assert len(started) == 2 * STARTS_PER_TURN_MAX + 10
