"""What may happen to a payment after it was decided, and what each change must do to the model.

Each gives back what it gives back whole: money, the order's amount and the day's limit. A repeat changes
nothing and is answered by how the payment stands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from simulators.auditor.model.attempts import Payment, TurnedAway
from simulators.auditor.model.ledger import Group, Leg
from simulators.auditor.model.payments import DAY_MS, GRACE_MS, Kept, PaymentModel, RefundMade, leg_id_of
from simulators.auditor.states import OPEN

REFUNDS_MAX: Final = 100

_REFUSED_BY_LEDGER: Final = {"account_frozen": "payer_wallet_frozen", "pending_expired": "payment_not_open"}


@dataclass(frozen=True, slots=True)
class Capture:
    """Charge a hold: goods, and a tip."""

    payment_id: str
    terminal_id: str
    capture_id: str
    goods_minor: int
    tip_minor: int


@dataclass(frozen=True, slots=True)
class Void:
    """Let go of what is not charged yet."""

    payment_id: str
    terminal_id: str


@dataclass(frozen=True, slots=True)
class Reverse:
    """Leave nothing charged and nothing held."""

    payment_id: str
    terminal_id: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """The holder agreed, in one of two ways."""

    payment_id: str
    way: str
    capture_by_ms: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """The holder did not agree."""

    payment_id: str
    code: str


@dataclass(frozen=True, slots=True)
class Expire:
    """End what is open and over."""

    payment_id: str


@dataclass(frozen=True, slots=True)
class Refund:
    """Give back money until this much of the payment is given back in all."""

    payment_id: str
    terminal_id: str
    refund_id: str
    total_minor: int


Change = Capture | Void | Reverse | Confirm | Refuse | Expire | Refund


def change_payment(model: PaymentModel, change: Change, now_ms: int) -> Payment | TurnedAway:
    """Change a payment of the model, and return how it stands then, or why it was not changed."""
    kept = model.payments.get(change.payment_id)
    terminal_id = getattr(change, "terminal_id", None)
    if kept is None or (terminal_id is not None and not _is_of(model, terminal_id, kept)):
        return TurnedAway("not_found")
    model.ledger.expire(now_ms)
    changing = _Changing(model, kept, now_ms)
    match change:
        case Capture():
            refusal = changing.capture(change)
        case Void():
            refusal = None if kept.payment.state == "voided" else changing.end("voided", "payment_voided")
        case Reverse():
            refusal = changing.reverse()
        case Confirm():
            refusal = changing.confirm(change)
        case Refuse():
            refusal = changing.refuse(change.code)
        case Expire():
            changing.expire()
            refusal = None
        case Refund():
            refusal = changing.refund(change)
    return model.payments[change.payment_id].payment if refusal is None else TurnedAway(refusal)


def _is_of(model: PaymentModel, terminal_id: str, kept: Kept) -> bool:
    merchant_id, may_ask = model.terminals.get(terminal_id, ("", False))
    return may_ask and merchant_id == kept.merchant_id


class _Changing:
    """One payment in the hands of one change."""

    def __init__(self, model: PaymentModel, kept: Kept, now_ms: int) -> None:
        self._model = model
        self._kept = kept
        self._payment = kept.payment
        self._attempt = kept.attempt
        self._now_ms = now_ms

    @property
    def _is_over(self) -> bool:
        return self._payment.due_ms is not None and self._payment.due_ms <= self._now_ms

    @property
    def _is_waiting(self) -> bool:
        return self._payment.state == "requires_confirmation"

    def capture(self, change: Capture) -> str | None:
        charged_minor = change.goods_minor + change.tip_minor
        if self._kept.capture_id == change.capture_id:
            is_same = (self._payment.charged_minor, self._payment.tip_minor) == (
                charged_minor,
                change.tip_minor,
            )
            return None if is_same else "idempotency_conflict"
        if self._payment.state != "authorised" or self._is_over:
            return "payment_not_open"
        if change.goods_minor > self._attempt.goods_minor or change.tip_minor > self._attempt.terms.tip_minor:
            return "capture_exceeds_hold"
        return self._charge(change.goods_minor, change.tip_minor, change.capture_id)

    def confirm(self, change: Confirm) -> str | None:
        payment = self._payment
        if self._is_waiting and self._is_over:
            self.expire()
            return None
        was_confirmed = payment.outcome == "requires_confirmation" and payment.step_count > 0
        if was_confirmed and payment.state in ("authorised", "succeeded"):
            return None
        if not self._is_waiting:
            return "payment_not_open"
        if change.way not in payment.ways:
            return "confirmation_way_not_allowed"
        if not self._attempt.terms.manual:
            refusal = self._charge(self._attempt.amount_minor, 0, None)
            if refusal is None:
                self._tell()
            return refusal
        assert self._kept.hold is not None
        assert self._kept.hold.expires_ms is not None
        due_ms = min(change.capture_by_ms, self._kept.hold.expires_ms - GRACE_MS)
        self._step(state="authorised", due_ms=due_ms)
        self._tell()
        return None

    def refuse(self, code: str) -> str | None:
        if self._payment.code == code:
            return None
        if not self._is_waiting:
            return "payment_not_open"
        refusal = self.end("declined", code)
        if refusal is None:
            self._tell()
        return refusal

    def expire(self) -> None:
        if self._payment.state in OPEN and self._is_over:
            code = "confirmation_expired" if self._is_waiting else "hold_expired"
            self._let_go("expired", code)
            self._tell()

    def end(self, state: str, code: str) -> str | None:
        """Let go of what is open; what is over is for the sweep to end."""
        if self._payment.state not in OPEN or self._is_over:
            return "payment_not_open"
        self._let_go(state, code)
        return None

    def reverse(self) -> str | None:
        payment, merchant_id = self._payment, self._kept.merchant_id
        if payment.state in OPEN:
            self._let_go("voided", "payment_voided")
        if payment.state != "succeeded":
            return None
        rest_minor = payment.charged_minor - payment.refunded_minor
        if rest_minor:
            fee_minor = payment.fee_minor - self._fee_of_part(payment.refunded_minor)
            refusal = self._give_back(f"reversal {payment.payment_id}", rest_minor, fee_minor)
            if refusal is not None:
                return refusal
        self._release(merchant_id, payment.charged_minor - payment.tip_minor, payment.charged_minor)
        self._step(state="reversed", code="payment_reversed", refunded_minor=payment.charged_minor)
        return None

    def refund(self, change: Refund) -> str | None:
        payment, made = self._payment, self._kept.refunds
        elsewhere = {
            one.refund_id
            for payment_id, kept in self._model.payments.items()
            if payment_id != payment.payment_id
            for one in kept.refunds
        }
        known = [one.total_minor for one in made if one.refund_id == change.refund_id]
        if change.refund_id in elsewhere or (known and known != [change.total_minor]):
            return "idempotency_conflict"
        if change.total_minor in [one.total_minor for one in made]:
            return None
        if payment.state != "succeeded":
            return "payment_not_open"
        amount_minor = change.total_minor - payment.refunded_minor
        if amount_minor <= 0:
            return "refund_total_passed"
        if change.total_minor > payment.charged_minor:
            return "refund_exceeds_payment"
        day = (change.terminal_id, self._now_ms // DAY_MS)
        refunded_minor = self._model.refunded.get(day, 0) + amount_minor
        if refunded_minor > self._model.refund_limits.get(change.terminal_id, 0) or len(made) >= REFUNDS_MAX:
            return "refund_limit_exceeded"
        fee_minor = self._fee_of_part(change.total_minor) - self._fee_of_part(payment.refunded_minor)
        refusal = self._give_back(f"refund {change.refund_id}", amount_minor, fee_minor)
        if refusal is None:
            self._model.refunded[day] = refunded_minor
            refunds = (*made, RefundMade(change.refund_id, change.total_minor))
            self._keep(replace(payment, refunded_minor=change.total_minor), refunds=refunds)
        return refusal

    # What moves

    def _charge(self, goods_minor: int, tip_minor: int, capture_id: str | None) -> str | None:
        model, merchant_id = self._model, self._kept.merchant_id
        merchant, held = model.merchants[merchant_id], self._kept.hold
        assert held is not None
        charged_minor = goods_minor + tip_minor
        fee_minor = model.fee_of(charged_minor, merchant_id)
        post = _end_of(held, "post", charged_minor)
        legs = [post]
        if fee_minor:
            fee_id = leg_id_of(f"capture {self._payment.payment_id}", 1)
            accounts = merchant.account_id, merchant.fees_account_id
            legs.append(Leg(fee_id, "single", *accounts, fee_minor, held.currency))
        refusal = self._book(Group(tuple(legs), "capture"))
        if refusal is not None:
            return refusal
        rest_minor = self._attempt.amount_minor - charged_minor
        self._release(merchant_id, self._attempt.goods_minor - goods_minor, rest_minor)
        self._step(
            state="succeeded",
            capture_id=capture_id,
            charged_minor=charged_minor,
            tip_minor=tip_minor,
            fee_minor=fee_minor,
            receipt_number=model.take_receipt(merchant_id),
        )
        return None

    def _let_go(self, state: str, code: str) -> None:
        held = self._kept.hold
        assert held is not None
        void = _end_of(held, "void", held.amount_minor)
        answer = self._model.ledger.book_group(Group((void,), "release"), self._now_ms).legs
        assert answer in (("booked",), ("pending_expired",)), answer
        self._release(self._kept.merchant_id, self._attempt.goods_minor, self._attempt.amount_minor)
        self._step(state=state, code=code)

    def _give_back(self, name: str, amount_minor: int, fee_minor: int) -> str | None:
        merchant = self._model.merchants[self._kept.merchant_id]
        wallet_account_id = self._model.instruments[self._attempt.instrument_id or ""].account_id
        currency = self._attempt.currency
        legs = [
            Leg(leg_id_of(name, 0), "single", merchant.account_id, wallet_account_id, amount_minor, currency)
        ]
        if fee_minor:
            accounts = merchant.fees_account_id, merchant.account_id
            legs.insert(0, Leg(leg_id_of(name, 1), "single", *accounts, fee_minor, currency))
        return self._book(Group(tuple(legs), "refund"))

    def _book(self, group: Group) -> str | None:
        legs = self._model.ledger.book_group(group, self._now_ms).legs
        fault = next((one for one in legs if one not in ("booked", "linked_failed")), None)
        return None if fault is None else _REFUSED_BY_LEDGER[fault]

    def _release(self, merchant_id: str, order_minor: int, day_minor: int) -> None:
        order = (merchant_id, self._attempt.order_id)
        of_minor, taken_minor = self._model.orders[order]
        self._model.orders[order] = (of_minor, taken_minor - order_minor)
        day = (self._attempt.instrument_id or "", self._attempt.now_ms // DAY_MS)
        self._model.spent[day] -= day_minor

    def _fee_of_part(self, part_minor: int) -> int:
        payment = self._payment
        return round(Fraction(payment.fee_minor * part_minor, payment.charged_minor))

    def _step(self, *, capture_id: str | None = None, **changes: Any) -> None:
        after = {"code": None, "due_ms": None, "step_count": self._payment.step_count + 1} | changes
        self._keep(replace(self._payment, **after), capture_id=capture_id or self._kept.capture_id)

    def _keep(self, payment: Payment, **changes: Any) -> None:
        self._payment = payment
        self._kept = replace(self._kept, payment=payment, **changes)
        self._model.payments[payment.payment_id] = self._kept

    def _tell(self) -> None:
        self._model.told += ((self._attempt.terminal_id, self._payment.payment_id),)


def _end_of(held: Leg, kind: str, amount_minor: int) -> Leg:
    name = leg_id_of(f"{kind} {held.transfer_id.hex()}", 0)
    return replace(
        held,
        transfer_id=name,
        kind=kind,
        amount_minor=amount_minor,
        pending_id=held.transfer_id,
        expires_ms=None,
    )
