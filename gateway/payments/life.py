"""What happens to a payment after it was decided, judged in memory: one change of one payment at a time.

A store reads `LifeFacts` under its lock, has `decide_change` judge the change, and writes the `LifeChanges`
in the same transaction, each row by a statement that repeats its condition. What a change gives back it
gives back whole: money, the order's amount and the day's limit go together.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.errors import GatewayError, PaymentRefused
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind, TransferGroup
from gateway.ledger.outcomes import Outcome
from gateway.ledger.workbook import Workbook
from gateway.payments.life_changes import Changed, LifeChanges, LifeFacts, RefundRecord, StepChange
from gateway.payments.model import Life, PaymentRecord
from gateway.payments.settlement import (
    HOLD_GRACE_MS,
    Parties,
    capture,
    fee_of,
    fee_returned,
    receipt_number_text,
    refund,
    release,
    reversal,
    transfer_id_of,
)
from gateway.payments.states import PaymentStep, next_state
from wire.messages.payments import CaptureMode, ConfirmationWay, PaymentState

REFUNDS_MAX: Final = 100
"""Refunds of one payment."""


class Capture(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Charge a hold: goods, and a tip within its part of the hold."""

    payment_id: str
    terminal_id: str
    capture_id: str
    goods_minor: int
    tip_minor: int


class Void(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Let go of what is not charged yet."""

    payment_id: str
    terminal_id: str
    staff_id: str | None = None
    """Who answers for it, if anybody was asked; whoever makes this has verified their proof."""


class Reverse(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Void what is open, give back what is charged, leave alone what is over."""

    payment_id: str
    terminal_id: str


class Confirm(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The holder agreed; whoever makes this has verified the PIN or the device's signature."""

    payment_id: str
    way: ConfirmationWay
    capture_by_ms: int
    """Until when it is held, should it be captured later; never beyond what it was booked for."""


class Refuse(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The holder did not agree."""

    payment_id: str
    code: str
    """`confirmation_refused` or `pin_locked`."""


class Expire(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """End what is open, if its deadline has passed."""

    payment_id: str


class Refund(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Give back money until `total_minor` of the payment is given back in all."""

    payment_id: str
    terminal_id: str
    refund_id: str
    total_minor: int
    reason: str
    staff_id: str
    """Whoever makes this has verified the proof of this member of staff."""


PaymentChange = Capture | Void | Reverse | Confirm | Refuse | Expire | Refund


def decide_change(facts: LifeFacts, change: PaymentChange, workbook: Workbook, now_ms: int) -> LifeChanges:
    """Judge a change, book its money in the workbook, and return what else has to be written.

    Raises:
        PaymentRefused: it can't be done; the code says why, and nothing is to be written.
    """
    decision = _Decision(facts, workbook, now_ms)
    match change:
        case Capture():
            decision.capture(change)
        case Void():
            decision.void(change)
        case Reverse():
            decision.reverse()
        case Confirm():
            decision.confirm(change)
        case Refuse():
            decision.refuse(change.code)
        case Expire():
            decision.expire()
        case Refund():
            decision.refund(change)
    return decision.conclude()


class _Decision:
    """One change of one payment."""

    def __init__(self, facts: LifeFacts, workbook: Workbook, now_ms: int) -> None:
        self._facts = facts
        self._record = facts.record
        self._life = facts.record.life
        self._workbook = workbook
        self._now_ms = now_ms
        self._changes = LifeChanges()
        self._reached: RefundRecord | None = None

    def conclude(self) -> LifeChanges:
        """Return what is to be written, with the answer it makes true."""
        self._changes.answer = Changed(self._record_after(), self._changes.refund or self._reached)
        return self._changes

    def capture(self, change: Capture) -> None:
        """Charge the hold, and let go of the rest of it."""
        record, charged_minor = self._record, change.goods_minor + change.tip_minor
        if self._facts.capture_id == change.capture_id:
            if (self._life.charged_minor, self._life.tip_minor) != (charged_minor, change.tip_minor):
                raise PaymentRefused(code="idempotency_conflict")
            return
        self._require_open(PaymentStep.CAPTURED)
        if change.goods_minor > record.goods_minor or change.tip_minor > record.tip_max_minor:
            raise PaymentRefused(code="capture_exceeds_hold")
        self._charge(
            PaymentStep.CAPTURED,
            charged_minor,
            tip_minor=change.tip_minor,
            request_id=change.capture_id,
            order_released_minor=record.goods_minor - change.goods_minor,
        )

    def void(self, change: Void) -> None:
        """Let go of everything, unless that was done before."""
        if self._life.state is not PaymentState.VOIDED:
            self._require_open(PaymentStep.VOIDED)
            self._let_go(PaymentStep.VOIDED, "payment_voided", staff_id=change.staff_id)

    def reverse(self) -> None:
        """Leave nothing charged and nothing held, whatever it was."""
        if next_state(self._life.state, PaymentStep.VOIDED) is not None:
            self._let_go(PaymentStep.VOIDED, "payment_voided")
        elif next_state(self._life.state, PaymentStep.REVERSED) is not None:
            self._give_back()

    def confirm(self, change: Confirm) -> None:
        """Charge what its holder agreed to, or hold it for a capture; too late, it expires."""
        if self._is_over and self._life.state is PaymentState.REQUIRES_CONFIRMATION:
            self.expire()
            return
        if self._record.outcome == "requires_confirmation" and self._life.state in _CONFIRMED:
            return
        is_held = self._record.capture is CaptureMode.MANUAL
        step = PaymentStep.CONFIRMED_HOLD if is_held else PaymentStep.CONFIRMED
        self._require_open(step)
        if change.way not in self._record.confirm_ways:
            raise PaymentRefused(code="confirmation_way_not_allowed")
        self._changes.resets_pin_tries = change.way is ConfirmationWay.PIN
        self._changes.terminal_is_told = True
        if is_held:
            self._append(step, due_ms=min(change.capture_by_ms, self._hold_until_ms))
        else:
            self._charge(step, self._record.amount_minor)

    def refuse(self, code: str) -> None:
        """Let go of everything because the holder says no; saying so twice is saying it once."""
        if self._life.code != code:
            self._require_open(PaymentStep.REFUSED)
            self._changes.terminal_is_told = True
            self._let_go(PaymentStep.REFUSED, code)

    def expire(self) -> None:
        """Let go of everything if it is open and over."""
        if next_state(self._life.state, PaymentStep.EXPIRED) is None or not self._is_over:
            return
        is_waiting = self._life.state is PaymentState.REQUIRES_CONFIRMATION
        self._changes.terminal_is_told = True
        self._let_go(PaymentStep.EXPIRED, "confirmation_expired" if is_waiting else "hold_expired")

    def refund(self, change: Refund) -> None:
        """Give back what is missing to the total; nothing if it is reached."""
        if self._facts.payment_of_refund_id not in (None, change.payment_id):
            raise PaymentRefused("another payment has that refund", code="idempotency_conflict")
        known = next((one for one in self._facts.refunds if one.refund_id == change.refund_id), None)
        if known is not None and known.total_minor != change.total_minor:
            raise PaymentRefused(code="idempotency_conflict")
        self._reached = known or self._refund_that_reached(change.total_minor)
        if self._reached is not None:
            return
        if self._life.state is not PaymentState.SUCCEEDED:
            raise PaymentRefused(code="payment_not_open")
        amount_minor = change.total_minor - self._life.refunded_minor
        if amount_minor <= 0:
            raise PaymentRefused(code="refund_total_passed")
        if change.total_minor > self._life.charged_minor:
            raise PaymentRefused(code="refund_exceeds_payment")
        over_limit = self._facts.refunded_today_minor + amount_minor > self._facts.refund_limit_minor
        if over_limit or len(self._facts.refunds) >= REFUNDS_MAX:
            raise PaymentRefused(code="refund_limit_exceeded")
        fee_minor = self._fee_returned(change.total_minor) - self._fee_returned(self._life.refunded_minor)
        self._book(
            refund(
                change.refund_id,
                self._facts.parties,
                self._record.currency,
                amount_minor=amount_minor,
                fee_minor=fee_minor,
                refunded_minor=self._life.refunded_minor,
            )
        )
        self._changes.refund = RefundRecord(
            refund_id=change.refund_id,
            payment_id=change.payment_id,
            terminal_id=change.terminal_id,
            amount_minor=amount_minor,
            total_minor=change.total_minor,
            fee_minor=fee_minor,
            reason=change.reason,
            staff_id=change.staff_id,
            refunded_ms=self._now_ms,
        )

    @property
    def _is_over(self) -> bool:
        return self._life.due_ms is not None and self._life.due_ms <= self._now_ms

    @property
    def _hold_until_ms(self) -> int:
        """The latest deadline that leaves the ledger's own expiry of the hold a day behind it."""
        hold = self._workbook.find_pending(transfer_id_of(self._record.payment_id, 0))
        assert hold is not None, "what is open holds money"
        assert hold.transfer.expires_ms is not None, "a hold has an end"
        return hold.transfer.expires_ms - HOLD_GRACE_MS

    def _refund_that_reached(self, total_minor: int) -> RefundRecord | None:
        return next((one for one in self._facts.refunds if one.total_minor == total_minor), None)

    def _require_open(self, step: PaymentStep) -> None:
        if next_state(self._life.state, step) is None or self._is_over:
            raise PaymentRefused(f"the payment is {self._life.state}", code="payment_not_open")

    def _charge(
        self,
        step: PaymentStep,
        charged_minor: int,
        *,
        tip_minor: int = 0,
        request_id: str | None = None,
        order_released_minor: int = 0,
    ) -> None:
        fee_minor = fee_of(charged_minor, self._facts.fee_basis_points)
        self._book(
            capture(
                self._record.payment_id,
                self._facts.parties,
                self._record.currency,
                charged_minor=charged_minor,
                fee_minor=fee_minor,
            )
        )
        self._append(
            step,
            request_id=request_id,
            charged_minor=charged_minor,
            tip_minor=tip_minor,
            fee_minor=fee_minor,
            order_released_minor=order_released_minor,
            day_released_minor=self._record.amount_minor - charged_minor,
            receipt_number=self._facts.merchant_receipt_count + 1,
            is_grouped=True,
        )

    def _let_go(self, step: PaymentStep, code: str, *, staff_id: str | None = None) -> None:
        record = self._record
        group = release(
            record.payment_id, self._facts.parties, record.currency, held_minor=record.amount_minor
        )
        outcome = self._workbook.book_group(group, self._now_ms).outcome
        # A day after the deadline the ledger itself lets go of the money: then only the rest is left to do.
        if outcome not in (Outcome.BOOKED, Outcome.PENDING_EXPIRED):
            raise GatewayError(f"the ledger answered {outcome.name} to the release of a payment")
        self._append(
            step,
            code=code,
            order_released_minor=record.goods_minor,
            day_released_minor=record.amount_minor,
            is_grouped=outcome is Outcome.BOOKED,
            staff_id=staff_id,
        )

    def _give_back(self) -> None:
        life, record = self._life, self._record
        rest_minor = life.charged_minor - life.refunded_minor
        if rest_minor:
            fee_minor = life.fee_minor - self._fee_returned(life.refunded_minor)
            self._book(
                reversal(
                    record.payment_id,
                    self._facts.parties,
                    record.currency,
                    amount_minor=rest_minor,
                    fee_minor=fee_minor,
                    refunded_minor=life.refunded_minor,
                )
            )
        self._append(
            PaymentStep.REVERSED,
            code="payment_reversed",
            charged_minor=life.charged_minor,
            tip_minor=life.tip_minor,
            fee_minor=life.fee_minor,
            order_released_minor=life.charged_minor - life.tip_minor,
            day_released_minor=life.charged_minor,
            is_grouped=rest_minor > 0,
        )

    def _fee_returned(self, refunded_minor: int) -> int:
        return fee_returned(self._life.charged_minor, self._life.fee_minor, refunded_minor)

    def _book(self, group: TransferGroup) -> None:
        outcome = self._workbook.book_group(group, self._now_ms).outcome
        if outcome is not Outcome.BOOKED:
            if outcome not in _REFUSED_BY_LEDGER:
                raise GatewayError(f"the ledger answered {outcome.name} to a change of a payment")
            raise PaymentRefused(code=_REFUSED_BY_LEDGER[outcome])

    def _append(
        self,
        step: PaymentStep,
        *,
        request_id: str | None = None,
        code: str | None = None,
        charged_minor: int = 0,
        tip_minor: int = 0,
        fee_minor: int = 0,
        order_released_minor: int = 0,
        day_released_minor: int = 0,
        receipt_number: int | None = None,
        is_grouped: bool = False,
        due_ms: int | None = None,
        staff_id: str | None = None,
    ) -> None:
        state = next_state(self._life.state, step)
        assert state is not None, "the step was judged before"
        self._changes.step = StepChange(
            payment_id=self._record.payment_id,
            step_index=self._life.step_count + 1,
            step=step,
            state_before=self._life.state,
            state=state,
            at_ms=self._now_ms,
            request_id=request_id,
            code=code,
            charged_minor=charged_minor,
            tip_minor=tip_minor,
            fee_minor=fee_minor,
            order_released_minor=order_released_minor,
            day_released_minor=day_released_minor,
            receipt_number=receipt_number,
            is_grouped=is_grouped,
            due_ms=due_ms,
            staff_id=staff_id,
        )

    def _record_after(self) -> PaymentRecord:
        record, life, step = self._record, self._life, self._changes.step
        if self._changes.refund is not None:
            life = msgspec.structs.replace(life, refunded_minor=self._changes.refund.total_minor)
        if step is None:
            return msgspec.structs.replace(record, life=life)
        number = step.receipt_number
        is_reversed = step.state is PaymentState.REVERSED
        life = Life(
            state=step.state,
            step_count=step.step_index,
            code=step.code,
            charged_minor=step.charged_minor,
            tip_minor=step.tip_minor,
            fee_minor=step.fee_minor,
            refunded_minor=step.charged_minor if is_reversed else life.refunded_minor,
            due_ms=step.due_ms,
        )
        return msgspec.structs.replace(
            record,
            life=life,
            receipt_number=record.receipt_number if number is None else receipt_number_text(number),
        )


_CONFIRMED: Final = frozenset({PaymentState.SUCCEEDED, PaymentState.AUTHORISED})
_REFUSED_BY_LEDGER: Final = {
    Outcome.ACCOUNT_FROZEN: "payer_wallet_frozen",
    Outcome.INSUFFICIENT_FUNDS: "merchant_funds_insufficient",
    Outcome.PENDING_EXPIRED: "payment_not_open",
}


def parties_of(wallet_account_id: bytes, merchant_account_id: bytes, currency: str) -> Parties:
    """Return whose money a payment in this currency moves."""
    return Parties(wallet_account_id, merchant_account_id, operator_account_id(AccountKind.FEES, currency))
