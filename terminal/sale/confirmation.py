"""A payment that waits for its holder: the PIN typed at the till, the phone's word, the card itself, and the
time for all of them.

A PIN is handed on and kept nowhere: not in the journal, not in an event, not in a log line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from terminal.cards.confirming import confirm_by_card
from terminal.errors import CardRemoved, GatewayRefused, GatewayUnreachable, SaleRefused, TerminalError
from terminal.readers.card_line import CardLine
from terminal.sale.ports import SalePorts
from wire.cards.payment_terms import PaymentTerms
from wire.errors import CardError
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import ConfirmationWay, ConfirmRequest, PaymentAnswer, PaymentRequest

GRACE_MS: Final = 1_000
"""After the deadline: the gateway ends such payments in sweeps."""
ASK_PAUSE_MS: Final = 1_000
"""Between two questions after the deadline."""

CARD_MS_MAX: Final = 10_000
"""For a card to prove itself; it needs five commands and as many round trips to the gateway."""

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
        on_refusal: Callable[[str], None],
    ) -> None:
        """Begin to wait.

        Args:
            request: the attempt.
            answer: what asks for the confirmation.
            on_word: takes the gateway's final word.
            on_silence: called when the time is over and the gateway does not say what became of it.
            on_refusal: told why a card did not confirm, as a code of wire/notices; it may come again.
        """
        assert answer.confirmation is not None, "it asks for a confirmation"
        self._request = request
        self._payment_id = answer.payment_id
        self._ways = answer.confirmation.ways
        self._confirm_by_ms = answer.confirmation.confirm_by_ms
        self._ports = ports
        self._on_word = on_word
        self._on_silence = on_silence
        self._on_refusal = on_refusal
        self._asks_card = ConfirmationWay.CARD in self._ways and ports.cards is not None
        self._has_readers = False
        self._card: asyncio.Task[None] | None = None
        self._next_line: CardLine | None = None
        self._is_judging = False
        self._watch = asyncio.create_task(self._watch_end())

    @property
    def is_judging(self) -> bool:
        """Whether a PIN or a card's proof is on its way."""
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
            self._end_judging()
        await self._take(answer)

    def expect_card(self, line: CardLine | None) -> None:
        """Let the card confirm, if a card may: the one that lies there, or one that is held there again."""
        if self._asks_card:
            self._has_readers = True
            self._ports.readers.arm(_refuse_to_sign)
            self.meet_card(line)

    def meet_card(self, line: CardLine | None) -> None:
        """Have a card prove that it is the one, once what is being judged is."""
        if not self._asks_card or line is None or line.is_over:
            return
        if self._is_judging:
            self._next_line = line
            return
        self._is_judging, self._next_line = True, None
        self._card = asyncio.create_task(self._ask_card(line))

    def stop(self) -> None:
        """Wait no longer; the journal goes on knowing that the payment waits."""
        for task in (self._watch, self._card):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        if self._has_readers:
            self._has_readers = False
            self._ports.readers.disarm()

    async def _ask_card(self, line: CardLine) -> None:
        assert self._ports.cards is not None, "only then is a card asked"
        try:
            async with asyncio.timeout(CARD_MS_MAX / 1000):
                answer = await confirm_by_card(self._ports.cards, self._payment_id, self._request, line)
        except (TerminalError, TimeoutError) as error:
            code = getattr(error, "code", CardRemoved.code)
            log.info("card_not_confirmed", payment_id=self._payment_id, code=code)
            self._on_refusal(code)
            return
        except Exception:
            log.exception("card_confirmation_failed", payment_id=self._payment_id)
            return
        finally:
            self._end_judging()
        await self._take(answer)

    def _end_judging(self) -> None:
        self._is_judging = False
        if self._has_readers:
            # A card that came meanwhile is not read again while it stays.
            self.meet_card(self._next_line)

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


def _refuse_to_sign() -> PaymentTerms:
    """Terms for readers that wait for a link card only: a phone held there is not asked to sign anything."""
    raise CardError("this waits for the card that began it", code="card_differs")
