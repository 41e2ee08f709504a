"""What must be so of records that came in: each has the word that its seal and everybody's dealings demand.

The rules of docs/adr/0008 are written here a second time. Within one commit the order of words is not told: a
decline is judged by the most that was taken in it, as in decisions.py.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final

from simulators.auditor.findings import Finding
from simulators.auditor.model.ledger import Group
from simulators.auditor.witness.decisions import Standing
from simulators.auditor.witness.evidence import Evidence
from simulators.auditor.witness.followed import Life, share_of
from simulators.auditor.witness.life_rules import News
from simulators.auditor.witness.offline.evidence import (
    LEEWAY_MS,
    TAP_AGE_MS_MAX,
    OfflineEvidence,
    OfflineHouse,
    OfflineTap,
    SealedRecord,
    Vouched,
)
from simulators.auditor.witness.offline.rows import CredentialRow, RecordRow

INVALID: Final = "offline_record_invalid"
TOO_OLD: Final = "offline_record_too_old"
BROKEN: Final = "offline_rules_broken"
CONFLICT: Final = "offline_record_conflict"
COPIED: Final = "instrument_cloned"
ORDER_PAID: Final = "order_already_paid"

NEVER_MS: Final = 1 << 62

Befores = dict[tuple[int, bytes], int]
"""What accounts had available before a group, by group and account."""
Parts = list[tuple[str, bytes, bytes, int]]


def refusal_of(
    record: SealedRecord,
    tap: OfflineTap | None,
    vouched: Vouched | None,
    house: OfflineHouse,
    *,
    received_ms: int,
) -> str | None:
    """Return the decline that a record deserves by what its seal shows, None if it kept every rule."""
    if tap is None or vouched is None or vouched.instrument_id != tap.instrument_id:
        return INVALID
    if (tap.amount_minor, tap.terminal_id) != (record.amount_minor, record.terminal_id):
        return INVALID
    if received_ms - record.accepted_ms > house.record_age_ms:
        return TOO_OLD
    is_in_time = record.accepted_ms <= received_ms + LEEWAY_MS
    return None if is_in_time and keeps_rules(record, tap, vouched, house) else BROKEN


def keeps_rules(record: SealedRecord, tap: OfflineTap, vouched: Vouched, house: OfflineHouse) -> bool:
    """Say whether a till might accept this when it did, as far as its seal shows."""
    at_ms = record.accepted_ms
    list_age_ms = at_ms - record.list_issued_s * 1000
    keeps_times = (
        0 <= at_ms - record.clock_set_ms <= house.clock_age_ms
        and -LEEWAY_MS <= list_age_ms <= house.list_age_ms
        and abs(at_ms - tap.tapped_ms) <= TAP_AGE_MS_MAX
        and vouched.issued_ms - LEEWAY_MS <= at_ms < vouched.expires_ms + LEEWAY_MS
    )
    return (
        keeps_times
        and record.amount_minor <= min(house.floor_minor, vouched.per_payment_minor)
        and tap.amount_minor <= tap.total_minor <= vouched.allowance_minor
    )


@dataclass(frozen=True, slots=True)
class Case:
    """One record with what the world knows of it."""

    row: RecordRow
    record: SealedRecord
    tap: OfflineTap | None
    vouched: Vouched | None


@dataclass(slots=True)
class RecordBook:
    """Every record that has its word, and what devices signed in them."""

    evidence: OfflineEvidence
    standing: Standing
    cases: dict[tuple[str, int], Case] = field(default_factory=dict)
    by_attempt: dict[tuple[str, str], Case] = field(default_factory=dict)
    by_use: dict[Hashable, list[Case]] = field(default_factory=lambda: defaultdict(list))
    taps: dict[str, dict[Hashable, OfflineTap]] = field(default_factory=lambda: defaultdict(dict))
    """What an instrument signed in records that became payments, by instrument and use."""
    perhaps: dict[str, dict[Hashable, OfflineTap]] = field(default_factory=lambda: defaultdict(dict))
    """The same of all records."""
    contradicted_ms: dict[str, int] = field(default_factory=dict)
    """When the gateway had what shows that a key is copied, by instrument."""

    def see(self, news: News) -> Iterator[Finding]:
        """Take the new records in, before anything is judged by them."""
        for row in news.offline.records:
            record = self.evidence.handed_in.get((row.terminal_id, row.sequence, row.link))
            if record is None:
                yield Finding("record_nobody_handed_in", row.where)
                continue
            told = row.attempt_id, row.amount_minor, row.accepted_ms
            if told != (record.attempt_id, record.amount_minor, record.accepted_ms):
                yield Finding("record_differs_from_seal", row.where)
            tap, vouched = self.evidence.taps.get(record.use), self.evidence.vouched.get(record.tag)
            case = Case(row, record, tap, vouched)
            self.cases[row.place] = case
            self.by_attempt[row.terminal_id, row.attempt_id] = case
            self.by_use[record.use].append(case)
            if tap is None:
                continue
            self.standing.counters.setdefault((tap.instrument_id, tap.counter), set()).add(tap.use)
            # Where a till says that something else was signed, that does not tell against the signer.
            if (tap.amount_minor, tap.terminal_id) == (record.amount_minor, record.terminal_id):
                self._take_tap(tap, has_payment=bool(row.has_payment))

    def suspended_ms(self, instrument_id: str) -> int:
        """Return since when an instrument is surely suspended; NEVER_MS if it may not be."""
        by_operator_ms = self.standing.evidence.suspended.get(instrument_id, NEVER_MS)
        return min(by_operator_ms, self.contradicted_ms.get(instrument_id, NEVER_MS))

    def may_be_suspended(self, instrument_id: str) -> bool:
        """Say whether an operator, or what its key signed, may have suspended an instrument."""
        by_operator = instrument_id in self.standing.evidence.suspending
        return by_operator or self.may_have_contradicted_itself(instrument_id)

    def may_have_contradicted_itself(self, instrument_id: str) -> bool:
        """Say whether a key signed, here or online, what no single device signs."""
        standing = self.standing
        if instrument_id in standing.contradicted:
            return True
        return any(owner == instrument_id and len(uses) > 1 for (owner, _), uses in standing.counters.items())

    def _take_tap(self, tap: OfflineTap, *, has_payment: bool) -> None:
        """Reckon with what a device signed.

        A record that follows a payment made online uses up no tap; whether it gives a copy away is open.
        """
        self.perhaps[tap.instrument_id][tap.use] = tap
        if _contradict_each_other(self.perhaps[tap.instrument_id], tap.tag):
            self.standing.contradicted.add(tap.instrument_id)
        if has_payment:
            self.taps[tap.instrument_id][tap.use] = tap
            if _contradict_each_other(self.taps[tap.instrument_id], tap.tag):
                now_ms = self.standing.evidence.dealings.now_ms()
                self.contradicted_ms.setdefault(tap.instrument_id, now_ms)


def _contradict_each_other(taps: dict[Hashable, OfflineTap], tag: bytes) -> bool:
    under = sorted(
        (one for one in taps.values() if one.tag == tag), key=lambda one: (one.counter, one.total_minor)
    )
    return any(not rises(later, earlier) for earlier, later in itertools.pairwise(under))


def rises(later: OfflineTap, earlier: OfflineTap) -> bool:
    """Say whether one device can have signed the one and then the other."""
    added_minor = later.total_minor - earlier.total_minor
    return later.counter > earlier.counter and added_minor >= later.amount_minor


class RecordsAreRight:
    """Every record is paid, declined or in conflict for a reason, and borne by whom the rules say."""

    def __init__(
        self, evidence: Evidence, offline: OfflineEvidence, book: RecordBook, befores: Befores
    ) -> None:
        self._evidence = evidence
        self._offline = offline
        self._book = book
        self._befores = befores
        self._standing = book.standing

    def see(self, news: News) -> Iterator[Finding]:
        """Judge what is new, when all of it has been counted in."""
        groups = {one.sequence: one.group for one in news.groups}
        credentials = {one.tag: one for one in news.offline.credentials}
        for row in news.offline.records:
            case = self._book.cases.get(row.place)
            if case is None:
                continue
            yield from (Finding(code, row.where) for code in self._judge(case))
            if row.outcome == "settled" and row.has_payment:
                yield from self._judge_money(case, groups, credentials)

    def _judge(self, case: Case) -> Iterator[str]:
        row = case.row
        if row.outcome != "settled" and (row.loss_bearer, row.loss_minor) != ("merchant", row.amount_minor):
            yield "borne_by_another"
        if row.outcome == "settled" and (row.loss_bearer == "operator") != (row.loss_minor > 0):
            yield "borne_by_another"
        if (row.outcome == "declined") > row.has_payment or ((row.outcome == "conflict") and row.has_payment):
            yield "record_differs_from_payment"
        match row.outcome:
            case "conflict":
                if row.code != CONFLICT or not self._is_conflict(case):
                    yield "conflict_without_reason"
            case "declined":
                yield from self._judge_decline(case)
            case "settled" if row.has_payment:
                yield from self._judge_settled(case)
            case _:
                if not self._was_paid_online(case):
                    yield "settled_without_payment"

    def _refusal_of(self, case: Case) -> str | None:
        house, at_ms = self._offline.house, case.row.received_ms
        return refusal_of(case.record, case.tap, case.vouched, house, received_ms=at_ms)

    def _judge_decline(self, case: Case) -> Iterator[str]:
        life, code = self._standing.lives.lives.get(case.row.payment_id), case.row.code
        if life is None or life.decision.decline_code != code or life.decision.is_taken:
            yield "record_differs_from_payment"
            return
        refusal = self._refusal_of(case)
        if refusal is not None:
            is_right = code == refusal
        elif code == ORDER_PAID:
            is_right = self._order_is_full(life)
        else:
            is_right = code == BROKEN and (self._may_be_listed(case) or self._till_is_contradicted(case))
        if not is_right:
            yield "declined_without_reason"

    def _judge_settled(self, case: Case) -> Iterator[str]:
        refusal = self._refusal_of(case)
        if refusal is not None:
            yield "settled_against_the_rules"
        if self._till_is_contradicted(case):
            yield "till_took_more_than_a_device_has"
        paid = [one for one in self._book.by_use[case.record.use] if one.row.outcome == "settled"]
        if len(paid) > 1:
            yield "tap_paid_twice"
        if case.row.code not in ("", COPIED):
            yield "settled_with_another_code"
        if case.row.code == COPIED and not self._is_contradicted(case):
            yield "called_a_copy_for_no_reason"

    def _is_contradicted(self, case: Case) -> bool:
        if case.tap is None:
            return False
        instrument_id = case.tap.instrument_id
        uses = self._standing.counters.get((instrument_id, case.tap.counter), set())
        return len(uses) > 1 or instrument_id in self._standing.contradicted

    def _is_conflict(self, case: Case) -> bool:
        """Say whether its tap is another record's, or its attempt was decided otherwise."""
        same = [one for one in self._book.by_use[case.record.use] if one.row.place != case.row.place]
        key = case.row.terminal_id, case.row.attempt_id
        return bool(same) or (key in self._offline.online_attempts and not self._was_paid_online(case))

    def _was_paid_online(self, case: Case) -> bool:
        life = self._standing.lives.lives.get(case.row.payment_id)
        if life is None or any(one.row.payment_id == case.row.payment_id for one in self._owners(case)):
            return False
        decision, record = life.decision, case.record
        is_same = (decision.terminal_id, decision.attempt_id) == (record.terminal_id, record.attempt_id)
        return is_same and decision.order_id == record.order_id and life.charged_minor == record.amount_minor

    def _owners(self, case: Case) -> list[Case]:
        return [one for one in self._book.cases.values() if one.row.has_payment and one is not case]

    def _order_is_full(self, life: Life) -> bool:
        lives, decision = self._standing.lives, life.decision
        key = decision.merchant_id, decision.order_id
        amount_minor = lives.order_amounts.get(key)
        return amount_minor is not None and lives.taken_minor[key] + decision.amount_minor > amount_minor

    def _may_be_listed(self, case: Case) -> bool:
        """Say whether the list that the record names may have named its credential."""
        if case.tap is None:
            return False
        instrument_id, issued_ms = case.tap.instrument_id, case.record.list_issued_s * 1000
        since_ms = self._evidence.suspending.get(instrument_id, 1 << 62)
        if self._book.may_have_contradicted_itself(instrument_id):
            since_ms = 0
        return issued_ms + 1000 > since_ms

    def _till_is_contradicted(self, case: Case) -> bool:
        """Say whether its till was paid something that it could not accept beside this."""
        tap = case.tap
        if tap is None:
            return False
        for other in self._book.cases.values():
            theirs = other.tap
            if theirs is None or other is case or other.row.outcome != "settled" or not other.row.has_payment:
                continue
            if (theirs.tag, other.row.terminal_id) != (tap.tag, case.row.terminal_id):
                continue
            is_later = other.row.sequence > case.row.sequence
            pair = (theirs, tap) if is_later else (tap, theirs)
            if not rises(*pair):
                return True
        return False

    # Who paid

    def _judge_money(
        self, case: Case, groups: dict[int, Group], credentials: dict[bytes, CredentialRow]
    ) -> Iterator[Finding]:
        where, row, tap = case.row.where, case.row, case.tap
        life = self._standing.lives.lives.get(row.payment_id)
        credential = credentials.get(case.record.tag)
        payer = None if tap is None else self._evidence.payers.get(tap.instrument_id)
        if life is None or credential is None or payer is None:
            yield Finding("settled_without_payment", where)
            return
        decision = life.decision
        if (decision.instrument_id, decision.amount_minor, decision.order_id, decision.outcome) != (
            payer.instrument_id,
            row.amount_minor,
            case.record.order_id,
            "approved",
        ):
            yield Finding("record_differs_from_payment", where)
        sequence = decision.group_sequence or 0
        merchant = self._evidence.merchants[decision.merchant_id]
        fee_minor = share_of(row.amount_minor, merchant.fee_basis_points)
        fees = [("single", merchant.account_id, merchant.fees_account_id, fee_minor)] if fee_minor else []
        group = groups.get(sequence)
        legs = [] if group is None else [(leg.kind, *leg.accounts, leg.amount_minor) for leg in group.legs]
        in_allowance_minor = self._befores.get((sequence, credential.account_id), 0)
        in_wallet_minor = max(0, self._befores.get((sequence, payer.account_id), 0))
        wallets = {in_wallet_minor}
        if payer.wallet_id in self._evidence.freezing:
            wallets.add(0)
        if self._evidence.frozen.get(payer.wallet_id, 1 << 62) < row.received_ms:
            wallets = {0}
        accounts = credential.account_id, payer.account_id, self._offline.losses_account_id
        for wallet_minor in sorted(wallets):
            amounts = _shares(row.amount_minor, in_allowance_minor, wallet_minor)
            parts = [
                ("single", account_id, merchant.account_id, amount_minor)
                for account_id, amount_minor in zip(accounts, amounts, strict=True)
                if amount_minor
            ]
            if legs == parts + fees and amounts[-1] == row.loss_minor:
                return
        yield Finding("paid_by_the_wrong_one", where)


def _shares(amount_minor: int, in_allowance_minor: int, in_wallet_minor: int) -> tuple[int, int, int]:
    """Return who pays how much: what was set aside first, then the holder, then the operator."""
    first_minor = min(amount_minor, in_allowance_minor)
    second_minor = min(amount_minor - first_minor, in_wallet_minor)
    return first_minor, second_minor, amount_minor - first_minor - second_minor
