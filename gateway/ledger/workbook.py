"""A batch of groups, decided in memory: the part of the ledger it touches, and what it changes there.

A store reads `LedgerFacts`, books groups one after another in a `Workbook`, and writes the `LedgerChanges`
under guards (docs/adr/0005). Nothing here is durable and nothing here is trusted: `AccountChange` says what
the store has to check once more in the statement that moves the counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway.ledger import rules
from gateway.ledger.model import LEGS_MAX, Account, PendingState, Transfer, TransferGroup, TransferKind
from gateway.ledger.outcomes import GroupOutcome, Outcome, fail_group
from gateway.ledger.rules import BookedLeg, Movement, Pending

_BOOKED: Final = Outcome.BOOKED
_ALL_BOOKED: Final = tuple((Outcome.BOOKED,) * leg_count for leg_count in range(LEGS_MAX + 1))
_PENDING: Final = TransferKind.PENDING


@dataclass(slots=True)
class LedgerFacts:
    """What the ledger holds of everything a batch names; what is missing does not exist."""

    accounts: dict[bytes, Account] = field(default_factory=dict)
    booked_legs: dict[bytes, BookedLeg] = field(default_factory=dict)
    pendings: dict[bytes, Pending] = field(default_factory=dict)


class AccountChange(msgspec.Struct, frozen=True, gc=False):
    """What a batch adds to an account's counters, and what must be so for it to be added.

    All in minor units. A change holds if the account's currency is `currency`, none of its counter pairs
    passes COUNTER_MAX, it is not frozen where `needs_unfrozen`, and, where its debits must not exceed its
    credits, at least `needed_minor` is available before the change.
    """

    account_id: bytes
    currency: str
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int
    needed_minor: int
    """The batch's low-water mark: what every step of it together took beyond what it brought."""
    needs_unfrozen: bool


class PendingEnd(msgspec.Struct, frozen=True):
    """A hold that the batch ends; it must be open, and over at `now_ms` only if it expires."""

    pending_id: bytes
    kind: TransferKind
    now_ms: int


class BookedGroup(msgspec.Struct, frozen=True, gc=False):
    """A group with its place in the batch, which is its place in the ledger from `first_sequence` on."""

    group: TransferGroup
    booked_ms: int


@dataclass(frozen=True, slots=True)
class LedgerChanges:
    """Everything a batch changes in the ledger, to be written whole or not at all."""

    groups: Sequence[BookedGroup]
    accounts: Sequence[AccountChange]
    ended_pendings: Sequence[PendingEnd]


class Workbook:
    """Books groups one after another against the facts and against what it booked itself."""

    def __init__(self, facts: LedgerFacts, first_sequence: int) -> None:
        """Begin a batch whose first group will be `first_sequence`, from 1, as far as is known."""
        self._pages = {account_id: _Page(account) for account_id, account in facts.accounts.items()}
        self._booked_legs = facts.booked_legs
        self._booked_here: dict[bytes, tuple[int, int]] = {}
        self._pendings = facts.pendings
        self._first_sequence = first_sequence
        self._groups: list[BookedGroup] = []
        self._ended: list[PendingEnd] = []

    @property
    def group_count(self) -> int:
        """How many groups were booked so far: the next one's index in the batch."""
        return len(self._groups)

    def find_pending(self, pending_id: bytes) -> Pending | None:
        """Return a pending transfer among the facts or booked here, with what became of it, or None."""
        return self._pendings.get(pending_id)

    def book_group(self, group: TransferGroup, now_ms: int) -> GroupOutcome:
        """Book one group, all or nothing, and answer it as `LedgerBook.book` does.

        The sequence in the answer is as right as `first_sequence` was.
        """
        known = rules.check_form(group) or rules.check_repeat(group, self._find_booked(group))
        if known is not None:
            return known
        undo = _Undo(len(self._ended))
        for leg_index, leg in enumerate(group.legs):
            outcome = self._book_leg(leg, now_ms, undo)
            if outcome is not _BOOKED:
                self._undo(undo)
                return fail_group(len(group.legs), leg_index, outcome)
        return self._keep(group, now_ms)

    def available_minor(self, account_id: bytes) -> int:
        """Return what may be debited of an account as the batch leaves it so far; 0 if it is frozen."""
        page = self._pages.get(account_id)
        if page is None or page.frozen:
            return 0
        return max(0, page.credits_posted - page.debits_posted - page.debits_pending)

    def changes(self) -> LedgerChanges:
        """Return what has to be written."""
        changed = [page.change() for page in self._pages.values() if page.is_changed]
        return LedgerChanges(self._groups, changed, self._ended)

    def _find_booked(self, group: TransferGroup) -> list[BookedLeg | None]:
        """Return what stands under each leg's id, in the ledger or in this batch."""
        found: list[BookedLeg | None] = []
        for leg in group.legs:
            place = self._booked_here.get(leg.transfer_id)
            if place is None:
                found.append(self._booked_legs.get(leg.transfer_id))
            else:
                found.append(self._booked_leg(*place))
        return found

    def _booked_leg(self, group_index: int, leg_index: int) -> BookedLeg:
        group, sequence = self._groups[group_index].group, self._first_sequence + group_index
        return BookedLeg(group.legs[leg_index], sequence, leg_index, len(group.legs), group.purpose)

    def _book_leg(self, leg: Transfer, now_ms: int, undo: _Undo) -> Outcome:
        if leg.expires_ms is not None and leg.expires_ms <= now_ms:
            return Outcome.EXPIRY_HAS_PASSED
        held_minor = 0
        if leg.pending_id is not None:
            pending = self._pendings.get(leg.pending_id)
            outcome = rules.judge_pending(leg, pending, now_ms)
            if outcome is not Outcome.BOOKED or pending is None:
                return outcome
            held_minor = pending.transfer.amount_minor
        outcome = self._move(leg, rules.movement_of(leg, held_minor), undo)
        if outcome is _BOOKED and (leg.kind is _PENDING or leg.pending_id is not None):
            self._settle_pending(leg, now_ms, undo)
        return outcome

    def _move(self, leg: Transfer, movement: Movement, undo: _Undo) -> Outcome:
        debit, credit = self._pages.get(leg.debit_account_id), self._pages.get(leg.credit_account_id)
        outcome = rules.judge_accounts(leg, movement, debit, credit)
        if outcome is not _BOOKED or debit is None or credit is None:
            return outcome
        undo.pages.append((debit, debit.snapshot()))
        undo.pages.append((credit, credit.snapshot()))
        debit.debit(movement, lets_go=leg.lets_go)
        credit.credit(movement)
        return Outcome.BOOKED

    def _settle_pending(self, leg: Transfer, now_ms: int, undo: _Undo) -> None:
        if leg.kind is _PENDING:
            undo.pendings.append((leg.transfer_id, None))
            self._pendings[leg.transfer_id] = Pending(leg, PendingState.OPEN)
        elif leg.pending_id is not None:
            pending = self._pendings[leg.pending_id]
            undo.pendings.append((leg.pending_id, pending))
            self._pendings[leg.pending_id] = Pending(pending.transfer, rules.state_after(leg.kind))
            self._ended.append(PendingEnd(leg.pending_id, leg.kind, now_ms))

    def _keep(self, group: TransferGroup, now_ms: int) -> GroupOutcome:
        group_index = len(self._groups)
        self._groups.append(BookedGroup(group, now_ms))
        for leg_index, leg in enumerate(group.legs):
            self._booked_here[leg.transfer_id] = (group_index, leg_index)
        return GroupOutcome(_ALL_BOOKED[len(group.legs)], self._first_sequence + group_index)

    def _undo(self, undo: _Undo) -> None:
        for page, snapshot in reversed(undo.pages):
            page.restore(snapshot)
        for pending_id, pending in reversed(undo.pendings):
            if pending is None:
                del self._pendings[pending_id]
            else:
                self._pendings[pending_id] = pending
        del self._ended[undo.ended_count :]


def ids_of(groups: Iterable[TransferGroup]) -> tuple[set[bytes], set[bytes], set[bytes]]:
    """Return the ids of transfers, of the holds they end, and of the accounts that groups name."""
    legs = [leg for group in groups for leg in group.legs]
    transfer_ids = {leg.transfer_id for leg in legs}
    pending_ids = {leg.pending_id for leg in legs if leg.pending_id is not None}
    account_ids = {one for leg in legs for one in (leg.debit_account_id, leg.credit_account_id)}
    return transfer_ids, pending_ids, account_ids


class _Undo(msgspec.Struct):
    """What a group changed before one of its legs was refused."""

    ended_count: int
    pages: list[tuple[_Page, tuple[int, int, int, int, int, bool]]] = []
    pendings: list[tuple[bytes, Pending | None]] = []


class _Page:
    """One account as the batch leaves it so far; reads like `Account` where rules ask."""

    __slots__ = (
        "_available_before_minor",
        "_before",
        "_needed_minor",
        "_needs_unfrozen",
        "account_id",
        "credits_pending",
        "credits_posted",
        "currency",
        "debits_must_not_exceed_credits",
        "debits_pending",
        "debits_posted",
        "frozen",
    )

    def __init__(self, account: Account) -> None:
        self._before = account
        self._available_before_minor = account.available_minor
        self.account_id = account.account_id
        self.currency = account.currency
        self.debits_must_not_exceed_credits = account.debits_must_not_exceed_credits
        self.frozen = account.frozen
        self.debits_pending = account.debits_pending
        self.debits_posted = account.debits_posted
        self.credits_pending = account.credits_pending
        self.credits_posted = account.credits_posted
        self._needed_minor = 0
        self._needs_unfrozen = False

    @property
    def is_changed(self) -> bool:
        before = self._before
        return (
            self.debits_posted != before.debits_posted
            or self.credits_posted != before.credits_posted
            or self.debits_pending != before.debits_pending
            or self.credits_pending != before.credits_pending
            or self._needs_unfrozen
        )

    def debit(self, movement: Movement, *, lets_go: bool) -> None:
        self.debits_pending += movement.pending_minor
        self.debits_posted += movement.posted_minor
        self._needs_unfrozen |= not lets_go
        # How far below its beginning the balance now is: so much must have been there.
        available_minor = self.credits_posted - self.debits_posted - self.debits_pending
        taken_minor = self._available_before_minor - available_minor
        if taken_minor > self._needed_minor:
            self._needed_minor = taken_minor

    def credit(self, movement: Movement) -> None:
        self.credits_pending += movement.pending_minor
        self.credits_posted += movement.posted_minor

    def snapshot(self) -> tuple[int, int, int, int, int, bool]:
        return (
            self.debits_pending,
            self.debits_posted,
            self.credits_pending,
            self.credits_posted,
            self._needed_minor,
            self._needs_unfrozen,
        )

    def restore(self, snapshot: tuple[int, int, int, int, int, bool]) -> None:
        (
            self.debits_pending,
            self.debits_posted,
            self.credits_pending,
            self.credits_posted,
            self._needed_minor,
            self._needs_unfrozen,
        ) = snapshot

    def change(self) -> AccountChange:
        before = self._before
        return AccountChange(
            account_id=self.account_id,
            currency=self.currency,
            debits_pending=self.debits_pending - before.debits_pending,
            debits_posted=self.debits_posted - before.debits_posted,
            credits_pending=self.credits_pending - before.credits_pending,
            credits_posted=self.credits_posted - before.credits_posted,
            needed_minor=self._needed_minor,
            needs_unfrozen=self._needs_unfrozen,
        )
