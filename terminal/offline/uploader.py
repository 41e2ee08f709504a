"""Hands in what was accepted offline, in the chain's order, until the gateway has said a word on each.

Every batch is made of records that wait, and a record waits until the gateway's word on it is on disk. So a
kill between any two steps, or an answer that is lost, has the record sent again, and the gateway repeats its
word. A record that the gateway can't even read is set aside and tried again after all others: it never
keeps them waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from terminal.blocking import RunBlocking
from terminal.errors import GatewayRefused, GatewayUnreachable, TerminalError
from terminal.offline.gateway import OfflineGateway
from terminal.offline.queue import OfflineQueue, StoredPayment
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.offline import BATCH_RECORDS_MAX, BatchAnswer, BatchRequest, RecordResult

DOUBLINGS_MAX: Final = 20
_ABOUT_THE_CONTENT: Final = frozenset({"malformed", "body_too_large", "id_invalid", "amount_invalid"})
"""Refusals that one record of a batch can be the cause of; every other is about this terminal or moment."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How far a drain has come."""

    settled_count: int
    """Records that got their word in this drain."""
    waiting_count: int
    """Records that still wait, those set aside included."""
    set_aside_count: int
    """Records that the gateway could not read when they were last sent."""

    @property
    def is_done(self) -> bool:
        """Whether everything that can be handed in is."""
        return self.waiting_count == self.set_aside_count


class OfflineUploader:
    """Drains one queue into one gateway."""

    def __init__(
        self,
        queue: OfflineQueue,
        gateway: OfflineGateway,
        *,
        on_progress: Callable[[UploadProgress], None],
        on_result: Callable[[StoredPayment, RecordResult], None],
        retry_delay_ms: int,
        retry_delay_ms_max: int,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
        jitter: Callable[[], float],
        run_blocking: RunBlocking,
    ) -> None:
        """Prepare an uploader; `run` or `drain` starts it.

        Args:
            on_progress: told after every batch, in the event loop.
            on_result: told each record's word once it is on disk; after a kill some are never told.
            retry_delay_ms: after a drain that failed; doubled from there on.
            retry_delay_ms_max: the longest pause.
            now_ms: unix milliseconds.
            entropy: returns that many random bytes, for the ids of batches.
            jitter: returns a number in [0, 1), to spread many tills that come back together.
            run_blocking: where the queue's files are written, so that nobody waits for them.
        """
        self._queue = queue
        self._gateway = gateway
        self._on_progress = on_progress
        self._on_result = on_result
        self._retry_delay_ms = retry_delay_ms
        self._retry_delay_ms_max = retry_delay_ms_max
        self._now_ms = now_ms
        self._entropy = entropy
        self._jitter = jitter
        self._run_blocking = run_blocking
        self._set_aside: set[int] = set()
        self._draining = asyncio.Lock()
        self._woken = asyncio.Event()
        self._settled_count = 0

    def wake(self) -> None:
        """Have `run` drain now: a payment was stored, the gateway is back, or somebody asks for it.

        To be called in the event loop's thread.
        """
        self._woken.set()

    async def run(self) -> None:
        """Drain at the start and whenever woken, and after failures again and again, until cancelled."""
        failure_count = 0
        while True:
            self._woken.clear()
            is_done = await self._drain_unless_broken()
            failure_count = 0 if is_done else failure_count + 1
            pause_s = None if is_done and not self._set_aside else self._pause_s(failure_count)
            try:
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def drain(self) -> UploadProgress:
        """Hand in what waits, and return how far that went; never two at the same time.

        Raises:
            GatewayUnreachable, GatewayRefused, JournalUnwritable: it stopped here; what was settled before
                is settled, and the rest waits on.
        """
        async with self._draining:
            self._settled_count = 0
            suspects = [one for one in self._queue.waiting() if one.record.sequence in self._set_aside]
            # Each send settles its records, sets one aside or ends the drain, so this comes to an end.
            while fresh := self._not_set_aside():
                await self._hand_in(fresh[:BATCH_RECORDS_MAX])
            for suspect in suspects:
                await self._hand_in([suspect])
            return self._progress()

    def _not_set_aside(self) -> list[StoredPayment]:
        return [one for one in self._queue.waiting() if one.record.sequence not in self._set_aside]

    async def _drain_unless_broken(self) -> bool:
        try:
            return (await self.drain()).is_done
        except TerminalError as error:
            log.warning("offline_upload_stopped", code=error.code, waiting_count=self._queue.depth)
        except Exception:
            # Whatever broke, what waits must be tried again.
            log.exception("offline_upload_failed")
        return False

    async def _hand_in(self, batch: list[StoredPayment]) -> None:
        request = BatchRequest(
            batch_id=make_ulid(self._now_ms(), self._entropy(ENTROPY_BYTES)),
            records=[stored.sealed for stored in batch],
        )
        try:
            answer = await self._gateway.upload(request)
        except GatewayRefused as refusal:
            if refusal.retryable or refusal.code not in _ABOUT_THE_CONTENT:
                raise
            await self._isolate(batch, refusal)
            return
        await self._settle(batch, answer)
        self._on_progress(self._progress())

    async def _isolate(self, batch: list[StoredPayment], refusal: GatewayRefused) -> None:
        """Find the record that spoils a batch by halves: four more sends for one among sixteen, each way."""
        if len(batch) == 1:
            sequence = batch[0].record.sequence
            log.error("offline_record_set_aside", sequence=sequence, code=refusal.code)
            self._set_aside.add(sequence)
            return
        middle = len(batch) // 2
        await self._hand_in(batch[:middle])
        await self._hand_in(batch[middle:])

    async def _settle(self, batch: list[StoredPayment], answer: BatchAnswer) -> None:
        results = list(zip(batch, answer.results, strict=True))
        for stored, result in results:
            # 0 is what the gateway says of a seal it can't read; every other number must be the record's.
            if result.sequence not in (0, stored.record.sequence):
                raise GatewayUnreachable("the gateway's results are about other records than were sent")
        await self._run_blocking(partial(self._queue.settle, results, at_ms=self._now_ms()))
        await self._run_blocking(partial(self._queue.advance_to, answer.next_sequence))
        self._settled_count += len(results)
        for stored, result in results:
            self._set_aside.discard(stored.record.sequence)
            if result.outcome != "settled" or result.loss_minor:
                log.warning(
                    "offline_payment_not_plainly_settled",
                    sequence=stored.record.sequence,
                    attempt_id=stored.record.attempt_id,
                    outcome=result.outcome,
                    loss_minor=result.loss_minor,
                    loss_bearer=result.loss_bearer,
                )
            self._on_result(stored, result)

    def _progress(self) -> UploadProgress:
        return UploadProgress(self._settled_count, self._queue.depth, len(self._set_aside))

    def _pause_s(self, failure_count: int) -> float:
        if failure_count == 0:
            return self._retry_delay_ms_max / 1000
        doublings = min(failure_count - 1, DOUBLINGS_MAX)
        delay_ms = min(self._retry_delay_ms << doublings, self._retry_delay_ms_max)
        # Half of each pause is fixed and half is drawn, as between the sends of an attempt.
        return delay_ms * (0.5 + 0.5 * self._jitter()) / 1000
