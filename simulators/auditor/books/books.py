"""The books as they stand, in plain values, and everything that can be wrong with them.

History is booked a second time, group by group, in the model of the ledger: what the real ledger let
through, the model must let through too, and at the end the counters must be the same. Beside that stand
the few sentences money is trusted for, each checked by itself: what is debited is credited, nobody's
balance is below what is allowed, a hold ends once, a payment has its group, receipts have no gap. What became
of payments, of their orders and of their days, is checked in lives.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

from simulators.auditor.books.histories import (
    History,
    Move,
    StoredPayment,
    StoredRecord,
    StoredRefund,
    StoredStep,
    histories_of,
)
from simulators.auditor.books.lives import check_lives, check_open, check_totals
from simulators.auditor.books.offline import check_allowances, check_records, must_be_spent
from simulators.auditor.findings import Finding
from simulators.auditor.model.ledger import Account, Group, LedgerModel, Leg
from simulators.auditor.model.payments import DAY_MS

_ROWS_OF: Final = {
    "payment": ("payment",),
    "hold": ("payment",),
    "offline": ("payment",),
    "capture": ("step",),
    "release": ("step",),
    "refund": ("step", "refund"),
}
"""Which rows a group of a purpose may belong to."""
_PURPOSES_OF: Final = {
    "single": ("payment", "refund", "offline"),
    "pending": ("hold",),
    "post": ("capture",),
    "void": ("release",),
}
"""By the kind of its main leg."""


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A booked group at its place."""

    sequence: int
    booked_ms: int
    group: Group


@dataclass(frozen=True, slots=True)
class Books:
    """One snapshot of a ledger."""

    accounts: dict[bytes, Account]
    """With the counters stored beside the history."""
    groups: tuple[StoredGroup, ...]
    """By sequence."""
    payments: tuple[StoredPayment, ...] = ()
    pending_states: dict[bytes, str] | None = None
    """What is stored about each hold; None if it is not told."""
    steps: tuple[StoredStep, ...] = ()
    refunds: tuple[StoredRefund, ...] = ()
    open_until: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """State and deadline of what is stored as open, by payment."""
    orders: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """By merchant and order id: what it is for, and what is said to be taken of it."""
    spent: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """By instrument and day of UTC: what is said to be spent."""
    records: tuple[StoredRecord, ...] = ()
    """What terminals accepted without a connection, where it became a payment of its own."""
    allowances: Mapping[bytes, tuple[int, str]] = field(default_factory=dict)
    """By account: what was set aside, and the state of the credential that it is for."""

    @property
    def histories(self) -> list[History]:
        """Each payment with what became of it."""
        return histories_of(self.payments, self.steps, self.refunds, self.records)


def check_books(books: Books) -> list[Finding]:
    """Return everything that is wrong with the books; nothing is said twice that could be said once."""
    return [
        *_check_places(books),
        *_check_conservation(books),
        *_check_balances(books),
        *_check_holds(books),
        *_replay(books),
        *_check_groups(books),
        *_check_unique(books.payments, "payment_id"),
        *_check_unique(books.payments, "attempt_id"),
        *_check_receipts(books),
        *check_lives(books.histories, books.steps, books.refunds),
        *check_records(books.histories, books.records),
        *check_allowances(books.allowances, books.accounts),
        *check_open(books.histories, books.open_until),
        *check_totals(books.histories, books.orders, books.spent),
    ]


def check_limits(books: Books, limits: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """Return what instruments spent beyond what they may.

    Args:
        limits: minor units for one payment and for one day of UTC, by instrument; others have none.
    """
    spent: Counter[tuple[str, int]] = Counter()
    findings = []
    taken = [history for history in books.histories if history.payment.taken]
    for history in sorted(taken, key=lambda one: one.payment.group_sequence or 0):
        payment = history.payment
        instrument_id = payment.instrument_id or ""
        if instrument_id not in limits:
            continue
        per_payment_minor, per_day_minor = limits[instrument_id]
        day = instrument_id, payment.decided_ms // DAY_MS
        spent[day] += history.spent_minor
        if history.record is not None:
            # Counted, and not limited: it was set aside before, and its goods are gone.
            continue
        if payment.amount_minor > per_payment_minor or spent[day] > per_day_minor:
            findings.append(Finding("limit_passed", payment.payment_id))
    return findings


def _check_places(books: Books) -> Iterator[Finding]:
    """Groups are numbered 1, 2, 3, …, and each transfer stands once."""
    for expected, stored in enumerate(books.groups, start=1):
        if stored.sequence != expected:
            yield Finding("sequence_gap", f"group {stored.sequence} stands where {expected} should")
            break
    ids = Counter(leg.transfer_id for stored in books.groups for leg in stored.group.legs)
    yield from (Finding("transfer_twice", key.hex()) for key, count in ids.items() if count > 1)


def _check_conservation(books: Books) -> Iterator[Finding]:
    """What was debited in a currency was credited in it, held or moved."""
    posted: dict[str, int] = defaultdict(int)
    pending: dict[str, int] = defaultdict(int)
    for account in books.accounts.values():
        posted[account.currency] += account.debits_posted - account.credits_posted
        pending[account.currency] += account.debits_pending - account.credits_pending
    for currency in posted:
        if posted[currency] or pending[currency]:
            yield Finding("money_not_conserved", currency)


def _check_balances(books: Books) -> Iterator[Finding]:
    """No counter is negative, and no limited account owes."""
    for account_id, account in books.accounts.items():
        if min(account.counters) < 0 or (account.limited and account.available_minor < 0):
            yield Finding("balance_too_low", account_id.hex())


def _check_holds(books: Books) -> Iterator[Finding]:
    """Each hold is ended at most once, and by no more than it held."""
    held = {leg.transfer_id: leg for leg in _legs(books) if leg.kind == "pending"}
    ended: set[bytes] = set()
    for leg in _legs(books):
        if leg.pending_id is None:
            continue
        hold = held.get(leg.pending_id)
        if hold is None or leg.pending_id in ended:
            yield Finding("hold_ended_twice" if hold else "hold_missing", leg.transfer_id.hex())
        elif leg.amount_minor > hold.amount_minor:
            yield Finding("more_than_held", leg.transfer_id.hex())
        ended.add(leg.pending_id)


def _replay(books: Books) -> Iterator[Finding]:
    """Book the history again; nothing may be refused, and the same must come out."""
    model = LedgerModel()
    for account_id, account in books.accounts.items():
        model.open_account(account_id, account.currency, limited=account.limited)
    spent = must_be_spent(books.histories)
    for stored in books.groups:
        answer = model.book_group(stored.group, stored.booked_ms)
        if set(answer.legs) != {"booked"}:
            outcome = next(leg for leg in answer.legs if leg != "linked_failed")
            yield Finding("could_not_be_booked", f"group {stored.sequence}: {outcome}")
            return
        for account_id in spent(stored.sequence, stored.group.legs):
            payer = model.accounts.get(account_id)
            if payer is not None and payer.limited and payer.available_minor:
                yield Finding("paid_by_the_wrong_one", f"group {stored.sequence}")
    for account_id, account in books.accounts.items():
        # Who is frozen now is not who was frozen then; freezing moves nothing, so it is left out.
        if replace(account, frozen=False) != model.accounts[account_id]:
            yield Finding("counters_differ", account_id.hex())
    states = {hold_id: hold.state for hold_id, hold in model.holds.items()}
    if books.pending_states is not None and books.pending_states != states:
        yield Finding("pending_states_differ", f"{len(states)} holds in the history")


def _check_groups(books: Books) -> Iterator[Finding]:
    """Each row that moves money has one group of what it says, and each group of a payment one such row."""
    groups = {one.sequence: one.group for one in books.groups}
    row_count: Counter[int] = Counter()
    for history in books.histories:
        for move in history.moves():
            row_count[move.group_sequence] += 1
            group = groups.get(move.group_sequence)
            if group is None or not _is_of(move, group) or not move.fits(group.legs):
                yield Finding(f"{move.row}_differs_from_group", move.where)
    for sequence, group in groups.items():
        if group.purpose in _ROWS_OF and row_count[sequence] != 1:
            yield Finding("group_not_of_one_payment", f"group {sequence}")


def _is_of(move: Move, group: Group) -> bool:
    is_offline = move.offline and move.row == "payment"
    return (
        move.row in _ROWS_OF.get(group.purpose, ())
        and group.purpose in _PURPOSES_OF[move.kind]
        and is_offline == (group.purpose == "offline")
    )


def _check_unique(payments: Iterable[StoredPayment], name: str) -> Iterator[Finding]:
    # An attempt id is its terminal's own, a payment id is the gateway's.
    scope = attrgetter(name, "terminal_id") if name == "attempt_id" else attrgetter(name)
    counts = Counter(scope(payment) for payment in payments)
    yield from (Finding(f"{name}_twice", str(key)) for key, count in counts.items() if count > 1)


def _check_receipts(books: Books) -> Iterator[Finding]:
    """What a merchant charged, as it was booked, carries the receipts 1, 2, 3, …"""
    receipts = [receipt for history in books.histories for receipt in history.receipts()]
    counts: Counter[str] = Counter()
    for group_sequence, merchant_id, number in sorted(receipts, key=lambda one: one[:2]):
        counts[merchant_id] += 1
        if number != counts[merchant_id]:
            yield Finding("receipt_gap", f"{merchant_id}: {number} in group {group_sequence}")
            counts[merchant_id] = number or 0


def _legs(books: Books) -> Iterator[Leg]:
    for stored in books.groups:
        yield from stored.group.legs
