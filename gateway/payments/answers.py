"""Payments and refunds in the words of the wire."""

from __future__ import annotations

from gateway.payments.life_changes import Changed
from gateway.payments.model import PaymentRecord
from gateway.receipts.names import ReceiptPages
from wire.messages.payments import (
    OUTCOME_OF,
    Confirmation,
    Decline,
    PaymentAnswer,
    PaymentState,
    ReceiptFacts,
    RefundAnswer,
)
from wire.messages.wallet import WalletPayment
from wire.notices import find_notice


def refund_answer_of(changed: Changed, pages: ReceiptPages | None = None) -> RefundAnswer:
    """Put a refund into the words of the wire."""
    refund = changed.refund
    assert refund is not None, "a refund is answered by a refund"
    return RefundAnswer(
        refund_id=refund.refund_id,
        amount_minor=refund.amount_minor,
        total_minor=refund.total_minor,
        refunded_ms=refund.refunded_ms,
        payment=answer_of(changed.payment, pages),
    )


def answer_of(record: PaymentRecord, pages: ReceiptPages | None = None) -> PaymentAnswer:
    """Put a payment into the words of the wire: what was decided for ever, and where it stands now.

    Args:
        pages: says where its receipt's page is; None: the till is told of none.
    """
    life = record.life
    return PaymentAnswer(
        payment_id=record.payment_id,
        attempt_id=record.attempt_id,
        order_id=record.order_id,
        outcome=OUTCOME_OF[life.state],
        state=life.state,
        amount_minor=record.amount_minor,
        currency=record.currency,
        entry_mode=record.entry_mode,
        terminal_id=record.terminal_id,
        decided_ms=record.decided_ms,
        charged_minor=life.charged_minor,
        tip_minor=life.tip_minor,
        refunded_minor=life.refunded_minor,
        capture_by_ms=life.due_ms if life.state is PaymentState.AUTHORISED else None,
        confirmation=_confirmation_of(record),
        decline=_decline_of(record),
        receipt=_receipt_of(record, pages),
    )


def wallet_payment_of(record: PaymentRecord) -> WalletPayment:
    """Put a payment into the words its holder's phone shows."""
    decline = _decline_of(record)
    return WalletPayment(
        payment_id=record.payment_id,
        state=record.life.state,
        amount_minor=record.amount_minor,
        currency=record.currency,
        merchant_name=record.merchant_name,
        location_name=record.location_name,
        decided_ms=record.decided_ms,
        holder_text={} if decline is None else decline.holder_text,
    )


def _confirmation_of(record: PaymentRecord) -> Confirmation | None:
    if record.life.state is not PaymentState.REQUIRES_CONFIRMATION:
        return None
    assert record.confirm_code is not None, "it has a reason"
    assert record.life.due_ms is not None, "it has a deadline"
    notice = find_notice(record.confirm_code)
    return Confirmation(
        code=notice.code,
        ways=record.confirm_ways,
        confirm_by_ms=record.life.due_ms,
        cashier_text=notice.cashier_text,
        holder_text=notice.holder_text,
    )


def _decline_of(record: PaymentRecord) -> Decline | None:
    code = record.decline_code or record.life.code
    if code is None:
        return None
    notice = find_notice(code)
    return Decline(
        code=notice.code,
        retryable=notice.retryable,
        cashier_text=notice.cashier_text,
        holder_text=notice.holder_text,
        next_step=notice.next_step,
        next_step_text=notice.next_step_text,
    )


def _receipt_of(record: PaymentRecord, pages: ReceiptPages | None) -> ReceiptFacts | None:
    if record.receipt_number is None:
        return None
    return ReceiptFacts(
        receipt_number=record.receipt_number,
        merchant_name=record.merchant_name,
        location_name=record.location_name,
        instrument_label=record.instrument_label or "",
        page_url=None if pages is None else pages.url_of(record.payment_id),
    )
