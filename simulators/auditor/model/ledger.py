"""A model of the ledger: what it must answer to any group of transfers, and what stands afterwards.

All that could be wrong with a leg is collected and the lowest number answers; a group is tried on copies
of accounts and holds, which replace the real ones only if every leg went well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from simulators.auditor.model.outcomes import first_of

AMOUNT_MINOR_MAX: Final = 1_000_000_000_000_000
COUNTER_MAX: Final = 2**62
"""Debits of an account, pending and posted together, may not pass this; nor may its credits."""
EXPIRIES_MAX: Final = 64
"""How many due holds are let go before one batch, oldest first."""

RELEASES: Final = ("void", "expire")
_STATE_AFTER: Final = {"post": "posted", "void": "voided", "expire": "expired"}


@dataclass(frozen=True, slots=True)
class Leg:
    """A transfer as it is asked for; a kind is single, pending, post, void or expire."""

    transfer_id: bytes
    kind: str
    debit_account_id: bytes
    credit_account_id: bytes
    amount_minor: int
    currency: str
    pending_id: bytes | None = None
    """The hold that a post, void or expire ends."""
    expires_ms: int | None = None
    """Unix milliseconds from which a pending transfer is over."""

    @property
    def accounts(self) -> tuple[bytes, bytes]:
        """Return debit and credit account, in this order."""
        return self.debit_account_id, self.credit_account_id


@dataclass(frozen=True, slots=True)
class Group:
    """Linked transfers: all are booked, or none is."""

    legs: tuple[Leg, ...]
    purpose: str = "transfer"


@dataclass(frozen=True, slots=True)
class Account:
    """An account with its four counters in minor units."""

    currency: str
    limited: bool = False
    """Its debits, pending and posted, may not exceed its posted credits."""
    frozen: bool = False
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0

    @property
    def counters(self) -> tuple[int, int, int, int]:
        """Return debits pending and posted, then credits pending and posted."""
        return self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted

    @property
    def available_minor(self) -> int:
        """Return what may still be debited from a limited account."""
        return self.credits_posted - self.debits_posted - self.debits_pending


@dataclass(frozen=True, slots=True)
class Hold:
    """A booked pending transfer and what became of it: open, posted, voided or expired."""

    leg: Leg
    state: str = "open"

    def is_over(self, now_ms: int) -> bool:
        """Say whether its time has passed."""
        assert self.leg.expires_ms is not None
        return self.leg.expires_ms <= now_ms


@dataclass(frozen=True, slots=True)
class Answer:
    """One outcome a leg, and the place of the group in the history, counted from 1, if it stands."""

    legs: tuple[str, ...]
    sequence: int | None = None


@dataclass(slots=True)
class LedgerModel:
    """A ledger in a few dictionaries; whoever reads them must not change them."""

    accounts: dict[bytes, Account] = field(default_factory=dict)
    holds: dict[bytes, Hold] = field(default_factory=dict)
    history: list[Group] = field(default_factory=list)
    """Every booked group, in order; number 1 is the first."""
    places: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Where each booked transfer stands: index of its group in the history, index in the group."""

    def fork(self) -> LedgerModel:
        """Return a ledger that goes its own way from here."""
        return LedgerModel(dict(self.accounts), dict(self.holds), list(self.history), dict(self.places))

    def open_account(self, account_id: bytes, currency: str, *, limited: bool = False) -> None:
        """Open an account with zero counters."""
        assert account_id not in self.accounts, "an account is opened once"
        self.accounts[account_id] = Account(currency, limited)

    def set_frozen(self, account_id: bytes, frozen: bool) -> None:
        """Freeze or unfreeze an account."""
        self.accounts[account_id] = replace(self.accounts[account_id], frozen=frozen)

    def book(self, groups: Sequence[Group], now_ms: int) -> list[Answer]:
        """Let go of what is due, then book one group after another."""
        self.expire(now_ms)
        return [self.book_group(group, now_ms) for group in groups]

    def book_group(self, group: Group, now_ms: int) -> Answer:
        """Book one group, all or nothing, without letting go of anything before."""
        return _judge_form(group) or self._judge_repeat(group) or self._book_new(group, now_ms)

    def due(self, now_ms: int) -> list[Hold]:
        """Return all holds that are open and over, the oldest first."""
        over = [hold for hold in self.holds.values() if hold.state == "open" and hold.is_over(now_ms)]
        return sorted(over, key=lambda hold: (hold.leg.expires_ms, hold.leg.transfer_id))

    def expire(self, now_ms: int) -> int:
        """Book the expiry of up to EXPIRIES_MAX due holds, each in a group of its own; return how many."""
        due = self.due(now_ms)[:EXPIRIES_MAX]
        for hold in due:
            answer = self.book_group(Group((expiry_of(hold.leg),), "expiry"), now_ms)
            assert answer.legs == ("booked",), answer
        return len(due)

    def _judge_repeat(self, group: Group) -> Answer | None:
        """Answer a group of which at least one transfer stands already."""
        known = [index for index, leg in enumerate(group.legs) if leg.transfer_id in self.places]
        if not known:
            return None
        if group in self.history:
            return Answer(("exists",) * len(group.legs), self.history.index(group) + 1)
        for index in known:
            fault = first_of(set(_differences(group.legs[index], self._standing(group.legs[index]))))
            if fault is None and not self._is_at_home(group, index):
                fault = "exists_in_different_group"
            if fault is not None:
                return _fail(group, index, fault)
        # What is known sits where its group has it, so what is wrong is that the rest is not there.
        return _fail(group, known[0], "exists_in_different_group")

    def _standing(self, leg: Leg) -> Leg:
        sequence, index = self.places[leg.transfer_id]
        return self.history[sequence].legs[index]

    def _is_at_home(self, group: Group, index: int) -> bool:
        """Say whether a leg sits at the same place of the group in which the first leg stands."""
        if group.legs[0].transfer_id not in self.places:
            return False
        home = self.history[self.places[group.legs[0].transfer_id][0]]
        return (
            home.purpose == group.purpose
            and len(home.legs) == len(group.legs)
            and home.legs[index] == group.legs[index]
        )

    def _book_new(self, group: Group, now_ms: int) -> Answer:
        trial = _Trial(dict(self.accounts), dict(self.holds))
        for index, leg in enumerate(group.legs):
            fault = first_of(set(trial.faults_of(leg, now_ms)))
            if fault is not None:
                return _fail(group, index, fault)
            trial.apply(leg)
        self.accounts, self.holds = trial.accounts, trial.holds
        for index, leg in enumerate(group.legs):
            self.places[leg.transfer_id] = (len(self.history), index)
        self.history.append(group)
        return Answer(("booked",) * len(group.legs), len(self.history))


def expiry_of(held: Leg) -> Leg:
    """Return the transfer by which a ledger lets go of a hold; its id follows from the hold's."""
    expiry_id = hashlib.sha256(b"tapscan expiry\0" + held.transfer_id).digest()[:16]
    return replace(held, transfer_id=expiry_id, kind="expire", pending_id=held.transfer_id, expires_ms=None)


@dataclass(slots=True)
class _Trial:
    """Accounts and holds on which a group is tried."""

    accounts: dict[bytes, Account]
    holds: dict[bytes, Hold]

    def faults_of(self, leg: Leg, now_ms: int) -> Iterator[str]:
        """Yield everything that keeps a leg from being booked now, in any order."""
        if leg.kind == "pending" and leg.expires_ms is not None and leg.expires_ms <= now_ms:
            yield "expiry_has_passed"
        if leg.pending_id is not None:
            yield from self._faults_of_pending(leg, now_ms)
        yield from self._faults_of_accounts(leg)

    def apply(self, leg: Leg) -> None:
        """Move what a leg moves."""
        held, moved = self._movement(leg)
        debit, credit = self.accounts[leg.debit_account_id], self.accounts[leg.credit_account_id]
        self.accounts[leg.debit_account_id] = replace(
            debit, debits_pending=debit.debits_pending + held, debits_posted=debit.debits_posted + moved
        )
        self.accounts[leg.credit_account_id] = replace(
            credit,
            credits_pending=credit.credits_pending + held,
            credits_posted=credit.credits_posted + moved,
        )
        if leg.kind == "pending":
            self.holds[leg.transfer_id] = Hold(leg)
        if leg.pending_id is not None:
            hold = self.holds[leg.pending_id]
            self.holds[leg.pending_id] = replace(hold, state=_STATE_AFTER[leg.kind])

    def _movement(self, leg: Leg) -> tuple[int, int]:
        """Return what a leg adds to the pending and to the posted counter of either side."""
        if leg.kind == "single":
            return 0, leg.amount_minor
        if leg.kind == "pending":
            return leg.amount_minor, 0
        hold = self.holds.get(leg.pending_id or b"")
        held = 0 if hold is None else hold.leg.amount_minor
        return -held, leg.amount_minor if leg.kind == "post" else 0

    def _faults_of_pending(self, leg: Leg, now_ms: int) -> Iterator[str]:
        hold = self.holds.get(leg.pending_id or b"")
        if hold is None:
            yield "pending_not_found"
            return
        if leg.accounts != hold.leg.accounts:
            yield "pending_has_different_accounts"
        if leg.currency != hold.leg.currency:
            yield "pending_has_different_currency"
        if leg.amount_minor > hold.leg.amount_minor:
            yield "exceeds_pending"
        if leg.kind in RELEASES and leg.amount_minor != hold.leg.amount_minor:
            yield "pending_has_different_amount"
        yield from _faults_of_state(leg, hold, now_ms)

    def _faults_of_accounts(self, leg: Leg) -> Iterator[str]:
        debit, credit = self.accounts.get(leg.debit_account_id), self.accounts.get(leg.credit_account_id)
        if debit is None or credit is None:
            yield "account_not_found"
            return
        if debit.frozen and leg.kind not in RELEASES:
            yield "account_frozen"
        if len({debit.currency, credit.currency, leg.currency}) > 1:
            yield "currency_mismatch"
        change = sum(self._movement(leg))
        debits = debit.debits_pending + debit.debits_posted + change
        credits = credit.credits_pending + credit.credits_posted + change
        if debits > COUNTER_MAX or credits > COUNTER_MAX:
            yield "counter_out_of_range"
        if debit.limited and debits > debit.credits_posted:
            yield "insufficient_funds"


def _faults_of_state(leg: Leg, hold: Hold, now_ms: int) -> Iterator[str]:
    if hold.state == "posted":
        yield "pending_already_posted"
    elif hold.state == "voided":
        yield "pending_already_voided"
    elif hold.state == "expired":
        yield "pending_expired"
    elif leg.kind == "expire" and not hold.is_over(now_ms):
        yield "pending_not_expired"
    elif leg.kind != "expire" and hold.is_over(now_ms):
        yield "pending_expired"


def _judge_form(group: Group) -> Answer | None:
    """Answer a group that no ledger could ever book."""
    for index, leg in enumerate(group.legs):
        fault = first_of(set(_faults_of_form(leg, group.legs[:index])))
        if fault is not None:
            return _fail(group, index, fault)
    return None


def _faults_of_form(leg: Leg, before: Sequence[Leg]) -> Iterator[str]:
    if leg.amount_minor <= 0:
        yield "amount_must_be_positive"
    if leg.amount_minor > AMOUNT_MINOR_MAX:
        yield "amount_too_large"
    if leg.debit_account_id == leg.credit_account_id:
        yield "accounts_must_differ"
    if leg.transfer_id in [earlier.transfer_id for earlier in before]:
        yield "id_repeated_in_group"


def _differences(asked: Leg, standing: Leg) -> Iterator[str]:
    if asked.kind != standing.kind:
        yield "exists_with_different_kind"
    if asked.accounts != standing.accounts:
        yield "exists_with_different_accounts"
    if asked.amount_minor != standing.amount_minor:
        yield "exists_with_different_amount"
    if asked.currency != standing.currency:
        yield "exists_with_different_currency"
    if asked.pending_id != standing.pending_id:
        yield "exists_with_different_pending"
    if asked.expires_ms != standing.expires_ms:
        yield "exists_with_different_expiry"


def _fail(group: Group, index: int, fault: str) -> Answer:
    """Blame one leg; the others failed with it."""
    return Answer(tuple(fault if place == index else "linked_failed" for place in range(len(group.legs))))
