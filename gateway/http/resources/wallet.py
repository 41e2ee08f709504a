"""`/v1/wallet`: what a holder's phone asks."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from wire.messages.base import parse_message
from wire.messages.wallet import PaymentCodeAnswer, PaymentCodeRequest


class WalletResource:
    """The wallet behind the phone that signed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create_payment_code(
        self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange
    ) -> Answer:
        """Issue a numeric code, good for one payment within a minute."""
        desk = self._desk
        now_ms = desk.now_ms()
        instrument, nonce, _ = await desk.authenticator.authenticate_device(call, now_ms=now_ms)
        noted.caller = instrument.instrument_id
        parse_message(call.body, PaymentCodeRequest)
        issued = await desk.holders.issue_payment_code(instrument, now_ms=now_ms, nonce=nonce)
        noted.code = "code_issued"
        return answer_with(PaymentCodeAnswer(code=issued.code, expires_ms=issued.expires_ms), status=201)
