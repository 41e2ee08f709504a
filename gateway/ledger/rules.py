"""The ledger's judgements as pure functions, in the order of precedence of gateway/ledger/outcomes.py.

They judge a batch in memory, and every store judges the same once more: each statement that moves a counter
repeats its check in its own WHERE (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from gateway.ledger.model import (
    AMOUNT_MINOR_MAX,
    COUNTER_MAX,
    GroupPurpose,
    PendingState,
    Transfer,
    TransferGroup,
    TransferKind,
)
from gateway.ledger.outcomes import GroupOutcome, Outcome, fail_group

_BOOKED: Final = Outcome.BOOKED
_SINGLE: Final = TransferKind.SINGLE
_PENDING: Final = TransferKind.PENDING
_POST: Final = TransferKind.POST


class Movement(msgspec.Struct, frozen=True, gc=False):
    """What a transfer adds to the debit account's debits and to the credit account's credits."""

    pending_minor: int
    posted_minor: int


class Counters(Protocol):
    """What is judged of an account: an `Account`, or one in the middle of a batch."""

    @property
    def currency(self) -> str: ...

    @property
    def debits_must_not_exceed_credits(self) -> bool: ...

    @property
    def frozen(self) -> bool: ...

    @property
    def debits_pending(self) -> int: ...

    @property
    def debits_posted(self) -> int: ...

    @property
    def credits_pending(self) -> int: ...

    @property
    def credits_posted(self) -> int: ...


class Pending(msgspec.Struct, frozen=True):
    """A pending transfer with what became of it."""

    transfer: Transfer
    state: PendingState


class BookedLeg(msgspec.Struct, frozen=True):
    """A transfer as it stands in the ledger, with its place."""

    transfer: Transfer
    sequence: int
    leg_index: int
    leg_count: int
    purpose: GroupPurpose


def movement_of(transfer: Transfer, held_minor: int) -> Movement:
    """Return the change a transfer makes; `held_minor` is the amount of the pending one it ends."""
    kind = transfer.kind
    if kind is _SINGLE:
        return Movement(0, transfer.amount_minor)
    if kind is _PENDING:
        return Movement(transfer.amount_minor, 0)
    return Movement(-held_minor, transfer.amount_minor if kind is _POST else 0)


def state_after(kind: TransferKind) -> PendingState:
    """Return the state in which a post, void or expire leaves its pending transfer."""
    return _STATE_AFTER[kind]


def check_form(group: TransferGroup) -> GroupOutcome | None:
    """Return the refusal of a group that could never be booked, or None."""
    seen: set[bytes] = set()
    for index, leg in enumerate(group.legs):
        outcome = _form_outcome(leg, seen)
        if outcome is not _BOOKED:
            return fail_group(len(group.legs), index, outcome)
        seen.add(leg.transfer_id)
    return None


def check_repeat(group: TransferGroup, found: Sequence[BookedLeg | None]) -> GroupOutcome | None:
    """Return what is known about a group of which legs were booked before; None if none was.

    Args:
        found: for each leg, in order, what stands in the ledger under its id.
    """
    if not any(found):
        return None
    for index, (leg, booked) in enumerate(zip(group.legs, found, strict=True)):
        if booked is None:
            continue
        outcome = _repeat_outcome(leg, booked.transfer)
        if outcome is Outcome.EXISTS and not _is_same_place(group, index, booked, found[0]):
            outcome = Outcome.EXISTS_IN_DIFFERENT_GROUP
        if outcome is not Outcome.EXISTS:
            return fail_group(len(group.legs), index, outcome)
    if found[0] is None or None in found:
        # Its first leg sits at the right place, but another leg was not part of that group.
        index = next(index for index, booked in enumerate(found) if booked is not None)
        return fail_group(len(group.legs), index, Outcome.EXISTS_IN_DIFFERENT_GROUP)
    return GroupOutcome((Outcome.EXISTS,) * len(group.legs), found[0].sequence)


def judge_pending(transfer: Transfer, pending: Pending | None, now_ms: int) -> Outcome:
    """Say whether a transfer fits the pending one it names (`BOOKED`: it does), or why not."""
    if pending is None:
        return Outcome.PENDING_NOT_FOUND
    held = pending.transfer
    if _accounts(transfer) != _accounts(held):
        return Outcome.PENDING_HAS_DIFFERENT_ACCOUNTS
    if transfer.currency != held.currency:
        return Outcome.PENDING_HAS_DIFFERENT_CURRENCY
    if transfer.amount_minor > held.amount_minor:
        return Outcome.EXCEEDS_PENDING
    if transfer.lets_go and transfer.amount_minor != held.amount_minor:
        return Outcome.PENDING_HAS_DIFFERENT_AMOUNT
    return _judge_state(transfer, pending, now_ms)


def judge_accounts(
    transfer: Transfer, movement: Movement, debit: Counters | None, credit: Counters | None
) -> Outcome:
    """Say whether the accounts allow a transfer (`BOOKED`: they do), or why not."""
    if debit is None or credit is None:
        return Outcome.ACCOUNT_NOT_FOUND
    if debit.frozen and not transfer.lets_go:
        return Outcome.ACCOUNT_FROZEN
    if not debit.currency == credit.currency == transfer.currency:
        return Outcome.CURRENCY_MISMATCH
    change = movement.pending_minor + movement.posted_minor
    debits = debit.debits_pending + debit.debits_posted + change
    credits = credit.credits_pending + credit.credits_posted + change
    if debits > COUNTER_MAX or credits > COUNTER_MAX:
        return Outcome.COUNTER_OUT_OF_RANGE
    if debit.debits_must_not_exceed_credits and debits > debit.credits_posted:
        return Outcome.INSUFFICIENT_FUNDS
    return _BOOKED


_STATE_AFTER = {
    TransferKind.POST: PendingState.POSTED,
    TransferKind.VOID: PendingState.VOIDED,
    TransferKind.EXPIRE: PendingState.EXPIRED,
}
_RESOLVED = {
    PendingState.POSTED: Outcome.PENDING_ALREADY_POSTED,
    PendingState.VOIDED: Outcome.PENDING_ALREADY_VOIDED,
    PendingState.EXPIRED: Outcome.PENDING_EXPIRED,
}


def _form_outcome(leg: Transfer, seen: set[bytes]) -> Outcome:
    if leg.amount_minor <= 0:
        return Outcome.AMOUNT_MUST_BE_POSITIVE
    if leg.amount_minor > AMOUNT_MINOR_MAX:
        return Outcome.AMOUNT_TOO_LARGE
    if leg.debit_account_id == leg.credit_account_id:
        return Outcome.ACCOUNTS_MUST_DIFFER
    if leg.transfer_id in seen:
        return Outcome.ID_REPEATED_IN_GROUP
    return _BOOKED


def _repeat_outcome(asked: Transfer, booked: Transfer) -> Outcome:
    differences = (
        (asked.kind != booked.kind, Outcome.EXISTS_WITH_DIFFERENT_KIND),
        (_accounts(asked) != _accounts(booked), Outcome.EXISTS_WITH_DIFFERENT_ACCOUNTS),
        (asked.amount_minor != booked.amount_minor, Outcome.EXISTS_WITH_DIFFERENT_AMOUNT),
        (asked.currency != booked.currency, Outcome.EXISTS_WITH_DIFFERENT_CURRENCY),
        (asked.pending_id != booked.pending_id, Outcome.EXISTS_WITH_DIFFERENT_PENDING),
        (asked.expires_ms != booked.expires_ms, Outcome.EXISTS_WITH_DIFFERENT_EXPIRY),
    )
    return next((outcome for differs, outcome in differences if differs), Outcome.EXISTS)


def _is_same_place(group: TransferGroup, index: int, booked: BookedLeg, first: BookedLeg | None) -> bool:
    return (
        first is not None
        and booked.sequence == first.sequence
        and booked.leg_index == index
        and booked.leg_count == len(group.legs)
        and booked.purpose is group.purpose
    )


def _judge_state(transfer: Transfer, pending: Pending, now_ms: int) -> Outcome:
    if pending.state is not PendingState.OPEN:
        return _RESOLVED[pending.state]
    assert pending.transfer.expires_ms is not None
    is_over = pending.transfer.expires_ms <= now_ms
    if transfer.kind is TransferKind.EXPIRE:
        return Outcome.BOOKED if is_over else Outcome.PENDING_NOT_EXPIRED
    return Outcome.PENDING_EXPIRED if is_over else Outcome.BOOKED


def _accounts(transfer: Transfer) -> tuple[bytes, bytes]:
    return transfer.debit_account_id, transfer.credit_account_id
