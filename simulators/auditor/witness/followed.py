"""Payments as rows and as lives: the decision, each step and refund after it, and what that takes and leaves.

The fees and what is taken of orders and days are written here a second time, from the documents and not from
the gateway's code; so is the table of steps, in states.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from simulators.auditor.findings import Finding
from simulators.auditor.model.payments import DAY_MS
from simulators.auditor.states import LEADS, OPEN, STATE_OF_OUTCOME
from simulators.auditor.witness.dealings import HouseRules

BASIS_POINTS: Final = 10_000
DECISION_COLUMNS: Final = (
    "payment_id, attempt_id, terminal_id, merchant_id, order_id, amount_minor, currency, instrument_id,"
    " decline_code, receipt_number, group_sequence, decided_ms, outcome, tip_max_minor, fee_minor, is_manual,"
    " entry_mode, confirm_code, confirm_ways"
)
STEP_COLUMNS: Final = (
    "payment_id, step_index, step, state, code, request_id, charged_minor, tip_minor, fee_minor,"
    " receipt_number, group_sequence, due_ms, at_ms"
)
STEPS_QUERY: Final = f"SELECT {STEP_COLUMNS} FROM payment_steps ORDER BY payment_id, step_index"  # noqa: S608
REFUNDS_QUERY: Final = (
    "SELECT payment_id, total_minor, refund_id, terminal_id, amount_minor, fee_minor, staff_id,"
    " group_sequence, refunded_ms FROM refunds ORDER BY payment_id, total_minor"
)
OPEN_QUERY: Final = "SELECT payment_id, state, due_ms FROM open_payments"
ORDERS_QUERY: Final = "SELECT merchant_id, order_id, amount_minor, taken_minor FROM orders"
DAYS_QUERY: Final = "SELECT instrument_id, day, spent_minor FROM spent_days"


@dataclass(frozen=True, slots=True)
class Decision:
    """A decided attempt, as it is stored for ever."""

    payment_id: str
    attempt_id: str
    terminal_id: str
    merchant_id: str
    order_id: str
    amount_minor: int
    currency: str
    instrument_id: str | None
    decline_code: str | None
    receipt_number: int | None
    group_sequence: int | None
    decided_ms: int
    outcome: str = "approved"
    tip_max_minor: int = 0
    fee_minor: int = 0
    is_manual: int = 0
    entry_mode: str = ""
    confirm_code: str | None = None
    confirm_ways: str | None = None

    @property
    def approved(self) -> bool:
        """Say whether it was charged at once."""
        return self.outcome == "approved"

    @property
    def is_taken(self) -> bool:
        """Say whether it charged or held anything."""
        return self.outcome != "declined"

    @property
    def goods_minor(self) -> int:
        """What it takes of its order."""
        return self.amount_minor - self.tip_max_minor


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a payment later."""

    payment_id: str
    step_index: int
    step: str
    state: str
    code: str | None
    request_id: str | None
    charged_minor: int
    tip_minor: int
    fee_minor: int
    receipt_number: int | None
    group_sequence: int | None
    due_ms: int | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Refund:
    """Money given back of a charged payment."""

    payment_id: str
    total_minor: int
    refund_id: str
    terminal_id: str
    amount_minor: int
    fee_minor: int
    staff_id: str
    group_sequence: int
    refunded_ms: int


@dataclass(frozen=True, slots=True)
class Stood:
    """How a payment stood, from a moment on."""

    state: str
    charged_minor: int
    tip_minor: int
    since_ms: int
    """When it was first seen so."""


@dataclass(slots=True)
class Life:
    """A payment as it stands."""

    decision: Decision
    state: str
    due_ms: int | None
    path: list[Stood]
    count_before: int = 0
    """Of the instrument's payments in the same window, when this was decided."""
    step_count: int = 0
    charged_minor: int = 0
    tip_minor: int = 0
    fee_minor: int = 0
    totals: list[int] = field(default_factory=list)
    """What was refunded in all, after each refund."""
    capture_id: str | None = None
    code: str | None = None
    """Why it was declined or closed, if that was later."""
    hold_id: bytes | None = None
    """The pending transfer in which it was held; None if it was charged at once."""

    @property
    def refunded_minor(self) -> int:
        """What was refunded in all."""
        return self.totals[-1] if self.totals else 0

    @property
    def order_minor(self) -> int:
        """What it takes of its order now."""
        if self.state in OPEN:
            return self.decision.goods_minor
        return self.charged_minor - self.tip_minor if self.state == "succeeded" else 0

    @property
    def day_minor(self) -> int:
        """What it takes of its instrument's day now."""
        if self.state in OPEN:
            return self.decision.amount_minor
        return self.charged_minor if self.state == "succeeded" else 0


@dataclass(slots=True)
class Lives:
    """Every payment's life, and what they take together."""

    rules: HouseRules
    lives: dict[str, Life] = field(default_factory=dict)
    order_amounts: dict[tuple[str, str], int] = field(default_factory=dict)
    """What an order is for, as said by the first attempt that took of it."""
    taken_minor: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Held and charged, by merchant and order."""
    spent_minor: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Held and charged, by instrument and day of UTC."""
    window_counts: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    """Payments taken, by instrument, day and window."""
    open_ids: set[str] = field(default_factory=set)

    def decide(
        self,
        decision: Decision,
        order_amount_minor: int,
        hold_id: bytes | None,
        now_ms: int,
        *,
        is_hurried: bool = True,
    ) -> Life:
        """Begin a life, and count in what it takes.

        Args:
            is_hurried: whether it counts among the payments of its window; one accepted long before does not.
        """
        state = STATE_OF_OUTCOME[decision.outcome]
        charged_minor = decision.amount_minor if decision.approved else 0
        life = Life(
            decision=decision,
            state=state,
            due_ms=self._due_of(decision),
            path=[Stood(state, charged_minor, 0, now_ms)],
            charged_minor=charged_minor,
            fee_minor=decision.fee_minor,
            hold_id=hold_id,
        )
        self.lives[decision.payment_id] = life
        window = self._window_of(decision)
        life.count_before = self.window_counts[window]
        if not decision.is_taken:
            return life
        key = decision.merchant_id, decision.order_id
        self.order_amounts.setdefault(key, order_amount_minor or decision.goods_minor)
        self.window_counts[window] += is_hurried
        self._count(life, 1)
        if state in OPEN:
            self.open_ids.add(decision.payment_id)
        return life

    def step(self, life: Life, step: Step, now_ms: int) -> Iterator[Finding]:
        """Take a step, and yield what is wrong with it whatever its money does."""
        if LEADS.get((life.state, step.step)) != step.state:
            yield Finding("step_not_in_table", f"{life.state}, {step.step}: {step.payment_id}")
        if step.step_index != life.step_count + 1:
            yield Finding("step_gap", step.payment_id)
        is_over = life.due_ms is not None and life.due_ms <= step.at_ms
        if step.step == "expired" and not is_over:
            yield Finding("expired_too_early", step.payment_id)
        if is_over and step.step in ("confirmed", "confirmed_hold", "captured"):
            yield Finding("moved_after_its_deadline", step.payment_id)
        self._count(life, -1)
        life.state, life.step_count, life.due_ms = step.state, step.step_index, step.due_ms
        life.charged_minor, life.tip_minor, life.fee_minor = (
            step.charged_minor,
            step.tip_minor,
            step.fee_minor,
        )
        if step.step == "captured":
            life.capture_id = step.request_id
        life.code = step.code
        life.path.append(Stood(step.state, step.charged_minor, step.tip_minor, now_ms))
        self._count(life, 1)
        if step.state not in OPEN:
            self.open_ids.discard(step.payment_id)
        if step.step == "confirmed_hold" and step.due_ms != self._capture_due_of(life.decision, step):
            yield Finding("other_deadline", step.payment_id)

    def wallet_spent_minor(self, instrument_ids: Sequence[str], day: int) -> int:
        """Add up what several instruments spent on a day."""
        return sum(self.spent_minor[one, day] for one in instrument_ids)

    def _count(self, life: Life, sign: int) -> None:
        decision = life.decision
        self.taken_minor[decision.merchant_id, decision.order_id] += sign * life.order_minor
        day = decision.instrument_id or "", decision.decided_ms // DAY_MS
        self.spent_minor[day] += sign * life.day_minor

    def _due_of(self, decision: Decision) -> int | None:
        if decision.outcome == "requires_confirmation":
            return decision.decided_ms + self.rules.confirm_ms
        return decision.decided_ms + self.rules.capture_ms if decision.outcome == "authorised" else None

    def _capture_due_of(self, decision: Decision, step: Step) -> int:
        """Return until when a confirmed hold stands: never longer than its money was held for."""
        held_ms = decision.decided_ms + max(self.rules.confirm_ms, self.rules.capture_ms)
        return min(step.at_ms + self.rules.capture_ms, held_ms)

    def _window_of(self, decision: Decision) -> tuple[str, int, int]:
        at_ms = decision.decided_ms
        return decision.instrument_id or "", at_ms // DAY_MS, at_ms // self.rules.window_ms


def share_of(amount_minor: int, basis_points: int) -> int:
    """Return a share, rounded half to even."""
    return round(Fraction(amount_minor * basis_points, BASIS_POINTS))


def fee_returned(charged_minor: int, fee_minor: int, refunded_minor: int) -> int:
    """Return what of a fee goes back once so much is refunded in all, rounded half to even from the whole."""
    return round(Fraction(fee_minor * refunded_minor, charged_minor)) if charged_minor else 0
