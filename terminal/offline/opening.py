"""Puts the parts of payments without a connection together for one enrolled terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from terminal.blocking import RunBlocking
from terminal.config import OfflineSettings
from terminal.disk import Disk
from terminal.identity import Identity
from terminal.offline.acceptance import OfflineAcceptance
from terminal.offline.desk import OfflineDesk, OfflineParts
from terminal.offline.gateway import OfflineGateway
from terminal.offline.mode import ModeRules
from terminal.offline.queue import OfflineQueue, StoredPayment
from terminal.offline.status_list import TrustStore
from terminal.offline.uploader import OfflineUploader, UploadProgress
from wire.messages.offline import RecordResult
from wire.messages.till import DaemonEvent


@dataclass(frozen=True, slots=True)
class OfflineSurroundings:
    """Clock, randomness and threads, as the composition root has them."""

    now_ms: Callable[[], int]
    entropy: Callable[[int], bytes]
    jitter: Callable[[], float]
    run_blocking: RunBlocking = asyncio.to_thread


@dataclass(frozen=True, slots=True)
class OfflineWork:
    """What a daemon runs: the desk, and what goes on beside it."""

    desk: OfflineDesk
    queue: OfflineQueue
    trust: TrustStore
    _settings: OfflineSettings
    _gateway: OfflineGateway
    _surroundings: OfflineSurroundings

    async def keep_in_sync(self) -> None:
        """Fetch keys, rules and list now and again, until cancelled."""
        await self.trust.keep_in_sync(
            self._gateway,
            interval_ms=self._settings.sync_interval_ms,
            retry_delay_ms=self._settings.upload_retry_delay_ms,
            jitter=self._surroundings.jitter,
        )


def open_offline(
    settings: OfflineSettings,
    identity: Identity,
    disk: Disk,
    gateway: OfflineGateway,
    surroundings: OfflineSurroundings,
    publish: Callable[[DaemonEvent], object],
) -> OfflineWork:
    """Open queue and trust of this terminal, and make the desk over them; nothing runs yet.

    Raises:
        JournalUnwritable: the queue can't be opened.
    """
    queue = OfflineQueue(disk, identity.private_key)
    trust = TrustStore(disk, surroundings.now_ms, surroundings.run_blocking)
    acceptance = OfflineAcceptance(
        queue,
        lambda: trust.trust,
        merchant_id=identity.enrolment.merchant_id,
        terminal_id=identity.enrolment.terminal_id,
        now_ms=surroundings.now_ms,
    )

    def make_uploader(
        on_progress: Callable[[UploadProgress], None],
        on_result: Callable[[StoredPayment, RecordResult], None],
    ) -> OfflineUploader:
        return OfflineUploader(
            queue,
            gateway,
            on_progress=on_progress,
            on_result=on_result,
            retry_delay_ms=settings.upload_retry_delay_ms,
            retry_delay_ms_max=settings.upload_retry_delay_ms_max,
            now_ms=surroundings.now_ms,
            entropy=surroundings.entropy,
            jitter=surroundings.jitter,
            run_blocking=surroundings.run_blocking,
        )

    rules = ModeRules(
        bad_exchanges_to_leave=settings.bad_exchanges_to_leave,
        good_exchanges_to_return=settings.good_exchanges_to_return,
        slow_ms=settings.slow_ms,
    )
    parts = OfflineParts(queue, trust, acceptance, identity.enrolment, make_uploader)
    desk = OfflineDesk(parts, rules, publish=publish, now_ms=surroundings.now_ms)
    return OfflineWork(desk, queue, trust, settings, gateway, surroundings)
