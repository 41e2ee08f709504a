"""A payment from request to answer: verify, book, and say it in words a till can show."""

from __future__ import annotations

import hashlib

from gateway.config import DeadlineSettings, RiskSettings
from gateway.merchants.model import EnrolledTerminal
from gateway.payments.answers import answer_of
from gateway.payments.model import PaymentBooking, Terms, Verified
from gateway.payments.risk import Risk
from gateway.payments.verify import Verifier
from gateway.receipts.names import ReceiptPages
from gateway.storage.store import Store
from gateway.vault import Vault
from wire.messages.base import dump_message
from wire.messages.payments import CaptureMode, OrderDetails, PaymentAnswer, PaymentRequest, entry_mode_of


class PaymentService:
    """Decides attempts, and remembers what was decided."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        *,
        deadlines: DeadlineSettings | None = None,
        risk: RiskSettings | None = None,
        pages: ReceiptPages | None = None,
    ) -> None:
        self._pages = pages
        self._store = store
        self._verifier = Verifier(store, vault)
        self._deadlines = deadlines or DeadlineSettings()
        self._risk = Risk(store, risk or RiskSettings())

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
        confirm_for = None
        if isinstance(verdict, Verified):
            confirm_for = await self._risk.judge(
                verdict.instrument_id, request.amount_minor, terminal, now_ms=now_ms
            )
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
            terms=self._terms_of(request, confirm_for, now_ms),
        )
        return answer_of(await self._store.book_payment(booking), self._pages)

    def _terms_of(self, request: PaymentRequest, confirm_for: str | None, now_ms: int) -> Terms:
        order, deadlines = request.order, self._deadlines
        return Terms(
            capture=request.capture,
            tip_max_minor=request.tip_max_minor,
            order_amount_minor=0 if order is None else order.amount_minor,
            order_details=details_of(order),
            confirm_for=confirm_for,
            payments_per_window_max=self._risk.payments_per_window_max,
            confirm_by_ms=now_ms + deadlines.confirm_ms,
            capture_by_ms=now_ms + deadlines.capture_ms if request.capture is CaptureMode.MANUAL else 0,
        )

    async def find(self, payment_id: str, terminal: EnrolledTerminal) -> PaymentAnswer | None:
        """Return the answer of a payment of the terminal's merchant, or None."""
        record = await self._store.find_payment(terminal.terminal.terminal_id, payment_id)
        return None if record is None else answer_of(record, self._pages)

    async def find_by_attempt(self, attempt_id: str, terminal: EnrolledTerminal) -> PaymentAnswer | None:
        """Return the answer to an attempt of this terminal, or None if it was never seen."""
        record = await self._store.find_payment_by_attempt(terminal.terminal.terminal_id, attempt_id)
        return None if record is None else answer_of(record, self._pages)


def details_of(order: OrderDetails | None) -> bytes | None:
    """Return what is kept of an order beside its amount; None if nothing was said."""
    is_plain = order is None or not (order.lines or order.tax_minor)
    return None if is_plain else dump_message(order)
