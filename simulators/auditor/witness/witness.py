"""Looks at a database after every commit, and says at once what is not as the world outside knows it.

Each rule is one thing that money is trusted for. A rule sees what is new and keeps what it needs to judge
the next; one for refunds, holds or losses is a class with `see` and a line in `Witness`. What a rule says is
said when it happens, so a run that goes wrong ends at the step that broke it. `close` looks at everything
once more, without any memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from simulators.auditor.books.books import Books, StoredGroup, check_books
from simulators.auditor.books.snapshot import ACCOUNTS, TRANSFER_COLUMNS, account_of, leg_of
from simulators.auditor.findings import Finding
from simulators.auditor.model.ledger import Group, LedgerModel, Leg
from simulators.auditor.promises import Told, check_promises
from simulators.auditor.witness.decisions import Standing, judge
from simulators.auditor.witness.evidence import Evidence
from simulators.auditor.witness.followed import (
    DAYS_QUERY,
    DECISION_COLUMNS,
    OPEN_QUERY,
    ORDERS_QUERY,
    REFUNDS_QUERY,
    STEPS_QUERY,
    Decision,
    Life,
    Lives,
    Refund,
    Step,
    share_of,
)
from simulators.auditor.witness.life_rules import (
    NO_NEWS,
    EventsAreTold,
    HeardIsSo,
    HoldsFollowTheirPayments,
    News,
    ReversedStaysReversed,
    Rule,
    StepsAreRight,
    SumsAreExact,
)
from simulators.auditor.witness.offline.rows import (
    CREDENTIALS_QUERY,
    NO_OFFLINE_NEWS,
    RECORDS_QUERY,
    SUSPENDED_QUERY,
    CredentialRow,
    OfflineNews,
    RecordRow,
)
from simulators.auditor.witness.offline.rules import Befores, OfflineRules

Ask = Callable[[str, Sequence[object]], Iterable[Sequence[Any]]]
"""Runs a query with the values of its question marks, on what is committed."""

_NEW_GROUPS: Final = (
    "SELECT sequence, booked_ms, purpose FROM ledger_groups WHERE sequence > ? ORDER BY sequence"
)
_NEW_TRANSFERS: Final = (
    f"SELECT {TRANSFER_COLUMNS} FROM transfers WHERE group_sequence > ?"  # noqa: S608
    " ORDER BY group_sequence, leg_index"
)
_PAYMENT_IDS: Final = "SELECT payment_id FROM payments"
_PAYMENT: Final = f"SELECT {DECISION_COLUMNS} FROM payments WHERE payment_id = ?"  # noqa: S608
_OF_ONE_PAYMENT: Final = ("payment", "offline", "hold", "capture", "release", "refund")
"""Groups with these purposes are the money of just one decision, step or refund."""
_DEPENDS_ON_WHAT_IS_LEFT: Final = ("offline", "allowance")
APPROVED: Final = ("succeeded", "authorised")
"""In these a till has its money, or a hold on it."""


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
        self._steps_known: set[tuple[str, int]] = set()
        self._refunds_known: set[str] = set()
        self._records_known: set[tuple[str, int]] = set()
        self.findings: list[Finding] = []
        self.payment_count = 0
        news = self._read()
        ledger = LedgerModel()
        for account_id, account in news.accounts.items():
            ledger.open_account(account_id, account.currency, limited=account.limited)
        self.lives = Lives(evidence.dealings.rules)
        lows: dict[bytes, int] = {}
        standing = Standing(evidence, ledger, self.lives, lows)
        befores: Befores = {}
        self._offline = None if evidence.offline is None else OfflineRules(evidence, standing, befores)
        self._events = EventsAreTold(evidence, self.lives)
        self._about_words: tuple[Rule, ...] = (
            ReversedStaysReversed(evidence, self.lives),
            ToldIsBooked(evidence, self.lives),
            HeardIsSo(evidence, self.lives),
            *(() if self._offline is None else self._offline.about_words),
        )
        self._rules: tuple[Rule, ...] = (
            LedgerHolds(ledger, lows, befores),
            BookedOnce(),
            MovedRightly(evidence),
            *(() if self._offline is None else self._offline.before_decisions),
            DeclinesHaveReasons(standing),
            *(() if self._offline is None else self._offline.after_decisions),
            StepsAreRight(evidence, self.lives),
            NothingForbadeIt(standing),
            SumsAreExact(self.lives),
            HoldsFollowTheirPayments(evidence, self.lives, ledger),
            self._events,
            *self._about_words,
        )
        self._see(news)

    @property
    def offline_count(self) -> int:
        """How many records have their word."""
        return 0 if self._offline is None else len(self._offline.book.cases)

    @property
    def offline_loss_minor(self) -> int:
        """What the operator lost by them."""
        return 0 if self._offline is None else self._offline.loss_minor

    def look(self) -> None:
        """See what was committed since; what is wrong is in `findings` when this returns."""
        self._see(self._read())
        self._take_contradictions()

    def listen(self) -> None:
        """Hold what somebody has just been told against what was seen last; cheaper than to look."""
        for rule in self._about_words:
            self._add(rule.see(NO_NEWS))
        self._take_contradictions()

    def close(self, books: Books) -> None:
        """Look at the whole books, and hold them against all that was told."""
        self.look()
        self._add(self._events.close())
        self._add(check_books(books))
        if self._offline is not None:
            self._add(self._offline.close())
        moved_on = {
            (life.decision.terminal_id, life.decision.attempt_id)
            for life in self.lives.lives.values()
            if life.step_count
        }
        # The last word on what has moved on since its decision is not that; a rule above has judged it.
        promises = [
            replace(asked.promise, told=None) if key in moved_on else asked.promise
            for key, asked in self._evidence.asked.items()
        ]
        if self._offline is not None:
            promises = self._offline.owed_beside(promises)
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
        payments = [Decision(*row) for one in new_ids for row in self._ask(_PAYMENT, (one,))]
        # As they were booked; what took nothing comes last.
        payments.sort(key=lambda one: (one.group_sequence is None, one.group_sequence))
        self._known.update(new_ids)
        return News(
            accounts={bytes(row[0]): account_of(row[1:]) for row in self._ask(ACCOUNTS, ())},
            groups=groups,
            payments=tuple(payments),
            steps=tuple(self._new_steps()),
            refunds=tuple(self._new_refunds()),
            open_rows=tuple((row[0], row[1], row[2]) for row in self._ask(OPEN_QUERY, ())),
            order_rows=tuple((row[0], row[1], row[2], row[3]) for row in self._ask(ORDERS_QUERY, ())),
            day_rows=tuple((row[0], row[1], row[2]) for row in self._ask(DAYS_QUERY, ())),
            offline=self._read_offline(),
        )

    def _read_offline(self) -> OfflineNews:
        if self._evidence.offline is None:
            return NO_OFFLINE_NEWS
        records = [RecordRow(*row) for row in self._ask(RECORDS_QUERY, ())]
        new = [one for one in records if one.place not in self._records_known]
        self._records_known.update(one.place for one in new)
        return OfflineNews(
            tuple(new),
            tuple(CredentialRow(*row) for row in self._ask(CREDENTIALS_QUERY, ())),
            frozenset(row[0] for row in self._ask(SUSPENDED_QUERY, ())),
        )

    def _new_steps(self) -> Iterator[Step]:
        for row in self._ask(STEPS_QUERY, ()):
            if (row[0], row[1]) not in self._steps_known:
                self._steps_known.add((row[0], row[1]))
                yield Step(*row)

    def _new_refunds(self) -> Iterator[Refund]:
        for row in self._ask(REFUNDS_QUERY, ()):
            if row[2] not in self._refunds_known:
                self._refunds_known.add(row[2])
                yield Refund(*row)


class LedgerHolds:
    """Every group could be booked, and the counters are what the groups make of them: money is conserved."""

    def __init__(self, ledger: LedgerModel, lows: dict[bytes, int], befores: Befores) -> None:
        """Prepare.

        Args:
            lows: filled with the least that accounts had available during the last commit.
            befores: filled with what accounts had available before groups that depend on it.
        """
        self._ledger = ledger
        self._lows = lows
        self._befores = befores
        self._sequence = 0

    def see(self, news: News) -> Iterator[Finding]:
        """Book the new groups in the model, and compare."""
        self._lows.clear()
        self._befores.clear()
        for account_id, account in news.accounts.items():
            if account_id not in self._ledger.accounts:
                self._ledger.open_account(account_id, account.currency, limited=account.limited)
        for stored in news.groups:
            self._note_lows(stored.group)
            self._note_befores(stored)
            self._sequence += 1
            if stored.sequence != self._sequence:
                yield Finding("sequence_gap", f"group {stored.sequence}")
                self._sequence = stored.sequence
            answer = self._ledger.book_group(stored.group, stored.booked_ms)
            if set(answer.legs) != {"booked"}:
                yield Finding("could_not_be_booked", f"group {stored.sequence}: {answer.legs}")
        for account_id, account in news.accounts.items():
            # Freezing moves nothing, and is the operator's.
            if account.counters != self._ledger.accounts[account_id].counters:
                yield Finding("counters_differ", account_id.hex())
        balance = sum(one.debits_posted - one.credits_posted for one in news.accounts.values())
        held = sum(one.debits_pending - one.credits_pending for one in news.accounts.values())
        if balance or held:
            yield Finding("money_not_conserved", f"{balance} posted, {held} held")

    def _note_befores(self, stored: StoredGroup) -> None:
        if stored.group.purpose in _DEPENDS_ON_WHAT_IS_LEFT:
            for account_id, account in self._ledger.accounts.items():
                self._befores[stored.sequence, account_id] = account.available_minor

    def _note_lows(self, group: Group) -> None:
        for leg in group.legs:
            for account_id in leg.accounts:
                account = self._ledger.accounts.get(account_id)
                if account is not None:
                    low = self._lows.get(account_id, account.available_minor)
                    self._lows[account_id] = min(low, account.available_minor)


class BookedOnce:
    """Whatever takes, charges or gives back has one group, each such group one cause; a decline has none."""

    def __init__(self) -> None:
        self._attempts: Counter[tuple[str, str]] = Counter()

    def see(self, news: News) -> Iterator[Finding]:
        """Match what is new; a cause and its group are of one commit."""
        free = {one.sequence: one.group for one in news.groups if one.group.purpose in _OF_ONE_PAYMENT}
        for payment in news.payments:
            self._attempts[payment.terminal_id, payment.attempt_id] += 1
            if self._attempts[payment.terminal_id, payment.attempt_id] > 1:
                yield Finding("attempt_id_twice", payment.attempt_id)
            group = free.pop(payment.group_sequence or 0, None)
            if payment.is_taken and group is None:
                yield Finding("payment_without_group", payment.payment_id)
            elif not payment.is_taken and payment.group_sequence is not None:
                yield Finding("decline_moved_money", payment.payment_id)
        for step in news.steps:
            free.pop(step.group_sequence or 0, None)
        for refund in news.refunds:
            free.pop(refund.group_sequence, None)
        yield from (Finding("group_not_of_one_payment", f"group {sequence}") for sequence in free)


class MovedRightly:
    """An approval moves its amount from the payer's wallet to the shop, and the shop's fee from there.

    What is to be captured or confirmed holds its amount.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def see(self, news: News) -> Iterator[Finding]:
        """Say of everything that was taken what must have moved, and compare."""
        groups = {one.sequence: one.group for one in news.groups}
        for payment in news.payments:
            group = groups.get(payment.group_sequence or 0)
            if payment.payment_id in news.offline.payment_ids:
                # Who pays for it depends on what is left: offline/records.py.
                continue
            if group is not None and _moves(group) != self._expected(payment):
                yield Finding("moved_wrongly", payment.payment_id)

    def _expected(self, payment: Decision) -> list[tuple[str, bytes, bytes, int]]:
        payer = self._evidence.payers.get(payment.instrument_id or "")
        merchant = self._evidence.merchants.get(payment.merchant_id)
        if payer is None or merchant is None:
            return []
        amount = payment.amount_minor
        if not payment.approved:
            return [("pending", payer.account_id, merchant.account_id, amount)]
        fee = share_of(amount, merchant.fee_basis_points)
        fees = [("single", merchant.account_id, merchant.fees_account_id, fee)] if fee else []
        return [("single", payer.account_id, merchant.account_id, amount), *fees]


def _moves(group: Group) -> list[tuple[str, bytes, bytes, int]]:
    return [(leg.kind, *leg.accounts, leg.amount_minor) for leg in group.legs]


class DeclinesHaveReasons:
    """Something demanded what was declined. All decisions are counted in before any is judged."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def see(self, news: News) -> Iterator[Finding]:
        """Count all new decisions in, then judge the declines: before anything is given back."""
        holds = {
            one.sequence: leg.transfer_id
            for one in news.groups
            for leg in one.group.legs
            if leg.kind == "pending"
        }
        self._standing.offline_now.clear()
        offline_ids = news.offline.payment_ids
        for payment in news.payments:
            hold_id = holds.get(payment.group_sequence or 0)
            self._standing.take(payment, hold_id, is_offline=payment.payment_id in offline_ids)
        for payment in news.payments:
            if not payment.is_taken and payment.payment_id not in offline_ids:
                yield from judge(payment, self._standing)


class NothingForbadeIt:
    """Nothing forbade what was approved, held, or left to its holder to confirm."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def see(self, news: News) -> Iterator[Finding]:
        """Judge what was taken, when all of the news has been counted in."""
        offline_ids = news.offline.payment_ids
        for payment in news.payments:
            if payment.is_taken and payment.payment_id not in offline_ids:
                yield from judge(payment, self._standing)


class ToldIsBooked:
    """What a till was told is what stands; a refusal stays one."""

    def __init__(self, evidence: Evidence, lives: Lives) -> None:
        self._evidence = evidence
        self._lives = lives
        self._booked: dict[tuple[str, str], Life] = {}

    def see(self, news: News) -> Iterator[Finding]:
        """Look at everything that was told: it may have been told before it stood."""
        for payment in news.payments:
            self._booked[payment.terminal_id, payment.attempt_id] = self._lives.lives[payment.payment_id]
        for key, asked in self._evidence.asked.items():
            booked, promise = self._booked.get(key), asked.promise
            if promise.told is not None and booked is None:
                yield Finding("lost", promise.attempt_id)
            elif promise.told is not None and booked is not None and not _is_word_on(promise.told, booked):
                yield Finding("other_decision", promise.attempt_id)
            if promise.refused and booked is not None:
                yield Finding("refused_but_booked", promise.attempt_id)


def _is_word_on(told: Told, life: Life) -> bool:
    """Say whether a payment was decided so, or came to stand so when its holder was asked."""
    if told.payment_id != life.decision.payment_id:
        return False
    if told.approved:
        return told.decline_code is None and any(one.state in APPROVED for one in life.path)
    return told.decline_code in (life.decision.decline_code, life.code) and life.state == "declined"
