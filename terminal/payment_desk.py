"""Payments after they were decided: captured, voided, refunded, and the last ones as this till knows them.

What the till asks goes to the gateway as it is, under the till's own id, so the till may repeat it. What the
gateway answers is written down, so the list says how a payment stood when this till last heard of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from terminal.blocking import RunBlocking, ask_blocking
from terminal.errors import GatewayUnreachable, JournalUnwritable, SaleRefused
from terminal.gateway_client.answers import is_consistent, read_reply
from terminal.gateway_client.client import GatewayClient
from terminal.gateway_client.transport import Reply
from terminal.journal.journal import Journal
from wire.ids import check_ulid
from wire.messages.base import dump_message
from wire.messages.payments import (
    CaptureRequest,
    EntryMode,
    PaymentAnswer,
    RefundAnswer,
    RefundRequest,
    VoidRequest,
)
from wire.messages.till import PAYMENTS_SHOWN_MAX, TillPayment

PAYMENTS_TARGET: Final = "/v1/payments"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PaymentDesk:
    """Sends each order once; the till repeats it under the same id where no answer came."""

    def __init__(
        self,
        gateway: GatewayClient,
        journal: Journal,
        *,
        now_ms: Callable[[], int],
        run_blocking: RunBlocking = asyncio.to_thread,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._now_ms = now_ms
        self._run_blocking = run_blocking

    async def capture(self, payment_id: str, order: CaptureRequest) -> PaymentAnswer:
        """Charge a hold, whole or in part.

        Raises:
            IdError: no such id is possible. GatewayRefused: the gateway's code; nothing was done.
            GatewayUnreachable: it may have been done; send the same order again.
        """
        return await self._change(payment_id, "captures", dump_message(order), order.capture_id)

    async def void(self, payment_id: str, order: VoidRequest) -> PaymentAnswer:
        """Let go of a payment that is not charged yet; raises as `capture`."""
        return await self._change(payment_id, "voids", dump_message(order), order.void_id)

    async def refund(self, payment_id: str, order: RefundRequest) -> RefundAnswer:
        """Give money back up to a total; signed by the terminal's own key. Raises as `capture`."""
        reply = await self._send(payment_id, "refunds", dump_message(order), order.refund_id, own_key=True)
        answer = read_reply(reply, RefundAnswer)
        await self._take(payment_id, answer.payment)
        return answer

    async def hear(self, answer: PaymentAnswer) -> bool:
        """Take what the gateway tells unasked: that a payment is over, as a hold that nobody captured.

        Only an end is taken: nothing comes after it, so no late news can undo what the till did itself.

        Returns:
            Whether it is the end of a payment of this till's list.
        """
        if answer.outcome != "closed" or not is_consistent(answer):
            return False
        write = partial(self._journal.record_change, answer, at_ms=self._now_ms())
        return await ask_blocking(self._run_blocking, write)

    def list(self) -> list[TillPayment]:
        """Return the last payments, the newest first; a code of the till's that nobody paid is none."""
        answers = [
            one.answer
            for one in self._journal.settled()
            if one.answer is not None and not _is_unused_code(one.answer)
        ]
        return [_describe(answer) for answer in answers[: -PAYMENTS_SHOWN_MAX - 1 : -1]]

    def find(self, payment_id: str) -> PaymentAnswer:
        """Return an approved payment as this till last heard of it.

        Raises:
            SaleRefused: `not_found`; never heard of, too long ago, or not approved.
        """
        for one in reversed(self._journal.settled()):
            if one.answer is not None and one.answer.payment_id == payment_id:
                if one.answer.outcome == "approved":
                    return one.answer
                break
        raise SaleRefused("there is no such payment, or it has no receipt", code="not_found")

    async def _change(self, payment_id: str, what: str, body: bytes, order_id: str) -> PaymentAnswer:
        answer = read_reply(await self._send(payment_id, what, body, order_id), PaymentAnswer)
        await self._take(payment_id, answer)
        return answer

    async def _send(
        self, payment_id: str, what: str, body: bytes, order_id: str, *, own_key: bool = False
    ) -> Reply:
        target = f"{PAYMENTS_TARGET}/{check_ulid(payment_id)}/{what}"
        return await self._gateway.call("POST", target, body, order_id, own_key=own_key)

    async def _take(self, payment_id: str, answer: PaymentAnswer) -> None:
        if answer.payment_id != payment_id or not is_consistent(answer):
            raise GatewayUnreachable("the gateway's answer is about something else than was sent")
        try:
            await self._run_blocking(partial(self._journal.record_change, answer, at_ms=self._now_ms()))
        except JournalUnwritable as error:
            # The gateway has done it; only this till's list is behind.
            log.error("change_not_stored", payment_id=payment_id, reason=str(error))


def _is_unused_code(answer: PaymentAnswer) -> bool:
    is_code = answer.entry_mode is EntryMode.QR_MERCHANT
    return is_code and answer.decline is not None and answer.decline.code == "attempt_reversed"


def _describe(answer: PaymentAnswer) -> TillPayment:
    return TillPayment(
        payment_id=answer.payment_id,
        order_id=answer.order_id,
        decided_ms=answer.decided_ms,
        amount_minor=answer.amount_minor,
        currency=answer.currency,
        entry_mode=answer.entry_mode,
        state=answer.state,
        charged_minor=answer.charged_minor,
        tip_minor=answer.tip_minor,
        refunded_minor=answer.refunded_minor,
        capture_by_ms=answer.capture_by_ms,
        code="" if answer.decline is None else answer.decline.code,
    )
