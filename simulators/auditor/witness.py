"""Looks at a database after every commit, and says at once what is not as the world outside knows it.

Each rule is one thing that money is trusted for. A rule sees what is new and keeps what it needs to judge
the next; one for refunds, holds or losses is a class with `see` and a line in `Witness`. What a rule says is
said when it happens, so a run that goes wrong ends at the step that broke it. `close` looks at everything
once more, without any memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Protocol

from simulators.auditor.books import Books, StoredGroup, check_books, is_settled_by
from simulators.auditor.decisions import Standing, judge
from simulators.auditor.evidence import Evidence
from simulators.auditor.findings import Finding
from simulators.auditor.histories import StoredPayment
from simulators.auditor.ledger import Account, Group, LedgerModel, Leg
from simulators.auditor.payments import BASIS_POINTS
from simulators.auditor.promises import Told, check_promises
from simulators.auditor.snapshot import ACCOUNTS, PAYMENT_COLUMNS, TRANSFER_COLUMNS, account_of, leg_of

Ask = Callable[[str, Sequence[object]], Iterable[Sequence[Any]]]
"""Runs a query with the values of its question marks, on what is committed."""

_NEW_GROUPS: Final = (
    "SELECT sequence, booked_ms, purpose FROM ledger_groups WHERE sequence > ? ORDER BY sequence"
)
_NEW_TRANSFERS: Final = (
    f"SELECT {TRANSFER_COLUMNS} FROM transfers WHERE group_sequence > ?"  # noqa: S608
    " ORDER BY group_sequence, leg_index"
)
_DECISIONS: Final = frozenset({"payment", "hold"})
"""The purposes of groups that a decision books."""
_PAYMENT_IDS: Final = "SELECT payment_id FROM payments"
_PAYMENT: Final = f"SELECT {PAYMENT_COLUMNS} FROM payments WHERE payment_id = ?"  # noqa: S608


@dataclass(frozen=True, slots=True)
class News:
    """What one or more commits have added, and the accounts as they stand after them."""

    accounts: dict[bytes, Account]
    groups: tuple[StoredGroup, ...]
    payments: tuple[StoredPayment, ...]


class Rule(Protocol):
    """One thing that must be so."""

    def see(self, news: News) -> Iterator[Finding]:
        """Yield what is wrong with the news; called once for each."""


class Witness:
    """Follows one database from a moment at which its books were in order."""

    def __init__(self, ask: Ask, evidence: Evidence) -> None:
        """Take the books as they are for the beginning.

        Args:
            ask: runs a query on the database; the witness never writes.
            evidence: what is known outside, and grows while the witness looks.
        """
        self._ask = ask
        self._evidence = evidence
        self._sequence = 0
        self._known: set[str] = set()
        self.findings: list[Finding] = []
        self.payment_count = 0
        news = self._read()
        ledger = LedgerModel()
        for account_id, account in news.accounts.items():
            ledger.open_account(account_id, account.currency, limited=account.limited)
        self._rules: tuple[Rule, ...] = (
            LedgerHolds(ledger),
            BookedOnce(),
            MovedRightly(evidence),
            OrdersKeepTheirAmount(evidence),
            DecisionsAreRight(Standing(evidence, ledger)),
            ToldIsBooked(evidence),
        )
        self._see(news)

    def look(self) -> None:
        """See what was committed since; what is wrong is in `findings` when this returns."""
        self._see(self._read())
        self._take_contradictions()

    def close(self, books: Books) -> None:
        """Look at the whole books, and hold them against all that was told."""
        self.look()
        self._add(check_books(books))
        promises = [asked.promise for asked in self._evidence.asked.values()]
        self._add(check_promises(promises, books))
        if {payment.payment_id for payment in books.payments} != self._known:
            self._add([Finding("payments_gone", f"{len(self._known)} were seen")])

    def object(self, code: str, where: str) -> None:
        """Add what somebody else has found."""
        self._add([Finding(code, where)])

    def _see(self, news: News) -> None:
        self.payment_count += len(news.payments)
        for rule in self._rules:
            self._add(rule.see(news))

    def _take_contradictions(self) -> None:
        self._add(Finding(*one) for one in self._evidence.contradictions)
        self._evidence.contradictions.clear()

    def _add(self, found: Iterable[Finding]) -> None:
        self.findings += [one for one in found if one not in self.findings]

    def _read(self) -> News:
        legs: dict[int, list[Leg]] = defaultdict(list)
        for sequence, *columns in self._ask(_NEW_TRANSFERS, (self._sequence,)):
            legs[sequence].append(leg_of(columns))
        groups = tuple(
            StoredGroup(sequence, booked_ms, Group(tuple(legs[sequence]), purpose))
            for sequence, booked_ms, purpose in self._ask(_NEW_GROUPS, (self._sequence,))
        )
        self._sequence = groups[-1].sequence if groups else self._sequence
        new_ids = sorted({row[0] for row in self._ask(_PAYMENT_IDS, ())} - self._known)
        payments = [StoredPayment(*row) for one in new_ids for row in self._ask(_PAYMENT, (one,))]
        self._known.update(new_ids)
        accounts = {bytes(row[0]): account_of(row[1:]) for row in self._ask(ACCOUNTS, ())}
        return News(accounts, groups, tuple(payments))


class LedgerHolds:
    """Every group could be booked, and the counters are what the groups make of them: money is conserved."""

    def __init__(self, ledger: LedgerModel) -> None:
        self._ledger = ledger
        self._sequence = 0

    def see(self, news: News) -> Iterator[Finding]:
        """Book the new groups in the model, and compare."""
        for stored in news.groups:
            self._sequence += 1
            if stored.sequence != self._sequence:
                yield Finding("sequence_gap", f"group {stored.sequence}")
                self._sequence = stored.sequence
            answer = self._ledger.book_group(stored.group, stored.booked_ms)
            if set(answer.legs) != {"booked"}:
                yield Finding("could_not_be_booked", f"group {stored.sequence}: {answer.legs}")
        for account_id, account in news.accounts.items():
            if account_id not in self._ledger.accounts:
                self._ledger.open_account(account_id, account.currency, limited=account.limited)
            # Freezing moves nothing, and is the operator's.
            if replace(account, frozen=False) != self._ledger.accounts[account_id]:
                yield Finding("counters_differ", account_id.hex())
        balance = sum(one.debits_posted - one.credits_posted for one in news.accounts.values())
        held = sum(one.debits_pending - one.credits_pending for one in news.accounts.values())
        if balance or held:
            yield Finding("money_not_conserved", f"{balance} posted, {held} held")


class BookedOnce:
    """What was charged or held has one group of its amount, each such group one payment; a decline none."""

    def __init__(self) -> None:
        self._groups: dict[int, Group] = {}
        self._attempts: Counter[tuple[str, str]] = Counter()

    def see(self, news: News) -> Iterator[Finding]:
        """Match what is new; a payment and its group are of one commit."""
        free = {one.sequence: one.group for one in news.groups if one.group.purpose in _DECISIONS}
        for payment in news.payments:
            self._attempts[payment.terminal_id, payment.attempt_id] += 1
            if self._attempts[payment.terminal_id, payment.attempt_id] > 1:
                yield Finding("attempt_id_twice", payment.attempt_id)
            group = free.pop(payment.group_sequence or 0, None)
            if payment.taken and group is None:
                yield Finding("payment_without_group", payment.payment_id)
            elif payment.taken and not is_settled_by(payment, group):
                yield Finding("payment_differs_from_group", payment.payment_id)
            elif not payment.taken and payment.group_sequence is not None:
                yield Finding("decline_moved_money", payment.payment_id)
        yield from (Finding("group_not_of_one_payment", f"group {sequence}") for sequence in free)


class MovedRightly:
    """An approval moves its amount from the payer's wallet to the shop, and the shop's fee from there."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def see(self, news: News) -> Iterator[Finding]:
        """Say of every approval what must have moved, and compare."""
        groups = {one.sequence: one.group for one in news.groups}
        for payment in news.payments:
            group = groups.get(payment.group_sequence or 0)
            if group is not None and _moves(group) != self._expected(payment):
                yield Finding("moved_wrongly", payment.payment_id)

    def _expected(self, payment: StoredPayment) -> list[tuple[bytes, bytes, int]]:
        payer = self._evidence.payers.get(payment.instrument_id or "")
        merchant = self._evidence.merchants.get(payment.merchant_id)
        if payer is None or merchant is None:
            return []
        amount = payment.amount_minor
        fee = round(Fraction(amount * merchant.fee_basis_points, BASIS_POINTS))
        fees = [(merchant.account_id, merchant.fees_account_id, fee)] if fee else []
        return [(payer.account_id, merchant.account_id, amount), *fees]


def _moves(group: Group) -> list[tuple[bytes, bytes, int]]:
    return [(*leg.accounts, leg.amount_minor) for leg in group.legs]


class OrdersKeepTheirAmount:
    """What is approved of an order never passes what its shop asked for it."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._approved_minor: Counter[tuple[str, str]] = Counter()

    def see(self, news: News) -> Iterator[Finding]:
        """Add up what was approved."""
        for payment in news.payments:
            key = payment.merchant_id, payment.order_id
            self._approved_minor[key] += payment.amount_minor if payment.approved else 0
            if self._approved_minor[key] > self._evidence.order_amounts.get(key, 0):
                yield Finding("order_over_paid", "/".join(key))


class DecisionsAreRight:
    """Nothing forbade what was approved, something demanded what was declined; limits are exact."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def see(self, news: News) -> Iterator[Finding]:
        """Count all new decisions in, then judge each: the order within a commit is not told."""
        for payment in news.payments:
            self._standing.take(payment)
        for payment in news.payments:
            yield from judge(payment, self._standing)


class ToldIsBooked:
    """What a till was told is what stands; a refusal stays one."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._booked: dict[tuple[str, str], Told] = {}

    def see(self, news: News) -> Iterator[Finding]:
        """Look at everything that was told: it may have been told before it stood."""
        for payment in news.payments:
            told = Told(payment.payment_id, payment.approved, payment.decline_code)
            self._booked[payment.terminal_id, payment.attempt_id] = told
        for key, asked in self._evidence.asked.items():
            booked, promise = self._booked.get(key), asked.promise
            if promise.told is not None and booked is None:
                yield Finding("lost", promise.attempt_id)
            elif promise.told is not None and promise.told != booked:
                yield Finding("other_decision", promise.attempt_id)
            if promise.refused and booked is not None:
                yield Finding("refused_but_booked", promise.attempt_id)
