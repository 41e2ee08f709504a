"""What must be so of payments after their decision: every step has a cause, moves its money and no other,
gives back what it lets go of, and is what everybody was told.

Each rule is a class with `see`, as in witness.py, which puts them together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from simulators.auditor.books.books import StoredGroup
from simulators.auditor.findings import Finding
from simulators.auditor.model.ledger import Account, Group, LedgerModel
from simulators.auditor.model.payments import DAY_MS
from simulators.auditor.states import NOTHING_LEFT, OPEN
from simulators.auditor.witness.dealings import DEVICE, PIN, PIN_TRIES_MAX, Heard
from simulators.auditor.witness.evidence import Evidence
from simulators.auditor.witness.followed import (
    Decision,
    Life,
    Lives,
    Refund,
    Step,
    fee_returned,
    share_of,
)
from simulators.auditor.witness.offline.rows import NO_OFFLINE_NEWS, OfflineNews

Move = tuple[str, bytes, bytes, int, bytes | None]
"""Kind, debited and credited account, amount, and the hold that is ended."""
SWEEPS_LATE_MAX: Final = 3
SWEEP_WORK_MS_MAX: Final = 4_000
"""How long a sweep may take to end a payment, beyond the pause between two sweeps."""
TELLS_TERMINAL: Final = ("confirmed", "confirmed_hold", "refused", "expired")


@dataclass(frozen=True, slots=True)
class News:
    """What one or more commits have added, and what stands after them."""

    accounts: dict[bytes, Account]
    groups: tuple[StoredGroup, ...]
    payments: tuple[Decision, ...]
    steps: tuple[Step, ...] = ()
    refunds: tuple[Refund, ...] = ()
    open_rows: tuple[tuple[str, str, int], ...] = ()
    order_rows: tuple[tuple[str, str, int, int], ...] = ()
    day_rows: tuple[tuple[str, int, int], ...] = ()
    offline: OfflineNews = NO_OFFLINE_NEWS


NO_NEWS: Final = News({}, (), ())


class Rule(Protocol):
    """One thing that must be so."""

    def see(self, news: News) -> Iterator[Finding]:
        """Yield what is wrong with the news; called once for each."""


class StepsAreRight:
    """Steps follow the table, each for a reason, within what was signed; refunds within what was charged."""

    def __init__(self, evidence: Evidence, lives: Lives) -> None:
        self._evidence = evidence
        self._dealings = evidence.dealings
        self._lives = lives
        self._refunded_minor: Counter[tuple[str, int]] = Counter()

    def see(self, news: News) -> Iterator[Finding]:
        """Take every step and refund in the order in which they were booked, as far as that is told."""
        groups = {one.sequence: one.group for one in news.groups}
        now_ms = self._dealings.now_ms()
        happenings: list[Step | Refund] = [*news.steps, *news.refunds]
        for happened in sorted(happenings, key=_place):
            life = self._lives.lives.get(happened.payment_id)
            if life is None:
                yield Finding("step_of_no_payment", happened.payment_id)
                continue
            group = groups.get(happened.group_sequence or 0)
            if isinstance(happened, Refund):
                yield from self._judge_refund(happened, life, group)
                life.totals.append(happened.total_minor)
                continue
            yield from self._judge_amounts(happened, life)
            yield from self._judge_cause(happened, life)
            if _moves_of(group) != self._moves_expected(happened, life):
                yield Finding("moved_wrongly", f"{happened.step}: {happened.payment_id}")
            yield from self._lives.step(life, happened, now_ms)

    def _judge_amounts(self, step: Step, life: Life) -> Iterator[Finding]:
        """No capture is above what was signed, nothing else charges or keeps anything."""
        decision, where = life.decision, step.payment_id
        goods_minor = step.charged_minor - step.tip_minor
        if step.step == "captured":
            if goods_minor > decision.goods_minor or step.tip_minor > decision.tip_max_minor:
                yield Finding("capture_above_hold", where)
        elif step.step == "confirmed":
            if step.charged_minor != decision.amount_minor:
                yield Finding("charged_another_amount", where)
        elif step.step == "reversed":
            if step.charged_minor != life.charged_minor:
                yield Finding("charged_another_amount", where)
        elif step.charged_minor:
            yield Finding("charged_though_over", where)

    def _judge_cause(self, step: Step, life: Life) -> Iterator[Finding]:
        """Somebody asked for each step, or a deadline did."""
        dealings, decision, where = self._dealings, life.decision, step.payment_id
        key = decision.terminal_id, decision.attempt_id
        if step.step == "captured":
            asked = dealings.captures.get((where, step.request_id or ""))
            if asked != (step.charged_minor - step.tip_minor, step.tip_minor):
                yield Finding("capture_nobody_asked", where)
        elif step.step == "voided" and where not in dealings.voids and key not in dealings.reversing:
            yield Finding("void_nobody_asked", where)
        elif step.step == "reversed" and key not in dealings.reversing:
            yield Finding("reversal_nobody_asked", where)
        elif step.step in ("confirmed", "confirmed_hold"):
            yield from self._judge_agreement(step, decision)
        elif step.step == "refused":
            yield from self._judge_refusal(step, decision)

    def _judge_agreement(self, step: Step, decision: Decision) -> Iterator[Finding]:
        payer = self._evidence.payers.get(decision.instrument_id or "")
        ways = {
            one.way
            for one in self._dealings.agreements[step.payment_id]
            if one.agreed
            and (one.amount_minor, one.merchant_id) == (decision.amount_minor, decision.merchant_id)
        }
        if not ways:
            yield Finding("confirmed_without_agreement", step.payment_id)
        too_much = payer is not None and payer.tier is not None
        if too_much and ways == {PIN} and decision.amount_minor > payer.tier.pin_max_minor:  # type: ignore[union-attr]
            yield Finding("pin_above_its_limit", step.payment_id)

    def _judge_refusal(self, step: Step, decision: Decision) -> Iterator[Finding]:
        given = self._dealings.agreements[step.payment_id]
        if step.code == "pin_locked":
            payer = self._evidence.payers.get(decision.instrument_id or "")
            if payer is None or self._dealings.pin_sends[payer.wallet_id] < PIN_TRIES_MAX:
                yield Finding("locked_too_early", step.payment_id)
        elif not any(one.way == DEVICE and not one.agreed for one in given):
            yield Finding("refusal_nobody_gave", step.payment_id)

    def _judge_refund(self, refund: Refund, life: Life, group: Group | None) -> Iterator[Finding]:
        where, dealings = refund.refund_id, self._dealings
        if refund.total_minor > life.charged_minor or life.state != "succeeded":
            yield Finding("refunded_above_charge", where)
        if refund.total_minor - refund.amount_minor != life.refunded_minor:
            yield Finding("refund_total_gap", where)
        asked = refund.payment_id, refund.refund_id, refund.total_minor, refund.staff_id
        if asked not in dealings.refunds:
            yield Finding("refund_nobody_asked", where)
        if (life.decision.merchant_id, refund.staff_id) not in dealings.managers:
            yield Finding("refund_by_no_manager", where)
        day = refund.terminal_id, refund.refunded_ms // DAY_MS
        self._refunded_minor[day] += refund.amount_minor
        if self._refunded_minor[day] > dealings.refund_limits.get(refund.terminal_id, 0):
            yield Finding("refund_limit_passed", where)
        fee_minor = self._fee_back(life, refund.total_minor)
        if _moves_of(group) != self._give_back(life, refund.amount_minor, fee_minor):
            yield Finding("moved_wrongly", f"refund: {where}")

    def _moves_expected(self, step: Step, life: Life) -> list[Move]:
        payer_id, shop_id, fees_id = self._accounts(life)
        if step.step in ("confirmed", "captured"):
            merchant = self._evidence.merchants[life.decision.merchant_id]
            fee_minor = share_of(step.charged_minor, merchant.fee_basis_points)
            fee = [("single", shop_id, fees_id, fee_minor, None)] if fee_minor else []
            return [("post", payer_id, shop_id, step.charged_minor, life.hold_id), *fee]
        if step.step in ("voided", "expired", "refused"):
            return [("void", payer_id, shop_id, life.decision.amount_minor, life.hold_id)]
        if step.step == "reversed" and life.charged_minor > life.refunded_minor:
            return self._give_back(
                life, life.charged_minor - life.refunded_minor, self._fee_back(life, life.charged_minor)
            )
        return []

    def _fee_back(self, life: Life, total_minor: int) -> int:
        """Return what of the fee goes back when so much will be refunded in all."""
        before_minor = fee_returned(life.charged_minor, life.fee_minor, life.refunded_minor)
        return fee_returned(life.charged_minor, life.fee_minor, total_minor) - before_minor

    def _give_back(self, life: Life, amount_minor: int, fee_minor: int) -> list[Move]:
        payer_id, shop_id, fees_id = self._accounts(life)
        fee = [("single", fees_id, shop_id, fee_minor, None)] if fee_minor else []
        return [*fee, ("single", shop_id, payer_id, amount_minor, None)]

    def _accounts(self, life: Life) -> tuple[bytes, bytes, bytes]:
        payer = self._evidence.payers.get(life.decision.instrument_id or "")
        merchant = self._evidence.merchants[life.decision.merchant_id]
        payer_id = b"" if payer is None else payer.account_id
        return payer_id, merchant.account_id, merchant.fees_account_id


class SumsAreExact:
    """Orders and days hold what payments hold and charge, to the cent; no order beyond its amount."""

    def __init__(self, lives: Lives) -> None:
        self._lives = lives

    def see(self, news: News) -> Iterator[Finding]:
        """Compare every row, and find rows that are missing."""
        lives = self._lives
        taken = {(merchant, order): (amount, sum_) for merchant, order, amount, sum_ in news.order_rows}
        for key, amount_minor in lives.order_amounts.items():
            if lives.taken_minor[key] > amount_minor:
                yield Finding("order_over_paid", "/".join(key))
            if taken.get(key) != (amount_minor, lives.taken_minor[key]):
                yield Finding("order_sum_differs", f"{'/'.join(key)}: {taken.get(key)}")
        spent = {(instrument, day): sum_ for instrument, day, sum_ in news.day_rows}
        for day in spent.keys() | {key for key, sum_ in lives.spent_minor.items() if sum_}:
            if day[0] and spent.get(day, 0) != lives.spent_minor[day]:
                yield Finding("day_sum_differs", f"{day[0]} on {day[1]}: {spent.get(day)}")


class HoldsFollowTheirPayments:
    """A payment is open exactly while its row says so and its money is held, and it ends in time."""

    def __init__(self, evidence: Evidence, lives: Lives, ledger: LedgerModel) -> None:
        self._dealings = evidence.dealings
        self._lives = lives
        self._ledger = ledger

    def see(self, news: News) -> Iterator[Finding]:
        """Compare what is open, and look at the holds of what has moved."""
        lives = self._lives
        rows = {payment_id: (state, due_ms) for payment_id, state, due_ms in news.open_rows}
        due = {one: (lives.lives[one].state, lives.lives[one].due_ms) for one in lives.open_ids}
        for payment_id in sorted(rows.keys() ^ due.keys()):
            yield Finding("open_differs", payment_id)
        for payment_id in sorted(rows.keys() & due.keys()):
            if rows[payment_id] != due[payment_id]:
                yield Finding("other_deadline", payment_id)
        moved = {one.payment_id for one in news.payments} | {one.payment_id for one in news.steps}
        for payment_id in sorted(moved):
            life = lives.lives.get(payment_id)
            if life is not None and life.hold_id is not None:
                yield from self._judge_hold(life, life.hold_id)
        yield from self._find_late()

    def _judge_hold(self, life: Life, hold_id: bytes) -> Iterator[Finding]:
        hold = self._ledger.holds.get(hold_id)
        ended = "posted" if life.charged_minor else "voided"
        expected = "open" if life.state in OPEN else ended
        if hold is None or hold.state != expected:
            yield Finding("hold_differs", life.decision.payment_id)

    def _find_late(self) -> Iterator[Finding]:
        dealings = self._dealings
        if dealings.healed_ms is None:
            return
        pause_ms = dealings.rules.sweep_ms * SWEEPS_LATE_MAX + SWEEP_WORK_MS_MAX
        late_ms = dealings.now_ms() - pause_ms
        for payment_id in sorted(self._lives.open_ids):
            due_ms = self._lives.lives[payment_id].due_ms or 0
            if max(due_ms, dealings.healed_ms) < late_ms:
                yield Finding("not_ended", payment_id)


class ReversedStaysReversed:
    """Once a till was told that an attempt is reversed, nothing of it is charged or held, ever."""

    def __init__(self, evidence: Evidence, lives: Lives) -> None:
        self._dealings = evidence.dealings
        self._lives = lives
        self._by_attempt: dict[tuple[str, str], str] = {}

    def see(self, news: News) -> Iterator[Finding]:
        """Look at every reversed attempt; it has a decision, if only a tombstone."""
        for payment in news.payments:
            self._by_attempt[payment.terminal_id, payment.attempt_id] = payment.payment_id
        for key in sorted(self._dealings.reversed):
            life = self._lives.lives.get(self._by_attempt.get(key, ""))
            if life is None:
                yield Finding("reversal_lost", key[1])
            elif life.state not in NOTHING_LEFT:
                yield Finding("charged_after_reversal", key[1])


class HeardIsSo:
    """What tills and phones were told of a payment was so when they were told, or had been just before."""

    def __init__(self, evidence: Evidence, lives: Lives) -> None:
        self._dealings = evidence.dealings
        self._lives = lives
        self._locked_ms: dict[str, int] = {}
        self._wrong_ms: dict[str, list[int]] = {}
        self._reset_ms: dict[str, int] = {}
        self._evidence = evidence

    def see(self, news: News) -> Iterator[Finding]:
        """Judge what was heard since the last look, and PINs that were right after the last try."""
        for step in news.steps:
            if step.step in ("confirmed", "confirmed_hold"):
                yield from self._unlock(step)
        for wrong in self._dealings.wrong_pins:
            tries = self._wrong_ms.setdefault(wrong.wallet_id, [])
            if wrong.is_locked:
                self._locked_ms.setdefault(wrong.wallet_id, self._dealings.now_ms())
            elif wrong.sent_ms > self._reset_ms.get(wrong.wallet_id, -1):
                tries.append(wrong.sent_ms)
            if len(tries) >= PIN_TRIES_MAX:
                yield Finding("pin_not_locked", wrong.wallet_id)
        self._dealings.wrong_pins.clear()
        for heard in self._dealings.heard:
            yield from self._judge(heard)
        self._dealings.heard.clear()

    def _unlock(self, step: Step) -> Iterator[Finding]:
        """A right PIN begins the count of wrong ones anew; none is right once it is locked."""
        life = self._lives.lives[step.payment_id]
        payer = self._evidence.payers.get(life.decision.instrument_id or "")
        given = [one for one in self._dealings.agreements[step.payment_id] if one.agreed]
        if payer is None or not any(one.way == PIN for one in given):
            return
        locked_ms = self._locked_ms.get(payer.wallet_id)
        first_ms = min(one.sent_ms for one in given if one.way == PIN)
        if locked_ms is not None and all(one.way == PIN for one in given) and first_ms > locked_ms:
            yield Finding("confirmed_though_locked", step.payment_id)
        self._wrong_ms[payer.wallet_id] = []
        self._reset_ms[payer.wallet_id] = self._dealings.now_ms()

    def _judge(self, heard: Heard) -> Iterator[Finding]:
        life, where = self._lives.lives.get(heard.payment_id), heard.payment_id
        if life is None:
            yield Finding("lost", where)
            return
        was = [index for index, stood in enumerate(life.path) if _is_told(stood.state, stood, heard)]
        if not was:
            yield Finding("told_what_never_was", f"{heard.state}: {where}")
            return
        passed = sum(stood.since_ms <= heard.sent_ms for stood in life.path) - 1
        if heard.is_fresh and was[-1] < passed:
            yield Finding("told_what_is_over", f"{heard.state}: {where}")
        if heard.ends and heard.state not in NOTHING_LEFT:
            yield Finding("told_ended_though_open", where)
        if heard.capture_id is not None and heard.capture_id != life.capture_id:
            yield Finding("told_another_capture", where)
        if heard.refund_total_minor is not None and heard.refund_total_minor not in life.totals:
            yield Finding("told_refunded", where)
        if heard.refunded_minor and heard.refunded_minor not in (*life.totals, life.charged_minor):
            yield Finding("told_refunded", where)


class EventsAreTold:
    """Whatever happened to a terminal's payments without its asking, it can read afterwards, in order."""

    def __init__(self, evidence: Evidence, lives: Lives) -> None:
        self._dealings = evidence.dealings
        self._lives = lives
        self._due: Counter[tuple[str, str]] = Counter()

    def see(self, news: News) -> Iterator[Finding]:
        """Note what terminals have to be told, and look at the order of what they were."""
        for payment in news.payments:
            if payment.entry_mode == "qr_merchant":
                self._due[payment.terminal_id, payment.payment_id] += 1
        for step in news.steps:
            life = self._lives.lives.get(step.payment_id)
            if step.step in TELLS_TERMINAL and life is not None:
                self._due[life.decision.terminal_id, step.payment_id] += 1
        for terminal_id, told in self._dealings.events.items():
            sequences = [sequence for sequence, _ in told]
            if sequences != sorted(set(sequences)):
                yield Finding("events_out_of_order", terminal_id)

    def close(self) -> Iterator[Finding]:
        """Hold what terminals have read against what they had to be told; all of them asked at the end."""
        for terminal_id, told in self._dealings.events.items():
            counts = Counter(payment_id for _, payment_id in told)
            due = {one: count for (owner, one), count in self._due.items() if owner == terminal_id}
            yield from (Finding("event_missing", one) for one, count in due.items() if counts[one] < count)
            yield from (Finding("event_of_nothing", one) for one in counts if one not in due)


def _is_told(state: str, stood: Any, heard: Heard) -> bool:
    if state != heard.state:
        return False
    if heard.charged_minor is None:
        return True
    return (stood.charged_minor, stood.tip_minor) == (heard.charged_minor, heard.tip_minor)


def _place(happened: Step | Refund) -> tuple[str, int, int]:
    """Order what happened in one commit, payment by payment: charged, given back, and then reversed."""
    if isinstance(happened, Refund):
        return happened.payment_id, 1, happened.total_minor
    return happened.payment_id, 2 if happened.step == "reversed" else 0, happened.step_index


def _moves_of(group: Group | None) -> list[Move]:
    legs: Iterable[Any] = () if group is None else group.legs
    return [(leg.kind, *leg.accounts, leg.amount_minor, leg.pending_id) for leg in legs]
