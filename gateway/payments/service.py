"""A payment from request to answer: verify, book, and say it in words a till can show."""

from __future__ import annotations

import hashlib

from gateway.merchants.model import EnrolledTerminal
from gateway.payments.model import PaymentBooking, PaymentRecord
from gateway.payments.verify import Verifier
from gateway.storage.store import Store
from gateway.vault import Vault
from wire.messages.base import dump_message
from wire.messages.payments import (
    OUTCOME_OF,
    Confirmation,
    Decline,
    PaymentAnswer,
    PaymentRequest,
    PaymentState,
    ReceiptFacts,
    entry_mode_of,
)
from wire.notices import find_notice


class PaymentService:
    """Decides attempts, and remembers what was decided."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._verifier = Verifier(store, vault)

    async def pay(
        self, request: PaymentRequest, terminal: EnrolledTerminal, *, payment_id: str, now_ms: int
    ) -> PaymentAnswer:
        """Decide an attempt; when this returns, the decision is on disk.

        A retry of the same request gets the first decision, under its own payment id, whatever has
        expired meanwhile.

        Args:
            payment_id: a fresh ULID, used if the attempt is new.
            now_ms: unix milliseconds of the gateway's clock.

        Raises:
            IdempotencyConflict: the attempt id was used for another request.
            AuthenticationFailed: `terminal_revoked`.
            StoreUnavailable, GatewayBusy: nothing was booked; send the same request again.
        """
        verdict = await self._verifier.verify(request, terminal, now_ms=now_ms)
        booking = PaymentBooking(
            payment_id=payment_id,
            attempt_id=request.attempt_id,
            request_digest=hashlib.sha256(dump_message(request)).digest(),
            terminal_id=terminal.terminal.terminal_id,
            merchant_id=terminal.merchant.merchant_id,
            order_id=request.order_id,
            amount_minor=request.amount_minor,
            currency=request.currency,
            entry_mode=entry_mode_of(request.presentation),
            presented_ms=request.presented_ms,
            card_exchange_ms=request.card_exchange_ms,
            verdict=verdict,
            now_ms=now_ms,
        )
        return answer_of(await self._store.book_payment(booking))

    async def find(self, payment_id: str, terminal: EnrolledTerminal) -> PaymentAnswer | None:
        """Return the answer of a payment of the terminal's merchant, or None."""
        record = await self._store.find_payment(terminal.terminal.terminal_id, payment_id)
        return None if record is None else answer_of(record)

    async def find_by_attempt(self, attempt_id: str, terminal: EnrolledTerminal) -> PaymentAnswer | None:
        """Return the answer to an attempt of this terminal, or None if it was never seen."""
        record = await self._store.find_payment_by_attempt(terminal.terminal.terminal_id, attempt_id)
        return None if record is None else answer_of(record)


def answer_of(record: PaymentRecord) -> PaymentAnswer:
    """Put a payment into the words of the wire: what was decided for ever, and where it stands now."""
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
        receipt=_receipt_of(record),
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


def _receipt_of(record: PaymentRecord) -> ReceiptFacts | None:
    if record.receipt_number is None:
        return None
    return ReceiptFacts(
        receipt_number=record.receipt_number,
        merchant_name=record.merchant_name,
        location_name=record.location_name,
        instrument_label=record.instrument_label or "",
    )
