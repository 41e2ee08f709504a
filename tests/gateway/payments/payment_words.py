"""Payments and their changes, from the words of the auditor's model to the gateway's and back."""

from __future__ import annotations

from typing import Any

from gateway.payments import life
from gateway.payments.model import (
    CardCounter,
    PaymentBooking,
    PaymentCodeUse,
    PaymentRecord,
    Refused,
    Terms,
    TokenUse,
    Verified,
)
from simulators.auditor.model import attempts, changes
from wire.messages.payments import CaptureMode, ConfirmationWay, EntryMode


def booking_of(attempt: attempts.Attempt, merchant_id: str) -> PaymentBooking:
    """Say an attempt of the model in the gateway's words."""
    use = use_of(attempt.use)
    if attempt.refused is not None:
        verdict: Verified | Refused = Refused(attempt.refused, attempt.instrument_id, use)
    else:
        assert attempt.instrument_id is not None
        assert use is not None
        verdict = Verified(attempt.instrument_id, use)
    return PaymentBooking(
        payment_id=attempt.payment_id,
        attempt_id=attempt.attempt_id,
        request_digest=attempt.request_digest,
        terminal_id=attempt.terminal_id,
        merchant_id=merchant_id,
        order_id=attempt.order_id,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        entry_mode=EntryMode(attempt.entry_mode),
        presented_ms=attempt.now_ms,
        card_exchange_ms=None,
        verdict=verdict,
        now_ms=attempt.now_ms,
        terms=terms_of(attempt.terms),
    )


def terms_of(terms: attempts.Terms) -> Terms:
    """Say the terms of an attempt."""
    return Terms(
        capture=CaptureMode.MANUAL if terms.manual else CaptureMode.AUTOMATIC,
        tip_max_minor=terms.tip_minor,
        order_amount_minor=terms.order_minor,
        confirmed=terms.confirmed,
        confirm_for=terms.confirm_for,
        payments_per_window_max=terms.window_max,
        confirm_by_ms=terms.confirm_by_ms,
        capture_by_ms=terms.capture_by_ms,
    )


def change_of(change: changes.Change) -> life.PaymentChange:
    """Say a change of the model in the gateway's words."""
    match change:
        case changes.Capture(payment_id, terminal_id, capture_id, goods_minor, tip_minor):
            return life.Capture(payment_id, terminal_id, capture_id, goods_minor, tip_minor)
        case changes.Void(payment_id, terminal_id):
            return life.Void(payment_id, terminal_id)
        case changes.Reverse(payment_id, terminal_id):
            return life.Reverse(payment_id, terminal_id)
        case changes.Confirm(payment_id, way, capture_by_ms):
            return life.Confirm(payment_id, ConfirmationWay(way), capture_by_ms)
        case changes.Refuse(payment_id, code):
            return life.Refuse(payment_id, code)
        case changes.Expire(payment_id):
            return life.Expire(payment_id)
        case changes.Refund(payment_id, terminal_id, refund_id, total_minor):
            return life.Refund(payment_id, terminal_id, refund_id, total_minor, "broken cup", "STAFF1")


def payment_of(record: PaymentRecord) -> attempts.Payment:
    """Say a stored payment in the model's words."""
    now = record.life
    return attempts.Payment(
        payment_id=record.payment_id,
        outcome=record.outcome,
        state=now.state.value,
        instrument_id=record.instrument_id,
        decline_code=record.decline_code,
        confirm_code=record.confirm_code,
        ways=frozenset(way.value for way in record.confirm_ways),
        code=now.code,
        step_count=now.step_count,
        charged_minor=now.charged_minor,
        tip_minor=now.tip_minor,
        fee_minor=now.fee_minor,
        refunded_minor=now.refunded_minor,
        due_ms=now.due_ms,
        receipt_number=None if record.receipt_number is None else int(record.receipt_number),
    )


def use_of(use: attempts.Token | attempts.CardTap | attempts.Code | None) -> Any:
    """Say what was presented in the gateway's words."""
    match use:
        case attempts.Token(key_id, counter, claims_digest, nonce):
            return TokenUse(key_id, counter, claims_digest, nonce)
        case attempts.CardTap(counter):
            return CardCounter(counter)
        case attempts.Code(code_hash):
            return PaymentCodeUse(code_hash)
    return None
