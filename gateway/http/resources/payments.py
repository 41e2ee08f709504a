"""`/v1/payments`: a terminal pays, and asks what became of it."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.entropy import draw_ulid
from gateway.errors import NotFound
from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_terminal
from gateway.http.calls import SignedCall, read_query
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from wire.errors import WireError
from wire.ids import check_ulid
from wire.messages.base import parse_message
from wire.messages.payments import PaymentAnswer, PaymentRequest


class PaymentResource:
    """Payments, each decided once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def decide(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Decide an attempt: 201 with the answer, approved or declined; 200 if it was decided before."""
        desk = self._desk
        now_ms = desk.now_ms()
        enrolled, signed = await desk.authenticator.identify_terminal(call, now_ms=now_ms)
        noted.caller = enrolled.terminal.terminal_id
        message = parse_message(call.body, PaymentRequest)
        if signed.idempotency_key != message.attempt_id:
            raise WireError("Idempotency-Key must be the attempt_id")
        payment_id = draw_ulid(desk.entropy, now_ms)
        payment = await desk.payments.pay(message, enrolled, payment_id=payment_id, now_ms=now_ms)
        # An answer under another payment id is the first decision, told again.
        return answer_payment(payment, noted, status=201 if payment.payment_id == payment_id else 200)

    async def find(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Return a payment of the caller's merchant by its id."""
        enrolled, _ = await read_terminal(self._desk, call, noted)
        payment_id = check_ulid(parameters["payment_id"])
        return answer_payment(_found(await self._desk.payments.find(payment_id, enrolled)), noted)

    async def find_by_attempt(
        self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange
    ) -> Answer:
        """Return what became of an attempt of the caller, by `?attempt_id=`."""
        enrolled, _ = await read_terminal(self._desk, call, noted)
        attempt_id = check_ulid(read_query(call, ("attempt_id",)).get("attempt_id", ""))
        return answer_payment(_found(await self._desk.payments.find_by_attempt(attempt_id, enrolled)), noted)


def _found(answer: PaymentAnswer | None) -> PaymentAnswer:
    if answer is None:
        raise NotFound("no such payment")
    return answer


def answer_payment(payment: PaymentAnswer, noted: Exchange, *, status: int = 200) -> Answer:
    """Return the answer to a terminal about one of its payments, and note what it says."""
    noted.code = payment.outcome if payment.decline is None else payment.decline.code
    return answer_with(payment, status=status)
