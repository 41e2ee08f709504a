"""Attempts whose outcome is unknown are asked about, one by one, until each has its final word.

Query by attempt id; if the gateway has never seen it, send the same attempt again. One attempt that
fails, whatever the reason, never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from terminal.errors import TerminalError
from terminal.gateway_client import GatewayClient
from terminal.journal import AttemptRecord, Journal
from terminal.sale.attempt import RunBlocking
from wire.messages.payments import PaymentAnswer

RESEND_DEADLINE_MS: Final = 10_000
DOUBLINGS_MAX: Final = 20

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class _Schedule:
    """When to ask about one attempt again."""

    try_count: int = 0
    due_ns: int = 0


class AttemptResolver:
    """Works through the journal's unresolved attempts."""

    def __init__(
        self,
        journal: Journal,
        gateway: GatewayClient,
        *,
        is_on_its_way: Callable[[str], bool],
        on_answer: Callable[[PaymentAnswer], None],
        retry_delay_ms: int,
        retry_delay_ms_max: int,
        now_ms: Callable[[], int],
        monotonic_ns: Callable[[], int],
        jitter: Callable[[], float],
        run_blocking: RunBlocking = asyncio.to_thread,
    ) -> None:
        """Prepare a resolver; `run` starts it.

        Args:
            is_on_its_way: whether an open sale is sending this attempt id; such are left alone.
            on_answer: told each final word, once it is in the journal.
            retry_delay_ms: before an attempt is asked about a second time; doubled from there on.
        """
        self._journal = journal
        self._gateway = gateway
        self._is_on_its_way = is_on_its_way
        self._on_answer = on_answer
        self._retry_delay_ms = retry_delay_ms
        self._retry_delay_ms_max = retry_delay_ms_max
        self._now_ms = now_ms
        self._monotonic_ns = monotonic_ns
        self._jitter = jitter
        self._run_blocking = run_blocking
        self._schedules: dict[str, _Schedule] = {}

    async def run(self) -> None:
        """Resolve what is due, again and again, until cancelled."""
        while True:
            await self.resolve_due()
            await asyncio.sleep(self._retry_delay_ms / 1000)

    async def resolve_due(self) -> None:
        """Ask once about every unresolved attempt that is due; never raises for one of them."""
        unresolved = self._journal.unresolved()
        waiting = {record.request.attempt_id for record in unresolved}
        self._schedules = {key: value for key, value in self._schedules.items() if key in waiting}
        for record in unresolved:
            attempt_id = record.request.attempt_id
            schedule = self._schedules.setdefault(attempt_id, _Schedule())
            if self._is_on_its_way(attempt_id) or self._monotonic_ns() < schedule.due_ns:
                continue
            if not self._journal.is_unresolved(attempt_id):
                # Its sale had the final word while others were asked about: sent again now, an attempt that
                # the cashier was told is refused would be booked.
                continue
            await self._resolve(record, schedule)

    async def _resolve(self, record: AttemptRecord, schedule: _Schedule) -> None:
        attempt_id = record.request.attempt_id
        try:
            answer = await self._find_answer(record)
            await self._run_blocking(partial(self._journal.record_answer, answer, at_ms=self._now_ms()))
            self._on_answer(answer)
            log.info("attempt_resolved", attempt_id=attempt_id, outcome=answer.outcome)
        except TerminalError as error:
            log.warning("attempt_unresolved", attempt_id=attempt_id, code=error.code, reason=str(error))
        except Exception:
            # One poisoned attempt must not stop the others.
            log.exception("attempt_unresolvable", attempt_id=attempt_id)
        self._postpone(schedule)

    async def _find_answer(self, record: AttemptRecord) -> PaymentAnswer:
        answer = await self._gateway.find_by_attempt(record.request)
        if answer is not None:
            return answer
        return await self._gateway.pay(record.request, deadline_ms=RESEND_DEADLINE_MS, sent_before=True)

    def _postpone(self, schedule: _Schedule) -> None:
        doublings = min(schedule.try_count, DOUBLINGS_MAX)
        delay_ms = min(self._retry_delay_ms << doublings, self._retry_delay_ms_max)
        schedule.try_count += 1
        schedule.due_ns = self._monotonic_ns() + int(delay_ms * (0.5 + 0.5 * self._jitter())) * 1_000_000
