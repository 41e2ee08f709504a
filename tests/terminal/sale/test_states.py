"""The table of states, pair by pair, and the diagram drawn from it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from terminal.sale.states import OPEN, READERS_ON, TRANSITIONS, SaleStep, dump_diagram, next_state
from wire.messages.till import SaleState

ROOT = Path(__file__).parents[3]
ENDS = {
    SaleState.APPROVED,
    SaleState.ACCEPTED_OFFLINE,
    SaleState.DECLINED,
    SaleState.CLOSED,
    SaleState.CANCELLED,
    SaleState.TIMED_OUT,
}
AT_THE_TILL = {SaleState.SUBMITTING, SaleState.CONFIRMING}
ONLY_WHILE_SUBMITTING = {
    SaleStep.REFUSED: SaleState.ARMED,
    SaleStep.PAID_BY_CODE: SaleState.APPROVED,
    SaleStep.ACCEPTED_OFFLINE: SaleState.ACCEPTED_OFFLINE,
}
READERS_WAIT = {SaleState.ARMED, SaleState.READING}


def expected_state(state: SaleState, step: SaleStep) -> SaleState | None:
    """Return what the rules say, written down apart from the table and by rule, not by row."""
    if state in READERS_WAIT:
        return {
            SaleStep.NOTICED: SaleState.READING,
            SaleStep.REFUSED: SaleState.ARMED,
            SaleStep.PRESENTED: SaleState.SUBMITTING,
            SaleStep.PAID_BY_CODE: SaleState.APPROVED,
            SaleStep.CANCELLED: SaleState.CANCELLED,
            SaleStep.DEADLINE_PASSED: SaleState.TIMED_OUT,
        }.get(step)
    if state is SaleState.SUBMITTING and step in ONLY_WHILE_SUBMITTING:
        return ONLY_WHILE_SUBMITTING[step]
    if state in AT_THE_TILL and step in (SaleStep.DECLINED_FOR_NOW, SaleStep.UNANSWERED):
        return SaleState.ARMED if step is SaleStep.DECLINED_FOR_NOW else SaleState.UNKNOWN
    if state in (SaleState.SUBMITTING, SaleState.UNKNOWN) and step is SaleStep.CONFIRMATION_ASKED:
        return SaleState.CONFIRMING
    if state is SaleState.CONFIRMING and step in (SaleStep.NOT_CONFIRMED, SaleStep.GIVEN_UP):
        return SaleState.CONFIRMING if step is SaleStep.NOT_CONFIRMED else SaleState.REVERSING
    if state is SaleState.UNKNOWN and step in (SaleStep.KEPT, SaleStep.GIVEN_UP):
        return SaleState.UNKNOWN if step is SaleStep.KEPT else SaleState.REVERSING
    if state is SaleState.REVERSING and step is SaleStep.APPROVED:
        return None
    if state in {*AT_THE_TILL, SaleState.UNKNOWN, SaleState.REVERSING}:
        return {
            SaleStep.APPROVED: SaleState.APPROVED,
            SaleStep.DECLINED: SaleState.DECLINED,
            SaleStep.CLOSED: SaleState.CLOSED,
        }.get(step)
    return None


@pytest.mark.parametrize(("state", "step"), list(product(SaleState, SaleStep)))
def test_every_pair_of_state_and_step_does_what_the_rules_say(state: SaleState, step: SaleStep) -> None:
    assert next_state(state, step) == expected_state(state, step)


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(SaleState)
    reached = {SaleState.ARMED} | {after for steps in TRANSITIONS.values() for after in steps.values()}
    assert reached == set(SaleState)


def test_an_end_stays_an_end_and_only_open_states_hold_the_till() -> None:
    assert {state for state, steps in TRANSITIONS.items() if not steps} == ENDS
    assert set(SaleState) - ENDS - {SaleState.UNKNOWN, SaleState.REVERSING} == OPEN


def test_what_is_on_its_way_cannot_be_cancelled_or_time_out() -> None:
    steps = TRANSITIONS[SaleState.SUBMITTING]
    assert not steps.keys() & {SaleStep.CANCELLED, SaleStep.DEADLINE_PASSED, SaleStep.PRESENTED}


def test_readers_are_on_only_where_something_may_be_presented_or_is_on_its_way() -> None:
    assert OPEN - {SaleState.CONFIRMING} == READERS_ON


def test_the_committed_diagram_is_current() -> None:
    committed = (ROOT / "docs" / "sale-states.md").read_text(encoding="utf-8")
    assert committed == dump_diagram(), "run `python -m terminal.sale.states docs/sale-states.md`"
