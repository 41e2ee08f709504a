"""Payments without a connection as a whole: the rules together, what was set aside, and the bound on loss."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from simulators.auditor.findings import Finding
from simulators.auditor.promises import Promise
from simulators.auditor.witness.decisions import Standing
from simulators.auditor.witness.evidence import Evidence
from simulators.auditor.witness.life_rules import SWEEP_WORK_MS_MAX, SWEEPS_LATE_MAX, News, Rule
from simulators.auditor.witness.offline.evidence import END_GRACE_MS, OPEN_CREDENTIALS_MAX, OfflineEvidence
from simulators.auditor.witness.offline.records import Befores, Case, RecordBook, RecordsAreRight
from simulators.auditor.witness.offline.rows import CredentialRow
from simulators.auditor.witness.offline.tills import ListsNameTheSuspended, TillsKeepRules

__all__ = ["Befores", "OfflineRules"]
SECOND_MS: Final = 1000


class OfflineRules:
    """All rules of payments without a connection, by when they look."""

    def __init__(self, evidence: Evidence, standing: Standing, befores: Befores) -> None:
        assert evidence.offline is not None
        self._offline = evidence.offline
        self._dealings = evidence.dealings
        self.book = RecordBook(evidence.offline, standing)
        self._allowances = AllowancesMove(evidence, evidence.offline, befores)
        self.about_words: tuple[Rule, ...] = (
            TillsKeepRules(evidence, evidence.offline, self.book),
            ListsNameTheSuspended(evidence.offline, self.book),
        )
        self.before_decisions: tuple[Rule, ...] = (self.book,)
        self.after_decisions: tuple[Rule, ...] = (
            RecordsAreRight(evidence, evidence.offline, self.book, befores),
            CopiesAreSuspended(self.book),
            self._allowances,
        )

    @property
    def loss_minor(self) -> int:
        """What the operator has paid."""
        return sum(
            one.row.loss_minor for one in self.book.cases.values() if one.row.loss_bearer == "operator"
        )

    def owed_beside(self, promises: list[Promise]) -> list[Promise]:
        """Return what the books owe: a payment for each record that became one, whatever bears its id."""
        paid = {key: one.row for key, one in self.book.by_attempt.items() if one.row.has_payment}
        others = [one for one in promises if (one.terminal_id, one.attempt_id) not in paid or one.told]
        return others + [
            Promise(*key, row.amount_minor)
            for key, row in paid.items()
            if not any((one.terminal_id, one.attempt_id) == key for one in others)
        ]

    def close(self) -> Iterator[Finding]:
        """Look at everything once all tills have handed in and every credential is over."""
        yield from self._find_lost()
        yield from self._compare_words()
        yield from self._measure_losses()
        yield from self._allowances.close()

    def _find_lost(self) -> Iterator[Finding]:
        """Nothing that a cashier was told is accepted is unknown to the gateway."""
        for key in self._offline.accepted:
            if key not in self.book.by_attempt:
                yield Finding("accepted_lost", key[1])

    def _compare_words(self) -> Iterator[Finding]:
        """What is on tills' disks and screens is what became of each record."""
        shown: dict[str, Counter[str]] = defaultdict(Counter)
        for place, case in self.book.cases.items():
            if case.row.terminal_id in self._offline.rogues:
                continue
            if self._offline.words.get(place) != case.row.word:
                yield Finding("told_another_word", case.row.where)
            counts = shown[case.row.terminal_id]
            counts[case.row.outcome] += 1
            if case.row.loss_bearer == "merchant":
                counts["loss"] += case.row.loss_minor
        for place in self._offline.words.keys() - self.book.cases.keys():
            yield Finding("told_a_word_on_nothing", f"{place[0]} {place[1]}")
        for terminal_id, view in sorted(self._offline.shown.items()):
            counts = shown[terminal_id]
            if view != (counts["conflict"], counts["declined"], counts["loss"]):
                yield Finding("shown_otherwise", f"{terminal_id}: {view}")

    def _measure_losses(self) -> Iterator[Finding]:
        """Hold what went beyond each allowance against the bound of docs/adr/0008, decision 8."""
        settled: dict[bytes, list[Case]] = defaultdict(list)
        for case in self.book.cases.values():
            if case.row.outcome == "settled" and case.row.has_payment:
                settled[case.record.tag].append(case)
        for tag, cases in settled.items():
            vouched = self._offline.vouched.get(tag)
            if vouched is None:
                continue
            beyond_minor = sum(one.row.amount_minor for one in cases) - vouched.allowance_minor
            if beyond_minor > max(0, self._bound_minor(cases, vouched.allowance_minor)):
                yield Finding("loss_above_its_bound", f"{tag.hex()}: {beyond_minor}")
            if tag in self._offline.copied:
                continue
            if beyond_minor > 0 or any(one.row.loss_minor for one in cases):
                yield Finding("lost_without_a_copy", tag.hex())

    def _bound_minor(self, cases: list[Case], allowance_minor: int) -> int:
        """Return how far a credential can go beyond its allowance at the tills that took it.

        No till takes more than the allowance of it, nor, between two times that it hands in, more than the
        most of one device, or than the most that it stores.
        """
        house = self._offline.house
        most_minor = 0
        for terminal_id in {one.row.terminal_id for one in cases}:
            times = len({one.row.received_ms for one in cases if one.row.terminal_id == terminal_id})
            once_minor = min(house.device_total_minor, house.stored_sum_minor)
            most_minor += min(allowance_minor, times * once_minor)
        return most_minor - allowance_minor


class CopiesAreSuspended:
    """A key that signed what no single device signs is suspended with the record that shows it."""

    def __init__(self, book: RecordBook) -> None:
        self._book = book

    def see(self, news: News) -> Iterator[Finding]:
        """Compare what is suspended with what there is against it."""
        suspended = news.offline.suspended
        for instrument_id in sorted(self._book.contradicted_ms.keys() - suspended):
            yield Finding("copy_not_suspended", instrument_id)
        for instrument_id in sorted(suspended):
            if not self._book.may_be_suspended(instrument_id):
                yield Finding("suspended_for_nothing", instrument_id)


class AllowancesMove:
    """An allowance is set aside once and whole because a phone asked; what is left goes back at its end."""

    def __init__(self, evidence: Evidence, offline: OfflineEvidence, befores: Befores) -> None:
        self._evidence = evidence
        self._offline = offline
        self._befores = befores
        self._ended: set[str] = set()
        self._credentials: tuple[CredentialRow, ...] = ()

    def see(self, news: News) -> Iterator[Finding]:
        """Look at what moved, and at every credential as it stands."""
        if news.offline.credentials:
            self._credentials = news.offline.credentials
        by_account = {one.account_id: one for one in news.offline.credentials}
        for stored in news.groups:
            if stored.group.purpose != "allowance":
                continue
            (leg, *others) = stored.group.legs
            debit, credit = leg.accounts
            credential = by_account.get(credit) or by_account.get(debit)
            payer = None if credential is None else self._evidence.payers.get(credential.instrument_id)
            is_right = credential is not None and payer is not None and not others
            if credential is not None and payer is not None and credit == credential.account_id:
                is_right &= (debit, leg.amount_minor) == (payer.account_id, credential.allowance_minor)
            elif credential is not None and payer is not None:
                left_minor = self._befores.get((stored.sequence, debit), 0)
                is_right &= (credit, leg.amount_minor) == (payer.account_id, left_minor)
                is_right &= credential.state == "ended"
            if not is_right:
                yield Finding("allowance_moved_wrongly", f"group {stored.sequence}")
        yield from self._judge_credentials(news.offline.credentials)

    def _judge_credentials(self, credentials: tuple[CredentialRow, ...]) -> Iterator[Finding]:
        house, now_ms = self._offline.house, self._evidence.dealings.now_ms()
        open_count: Counter[str] = Counter()
        live_count: Counter[str] = Counter()
        for one in credentials:
            open_count[one.instrument_id] += one.state != "ended"
            live_count[one.instrument_id] += one.state == "live"
            if one.state == "ended" and one.credential_id not in self._ended:
                self._ended.add(one.credential_id)
                if now_ms < one.expires_ms + house.record_age_ms + END_GRACE_MS:
                    yield Finding("ended_too_early", one.credential_id)
            if self._offline.wishes.get(one.credential_id) != (one.instrument_id, one.allowance_minor):
                yield Finding("allowance_nobody_asked", one.credential_id)
            if one.expires_ms > one.issued_ms + house.credential_life_ms:
                yield Finding("credential_lives_too_long", one.credential_id)
            if one.allowance_minor > house.allowance_max_minor or one.per_payment_minor > house.floor_minor:
                yield Finding("allowance_too_large", one.credential_id)
        if any(count > 1 for count in live_count.values()):
            yield Finding("two_live_credentials", "")
        if any(count > OPEN_CREDENTIALS_MAX for count in open_count.values()):
            yield Finding("too_many_credentials", "")

    def close(self) -> Iterator[Finding]:
        """Find credentials whose time is over and whose money has not gone back."""
        dealings = self._evidence.dealings
        late_ms = dealings.rules.sweep_ms * SWEEPS_LATE_MAX + SWEEP_WORK_MS_MAX + SECOND_MS
        for one in self._credentials:
            over_ms = one.expires_ms + self._offline.house.record_age_ms + END_GRACE_MS
            if one.state != "ended" and over_ms + late_ms < dealings.now_ms():
                yield Finding("allowance_kept", one.credential_id)
