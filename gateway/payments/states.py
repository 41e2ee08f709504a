"""Every state of a payment and every step between two: one table, and what is not in it is refused.

docs/payment-states.md shows the table as a diagram; `python -m gateway.payments.states
docs/payment-states.md` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from wire.messages.payments import PaymentState


class PaymentStep(StrEnum):
    """What can happen to a payment."""

    APPROVED = "approved"
    """Decided: charged at once."""
    AUTHORISED = "authorised"
    """Decided: held."""
    CONFIRMATION_ASKED = "confirmation_asked"
    """Decided: held until its holder agrees."""
    DECLINED = "declined"
    """Decided: no, and nothing is held."""
    CONFIRMED = "confirmed"
    """The holder agreed; it is charged."""
    CONFIRMED_HOLD = "confirmed_hold"
    """The holder agreed; it stays held, to be captured."""
    REFUSED = "refused"
    """The holder did not agree, or the PIN is locked."""
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"
    """Its deadline passed."""
    REVERSED = "reversed"
    """Given back whole, because its till could not learn that it was paid."""


TRANSITIONS: Final[Mapping[PaymentState, Mapping[PaymentStep, PaymentState]]] = MappingProxyType(
    {
        PaymentState.CREATED: {
            PaymentStep.APPROVED: PaymentState.SUCCEEDED,
            PaymentStep.AUTHORISED: PaymentState.AUTHORISED,
            PaymentStep.CONFIRMATION_ASKED: PaymentState.REQUIRES_CONFIRMATION,
            PaymentStep.DECLINED: PaymentState.DECLINED,
        },
        PaymentState.REQUIRES_CONFIRMATION: {
            PaymentStep.CONFIRMED: PaymentState.SUCCEEDED,
            PaymentStep.CONFIRMED_HOLD: PaymentState.AUTHORISED,
            PaymentStep.REFUSED: PaymentState.DECLINED,
            PaymentStep.VOIDED: PaymentState.VOIDED,
            PaymentStep.EXPIRED: PaymentState.EXPIRED,
        },
        PaymentState.AUTHORISED: {
            PaymentStep.CAPTURED: PaymentState.SUCCEEDED,
            PaymentStep.VOIDED: PaymentState.VOIDED,
            PaymentStep.EXPIRED: PaymentState.EXPIRED,
        },
        PaymentState.SUCCEEDED: {PaymentStep.REVERSED: PaymentState.REVERSED},
        PaymentState.DECLINED: {},
        PaymentState.VOIDED: {},
        PaymentState.EXPIRED: {},
        PaymentState.REVERSED: {},
    }
)

OPEN: Final = frozenset({PaymentState.REQUIRES_CONFIRMATION, PaymentState.AUTHORISED})
"""In these a payment holds money, has a deadline, and a row in open_payments."""

_DIAGRAM_HEAD: Final = """\
# The states of a payment

Generated from `TRANSITIONS` in `gateway/payments/states.py` by `python -m gateway.payments.states`; a test
holds the two together. `created` is a merchant's code that nobody has paid yet; every other payment begins
with its decision. Refunds are objects of their own and change no state.

```mermaid
stateDiagram-v2
    [*] --> created
"""


def next_state(state: PaymentState, step: PaymentStep) -> PaymentState | None:
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
