"""A payment that waits for its holder: the PIN typed at the till, the phone's word, and the time for both.

A PIN is handed on and kept nowhere: not in the journal, not in an event, not in a log line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from terminal.errors import GatewayRefused, GatewayUnreachable, SaleRefused, TerminalError
from terminal.sale.ports import SalePorts
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import ConfirmationWay, ConfirmRequest, PaymentAnswer, PaymentRequest

GRACE_MS: Final = 1_000
"""After the deadline: the gateway ends such payments in sweeps."""
ASK_PAUSE_MS: Final = 1_000
"""Between two questions after the deadline."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class HolderConfirmation:
    """Waits for one holder's word; all methods run in the daemon's event loop."""

    def __init__(
        self,
        request: PaymentRequest,
        answer: PaymentAnswer,
        ports: SalePorts,
        *,
        on_word: Callable[[PaymentAnswer], Awaitable[None]],
        on_silence: Callable[[], Awaitable[None]],
    ) -> None:
        """Begin to wait.

        Args:
            request: the attempt.
            answer: what asks for the confirmation.
            on_word: takes the gateway's final word.
            on_silence: called when the time is over and the gateway does not say what became of it.
        """
        assert answer.confirmation is not None, "it asks for a confirmation"
        self._request = request
        self._payment_id = answer.payment_id
        self._ways = answer.confirmation.ways
        self._confirm_by_ms = answer.confirmation.confirm_by_ms
        self._ports = ports
        self._on_word = on_word
        self._on_silence = on_silence
        self._is_judging = False
        self._watch = asyncio.create_task(self._watch_end())

    @property
    def is_judging(self) -> bool:
        """Whether a PIN is on its way."""
        return self._is_judging

    async def enter_pin(self, pin: str) -> None:
        """Have a PIN judged; when this returns, the gateway's word was taken.

        Raises:
            SaleRefused: `sale_submitting`: one is on its way; `confirmation_way_not_allowed`.
            GatewayRefused: `pin_wrong`: try again; `pin_is_locked`: only the phone is left.
            GatewayUnreachable: nobody answered; the same PIN may be tried again.
        """
        if self._is_judging:
            raise SaleRefused(code="sale_submitting")
        if ConfirmationWay.PIN not in self._ways:
            raise SaleRefused(code="confirmation_way_not_allowed")
        self._is_judging = True
        try:
            answer = await self._judge(pin)
        finally:
            self._is_judging = False
        await self._take(answer)

    def stop(self) -> None:
        """Wait no longer; the journal goes on knowing that the payment waits."""
        if self._watch is not asyncio.current_task():
            self._watch.cancel()

    async def _judge(self, pin: str) -> PaymentAnswer:
        entry = ConfirmRequest(
            confirmation_id=make_ulid(self._ports.now_ms(), self._ports.entropy(ENTROPY_BYTES)), pin=pin
        )
        gateway = self._ports.gateway
        try:
            return await gateway.confirm(
                self._request, self._payment_id, entry, deadline_ms=self._ports.answer_deadline_ms
            )
        except GatewayRefused as refusal:
            log.info("pin_refused", payment_id=self._payment_id, code=refusal.code)
            if refusal.code != "payment_not_open":
                raise
        # The phone or the clock was faster.
        answer = await gateway.find_by_attempt(self._request)
        if answer is None:
            raise GatewayUnreachable("the gateway knows the payment and then it does not")
        return answer

    async def _watch_end(self) -> None:
        try:
            await self._await_end()
        except Exception:
            # The repair worker asks about it all the same.
            log.exception("confirmation_watch_failed", payment_id=self._payment_id)

    async def _await_end(self) -> None:
        """Ask what became of the payment once its time is over; who hears of it before cancels this."""
        left_ms = self._confirm_by_ms - self._ports.now_ms() + GRACE_MS
        await asyncio.sleep(max(0, left_ms) / 1000)
        silent_since_ns: int | None = None
        while True:
            try:
                answer = await self._ports.gateway.find_by_attempt(self._request)
                silent_since_ns = None
                if answer is not None and answer.outcome != "requires_confirmation":
                    await self._take(answer)
                    return
            except TerminalError as error:
                log.info("confirmation_end_unknown", payment_id=self._payment_id, code=error.code)
                now_ns = self._ports.monotonic_ns()
                silent_since_ns = now_ns if silent_since_ns is None else silent_since_ns
                if now_ns - silent_since_ns >= self._ports.answer_deadline_ms * 1_000_000:
                    await self._on_silence()
                    return
            await asyncio.sleep(ASK_PAUSE_MS / 1000)

    async def _take(self, answer: PaymentAnswer) -> None:
        if answer.outcome != "requires_confirmation":
            await self._on_word(answer)
