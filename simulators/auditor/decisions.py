"""Whether a decision can be right: an approval that nothing forbids, a decline that something demands.

Decisions of one commit are judged against what stands after it. What can forbid a payment only grows (what
was spent, what was used, who is suspended), so an honest gateway is never accused; where several decisions
fall into one commit, a wrong one among them may be missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from simulators.auditor.books import DAY_MS
from simulators.auditor.evidence import Asked, Evidence, Payer, Presented
from simulators.auditor.findings import Finding
from simulators.auditor.histories import StoredPayment
from simulators.auditor.ledger import LedgerModel

CODE: Final = "code_numeric"
ATTEMPT_REVERSED: Final = "attempt_reversed"
LINK: Final = "nfc_sdm"
OVERTAKING_MS_MAX: Final = 60_000
"""By how much a request that was sent earlier may arrive later."""


@dataclass(slots=True)
class Standing:
    """What decisions so far have used up."""

    evidence: Evidence
    ledger: LedgerModel
    approved_minor: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By merchant and order."""
    spent_minor: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By instrument and day of UTC."""
    decided: Counter[Hashable] = field(default_factory=Counter)
    """How many attempts presented a thing, whatever became of them."""
    approved: Counter[Hashable] = field(default_factory=Counter)
    """How many of them were approved."""
    counters: dict[tuple[str, int], set[Hashable]] = field(default_factory=dict)
    """What an instrument presented under one value of its counter."""
    link_counters: dict[str, list[int]] = field(default_factory=dict)
    """The counters of links that were decided, by card."""

    def take(self, payment: StoredPayment) -> None:
        """Count a decision in."""
        asked = self.evidence.asked.get((payment.terminal_id, payment.attempt_id))
        presented = None if asked is None else asked.presented
        if presented is not None:
            self._use_up(presented)
        if payment.approved:
            self.approved_minor[payment.merchant_id, payment.order_id] += payment.amount_minor
            self.spent_minor[payment.instrument_id or "", payment.decided_ms // DAY_MS] += (
                payment.amount_minor
            )
            if presented is not None:
                self.approved[presented.use] += 1

    def _use_up(self, presented: Presented) -> None:
        self.decided[presented.use] += 1
        if presented.instrument_id is None or presented.counter is None:
            return
        self.counters.setdefault((presented.instrument_id, presented.counter), set()).add(presented.use)
        if presented.entry_mode == LINK:
            self.link_counters.setdefault(presented.instrument_id, []).append(presented.counter)


@dataclass(frozen=True, slots=True)
class _Case:
    """One decision, with all that is known about it."""

    payment: StoredPayment
    asked: Asked
    presented: Presented
    payer: Payer | None
    standing: Standing

    @property
    def order_is_full(self) -> bool:
        """Say whether one more payment of this size would be too much for the order."""
        key = self.payment.merchant_id, self.payment.order_id
        wanted = self.standing.approved_minor[key] + self.payment.amount_minor
        return wanted > self.standing.evidence.order_amounts[key]

    @property
    def spent_minor(self) -> int:
        """What the instrument has spent on the day of the decision."""
        return self.standing.spent_minor[self.payment.instrument_id or "", self.payment.decided_ms // DAY_MS]

    @property
    def available_minor(self) -> int:
        """What the wallet has left."""
        assert self.payer is not None
        return self.standing.ledger.accounts[self.payer.account_id].available_minor


def judge(payment: StoredPayment, standing: Standing) -> Iterator[Finding]:
    """Yield what is wrong with a decision that `standing` has counted in."""
    asked = standing.evidence.asked.get((payment.terminal_id, payment.attempt_id))
    if asked is None:
        yield Finding("nobody_asked", payment.attempt_id)
        return
    if payment.decline_code == ATTEMPT_REVERSED:
        if (payment.terminal_id, payment.attempt_id) not in standing.evidence.reversing:
            yield Finding("reversed_by_nobody", payment.attempt_id)
        return
    if asked.presented is None:
        yield Finding("nobody_presented", payment.attempt_id)
        return
    payer = standing.evidence.payers.get(asked.presented.instrument_id or "")
    case = _Case(payment, asked, asked.presented, payer, standing)
    if payment.approved:
        yield from (Finding(code, payment.attempt_id) for code in _objections(case))
        return
    excuse = EXCUSES.get(payment.decline_code or "")
    if excuse is None or not excuse(case):
        yield Finding("declined_without_reason", f"{payment.decline_code}: {payment.attempt_id}")


def _objections(case: _Case) -> Iterator[str]:
    """Yield everything that forbids an approval."""
    payment, presented, payer = case.payment, case.presented, case.payer
    evidence = case.standing.evidence
    if payer is None or payment.instrument_id != payer.instrument_id:
        yield "charged_somebody_else"
        return
    if presented.amount_minor not in (None, payment.amount_minor):
        yield "charged_another_amount"
    if presented.cap_minor is not None and payment.amount_minor > presented.cap_minor:
        yield "cap_passed"
    if payment.amount_minor > payer.per_payment_minor or case.spent_minor > payer.per_day_minor:
        yield "limit_passed"
    if not presented.valid_from_ms <= payment.decided_ms <= presented.valid_until_ms:
        yield "approved_out_of_time"
    if presented.entry_mode not in payer.entry_modes:
        yield "approved_entry_mode"
    if case.standing.approved[presented.use] > 1:
        yield "used_twice"
    if evidence.suspended.get(payer.instrument_id, payment.decided_ms) < case.asked.sent_ms:
        yield "approved_though_suspended"
    if evidence.frozen.get(payer.wallet_id, payment.decided_ms) < case.asked.sent_ms:
        yield "approved_though_frozen"


def _was_used_before(case: _Case) -> bool:
    return case.standing.decided[case.presented.use] > 1


def _counter_was_passed(case: _Case) -> bool:
    presented = case.presented
    counters = list(case.standing.link_counters.get(presented.instrument_id or "", ()))
    if presented.entry_mode != LINK or presented.counter not in counters:
        return False
    counters.remove(presented.counter)
    return any(other >= presented.counter for other in counters)


def _code_is_over(case: _Case) -> bool:
    presented = case.presented
    if presented.entry_mode != CODE or presented.instrument_id is None:
        return presented.entry_mode == CODE
    asked_ms = case.standing.evidence.codes_asked_ms.get(presented.instrument_id, [])
    # Its own asking is among them. One that was asked for a little earlier may have been issued later.
    others = [one for one in asked_ms if one > presented.valid_from_ms - OVERTAKING_MS_MAX]
    return len(others) > 1 or _was_used_before(case) or _is_over(case)


def _is_over(case: _Case) -> bool:
    return case.payment.decided_ms > case.presented.valid_until_ms


def _was_cloned(case: _Case) -> bool:
    presented = case.presented
    if presented.instrument_id is None or presented.counter is None:
        return False
    return len(case.standing.counters[presented.instrument_id, presented.counter]) > 1


def _may_be_suspended(case: _Case) -> bool:
    instrument_id = case.presented.instrument_id or ""
    by_operator = instrument_id in case.standing.evidence.suspending
    copied = (uses for (owner, _), uses in case.standing.counters.items() if owner == instrument_id)
    return by_operator or any(len(uses) > 1 for uses in copied)


def _is_short(case: _Case) -> bool:
    return case.payer is not None and case.available_minor < case.payment.amount_minor


def _passes_day(case: _Case) -> bool:
    return case.payer is not None and case.spent_minor + case.payment.amount_minor > case.payer.per_day_minor


EXCUSES: Final[MappingProxyType[str, Callable[[_Case], bool]]] = MappingProxyType(
    {
        "instrument_unknown": lambda case: case.presented.instrument_id is None,
        "order_already_paid": lambda case: case.order_is_full,
        "token_replayed": _was_used_before,
        "instrument_cloned": _was_cloned,
        "card_counter_old": _counter_was_passed,
        "payment_code_invalid": _code_is_over,
        "token_expired": _is_over,
        "token_not_yet_valid": lambda case: case.payment.decided_ms < case.presented.valid_from_ms,
        "amount_above_token_cap": lambda case: (
            case.presented.cap_minor is not None and case.payment.amount_minor > case.presented.cap_minor
        ),
        "terminal_mismatch": lambda case: case.presented.amount_minor is not None,
        "amount_mismatch": lambda case: case.presented.amount_minor not in (None, case.payment.amount_minor),
        "entry_mode_not_allowed": lambda case: (
            case.payer is not None and case.presented.entry_mode not in case.payer.entry_modes
        ),
        "instrument_suspended": _may_be_suspended,
        "wallet_frozen": lambda case: (
            case.payer is not None and case.payer.wallet_id in case.standing.evidence.freezing
        ),
        "limit_per_payment_exceeded": lambda case: (
            case.payer is not None and case.payment.amount_minor > case.payer.per_payment_minor
        ),
        "limit_per_day_exceeded": _passes_day,
        "insufficient_funds": _is_short,
    }
)
"""What must be so for an attempt to be declined with a code; a code that is not here has no excuse."""
