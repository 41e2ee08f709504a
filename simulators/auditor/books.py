"""The books as they stand, in plain values, and everything that can be wrong with them.

History is booked a second time, group by group, in the model of the ledger: what the real ledger let
through, the model must let through too, and at the end the counters must be the same. Beside that stand
the few sentences money is trusted for, each checked by itself: what is debited is credited, nobody's
balance is below what is allowed, a hold ends once, a payment has its group, an order is paid once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

from simulators.auditor.ledger import Account, Group, LedgerModel, Leg

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not so: a stable code, and where."""

    code: str
    where: str


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A booked group at its place."""

    sequence: int
    booked_ms: int
    group: Group


@dataclass(frozen=True, slots=True)
class StoredPayment:
    """A decided attempt."""

    payment_id: str
    attempt_id: str
    terminal_id: str
    merchant_id: str
    order_id: str
    amount_minor: int
    currency: str
    instrument_id: str | None
    decline_code: str | None
    """None if it was approved."""
    receipt_number: int | None
    group_sequence: int | None
    decided_ms: int

    @property
    def approved(self) -> bool:
        """Say whether it moved money."""
        return self.decline_code is None


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


def check_books(books: Books) -> list[Finding]:
    """Return everything that is wrong with the books; nothing is said twice that could be said once."""
    return [
        *_check_places(books),
        *_check_conservation(books),
        *_check_balances(books),
        *_check_holds(books),
        *_replay(books),
        *_check_payments(books),
        *_check_orders(books),
        *_check_receipts(books),
    ]


def check_limits(books: Books, limits: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """Return what instruments spent beyond what they may.

    Args:
        limits: minor units for one payment and for one day of UTC, by instrument; others have none.
    """
    spent: Counter[tuple[str, int]] = Counter()
    findings = []
    for payment in books.payments:
        instrument_id = payment.instrument_id or ""
        if not payment.approved or instrument_id not in limits:
            continue
        per_payment_minor, per_day_minor = limits[instrument_id]
        day = instrument_id, payment.decided_ms // DAY_MS
        spent[day] += payment.amount_minor
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
    for stored in books.groups:
        answer = model.book_group(stored.group, stored.booked_ms)
        if set(answer.legs) != {"booked"}:
            outcome = next(leg for leg in answer.legs if leg != "linked_failed")
            yield Finding("could_not_be_booked", f"group {stored.sequence}: {outcome}")
            return
    for account_id, account in books.accounts.items():
        # Who is frozen now is not who was frozen then; freezing moves nothing, so it is left out.
        if replace(account, frozen=False) != model.accounts[account_id]:
            yield Finding("counters_differ", account_id.hex())
    states = {hold_id: hold.state for hold_id, hold in model.holds.items()}
    if books.pending_states is not None and books.pending_states != states:
        yield Finding("pending_states_differ", f"{len(states)} holds in the history")


def _check_payments(books: Books) -> Iterator[Finding]:
    """Each approved payment has one group of its amount, each such group one payment, declines have none."""
    groups = {one.sequence: one.group for one in books.groups if one.group.purpose == "payment"}
    taken = Counter(one.group_sequence for one in books.payments if one.group_sequence is not None)
    for payment in books.payments:
        if payment.approved != (payment.group_sequence is not None):
            yield Finding(
                "payment_without_group" if payment.approved else "decline_moved_money", payment.payment_id
            )
        elif payment.group_sequence is not None and not is_settled_by(
            payment, groups.get(payment.group_sequence)
        ):
            yield Finding("payment_differs_from_group", payment.payment_id)
    for sequence in groups:
        if taken[sequence] != 1:
            yield Finding("group_not_of_one_payment", f"group {sequence}")
    for name in ("payment_id", "attempt_id"):
        yield from _check_unique(books.payments, name)


def is_settled_by(payment: StoredPayment, group: Group | None) -> bool:
    """Say whether a group moves a payment's amount and then, perhaps, a part of it on."""
    if group is None:
        return False
    first, *rest = group.legs
    moves_it = (first.amount_minor, first.currency) == (payment.amount_minor, payment.currency)
    passes_on = all(
        leg.debit_account_id == first.credit_account_id and leg.amount_minor <= first.amount_minor
        for leg in rest
    )
    return moves_it and passes_on and len(rest) <= 1 and {leg.kind for leg in group.legs} == {"single"}


def _check_unique(payments: Iterable[StoredPayment], name: str) -> Iterator[Finding]:
    # An attempt id is its terminal's own, a payment id is the gateway's.
    scope = attrgetter(name, "terminal_id") if name == "attempt_id" else attrgetter(name)
    counts = Counter(scope(payment) for payment in payments)
    yield from (Finding(f"{name}_twice", str(key)) for key, count in counts.items() if count > 1)


def _check_orders(books: Books) -> Iterator[Finding]:
    """An order is paid once."""
    paid = Counter((one.merchant_id, one.order_id) for one in books.payments if one.approved)
    yield from (Finding("order_paid_twice", "/".join(key)) for key, count in paid.items() if count > 1)


def _check_receipts(books: Books) -> Iterator[Finding]:
    """A merchant's approved payments, as they were booked, carry the receipts 1, 2, 3, …"""
    approved = [one for one in books.payments if one.approved and one.group_sequence is not None]
    counts: Counter[str] = Counter()
    for payment in sorted(approved, key=lambda one: one.group_sequence or 0):
        counts[payment.merchant_id] += 1
        if payment.receipt_number != counts[payment.merchant_id]:
            yield Finding("receipt_gap", f"{payment.merchant_id}: {payment.receipt_number}")
            counts[payment.merchant_id] = payment.receipt_number or 0


def _legs(books: Books) -> Iterator[Leg]:
    for stored in books.groups:
        yield from stored.group.legs
