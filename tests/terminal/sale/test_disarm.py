"""Readers are off as soon as a sale can take nothing more, by whatever way it comes there."""

from __future__ import annotations

from typing import Any, cast

import pytest

from terminal.presentations import TermsSource
from terminal.sale.ports import SaleFacts, SalePorts
from terminal.sale.session import SaleSession
from terminal.sale.states import READERS_ON, TRANSITIONS, SaleStep
from wire.messages.till import SaleState
from wire.money import Money, find_currency


class Switch:
    """What a sale arms and disarms."""

    def __init__(self) -> None:
        self.is_armed = False

    def arm(self, terms: TermsSource) -> None:
        self.is_armed = True

    def disarm(self) -> None:
        self.is_armed = False


def _session(readers: Switch) -> SaleSession:
    # Nothing else of its world is touched by a change of state.
    nothing = cast(Any, None)
    ports = SalePorts(
        enrolment=nothing,
        readers=readers,
        journal=nothing,
        gateway=nothing,
        publish=lambda event: None,
        now_ms=lambda: 0,
        monotonic_ns=lambda: 0,
        entropy=bytes,
        answer_deadline_ms=1_000,
    )
    return SaleSession(SaleFacts("sale", "order", Money(100, find_currency("EUR")), 0, 1_000), ports)


@pytest.mark.parametrize(
    ("state", "step"), [(state, step) for state, steps in TRANSITIONS.items() for step in steps]
)
def test_every_step_leaves_the_readers_on_only_where_something_may_be_presented(
    state: SaleState, step: SaleStep
) -> None:
    readers = Switch()
    session = _session(readers)
    session._state, readers.is_armed = state, state in READERS_ON

    session._change_state(step)

    assert readers.is_armed is (TRANSITIONS[state][step] in READERS_ON)


def test_every_end_is_reached_by_some_step_and_none_leaves_readers_on() -> None:
    ends = {state for state, steps in TRANSITIONS.items() if not steps}
    assert ends <= {after for steps in TRANSITIONS.values() for after in steps.values()}
    assert not ends & READERS_ON
