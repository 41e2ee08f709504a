"""What tills promised without asking: each acceptance kept the rules of its moment, and none is forgotten.

A till says what it holds by its own count; here it is counted from outside. What the gateway has no word on
yet surely still waits, so the least that waits is known, and a cap is passed for certain or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from simulators.auditor.findings import Finding
from simulators.auditor.witness.evidence import Evidence
from simulators.auditor.witness.life_rules import News
from simulators.auditor.witness.offline.evidence import (
    CLOCK_SKEW_MS_MAX,
    Accepted,
    OfflineEvidence,
    SealedRecord,
)
from simulators.auditor.witness.offline.records import RecordBook, keeps_rules, rises

ASKING_MS_MAX: Final = 12_000
"""How long a till may have waited for the gateway's time."""
TELLING_MS_MAX: Final = 2_000
"""From accepting to telling."""
SETTING_MS_MAX: Final = 1_000


class ListsNameTheSuspended:
    """A list that is given out names everybody who was suspended when it was issued, and nobody else."""

    def __init__(self, offline: OfflineEvidence, book: RecordBook) -> None:
        self._offline = offline
        self._book = book

    def see(self, news: News) -> Iterator[Finding]:
        """Hold new lists against what phones were given; an index is free once its credential is over."""
        for issued_s, named in self._offline.list_news:
            for one in self._offline.vouched.values():
                over_ms = one.expires_ms + self._offline.house.record_age_ms
                if not one.issued_ms + SETTING_MS_MAX < issued_s * 1000 < over_ms:
                    continue
                is_suspended = self._book.suspended_ms(one.instrument_id) <= issued_s * 1000
                if is_suspended and one.status_index not in named:
                    yield Finding("list_forgets", one.instrument_id)
                elif one.status_index in named and not self._book.may_be_suspended(one.instrument_id):
                    yield Finding("list_names_for_nothing", one.instrument_id)
        self._offline.list_news.clear()


class TillsKeepRules:
    """Judges what cashiers were told when they were told it, and every record when it leaves its till."""

    def __init__(self, evidence: Evidence, offline: OfflineEvidence, book: RecordBook) -> None:
        self._evidence = evidence
        self._offline = offline
        self._book = book
        self._records: dict[tuple[str, str], SealedRecord] = {}
        """Everything that tills are known to have stored, by terminal and attempt."""

    def see(self, news: News) -> Iterator[Finding]:
        """Take what is new since the last look."""
        for accepted in self._offline.news:
            where = accepted.record.attempt_id
            yield from (Finding(code, where) for code in self._judge_promise(accepted))
            yield from self._judge_record(accepted.record)
        self._offline.news.clear()
        for record in self._offline.handed_in_news:
            if record.terminal_id not in self._offline.rogues:
                yield from self._judge_record(record)
        self._offline.handed_in_news.clear()

    def _judge_promise(self, accepted: Accepted) -> Iterator[str]:
        """Yield what a cashier should not have been told."""
        record, house = accepted.record, self._offline.house
        key = record.terminal_id, record.attempt_id
        if key in self._offline.online_attempts:
            yield "accepted_what_was_sent"
        if not 0 <= accepted.clock_ms - record.accepted_ms <= TELLING_MS_MAX:
            yield "accepted_at_another_time"
        tap = self._offline.taps.get(record.use)
        if tap is None:
            yield "accepted_what_nobody_tapped"
            return
        since_ms = self._book.suspended_ms(tap.instrument_id)
        if accepted.true_ms > since_ms + house.list_age_ms + CLOCK_SKEW_MS_MAX + ASKING_MS_MAX:
            yield "accepted_after_the_bound"
        waiting = [
            one
            for key, one in self._records.items()
            if key[0] == record.terminal_id and key not in self._book.by_attempt and one.link != record.link
        ]
        own = [one for one in waiting if self._instrument_of(one) == tap.instrument_id]
        if len(waiting) >= house.stored_count:
            yield "stored_count_passed"
        if sum(one.amount_minor for one in waiting) + record.amount_minor > house.stored_sum_minor:
            yield "stored_sum_passed"
        if sum(one.amount_minor for one in own) + record.amount_minor > house.device_total_minor:
            yield "device_total_passed"

    def _judge_record(self, record: SealedRecord) -> Iterator[Finding]:
        """Yield what its seal shows that its till should have refused."""
        key = record.terminal_id, record.attempt_id
        known = self._records.get(key)
        if known is not None:
            if known.link != record.link:
                yield Finding("sealed_twice", record.attempt_id)
            return
        yield from (Finding(code, record.attempt_id) for code in self._objections(record))
        self._records[key] = record

    def _objections(self, record: SealedRecord) -> Iterator[str]:
        offline = self._offline
        tap, vouched = offline.taps.get(record.use), offline.vouched.get(record.tag)
        if tap is None or vouched is None:
            yield "stored_what_nobody_tapped"
            return
        if (tap.amount_minor, tap.terminal_id) != (record.amount_minor, record.terminal_id):
            yield "stored_another_amount"
        if not keeps_rules(record, tap, vouched, offline.house):
            yield "till_broke_rules"
        if not any(
            abs(record.clock_set_ms - clock_ms) <= SETTING_MS_MAX
            and abs(clock_ms - gateway_ms) <= CLOCK_SKEW_MS_MAX + ASKING_MS_MAX
            for clock_ms, gateway_ms in offline.set_clocks[record.terminal_id]
        ):
            yield "accepted_with_a_wrong_clock"
        lists = offline.lists.get((record.terminal_id, record.list_issued_s), [])
        if not lists:
            yield "accepted_by_an_unknown_list"
        elif all(vouched.status_index in named for named in lists):
            yield "accepted_though_listed"
        for other in self._records.values():
            yield from self._held_against(record, other)

    def _held_against(self, record: SealedRecord, other: SealedRecord) -> Iterator[str]:
        """Yield how one till's two records contradict each other."""
        if other.use == record.use:
            yield "tap_accepted_twice"
        if other.terminal_id != record.terminal_id:
            return
        if other.sequence == record.sequence:
            yield "number_given_twice"
        tap, theirs = self._offline.taps.get(record.use), self._offline.taps.get(other.use)
        if tap is None or theirs is None or tap.tag != theirs.tag:
            return
        pair = (tap, theirs) if record.sequence > other.sequence else (theirs, tap)
        if not rises(*pair):
            yield "till_took_a_contradiction"

    def _instrument_of(self, record: SealedRecord) -> str | None:
        tap = self._offline.taps.get(record.use)
        return None if tap is None else tap.instrument_id
