"""`/v1/payments/{payment_id}/…` and `/v1/reversals`: what a till does to a payment after it was decided."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_request
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.http.resources.payments import answer_payment
from wire.ids import check_ulid
from wire.messages.payments import (
    CaptureRequest,
    ConfirmRequest,
    RefundRequest,
    ReversalRequest,
    VoidRequest,
)


class LifeResource:
    """Captures, voids, confirmations, refunds and reversals; each may be sent again."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def capture(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Charge a hold, whole or in part."""
        request, terminal, now_ms = await read_request(self._desk, call, noted, CaptureRequest, "capture_id")
        payment = await self._desk.lives.capture(_id_in(parameters), request, terminal, now_ms=now_ms)
        return answer_payment(payment, noted)

    async def void(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Let go of what is not charged yet."""
        request, terminal, now_ms = await read_request(self._desk, call, noted, VoidRequest, "void_id")
        payment = await self._desk.lives.void(_id_in(parameters), request, terminal, now_ms=now_ms)
        return answer_payment(payment, noted)

    async def confirm(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Judge the PIN that the holder entered at the till."""
        request, terminal, now_ms = await read_request(
            self._desk, call, noted, ConfirmRequest, "confirmation_id"
        )
        payment = await self._desk.lives.confirm_by_pin(_id_in(parameters), request, terminal, now_ms=now_ms)
        return answer_payment(payment, noted)

    async def refund(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Give back money up to a total; signed by the terminal's own key, answered for by staff."""
        request, terminal, now_ms = await read_request(
            self._desk, call, noted, RefundRequest, "refund_id", own_key=True
        )
        refund = await self._desk.lives.refund(_id_in(parameters), request, terminal, now_ms=now_ms)
        noted.code = "refunded"
        return answer_with(refund, status=201 if refund.refund_id == request.refund_id else 200)

    async def reverse(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Close an attempt whose outcome the till could not learn."""
        request, terminal, now_ms = await read_request(self._desk, call, noted, ReversalRequest, "attempt_id")
        return answer_payment(await self._desk.lives.reverse(request, terminal, now_ms=now_ms), noted)


def _id_in(parameters: Mapping[str, str]) -> str:
    return check_ulid(parameters["payment_id"])
