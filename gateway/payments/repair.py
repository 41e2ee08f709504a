"""The gateway's repair worker: ends what is due, one by one, whatever a crash left behind.

What is due are payments whose deadline has passed, and credentials whose allowance can't be claimed any more.

Every change of a payment is one transaction, so nothing is ever half done; what a crash leaves is payments
whose deadline passed while nobody looked. One that can't be ended is left for later, later each time, and
never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.errors import GatewayError
from gateway.payments.bell import TerminalBell
from gateway.payments.life import Expire
from gateway.storage.store import PAGE_ROWS_MAX, Store

EVENTS_KEPT_MS: Final = 7 * 86_400_000
"""How long terminals may take to hear of what happened."""
EVENTS_FORGOTTEN_EVERY: Final = 600
"""Sweeps between two looks for events that are too old."""
PAUSE_SWEEPS_MAX: Final = 600
POISONED_MAX: Final = 10_000
"""What is remembered as impossible to end; beyond, the oldest is tried again at once."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class _Poisoned:
    """Something that could not be ended: how often, and when it is tried again."""

    failure_count: int = 0
    next_sweep: int = 0


class RepairWorker:
    """Sweeps for what is due until it is cancelled."""

    def __init__(self, store: Store, bell: TerminalBell, *, sweep_ms: int, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._bell = bell
        self._sweep_ms = sweep_ms
        self._now_ms = now_ms
        self._sweep_count = 0
        self._poisoned: dict[str, _Poisoned] = {}

    @property
    def poisoned_count(self) -> int:
        """How many payments and credentials that are due could not be ended so far."""
        return len(self._poisoned)

    async def run(self) -> None:
        """Sweep, again and again; a store that is away is asked again next time."""
        while True:
            try:
                await self.sweep()
            except GatewayError as error:
                log.warning("sweep_failed", code=error.code)
            except Exception:
                # Whatever broke, the next sweep is a new one.
                log.exception("sweep_broken")
            await asyncio.sleep(self._sweep_ms / 1000)

    async def sweep(self) -> int:
        """End every payment and credential that is due now, and return how many it were.

        Raises:
            StoreUnavailable, GatewayBusy: the store is away.
        """
        self._sweep_count += 1
        now_ms = self._now_ms()
        ended_count = await self._end_all(self._store.list_due_payments, self._end_payment, now_ms)
        ended_count += await self._end_all(self._store.list_due_credentials, self._end_credential, now_ms)
        if self._sweep_count % EVENTS_FORGOTTEN_EVERY == 1:
            await self._store.forget_terminal_events(now_ms - EVENTS_KEPT_MS)
        return ended_count

    async def _end_all(
        self,
        list_due: Callable[[int, str], Awaitable[list[str]]],
        end: Callable[[str, int], Awaitable[None]],
        now_ms: int,
    ) -> int:
        ended_count, after_id = 0, ""
        while due := await list_due(now_ms, after_id):
            for due_id in due:
                ended_count += await self._end(due_id, end, now_ms)
            after_id = due[-1]
            if len(due) < PAGE_ROWS_MAX:
                break
        return ended_count

    async def _end(self, due_id: str, end: Callable[[str, int], Awaitable[None]], now_ms: int) -> bool:
        poisoned = self._poisoned.get(due_id)
        if poisoned is not None and self._sweep_count < poisoned.next_sweep:
            return False
        try:
            await end(due_id, now_ms)
        except GatewayError as error:
            if error.retryable:
                raise
            self._put_off(due_id, error.code)
            return False
        except Exception as error:  # noqa: BLE001  one that is poisoned must not stop the others
            self._put_off(due_id, type(error).__name__)
            return False
        self._poisoned.pop(due_id, None)
        return True

    async def _end_payment(self, payment_id: str, now_ms: int) -> None:
        changed = await self._store.change_payment(Expire(payment_id), now_ms)
        self._bell.ring(changed.payment.terminal_id)
        log.info("payment_expired", payment_id=payment_id, code=changed.payment.life.code)

    async def _end_credential(self, credential_id: str, now_ms: int) -> None:
        left_minor = await self._store.end_credential(credential_id, now_ms)
        log.info("credential_ended", credential_id=credential_id, given_back_minor=left_minor)

    def _put_off(self, due_id: str, reason: str) -> None:
        poisoned = self._poisoned.setdefault(due_id, _Poisoned())
        poisoned.failure_count += 1
        pause = min(1 << min(poisoned.failure_count, 16), PAUSE_SWEEPS_MAX)
        poisoned.next_sweep = self._sweep_count + pause
        log.error("due_not_ended", id=due_id, reason=reason, failures=poisoned.failure_count)
        if len(self._poisoned) > POISONED_MAX:
            del self._poisoned[next(iter(self._poisoned))]
