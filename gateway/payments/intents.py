"""Tills' own codes: what they ask for, who asks whom, and how a wallet pays them.

Nothing here is new money: a paid code is an attempt like any other, under an id that the till made in
advance. Whoever gives the code up reverses that id, and a late payment finds it decided.
"""

from __future__ import annotations

import hashlib

import msgspec

from gateway.config import CodeSettings, DeadlineSettings
from gateway.entropy import Entropy, draw_ulid
from gateway.errors import NotFound, PaymentRefused
from gateway.holders.model import Instrument
from gateway.merchants.model import EnrolledTerminal, Intent, MerchantStatus, TerminalStatus
from gateway.payments.bell import TerminalBell
from gateway.payments.model import PaymentBooking, PaymentRecord, Terms
from gateway.payments.service import details_of
from gateway.payments.till_codes import TillCodeWriter
from gateway.payments.verify import Bound, Verifier
from gateway.storage.store import Store
from wire.ids import check_terminal_id, check_ulid
from wire.messages.base import dump_message
from wire.messages.intents import (
    CounterPayment,
    CounterView,
    IntentAnswer,
    IntentPayment,
    IntentRequest,
    IntentView,
)
from wire.messages.payments import EntryMode, OrderDetails
from wire.money import Money, find_currency


class IntentService:
    """Codes of tills, and stickers of counters."""

    def __init__(
        self,
        store: Store,
        verifier: Verifier,
        bell: TerminalBell,
        entropy: Entropy,
        *,
        public_url: str,
        codes: CodeSettings,
        deadlines: DeadlineSettings,
    ) -> None:
        """Prepare the service.

        Args:
            public_url: what the codes' links lead to.
        """
        self._store = store
        self._verifier = verifier
        self._bell = bell
        self._entropy = entropy
        self._writer = TillCodeWriter(public_url, codes)
        self._counter_max_units = codes.counter_max_units
        self._deadlines = deadlines

    async def create(
        self, request: IntentRequest, terminal: EnrolledTerminal, *, now_ms: int
    ) -> IntentAnswer:
        """Store what a code asks for, and return the code; the same request again returns it again.

        Raises:
            IdempotencyConflict: the id was used for something else. MoneyError: no such currency.
        """
        amount = Money(request.amount_minor, find_currency(request.currency))
        intent = Intent(
            intent_id=request.intent_id,
            terminal_id=terminal.terminal.terminal_id,
            merchant_id=terminal.merchant.merchant_id,
            order_id=request.order_id,
            amount_minor=request.amount_minor,
            currency=request.currency,
            order_amount_minor=0 if request.order is None else request.order.amount_minor,
            order_details=details_of(request.order),
            created_ms=now_ms,
            expires_ms=now_ms + (request.life_ms or self._deadlines.intent_ms),
        )
        await self._store.add_intent(intent)
        kept = await self._store.find_intent(request.intent_id)
        assert kept is not None, "it was stored just now, or before"
        return IntentAnswer(
            intent_id=kept.intent_id,
            code_text=self._writer.write_intent(terminal, kept.intent_id, amount, kept.order_id),
            expires_ms=kept.expires_ms,
        )

    async def view(self, intent_id: str, *, now_ms: int) -> IntentView:
        """Return what a code asks for, with the names as they are registered.

        Raises:
            NotFound: there is no such code. PaymentRefused: `intent_expired`; it is over or was attempted.
        """
        intent = await self._find(intent_id)
        attempted = await self._store.find_payment_by_attempt(intent.terminal_id, intent.intent_id)
        if attempted is not None or intent.expires_ms <= now_ms:
            raise PaymentRefused(code="intent_expired")
        return _view_of(intent, await self._find_terminal(intent.terminal_id))

    async def view_counter(self, terminal_id: str, *, now_ms: int) -> CounterView:
        """Return what a counter's sticker leads to: its till's open code, or a free amount.

        Raises:
            NotFound: there is no such counter.
        """
        terminal = await self._find_terminal(check_terminal_id(terminal_id))
        intent = await self._store.find_open_intent(terminal_id, now_ms)
        currency = terminal.merchant.currency
        return CounterView(
            terminal_id=terminal_id,
            merchant_id=terminal.merchant.merchant_id,
            merchant_name=terminal.merchant.name,
            location_name=terminal.location.name,
            currency=currency,
            open_amount_max_minor=self._open_amount_max(currency),
            intent=None if intent is None else _view_of(intent, terminal),
        )

    async def pay(
        self, intent_id: str, payment: IntentPayment, instrument: Instrument, *, now_ms: int
    ) -> PaymentRecord:
        """Pay what a code asks for; the till is told at once.

        Raises:
            NotFound: there is no such code. PaymentRefused: `intent_expired`.
            IdempotencyConflict: somebody else attempted it.
        """
        intent = await self._find(intent_id)
        known = await self._store.find_payment_by_attempt(intent.terminal_id, intent.intent_id)
        if known is None and intent.expires_ms <= now_ms:
            raise PaymentRefused(code="intent_expired")
        return await self._book(intent, payment, instrument, now_ms)

    async def pay_counter(
        self, terminal_id: str, payment: CounterPayment, instrument: Instrument, *, now_ms: int
    ) -> PaymentRecord:
        """Pay a free amount at a counter, up to its cap; the till is told at once.

        Raises:
            NotFound: there is no such counter.
            PaymentRefused: `counter_closed`; it takes no free amount, or not so much.
        """
        terminal = await self._find_terminal(check_terminal_id(terminal_id))
        if payment.amount_minor > self._open_amount_max(payment.currency):
            raise PaymentRefused(code="counter_closed")
        intent = Intent(
            intent_id=payment.attempt_id,
            terminal_id=terminal_id,
            merchant_id=terminal.merchant.merchant_id,
            # An order of its own: whoever pays at a sticker pays for nothing that the till has open.
            order_id=payment.attempt_id,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            order_amount_minor=0,
            order_details=None,
            created_ms=now_ms,
            expires_ms=now_ms,
        )
        return await self._book(intent, payment, instrument, now_ms)

    async def _book(
        self, intent: Intent, payment: IntentPayment | CounterPayment, instrument: Instrument, now_ms: int
    ) -> PaymentRecord:
        amount = Money(intent.amount_minor, find_currency(intent.currency))
        bound = Bound(instrument.instrument_id, intent.merchant_id, intent.intent_id, amount)
        booking = PaymentBooking(
            payment_id=draw_ulid(self._entropy, now_ms),
            attempt_id=intent.intent_id,
            request_digest=hashlib.sha256(dump_message(payment)).digest(),
            terminal_id=intent.terminal_id,
            merchant_id=intent.merchant_id,
            order_id=intent.order_id,
            amount_minor=intent.amount_minor,
            currency=intent.currency,
            entry_mode=EntryMode.QR_MERCHANT,
            presented_ms=now_ms,
            card_exchange_ms=None,
            verdict=await self._verifier.verify_bound(payment.token, bound, now_ms=now_ms),
            now_ms=now_ms,
            terms=Terms(
                order_amount_minor=intent.order_amount_minor,
                order_details=intent.order_details,
                # The holder saw merchant and amount on a device of theirs, which signed just these.
                confirmed=True,
            ),
        )
        record = await self._store.book_payment(booking)
        self._bell.ring(intent.terminal_id)
        return record

    async def _find(self, intent_id: str) -> Intent:
        intent = await self._store.find_intent(check_ulid(intent_id))
        if intent is None:
            raise NotFound("there is no such code")
        return intent

    async def _find_terminal(self, terminal_id: str) -> EnrolledTerminal:
        terminal = await self._store.find_terminal(terminal_id)
        if (
            terminal is None
            or terminal.terminal.status is not TerminalStatus.ACTIVE
            or terminal.merchant.status is not MerchantStatus.ACTIVE
        ):
            raise NotFound("there is no such counter")
        return terminal

    def _open_amount_max(self, currency: str) -> int:
        scale: int = 10 ** find_currency(currency).exponent
        return self._counter_max_units * scale


def _view_of(intent: Intent, terminal: EnrolledTerminal) -> IntentView:
    order = intent.order_details
    return IntentView(
        intent_id=intent.intent_id,
        merchant_id=intent.merchant_id,
        merchant_name=terminal.merchant.name,
        location_name=terminal.location.name,
        terminal_id=intent.terminal_id,
        amount_minor=intent.amount_minor,
        currency=intent.currency,
        expires_ms=intent.expires_ms,
        order=None if order is None else msgspec.json.decode(order, type=OrderDetails),
    )
