"""What a batch of attempts changes beside the ledger, and what must be so for it to be written.

A store writes all of it or nothing, each row by a statement that repeats its condition (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.payments.facts import DayKey, OrderKey, Payer, Site
from gateway.payments.model import (
    STATE_WHEN_DECIDED,
    Decided,
    Life,
    PaymentBooking,
    PaymentRecord,
    TokenUse,
)
from gateway.payments.settlement import receipt_number_text
from wire.messages.payments import ConfirmationWay, EntryMode


class Ruling(msgspec.Struct, frozen=True):
    """What an attempt is decided to be."""

    outcome: Decided
    decline_code: str | None = None
    fee_minor: int = 0
    confirm_code: str | None = None
    """Why its holder has to agree, if so."""
    confirm_ways: tuple[ConfirmationWay, ...] = ()
    due_ms: int | None = None
    """When it ends by itself, if it is open."""


class Draft(msgspec.Struct, frozen=True):
    """A new decision; its receipt number is known once the merchant's count is."""

    booking: PaymentBooking
    site: Site
    payer: Payer | None
    ruling: Ruling
    group_index: int | None
    """Which of the batch's new groups moves its money, from 0; None when declined."""
    receipt_index: int | None
    """Which of the merchant's new receipts of the batch is its own, from 1; None unless charged."""

    def receipt_number(self, receipt_counts: Mapping[str, int]) -> int | None:
        """Return the receipt's number, given how many receipts each merchant had before the batch."""
        if self.receipt_index is None:
            return None
        return receipt_counts[self.site.merchant_id] + self.receipt_index

    def record(self, receipt_counts: Mapping[str, int]) -> PaymentRecord:
        """Return the decision as it is stored."""
        booking, site, payer, ruling = self.booking, self.site, self.payer, self.ruling
        number = self.receipt_number(receipt_counts)
        return PaymentRecord(
            payment_id=booking.payment_id,
            attempt_id=booking.attempt_id,
            terminal_id=booking.terminal_id,
            merchant_id=booking.merchant_id,
            order_id=booking.order_id,
            outcome=ruling.outcome,
            decline_code=ruling.decline_code,
            amount_minor=booking.amount_minor,
            currency=booking.currency,
            entry_mode=booking.entry_mode,
            instrument_id=payer.instrument_id if payer else None,
            instrument_label=payer.label if payer else None,
            merchant_name=site.merchant_name,
            location_name=site.location_name,
            receipt_number=None if number is None else receipt_number_text(number),
            decided_ms=booking.now_ms,
            life=Life(
                state=STATE_WHEN_DECIDED[ruling.outcome],
                charged_minor=booking.amount_minor if ruling.outcome == "approved" else 0,
                fee_minor=ruling.fee_minor,
                due_ms=ruling.due_ms,
            ),
            capture=booking.terms.capture,
            tip_max_minor=booking.terms.tip_max_minor,
            confirm_code=ruling.confirm_code,
            confirm_ways=ruling.confirm_ways,
        )


class OrderChange(msgspec.Struct):
    """What a batch takes of an order; together with what was, it may not pass `amount_minor`."""

    amount_minor: int
    """What the order is for; it must be for that, or new."""
    taken_minor: int
    details: bytes | None = None
    """Tax and line items as JSON, should it be new."""


class SpendChange(msgspec.Struct):
    """What a batch spent of an instrument's day; all of its limits must hold, and it must be active."""

    spent_minor: int
    largest_minor: int
    largest_unconfirmed_minor: int
    """Of what nobody confirmed or will have to; 0 if there is nothing of the kind."""
    weakest_entry_mode: EntryMode
    payment_count: int
    recent_window: int
    """Of the last payment: its time divided by VELOCITY_WINDOW_MS."""
    recent_count: int
    """How many of the batch's fell into that window."""
    recent_before_max: int | None = None
    """How many may have fallen into it before, so that none of these had to be confirmed for their number."""


class CardChange(msgspec.Struct):
    """A card's counter goes to `last`; it must have been below `first`."""

    first: int
    last: int


class TokenSpent(msgspec.Struct, frozen=True):
    """A token's single use; (key id, counter) must be new, and (nonce, terminal id) if there is one."""

    use: TokenUse
    terminal_id: str
    terminal_nonce: bytes | None
    nonce_day: int | None
    """The day of UTC of a nonce; it must be new on that day and on the day before."""
    payment_id: str


class CodeSpent(msgspec.Struct, frozen=True):
    """A code's single use; it must be unused and not expired at `now_ms`."""

    code_hash: bytes
    payment_id: str
    now_ms: int


@dataclass(slots=True)
class PaymentChanges:
    """Everything a batch of attempts changes beside the ledger, written whole or not at all."""

    drafts: list[Draft] = field(default_factory=list)
    """Their attempts must be new, and their terminals active."""
    tokens: list[TokenSpent] = field(default_factory=list)
    codes: list[CodeSpent] = field(default_factory=list)
    cards: dict[str, CardChange] = field(default_factory=dict)
    suspended_key_ids: set[bytes] = field(default_factory=set)
    orders: dict[OrderKey, OrderChange] = field(default_factory=dict)
    spent_days: dict[DayKey, SpendChange] = field(default_factory=dict)
    wallet_days: set[DayKey] = field(default_factory=set)
    """Days of wallets with a limit over all their instruments, which must hold after the batch."""
    receipts: dict[str, int] = field(default_factory=dict)
    """How many new receipts each merchant gives; a merchant in here must be active."""
