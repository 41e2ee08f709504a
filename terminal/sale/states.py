"""Every state of a sale and every step between two: one table, and what is not in it is illegal.

Nothing else changes the state of a sale. docs/sale-states.md shows the table as a diagram;
`python -m terminal.sale.states docs/sale-states.md` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from wire.messages.till import SaleState


class SaleStep(StrEnum):
    """What can happen to a sale."""

    NOTICED = "noticed"
    """A reader sees a card, or a scanner a code."""
    REFUSED = "refused"
    """What was presented can't be used here, or its attempt could not be stored; nothing was sent."""
    PRESENTED = "presented"
    """Something that can be sent; from now on nothing else is accepted."""
    PAID_BY_CODE = "paid_by_code"
    """A wallet paid the till's own code."""
    DECLINED_FOR_NOW = "declined_for_now"
    """The attempt was declined; another instrument may be presented."""
    DECLINED = "declined"
    """The attempt was declined or refused, and no further one is possible in this sale."""
    CONFIRMATION_ASKED = "confirmation_asked"
    """The gateway waits for the holder's yes, by PIN or phone."""
    NOT_CONFIRMED = "not_confirmed"
    """A PIN was wrong or could not be judged; the holder may still agree."""
    APPROVED = "approved"
    ACCEPTED_OFFLINE = "accepted_offline"
    """Judged by this till's own rules, sealed and stored; nothing was sent."""
    UNANSWERED = "unanswered"
    """The answer deadline passed: whether the attempt was paid is unknown."""
    CLOSED = "closed"
    """The attempt was voided, ran out, or was given back: nothing is charged any more."""
    KEPT = "kept"
    """The till said to go on asking and not to take the attempt back."""
    GIVEN_UP = "given_up"
    """The attempt is being taken back: the till said so, or its outcome stayed unknown for too long."""
    CANCELLED = "cancelled"
    """By the till, or because the daemon stops."""
    DEADLINE_PASSED = "deadline_passed"
    """Nothing usable was presented in time."""


TRANSITIONS: Final[Mapping[SaleState, Mapping[SaleStep, SaleState]]] = {
    SaleState.ARMED: {
        SaleStep.NOTICED: SaleState.READING,
        SaleStep.REFUSED: SaleState.ARMED,
        SaleStep.PRESENTED: SaleState.SUBMITTING,
        SaleStep.PAID_BY_CODE: SaleState.APPROVED,
        SaleStep.CANCELLED: SaleState.CANCELLED,
        SaleStep.DEADLINE_PASSED: SaleState.TIMED_OUT,
    },
    SaleState.READING: {
        SaleStep.NOTICED: SaleState.READING,
        SaleStep.REFUSED: SaleState.ARMED,
        SaleStep.PRESENTED: SaleState.SUBMITTING,
        SaleStep.PAID_BY_CODE: SaleState.APPROVED,
        SaleStep.CANCELLED: SaleState.CANCELLED,
        SaleStep.DEADLINE_PASSED: SaleState.TIMED_OUT,
    },
    # No CANCELLED here: what is on its way can't be called back, only answered or asked about.
    SaleState.SUBMITTING: {
        SaleStep.REFUSED: SaleState.ARMED,
        SaleStep.PAID_BY_CODE: SaleState.APPROVED,
        SaleStep.DECLINED_FOR_NOW: SaleState.ARMED,
        SaleStep.DECLINED: SaleState.DECLINED,
        SaleStep.CONFIRMATION_ASKED: SaleState.CONFIRMING,
        SaleStep.APPROVED: SaleState.APPROVED,
        SaleStep.ACCEPTED_OFFLINE: SaleState.ACCEPTED_OFFLINE,
        SaleStep.CLOSED: SaleState.CLOSED,
        SaleStep.UNANSWERED: SaleState.UNKNOWN,
    },
    # Readers are off: it is about what was presented. To cancel it is to have it taken back.
    SaleState.CONFIRMING: {
        SaleStep.NOT_CONFIRMED: SaleState.CONFIRMING,
        SaleStep.DECLINED_FOR_NOW: SaleState.ARMED,
        SaleStep.DECLINED: SaleState.DECLINED,
        SaleStep.APPROVED: SaleState.APPROVED,
        SaleStep.CLOSED: SaleState.CLOSED,
        SaleStep.UNANSWERED: SaleState.UNKNOWN,
        SaleStep.GIVEN_UP: SaleState.REVERSING,
    },
    # Readers are off; the gateway's late word changes it, or an order of the till's.
    SaleState.UNKNOWN: {
        SaleStep.CONFIRMATION_ASKED: SaleState.CONFIRMING,
        SaleStep.APPROVED: SaleState.APPROVED,
        SaleStep.DECLINED: SaleState.DECLINED,
        SaleStep.CLOSED: SaleState.CLOSED,
        SaleStep.KEPT: SaleState.UNKNOWN,
        SaleStep.GIVEN_UP: SaleState.REVERSING,
    },
    # No APPROVED here: a reversal may have been sent, and whatever it finds it takes back.
    SaleState.REVERSING: {
        SaleStep.DECLINED: SaleState.DECLINED,
        SaleStep.CLOSED: SaleState.CLOSED,
    },
    SaleState.APPROVED: {},
    SaleState.ACCEPTED_OFFLINE: {},
    SaleState.DECLINED: {},
    SaleState.CLOSED: {},
    SaleState.CANCELLED: {},
    SaleState.TIMED_OUT: {},
}

READERS_ON: Final = frozenset({SaleState.ARMED, SaleState.READING, SaleState.SUBMITTING})
OPEN: Final = READERS_ON | {SaleState.CONFIRMING}
"""While a sale is in one of these, its till can't start another."""

_DIAGRAM_HEAD: Final = """\
# The states of a sale

Generated from `TRANSITIONS` in `terminal/sale/states.py` by `python -m terminal.sale.states`; a test
holds the two together. What is presented in `submitting` is ignored; in every state after it, readers
are off.

```mermaid
stateDiagram-v2
    [*] --> armed
"""


def next_state(state: SaleState, step: SaleStep) -> SaleState | None:
    """Return the state after a step, or None where the table has no such step."""
    return TRANSITIONS[state].get(step)


def dump_diagram() -> str:
    """Write the table as a Markdown page with a Mermaid state diagram."""
    arrows = [
        f"    {state} --> {after}: {step}"
        for state, steps in TRANSITIONS.items()
        for step, after in steps.items()
    ]
    ends = [f"    {state} --> [*]" for state, steps in TRANSITIONS.items() if not steps]
    return _DIAGRAM_HEAD + "\n".join([*arrows, *ends]) + "\n```\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(dump_diagram(), encoding="utf-8")
