"""Shifts: from when to when a till was worked at, by whom, and what it took in that time."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from wire.messages.base import Message
from wire.messages.payments import CurrencyCode, EntryMode, UlidText, UnixMs

SHIFTS_TARGET: Final = "/v1/shifts"
OPEN_SHIFT_TARGET: Final = "/v1/shifts/open"
SHIFT_MS_MAX: Final = 7 * 86_400_000
"""Longest shift: one that nobody closed ends by itself after so long, so that its totals have a bound."""

AGE_MS_MAX: Final = 31 * 86_400_000
"""How late a till may tell that a shift was opened or closed."""

Count = Annotated[int, msgspec.Meta(ge=0)]
AgeMs = Annotated[int, msgspec.Meta(ge=0, le=AGE_MS_MAX)]


class ShiftOpening(Message, frozen=True):
    """A shift begins at this till; the same again changes nothing."""

    shift_id: UlidText
    """Made once by the till, the Idempotency-Key too."""
    age_ms: AgeMs = 0
    """How long ago it began: more than nothing where the gateway could not be told at once."""
    staff_id: UlidText | None = None
    """Who opens it; None where software does."""


class ShiftClosing(Message, frozen=True):
    """A shift ends; the same again changes nothing."""

    shift_id: UlidText
    """The Idempotency-Key too."""
    age_ms: AgeMs = 0
    staff_id: UlidText | None = None


class StaffName(Message, frozen=True):
    """Whose doing something was."""

    staff_id: UlidText
    name: str


class EntryModeTotal(Message, frozen=True):
    """What was charged by one way of presenting."""

    entry_mode: EntryMode
    payment_count: Count
    charged_minor: Count


class ShiftTotals(Message, frozen=True):
    """What happened at a till within a time, each thing counted when it happened.

    What was taken is `charged_minor - refunded_minor - reversed_minor`.
    """

    payment_count: Count = 0
    """Payments that were charged: at once, by a capture, or by their holder's confirmation."""
    charged_minor: Count = 0
    """Tips included."""
    tip_minor: Count = 0
    fee_minor: Count = 0
    """Of the charges, before what refunds and reversals give back of it."""
    refund_count: Count = 0
    refunded_minor: Count = 0
    reversed_count: Count = 0
    reversed_minor: Count = 0
    """Given back whole because the till could not know that it was paid."""
    voided_count: Count = 0
    declined_count: Count = 0
    offline_count: Count = 0
    offline_minor: Count = 0
    """How much of the charges was accepted without a connection and handed in within this time."""
    by_entry_mode: Annotated[list[EntryModeTotal], msgspec.Meta(max_length=len(EntryMode))] = msgspec.field(
        default_factory=list
    )


class ShiftAnswer(Message, frozen=True):
    """A shift as the gateway has it, reckoned anew from what it booked."""

    shift_id: UlidText
    currency: CurrencyCode
    opened_ms: UnixMs
    totals: ShiftTotals
    opened_by: StaffName | None = None
    closed_ms: UnixMs | None = None
    closed_by: StaffName | None = None


class ShiftView(Message, frozen=True):
    """A shift as its till shows it."""

    shift_id: UlidText
    currency: CurrencyCode
    opened_ms: UnixMs
    totals: ShiftTotals
    is_provisional: bool
    """Whether the totals are the till's own reckoning, because the gateway does not answer."""
    is_queued: bool = False
    """Whether the gateway was not told yet that it was opened or closed."""
    opened_by: StaffName | None = None
    closed_ms: UnixMs | None = None
    closed_by: StaffName | None = None
    waiting_count: Count = 0
    waiting_minor: Count = 0
    """Accepted without a connection and not handed in yet, in this shift or before: in no total."""


class ShiftMark(Message, frozen=True):
    """That a shift is open."""

    shift_id: UlidText
    opened_ms: UnixMs
