"""`/v1/intents` and `/v1/counters`: tills' own codes, as tills make them and as wallets pay them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from gateway.errors import AuthenticationFailed
from gateway.holders.model import Instrument, InstrumentStatus
from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_request
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.payments.answers import wallet_payment_of
from gateway.payments.model import PaymentRecord
from wire.errors import WireError
from wire.messages.base import parse_message
from wire.messages.intents import CounterPayment, IntentPayment, IntentRequest

T = TypeVar("T")


class IntentResource:
    """What is asked for by code."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Return the code for a till to show; the same request again returns the same code."""
        desk = self._desk
        request, terminal, now_ms = await read_request(desk, call, noted, IntentRequest, "intent_id")
        noted.code = "code_made"
        return answer_with(await desk.intents.create(request, terminal, now_ms=now_ms), status=201)

    async def view(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Return what a code asks for, to a wallet that scanned it."""
        await self._identify(call, noted)
        return answer_with(await self._desk.intents.view(parameters["intent_id"], now_ms=self._desk.now_ms()))

    async def pay(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Pay what a code asks for."""
        payment, instrument = await self._read(call, noted, IntentPayment)
        if payment.attempt_id != parameters["intent_id"]:
            raise WireError("attempt_id must be the intent's id")
        record = await self._desk.intents.pay(
            payment.attempt_id, payment, instrument, now_ms=self._desk.now_ms()
        )
        return _answer_holder(record, noted)

    async def view_counter(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Return what a counter's sticker leads to."""
        await self._identify(call, noted)
        view = await self._desk.intents.view_counter(parameters["terminal_id"], now_ms=self._desk.now_ms())
        return answer_with(view)

    async def pay_counter(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Pay a free amount at a counter's sticker."""
        payment, instrument = await self._read(call, noted, CounterPayment)
        record = await self._desk.intents.pay_counter(
            parameters["terminal_id"], payment, instrument, now_ms=self._desk.now_ms()
        )
        return _answer_holder(record, noted)

    async def _identify(self, call: SignedCall, noted: Exchange) -> None:
        instrument, _, _ = await self._desk.authenticator.authenticate_device(
            call, now_ms=self._desk.now_ms()
        )
        noted.caller = instrument.instrument_id

    async def _read(self, call: SignedCall, noted: Exchange, kind: type[T]) -> tuple[T, Instrument]:
        instrument, _, signed = await self._desk.authenticator.authenticate_device(
            call, now_ms=self._desk.now_ms()
        )
        noted.caller = instrument.instrument_id
        if instrument.status is not InstrumentStatus.ACTIVE:
            raise AuthenticationFailed("this device is suspended", code="device_suspended")
        message = parse_message(call.body, kind)
        if signed.idempotency_key != getattr(message, "attempt_id"):  # noqa: B009  T has it, which no type says
            raise WireError("Idempotency-Key must be the attempt_id")
        return message, instrument


def _answer_holder(record: PaymentRecord, noted: Exchange) -> Answer:
    noted.code = record.decline_code or record.life.state.value
    return answer_with(wallet_payment_of(record), status=201)
