"""The till's own codes: shown while a sale waits, paid by a wallet, given up so that nobody pays them late.

A code's id is the attempt id under which it is paid. It is on disk before the gateway hears of it, and stays
there until it is paid or taken back; so what a power loss leaves open is taken back at the next start.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog

from terminal.blocking import RunBlocking, ask_blocking
from terminal.disk import Disk
from terminal.errors import TerminalError
from terminal.gateway_client.answers import is_about, is_consistent
from terminal.gateway_client.client import GatewayClient
from terminal.journal.journal import Journal
from terminal.journal.records import SettledRecord
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.intents import IntentAnswer, IntentRequest
from wire.messages.payments import EntryMode, OrderDetails, PaymentAnswer, ReversalRequest
from wire.money import Money

CODES_FILE: Final = "till-codes.json"
OPEN_MAX: Final = 50
"""Codes that wait to be paid or taken back; beyond, none is shown until some are."""
LIFE_MS_MIN: Final = 10_000
LIFE_MS_MAX: Final = 3_600_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class CodeDoor(Protocol):
    """Codes as a sale sees them."""

    async def offer(
        self,
        order_id: str,
        amount: Money,
        *,
        order: OrderDetails | None,
        life_ms: int,
        on_answer: Callable[[PaymentAnswer], None],
    ) -> IntentAnswer | None:
        """Ask for a code and have every word on its payment told; None where there is none to show."""

    def give_up(self, intent_id: str) -> None:
        """Show a code no longer: whoever pays it from now on gets the money back."""


class TillCodes:
    """The open codes of one till; all methods run in the daemon's event loop."""

    def __init__(
        self,
        gateway: GatewayClient,
        journal: Journal,
        disk: Disk,
        *,
        on_counter_payment: Callable[[PaymentAnswer], None],
        retry_delay_ms: int,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
        run_blocking: RunBlocking = asyncio.to_thread,
    ) -> None:
        """Read what an earlier run left open; `run` takes it back.

        Args:
            on_counter_payment: told of payments that this till did not ask for: at its counter's sticker.
            retry_delay_ms: between two tries to take codes back.
            now_ms: unix milliseconds.
            entropy: returns that many random bytes, for ids.
        """
        self._gateway = gateway
        self._journal = journal
        self._disk = disk
        self._on_counter_payment = on_counter_payment
        self._retry_delay_ms = retry_delay_ms
        self._now_ms = now_ms
        self._entropy = entropy
        self._run_blocking = run_blocking
        self._live: dict[str, Callable[[PaymentAnswer], None]] = {}
        self._woken = asyncio.Event()
        self._storing = asyncio.Lock()
        self._open = self._load()

    async def offer(
        self,
        order_id: str,
        amount: Money,
        *,
        order: OrderDetails | None,
        life_ms: int,
        on_answer: Callable[[PaymentAnswer], None],
    ) -> IntentAnswer | None:
        """As CodeDoor.offer; what fails is logged, since a sale goes on without a code."""
        if len(self._open) >= OPEN_MAX:
            log.warning("too_many_codes_open", count=len(self._open))
            return None
        intent = IntentRequest(
            intent_id=make_ulid(self._now_ms(), self._entropy(ENTROPY_BYTES)),
            order_id=order_id,
            amount_minor=amount.minor,
            currency=amount.currency.code,
            order=order,
            life_ms=min(max(life_ms, LIFE_MS_MIN), LIFE_MS_MAX),
        )
        self._open[intent.intent_id] = intent
        self._live[intent.intent_id] = on_answer
        try:
            await self._store()
            return await self._gateway.offer(intent)
        except (TerminalError, OSError) as error:
            log.info("code_not_shown", intent_id=intent.intent_id, reason=type(error).__name__)
            self.give_up(intent.intent_id)
            return None

    def give_up(self, intent_id: str) -> None:
        """As CodeDoor.give_up; safe to repeat."""
        if self._live.pop(intent_id, None) is not None:
            self._woken.set()

    async def hear(self, answer: PaymentAnswer) -> bool:
        """Take what the gateway tells of a payment unasked; False where it is about no code of this till.

        A code that is not shown any more is not settled by its payment: that is about to be taken back.

        Raises:
            JournalUnwritable: it is told again, or asked about when the code is taken back.
        """
        if answer.entry_mode is not EntryMode.QR_MERCHANT or not is_consistent(answer):
            return False
        intent = self._open.get(answer.attempt_id)
        if intent is None:
            await self._hear_of_sticker(answer)
            return True
        if answer.attempt_id not in self._live or not is_about(answer, _reversal_of(intent)):
            return True
        await self._record(answer)
        on_answer = self._live.pop(answer.attempt_id, None)
        if on_answer is not None:
            on_answer(answer)
        await self._forget(answer.attempt_id)
        return True

    async def run(self) -> None:
        """Take back every code that is not shown any more, again and again, until cancelled."""
        while True:
            self._woken.clear()
            await self.take_back_all()
            waits = any(intent_id not in self._live for intent_id in self._open)
            try:
                async with asyncio.timeout(self._retry_delay_ms / 1000 if waits else None):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def take_back_all(self) -> None:
        """Take back once what is not shown any more; one that fails never stops the others."""
        for intent in [one for one in self._open.values() if one.intent_id not in self._live]:
            try:
                await self._record(await self._gateway.take_back(_reversal_of(intent)))
                await self._forget(intent.intent_id)
            except (TerminalError, OSError) as error:
                log.info("code_not_taken_back", intent_id=intent.intent_id, reason=type(error).__name__)
            except Exception:
                log.exception("code_not_taken_back", intent_id=intent.intent_id)

    async def _hear_of_sticker(self, answer: PaymentAnswer) -> None:
        if answer.outcome != "approved" or self._journal.find(answer.attempt_id) is not None:
            return
        write = partial(self._journal.record_unasked, answer, at_ms=self._now_ms())
        if await ask_blocking(self._run_blocking, write):
            self._on_counter_payment(answer)

    async def _record(self, answer: PaymentAnswer) -> None:
        # The journal first: at the next start it says that a code which is still in the file has its word.
        write = partial(self._journal.record_unasked, answer, at_ms=self._now_ms())
        await ask_blocking(self._run_blocking, write)

    async def _forget(self, intent_id: str) -> None:
        self._open.pop(intent_id, None)
        try:
            await self._store()
        except OSError as error:
            # The journal knows its word, so the next start forgets it.
            log.warning("till_codes_not_stored", reason=error.strerror)

    async def _store(self) -> None:
        # One after another, and each with all that holds by then: a file is put in place whole.
        async with self._storing:
            content = msgspec.json.encode(list(self._open.values()))
            await self._run_blocking(partial(self._disk.write, CODES_FILE, content))

    def _load(self) -> OrderedDict[str, IntentRequest]:
        try:
            content = self._disk.read(CODES_FILE)
            found = msgspec.json.decode(content, type=list[IntentRequest]) if content else []
        except (OSError, msgspec.DecodeError) as error:
            # Nobody can pay them for longer than their life, which the gateway keeps.
            log.error("till_codes_unreadable", reason=type(error).__name__)
            return OrderedDict()
        is_settled = {one.intent_id: self._journal.find(one.intent_id) for one in found}
        return OrderedDict(
            (one.intent_id, one) for one in found if not isinstance(is_settled[one.intent_id], SettledRecord)
        )


def _reversal_of(intent: IntentRequest) -> ReversalRequest:
    return ReversalRequest(
        attempt_id=intent.intent_id,
        order_id=intent.order_id,
        amount_minor=intent.amount_minor,
        currency=intent.currency,
        entry_mode=EntryMode.QR_MERCHANT,
    )
