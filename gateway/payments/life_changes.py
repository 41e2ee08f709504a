"""What a change of a payment reads and writes (gateway/payments/life.py), and what it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.payments.model import PaymentRecord
from gateway.payments.settlement import Parties
from gateway.payments.states import PaymentStep
from wire.messages.payments import PaymentState


class RefundRecord(msgspec.Struct, frozen=True, array_like=True):
    """A refund as it is stored for ever."""

    refund_id: str
    payment_id: str
    terminal_id: str
    amount_minor: int
    total_minor: int
    """Refunded of the payment in all, once this was."""
    fee_minor: int
    """What of the fee went back to the merchant with it."""
    reason: str
    staff_id: str
    refunded_ms: int


class Changed(msgspec.Struct, frozen=True, array_like=True):
    """A payment after a change, or as it was where there was nothing to change."""

    payment: PaymentRecord
    refund: RefundRecord | None = None
    """Of a refund: the one that reached the total, this one or an earlier one."""


@dataclass(frozen=True, slots=True)
class LifeFacts:
    """What is stored about one payment, read under the lock under which the change is written."""

    record: PaymentRecord
    parties: Parties
    fee_basis_points: int
    merchant_receipt_count: int
    capture_id: str | None
    """Under which it was captured, if it was."""
    refunds: Sequence[RefundRecord] = ()
    """In the order in which they were made."""
    refunded_today_minor: int = 0
    """By the terminal that asks, over all payments."""
    refund_limit_minor: int = 0
    """Of that terminal, for a day of UTC."""
    payment_of_refund_id: str | None = None
    """The payment that has a refund under the id of the one that is asked for, if any has."""


class StepChange(msgspec.Struct, frozen=True):
    """A step to be appended; the payment must stand where it stood when this was decided."""

    payment_id: str
    step_index: int
    """From 1."""
    step: PaymentStep
    state_before: PaymentState
    state: PaymentState
    at_ms: int
    request_id: str | None = None
    code: str | None = None
    charged_minor: int = 0
    tip_minor: int = 0
    fee_minor: int = 0
    order_released_minor: int = 0
    day_released_minor: int = 0
    receipt_number: int | None = None
    is_grouped: bool = False
    """Whether the one group of this change is its own."""
    due_ms: int | None = None
    """While the payment stays open: its new deadline."""
    staff_id: str | None = None
    """Who at the shop answered for it."""


@dataclass(slots=True)
class LifeChanges:
    """What a change writes beside the ledger; nothing at all where it is a repeat."""

    step: StepChange | None = None
    refund: RefundRecord | None = None
    resets_pin_tries: bool = False
    terminal_is_told: bool = False
    answer: Changed = field(init=False)
