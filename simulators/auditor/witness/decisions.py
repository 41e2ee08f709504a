"""Whether a decision can be right: an approval that nothing forbids, a decline that something demands.

Within one commit the order of decisions, steps and refunds is not told. So declines are judged against what
is taken after all its decisions and before anything of it was given back, approvals against what is taken
after all of it: an honest gateway is never accused, and where several fall into one commit, a wrong one among
them may be missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from simulators.auditor.findings import Finding
from simulators.auditor.model.ledger import LedgerModel
from simulators.auditor.model.payments import DAY_MS
from simulators.auditor.witness.dealings import PIN_TRIES_MAX
from simulators.auditor.witness.evidence import Asked, Evidence, Payer, Presented
from simulators.auditor.witness.followed import Decision, Lives, share_of

CODE: Final = "code_numeric"
LINK: Final = "nfc_sdm"
BY_PHONE: Final = "qr_merchant"
"""Its holder saw and signed amount and merchant on their own phone."""
REVERSED: Final = "attempt_reversed"
OVERTAKING_MS_MAX: Final = 60_000
"""By how much a request that was sent earlier may arrive later."""


@dataclass(slots=True)
class Standing:
    """What decisions so far have used up."""

    evidence: Evidence
    ledger: LedgerModel
    lives: Lives
    lows: dict[bytes, int] = field(default_factory=dict)
    """The least that was available on accounts during the last commit."""
    decided: Counter[Hashable] = field(default_factory=Counter)
    """How many attempts presented a thing, whatever became of them."""
    approved: Counter[Hashable] = field(default_factory=Counter)
    """How many of them charged or held something."""
    counters: dict[tuple[str, int], set[Hashable]] = field(default_factory=dict)
    """What an instrument presented under one value of its counter."""
    contradicted: set[str] = field(default_factory=set)
    """Instruments that signed a running total which misses a payment, or two claims under one counter, for
    tills that were offline."""
    offline_now: Counter[tuple[str, int]] = field(default_factory=Counter)
    """What came of records in the last commit, by instrument and day: it may have come after a payment of the
    same commit, which had to leave it no room."""
    link_counters: dict[str, list[int]] = field(default_factory=dict)
    """The counters of links that were decided, by card."""

    def take(self, payment: Decision, hold_id: bytes | None, *, is_offline: bool = False) -> None:
        """Count a decision in."""
        if is_offline:
            self.lives.decide(payment, 0, None, self.evidence.dealings.now_ms(), is_hurried=False)
            if payment.is_taken:
                day = payment.instrument_id or "", payment.decided_ms // DAY_MS
                self.offline_now[day] += payment.amount_minor
            return
        asked = self.evidence.asked.get((payment.terminal_id, payment.attempt_id))
        order_amount_minor = 0 if asked is None else asked.terms.order_amount_minor
        self.lives.decide(payment, order_amount_minor, hold_id, self.evidence.dealings.now_ms())
        presented = self.presented(payment)
        # A tombstone uses up nothing: what was presented was never looked at.
        if presented is not None and payment.decline_code != REVERSED:
            self._use_up(presented)
            self.approved[presented.use] += payment.is_taken

    def presented(self, payment: Decision) -> Presented | None:
        """Return what was presented for a decision; for a till's code, by the phone that paid it."""
        key = payment.terminal_id, payment.attempt_id
        asked = self.evidence.asked.get(key)
        if asked is not None and asked.presented is not None:
            return asked.presented
        return self.evidence.offers.get(key, {}).get(payment.instrument_id or "")

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

    payment: Decision
    asked: Asked
    presented: Presented
    payer: Payer | None
    standing: Standing

    @property
    def order_is_full(self) -> bool:
        """Say whether one more payment of this size would be too much for the order."""
        key, lives = (self.payment.merchant_id, self.payment.order_id), self.standing.lives
        wanted = lives.taken_minor[key] + self.payment.goods_minor
        return key in lives.order_amounts and wanted > lives.order_amounts[key]

    @property
    def order_differs(self) -> bool:
        """Say whether the order was begun with another amount than the till named, or can't begin with it."""
        known = self.standing.lives.order_amounts.get((self.payment.merchant_id, self.payment.order_id))
        named = self.asked.terms.order_amount_minor
        is_too_small = 0 < named < self.payment.goods_minor
        return is_too_small or (known is not None and named not in (0, known))

    @property
    def spent_minor(self) -> int:
        """What the instrument has spent on the day of the decision."""
        return self.standing.lives.spent_minor[
            self.payment.instrument_id or "", self.payment.decided_ms // DAY_MS
        ]

    @property
    def spent_before_minor(self) -> int:
        """The same without what came of records in the same commit, which may have been later."""
        day = self.payment.instrument_id or "", self.payment.decided_ms // DAY_MS
        return self.spent_minor - self.standing.offline_now[day]

    @property
    def wallet_spent_minor(self) -> int:
        """What all instruments of the wallet have spent on the day of the decision."""
        assert self.payer is not None
        payers = self.standing.evidence.payers.values()
        ids = [one.instrument_id for one in payers if one.wallet_id == self.payer.wallet_id]
        return self.standing.lives.wallet_spent_minor(ids, self.payment.decided_ms // DAY_MS)

    @property
    def offline_now_minor(self) -> int:
        """What came of records of the wallet's instruments in the same commit."""
        assert self.payer is not None
        payers = self.standing.evidence.payers.values()
        day = self.payment.decided_ms // DAY_MS
        return sum(
            self.standing.offline_now[one.instrument_id, day]
            for one in payers
            if one.wallet_id == self.payer.wallet_id
        )

    @property
    def available_minor(self) -> int:
        """The least that the wallet had left during the commit."""
        assert self.payer is not None
        account_id = self.payer.account_id
        now_minor = self.standing.ledger.accounts[account_id].available_minor
        return min(now_minor, self.standing.lows.get(account_id, now_minor))

    @property
    def needs_confirming(self) -> str | None:
        """Why the holder has to agree, as a code; None if there is no reason."""
        assert self.payer is not None
        if self.presented.entry_mode == BY_PHONE:
            return None
        if self.payment.amount_minor > self.payer.unconfirmed_max_minor:
            return "confirm_above_limit"
        most = self.standing.evidence.dealings.rules.payments_per_window_max
        life = self.standing.lives.lives[self.payment.payment_id]
        return "confirm_velocity" if most and life.count_before >= most else None

    @property
    def is_near_a_window(self) -> bool:
        """Say whether payments around this one may have been counted in another window."""
        window_ms = self.standing.evidence.dealings.rules.window_ms
        return not OVERTAKING_MS_MAX <= self.payment.decided_ms % window_ms < window_ms - OVERTAKING_MS_MAX


def judge(payment: Decision, standing: Standing) -> Iterator[Finding]:
    """Yield what is wrong with a decision that `standing` has counted in."""
    key = payment.terminal_id, payment.attempt_id
    asked = standing.evidence.asked.get(key)
    if payment.decline_code == REVERSED:
        if key not in standing.evidence.dealings.reversing:
            yield Finding("reversal_nobody_asked", payment.attempt_id)
        return
    if asked is None:
        yield Finding("nobody_asked", payment.attempt_id)
        return
    presented = standing.presented(payment)
    if presented is None:
        yield Finding("nobody_presented", payment.attempt_id)
        return
    payer = standing.evidence.payers.get(presented.instrument_id or "")
    case = _Case(payment, asked, presented, payer, standing)
    if payment.is_taken:
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
    if payment.amount_minor > payer.per_payment_minor or case.spent_before_minor > payer.per_day_minor:
        yield "limit_passed"
    yield from _objections_of_way(presented, payer)
    yield from _objections_of_tier(case, payer)
    yield from _objections_of_terms(case)
    if not presented.valid_from_ms <= payment.decided_ms <= presented.valid_until_ms:
        yield "approved_out_of_time"
    if case.standing.approved[presented.use] > 1:
        yield "used_twice"
    if evidence.suspended.get(payer.instrument_id, payment.decided_ms) < case.asked.sent_ms:
        yield "approved_though_suspended"
    if evidence.frozen.get(payer.wallet_id, payment.decided_ms) < case.asked.sent_ms:
        yield "approved_though_frozen"


def _objections_of_way(presented: Presented, payer: Payer) -> Iterator[str]:
    """Yield why what was shown pays nothing by itself, or not in this way."""
    if presented.is_offline:
        yield "approved_an_offline_tap"
    if presented.entry_mode not in payer.entry_modes:
        yield "approved_entry_mode"


def _objections_of_tier(case: _Case, payer: Payer) -> Iterator[str]:
    """Yield how it passes its wallet's limits, and whether its holder should have been asked."""
    payment, tier = case.payment, payer.tier
    if tier is not None and (
        payment.amount_minor > tier.per_payment_minor
        or case.wallet_spent_minor - case.offline_now_minor > tier.per_day_minor
    ):
        yield "wallet_limit_passed"
    reason = case.needs_confirming
    may_be_of_window = case.is_near_a_window and "confirm_above_limit" not in (reason, payment.confirm_code)
    if payment.confirm_code == reason or may_be_of_window:
        return
    yield "not_confirmed" if payment.confirm_code is None else "asked_for_no_reason"


def _objections_of_terms(case: _Case) -> Iterator[str]:
    """Yield what differs from what its till asked for, and tips beyond the merchant's margin."""
    payment, terms = case.payment, case.asked.terms
    if (payment.tip_max_minor, bool(payment.is_manual)) != (terms.tip_max_minor, terms.is_manual):
        yield "other_terms"
    if payment.tip_max_minor > _tip_max(case):
        yield "tip_above_margin"
    if case.order_differs:
        yield "other_order_amount"
    if payment.outcome == "authorised" and not payment.is_manual:
        yield "held_for_no_reason"


def _tip_max(case: _Case) -> int:
    margin = case.standing.evidence.dealings.tip_margins.get(case.payment.merchant_id, 0)
    return share_of(case.payment.goods_minor, margin)


def _nobody_can_confirm(case: _Case) -> bool:
    """Neither a PIN nor a phone may have been there to ask, nor a card to challenge."""
    payer = case.payer
    if payer is None or (case.needs_confirming is None and not case.is_near_a_window):
        return False
    pin_max_minor = payer.per_payment_minor if payer.tier is None else payer.tier.pin_max_minor
    evidence = case.standing.evidence
    may_be_locked = evidence.dealings.pin_sends[payer.wallet_id] >= PIN_TRIES_MAX
    has_pin = payer.has_pin and case.payment.amount_minor <= pin_max_minor and not may_be_locked
    phones = [
        one.instrument_id
        for one in evidence.payers.values()
        if one.wallet_id == payer.wallet_id and BY_PHONE in one.entry_modes
    ]
    if case.presented.entry_mode == LINK and case.payment.amount_minor <= pin_max_minor:
        return False
    return not has_pin and all(_is_perhaps_suspended(case.standing, one) for one in phones)


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
    return _is_perhaps_suspended(case.standing, case.presented.instrument_id or "")


def _is_perhaps_suspended(standing: Standing, instrument_id: str) -> bool:
    """Say whether an operator, or two claims under one counter, may have suspended an instrument."""
    by_operator = instrument_id in standing.evidence.suspending or instrument_id in standing.contradicted
    copied = (uses for (owner, _), uses in standing.counters.items() if owner == instrument_id)
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
        "token_offline_only": lambda case: case.presented.is_offline,
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
        "limit_identity_per_payment_exceeded": lambda case: (
            case.payer is not None
            and case.payer.tier is not None
            and case.payment.amount_minor > case.payer.tier.per_payment_minor
        ),
        "limit_identity_per_day_exceeded": lambda case: (
            case.payer is not None
            and case.payer.tier is not None
            and case.wallet_spent_minor + case.payment.amount_minor > case.payer.tier.per_day_minor
        ),
        "confirmation_unavailable": _nobody_can_confirm,
        "order_amount_differs": lambda case: case.order_differs,
        "tip_margin_exceeded": lambda case: case.payment.tip_max_minor > _tip_max(case),
        "insufficient_funds": _is_short,
    }
)
"""What must be so for an attempt to be declined with a code; a code that is not here has no excuse."""
