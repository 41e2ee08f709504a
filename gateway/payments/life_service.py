"""What a till, a holder or the clock does to a payment after it was decided.

Each call is one transaction of the store and safe to repeat: what it did before is answered again.
"""

from __future__ import annotations

import hashlib

from gateway.config import DeadlineSettings
from gateway.entropy import Entropy, draw_ulid
from gateway.errors import IdempotencyConflict, NotFound, PaymentRefused
from gateway.holders.model import Instrument, InstrumentStatus
from gateway.merchants.model import EnrolledTerminal
from gateway.merchants.staff import StaffService
from gateway.payments.answers import answer_of, refund_answer_of
from gateway.payments.bell import TerminalBell
from gateway.payments.life import Capture, Confirm, PaymentChange, Refund, Refuse, Reverse, Void
from gateway.payments.life_changes import Changed
from gateway.payments.model import ATTEMPT_REVERSED, PaymentBooking, PaymentRecord, Refused
from gateway.pins import PinHasher
from gateway.receipts.names import ReceiptPages
from gateway.storage.store import PIN_TRIES_MAX, Store
from wire.messages.base import dump_message
from wire.messages.payments import (
    CaptureRequest,
    ConfirmationWay,
    ConfirmRequest,
    PaymentAnswer,
    PaymentState,
    RefundAnswer,
    RefundRequest,
    ReversalRequest,
    VoidRequest,
)
from wire.messages.staff import StaffRight
from wire.messages.wallet import HolderDecision, WaitingPayment

REVERSAL_TRIES_MAX = 3
"""How often an attempt may arrive between looking for it and closing it; once is already rare."""


class PaymentLifeService:
    """Captures, voids, confirmations, refunds and reversals."""

    def __init__(
        self,
        store: Store,
        staff: StaffService,
        pins: PinHasher,
        bell: TerminalBell,
        entropy: Entropy,
        *,
        deadlines: DeadlineSettings | None = None,
        pages: ReceiptPages | None = None,
    ) -> None:
        self._pages = pages
        self._store = store
        self._staff = staff
        self._pins = pins
        self._bell = bell
        self._entropy = entropy
        self._deadlines = deadlines or DeadlineSettings()

    async def capture(
        self, payment_id: str, request: CaptureRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> PaymentAnswer:
        """Charge a hold: goods, and a tip within its part of the hold; the rest is let go.

        Raises:
            NotFound: no such payment of this merchant. PaymentRefused: it is no open hold, or too much.
        """
        await self._find(payment_id, terminal)
        change = Capture(
            payment_id, _id_of(terminal), request.capture_id, request.amount_minor, request.tip_minor
        )
        return await self._change(change, now_ms)

    async def void(
        self, payment_id: str, request: VoidRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> PaymentAnswer:
        """Let go of a payment that is not charged yet.

        Raises:
            NotFound: no such payment of this merchant.
            PaymentRefused: it is charged or over; the proof; `staff_proof_needed` where there is none and the
                merchant has written down who may do what.
        """
        await self._find(payment_id, terminal)
        merchant_id, staff_id = terminal.merchant.merchant_id, None
        if request.staff is not None:
            member = await self._staff.prove(
                request.staff, merchant_id, StaffRight.VOID, entry_id=request.void_id
            )
            staff_id = member.staff_id
        elif await self._staff.are_rights_written(merchant_id):
            raise PaymentRefused(code="staff_proof_needed")
        return await self._change(Void(payment_id, _id_of(terminal), staff_id), now_ms)

    async def confirm_by_pin(
        self, payment_id: str, request: ConfirmRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> PaymentAnswer:
        """Judge the PIN a holder entered at the till; the right one charges, the third wrong one declines.

        Raises:
            NotFound: no such payment of this merchant.
            PaymentRefused: `pin_wrong`, try again; `confirmation_way_not_allowed`; `payment_not_open`.
        """
        payment = await self._find(payment_id, terminal)
        if payment.life.state is not PaymentState.REQUIRES_CONFIRMATION:
            return await self._confirm(payment_id, ConfirmationWay.PIN, now_ms)
        if ConfirmationWay.PIN not in payment.confirm_ways:
            raise PaymentRefused(code="confirmation_way_not_allowed")
        pin_try = await self._store.take_pin_try(
            payment_id, self._pins.mark(request.confirmation_id, request.pin)
        )
        if pin_try is not None and await self._pins.matches(request.pin, pin_try.pin_hash):
            return await self._confirm(payment_id, ConfirmationWay.PIN, now_ms)
        if pin_try is not None and pin_try.try_count < PIN_TRIES_MAX:
            raise PaymentRefused(code="pin_wrong")
        if ConfirmationWay.DEVICE in payment.confirm_ways:
            # The phone can still say yes or no.
            raise PaymentRefused(code="pin_is_locked")
        return await self._change(Refuse(payment_id, "pin_locked"), now_ms)

    async def confirm_by_card(self, payment_id: str, *, now_ms: int) -> PaymentAnswer:
        """Charge what the card itself has just proven to be there for; the caller has verified that.

        Raises:
            PaymentRefused: `payment_not_open`; `confirmation_way_not_allowed`.
        """
        return await self._confirm(payment_id, ConfirmationWay.CARD, now_ms)

    async def decide_by_device(
        self, decision: HolderDecision, instrument: Instrument, *, now_ms: int
    ) -> PaymentRecord:
        """Take a holder's yes or no, signed on their phone over payment, amount and merchant.

        Raises:
            NotFound: no such payment of this phone's wallet.
            PaymentRefused: `confirmation_way_not_allowed`; `payment_not_open`; or
                `confirmation_differs`: what was signed is not this payment.
        """
        if instrument.status is not InstrumentStatus.ACTIVE:
            raise NotFound("a suspended device confirms nothing")
        payment = await self._store.find_payment_of_wallet(instrument.wallet_id, decision.payment_id)
        if payment is None:
            raise NotFound("there is no such payment of this wallet")
        signed = (decision.amount_minor, decision.currency, decision.merchant_id)
        if signed != (payment.amount_minor, payment.currency, payment.merchant_id):
            raise PaymentRefused(code="confirmation_differs")
        change: PaymentChange = Refuse(payment.payment_id, "confirmation_refused")
        if decision.agreed:
            change = self._confirmation(payment.payment_id, ConfirmationWay.DEVICE, now_ms)
        changed = await self._store.change_payment(change, now_ms)
        self._bell.ring(changed.payment.terminal_id)
        return changed.payment

    async def list_waiting(self, instrument: Instrument, *, now_ms: int) -> list[WaitingPayment]:
        """Return what waits for the holder of this phone's wallet."""
        waiting = await self._store.list_waiting_payments(instrument.wallet_id, now_ms)
        return [_waiting_of(one) for one in waiting if ConfirmationWay.DEVICE in one.confirm_ways]

    async def refund(
        self, payment_id: str, request: RefundRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> RefundAnswer:
        """Give back money up to a total, for which somebody who may refund answers.

        Raises:
            NotFound: no such payment of this merchant.
            PaymentRefused: the proof, the right, the terminal's limit of the day, or more than was charged.
        """
        await self._find(payment_id, terminal)
        member = await self._staff.prove(
            request.staff, terminal.merchant.merchant_id, StaffRight.REFUND, entry_id=request.refund_id
        )
        change = Refund(
            payment_id=payment_id,
            terminal_id=_id_of(terminal),
            refund_id=request.refund_id,
            total_minor=request.total_minor,
            reason=request.reason,
            staff_id=member.staff_id,
        )
        return refund_answer_of(await self._store.change_payment(change, now_ms), self._pages)

    async def reverse(
        self, request: ReversalRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> PaymentAnswer:
        """Close an attempt of this terminal, whatever it was, also if it was never seen.

        When this returns nothing of the attempt is charged or held, and nothing ever will be.

        Raises:
            GatewayBusy, StoreUnavailable: ask again.
        """
        for _ in range(REVERSAL_TRIES_MAX):
            known = await self._store.find_payment_by_attempt(_id_of(terminal), request.attempt_id)
            if known is not None:
                return await self._change(Reverse(known.payment_id, _id_of(terminal)), now_ms)
            try:
                # Decided as declined under its id, by the very booking that would have approved it.
                booking = self._tombstone(request, terminal, now_ms)
                return answer_of(await self._store.book_payment(booking), self._pages)
            except IdempotencyConflict:
                continue
        raise IdempotencyConflict("the attempt is known, and then it is not")

    def _tombstone(self, request: ReversalRequest, terminal: EnrolledTerminal, now_ms: int) -> PaymentBooking:
        return PaymentBooking(
            payment_id=draw_ulid(self._entropy, now_ms),
            attempt_id=request.attempt_id,
            request_digest=hashlib.sha256(dump_message(request)).digest(),
            terminal_id=_id_of(terminal),
            merchant_id=terminal.merchant.merchant_id,
            order_id=request.order_id,
            amount_minor=request.amount_minor,
            currency=request.currency,
            entry_mode=request.entry_mode,
            presented_ms=now_ms,
            card_exchange_ms=None,
            verdict=Refused(ATTEMPT_REVERSED),
            now_ms=now_ms,
        )

    async def _find(self, payment_id: str, terminal: EnrolledTerminal) -> PaymentRecord:
        payment = await self._store.find_payment(_id_of(terminal), payment_id)
        if payment is None:
            raise NotFound("there is no such payment of this merchant")
        return payment

    async def _confirm(self, payment_id: str, way: ConfirmationWay, now_ms: int) -> PaymentAnswer:
        return await self._change(self._confirmation(payment_id, way, now_ms), now_ms)

    def _confirmation(self, payment_id: str, way: ConfirmationWay, now_ms: int) -> Confirm:
        return Confirm(payment_id, way, now_ms + self._deadlines.capture_ms)

    async def _change(self, change: PaymentChange, now_ms: int) -> PaymentAnswer:
        changed: Changed = await self._store.change_payment(change, now_ms)
        return answer_of(changed.payment, self._pages)


def _id_of(terminal: EnrolledTerminal) -> str:
    return terminal.terminal.terminal_id


def _waiting_of(payment: PaymentRecord) -> WaitingPayment:
    assert payment.confirm_code is not None, "it waits for a reason"
    assert payment.life.due_ms is not None, "it waits until some time"
    return WaitingPayment(
        payment_id=payment.payment_id,
        merchant_id=payment.merchant_id,
        merchant_name=payment.merchant_name,
        location_name=payment.location_name,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        instrument_label=payment.instrument_label or "",
        code=payment.confirm_code,
        confirm_by_ms=payment.life.due_ms,
    )
