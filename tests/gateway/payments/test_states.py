"""The table of states, held against the rules it is made of, and the diagram drawn from it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from gateway.payments.model import STATE_WHEN_DECIDED
from gateway.payments.states import OPEN, TRANSITIONS, PaymentStep, dump_diagram, next_state
from wire.messages.payments import OUTCOME_OF, PaymentState

ROOT = Path(__file__).parents[3]
WAITING, HELD, PAID = (
    PaymentState.REQUIRES_CONFIRMATION,
    PaymentState.AUTHORISED,
    PaymentState.SUCCEEDED,
)


def expected_state(state: PaymentState, step: PaymentStep) -> PaymentState | None:
    """Return what the rules say, written down apart from the table and by rule, not by row."""
    if step in DECISIONS:
        return DECISIONS[step] if state is PaymentState.CREATED else None
    if step in (PaymentStep.VOIDED, PaymentStep.EXPIRED):
        return PaymentState(step) if state in (WAITING, HELD) else None
    by_state = {
        WAITING: {
            PaymentStep.CONFIRMED: PAID,
            PaymentStep.CONFIRMED_HOLD: HELD,
            PaymentStep.REFUSED: PaymentState.DECLINED,
        },
        HELD: {PaymentStep.CAPTURED: PAID},
        PAID: {PaymentStep.REVERSED: PaymentState.REVERSED},
    }
    return by_state.get(state, {}).get(step)


DECISIONS = {
    PaymentStep.APPROVED: PAID,
    PaymentStep.AUTHORISED: HELD,
    PaymentStep.CONFIRMATION_ASKED: WAITING,
    PaymentStep.DECLINED: PaymentState.DECLINED,
}


@pytest.mark.parametrize(("state", "step"), list(product(PaymentState, PaymentStep)))
def test_every_pair_of_state_and_step_does_what_the_rules_say(state: PaymentState, step: PaymentStep) -> None:
    assert next_state(state, step) == expected_state(state, step)


def test_what_is_decided_is_where_a_life_begins() -> None:
    assert set(STATE_WHEN_DECIDED.values()) == set(TRANSITIONS[PaymentState.CREATED].values())


def test_only_what_can_expire_is_open() -> None:
    assert {state for state, steps in TRANSITIONS.items() if PaymentStep.EXPIRED in steps} == OPEN


def test_every_state_an_attempt_can_be_in_means_something_to_a_till() -> None:
    assert set(OUTCOME_OF) == set(PaymentState) - {PaymentState.CREATED}


def test_the_committed_diagram_is_current() -> None:
    committed = (ROOT / "docs" / "payment-states.md").read_text(encoding="utf-8")
    assert committed == dump_diagram(), "run `python -m gateway.payments.states docs/payment-states.md`"
