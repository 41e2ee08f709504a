"""`/v1/wallet/confirmations`: what a holder is asked, and the yes or no of their phone."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.payments.answers import wallet_payment_of
from wire.errors import WireError
from wire.messages.base import parse_message
from wire.messages.wallet import HolderDecision, WaitingPayments


class ConfirmationResource:
    """Payments that wait for the holder of the phone that signed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Return what waits for this wallet's holder, with the merchant as it is registered."""
        desk = self._desk
        now_ms = desk.now_ms()
        instrument, _, _ = await desk.authenticator.authenticate_device(call, now_ms=now_ms)
        noted.caller = instrument.instrument_id
        return answer_with(WaitingPayments(await desk.lives.list_waiting(instrument, now_ms=now_ms)))

    async def decide(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Take a yes or no; saying the same again changes nothing."""
        desk = self._desk
        now_ms = desk.now_ms()
        instrument, _, signed = await desk.authenticator.authenticate_device(call, now_ms=now_ms)
        noted.caller = instrument.instrument_id
        decision = parse_message(call.body, HolderDecision)
        if signed.idempotency_key != decision.decision_id:
            raise WireError("Idempotency-Key must be the decision_id")
        record = await desk.lives.decide_by_device(decision, instrument, now_ms=now_ms)
        noted.code = record.life.state.value
        return answer_with(wallet_payment_of(record))
