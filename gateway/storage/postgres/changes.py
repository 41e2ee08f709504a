"""What a batch changes, as the rows that the function `book_batch` takes (migrations/0002_booking.sql).

A row is a tuple whose parts stand in the order of its type there; tests book with every kind of row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.ledger.chain import encode_group
from gateway.ledger.model import COUNTER_MAX, GroupPurpose, PendingState, TransferKind
from gateway.ledger.rules import state_after
from gateway.ledger.workbook import AccountChange, BookedGroup, LedgerChanges, PendingEnd
from gateway.payments.changes import Draft, PaymentChanges, SpendChange, TokenSpent
from gateway.payments.facts import DayKey
from wire.messages.payments import CaptureMode, EntryMode

SEQUENCE_BYTES: Final = 8
"""How much of a group's canonical bytes is its place in the ledger, which only the server knows."""

Row: TypeAlias = tuple[object, ...]

# Plain texts, which the driver takes as they are.
_TEXT_OF: Final[Mapping[object, str]] = {
    member: member.value
    for members in (TransferKind, GroupPurpose, PendingState, EntryMode)
    for member in members
}
_EXPIRE: Final = TransferKind.EXPIRE
_MANUAL: Final = CaptureMode.MANUAL


@dataclass(frozen=True, slots=True)
class Written:
    """Where a batch came to stand in the ledger."""

    first_sequence: int
    receipt_counts: Mapping[str, int]
    """How many receipts each merchant had before the batch."""


def book_arguments(ledger: LedgerChanges, payments: PaymentChanges) -> list[object]:
    """Return the arguments of `book_batch`, in its order."""
    receipt_places = {merchant_id: place for place, merchant_id in enumerate(payments.receipts, start=1)}
    return [
        [_group_row(booked) for booked in ledger.groups],
        _leg_rows(ledger.groups),
        [_account_row(change) for change in ledger.accounts],
        COUNTER_MAX,
        [_end_row(end) for end in ledger.ended_pendings],
        list({draft.site.terminal_id for draft in payments.drafts}),
        [_token_row(one) for one in payments.tokens],
        [(one.code_hash, one.payment_id, one.now_ms) for one in payments.codes],
        [(instrument_id, card.first, card.last) for instrument_id, card in payments.cards.items()],
        list(payments.suspended_key_ids),
        [
            (*key, order.amount_minor, order.taken_minor, order.details)
            for key, order in payments.orders.items()
        ],
        [_day_row(key, spend) for key, spend in payments.spent_days.items()],
        list(payments.wallet_days),
        list(payments.receipts.items()),
        [_payment_row(draft, receipt_places) for draft in payments.drafts],
    ]


def _group_row(booked: BookedGroup) -> Row:
    group = booked.group
    body = encode_group(0, booked.booked_ms, group)[SEQUENCE_BYTES:]
    return _TEXT_OF[group.purpose], booked.booked_ms, len(group.legs), body


def _leg_rows(groups: Sequence[BookedGroup]) -> list[Row]:
    return [
        (
            group_index,
            leg_index,
            leg.transfer_id,
            _TEXT_OF[leg.kind],
            leg.debit_account_id,
            leg.credit_account_id,
            leg.amount_minor,
            leg.currency,
            leg.pending_id,
            leg.expires_ms,
        )
        for group_index, booked in enumerate(groups, start=1)
        for leg_index, leg in enumerate(booked.group.legs)
    ]


def _account_row(change: AccountChange) -> Row:
    return (
        change.account_id,
        change.currency,
        change.debits_pending,
        change.debits_posted,
        change.credits_pending,
        change.credits_posted,
        change.needed_minor,
        change.needs_unfrozen,
    )


def _end_row(end: PendingEnd) -> Row:
    return end.pending_id, _TEXT_OF[state_after(end.kind)], end.now_ms, end.kind is _EXPIRE


def _token_row(one: TokenSpent) -> Row:
    use = one.use
    return (
        use.key_id,
        use.counter,
        use.claims_digest,
        one.terminal_id,
        one.terminal_nonce,
        one.nonce_day,
        one.payment_id,
    )


def _day_row(key: DayKey, spend: SpendChange) -> Row:
    return (
        *key,
        spend.spent_minor,
        spend.largest_minor,
        spend.largest_unconfirmed_minor,
        _TEXT_OF[spend.weakest_entry_mode],
        spend.payment_count,
        spend.recent_window,
        spend.recent_count,
        spend.recent_before_max,
    )


def _payment_row(draft: Draft, receipt_places: Mapping[str, int]) -> Row:
    booking, site, payer, ruling = draft.booking, draft.site, draft.payer, draft.ruling
    return (
        booking.payment_id,
        booking.attempt_id,
        booking.request_digest,
        booking.terminal_id,
        booking.merchant_id,
        booking.order_id,
        ruling.outcome,
        ruling.decline_code,
        booking.amount_minor,
        booking.terms.tip_max_minor,
        ruling.fee_minor,
        booking.currency,
        _TEXT_OF[booking.entry_mode],
        booking.terms.capture is _MANUAL,
        ruling.confirm_code,
        " ".join(ruling.confirm_ways) or None,
        ruling.due_ms,
        payer.instrument_id if payer else None,
        payer.label if payer else None,
        site.merchant_name,
        site.location_name,
        None if draft.receipt_index is None else receipt_places[site.merchant_id],
        draft.receipt_index,
        None if draft.group_index is None else draft.group_index + 1,
        booking.presented_ms,
        booking.card_exchange_ms,
        booking.now_ms,
    )
