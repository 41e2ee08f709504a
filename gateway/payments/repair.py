"""The gateway's repair worker: ends what is due, payment by payment, whatever a crash left behind.

Every change of a payment is one transaction, so nothing is ever half done; what a crash leaves is payments
whose deadline passed while nobody looked. One that can't be ended is left for later, later each time, and
never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.errors import GatewayError
from gateway.payments.bell import TerminalBell
from gateway.payments.life import Expire
from gateway.storage.store import PAGE_ROWS_MAX, PaymentStore

EVENTS_KEPT_MS: Final = 7 * 86_400_000
"""How long terminals may take to hear of what happened."""
EVENTS_FORGOTTEN_EVERY: Final = 600
"""Sweeps between two looks for events that are too old."""
PAUSE_SWEEPS_MAX: Final = 600
POISONED_MAX: Final = 10_000
"""Payments remembered as impossible to end; beyond, the oldest is tried again at once."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class _Poisoned:
    """A payment that could not be ended: how often, and when it is tried again."""

    failure_count: int = 0
    next_sweep: int = 0


class RepairWorker:
    """Sweeps for due payments until it is cancelled."""

    def __init__(
        self, store: PaymentStore, bell: TerminalBell, *, sweep_ms: int, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._bell = bell
        self._sweep_ms = sweep_ms
        self._now_ms = now_ms
        self._sweep_count = 0
        self._poisoned: dict[str, _Poisoned] = {}

    @property
    def poisoned_count(self) -> int:
        """How many due payments could not be ended so far."""
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
        """End every payment that is due now, and return how many it were.

        Raises:
            StoreUnavailable, GatewayBusy: the store is away.
        """
        self._sweep_count += 1
        ended_count, after_id, now_ms = 0, "", self._now_ms()
        while due := await self._store.list_due_payments(now_ms, after_id):
            for payment_id in due:
                ended_count += await self._end(payment_id, now_ms)
            after_id = due[-1]
            if len(due) < PAGE_ROWS_MAX:
                break
        if self._sweep_count % EVENTS_FORGOTTEN_EVERY == 1:
            await self._store.forget_terminal_events(now_ms - EVENTS_KEPT_MS)
        return ended_count

    async def _end(self, payment_id: str, now_ms: int) -> bool:
        poisoned = self._poisoned.get(payment_id)
        if poisoned is not None and self._sweep_count < poisoned.next_sweep:
            return False
        try:
            changed = await self._store.change_payment(Expire(payment_id), now_ms)
        except GatewayError as error:
            if error.retryable:
                raise
            self._put_off(payment_id, error.code)
            return False
        except Exception as error:  # noqa: BLE001  one poisoned payment must not stop the others
            self._put_off(payment_id, type(error).__name__)
            return False
        self._poisoned.pop(payment_id, None)
        self._bell.ring(changed.payment.terminal_id)
        log.info("payment_expired", payment_id=payment_id, code=changed.payment.life.code)
        return True

    def _put_off(self, payment_id: str, reason: str) -> None:
        poisoned = self._poisoned.setdefault(payment_id, _Poisoned())
        poisoned.failure_count += 1
        pause = min(1 << min(poisoned.failure_count, 16), PAUSE_SWEEPS_MAX)
        poisoned.next_sweep = self._sweep_count + pause
        log.error("payment_not_ended", payment_id=payment_id, reason=reason, failures=poisoned.failure_count)
        if len(self._poisoned) > POISONED_MAX:
            del self._poisoned[next(iter(self._poisoned))]
