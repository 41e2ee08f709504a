"""Group commit: one task writes; whoever arrives while it does is written next, together.

An idle writer takes a lone item at once: a lone payment waits for nobody. Under load, when the last batch had
company, the writer gathers while more keep coming, for some milliseconds at most, because a batch costs about
as much as ten of its payments.

All attempts of a batch are booked together; should that fail for a reason of our own, each is booked by
itself, so that a poisoned one fails alone. Groups of transfers are booked call by call. If the database can't
be used, everybody of the batch is told so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from gateway.errors import GatewayBusy, GatewayError, StoreUnavailable
from gateway.payments.model import PaymentBooking, PaymentRecord
from gateway.storage.postgres.booking import book_payments
from gateway.storage.postgres.database import (
    PATIENCE,
    Connection,
    Patience,
    connect,
    end_connection,
    translated_errors,
)

BATCH_MAX: Final = 256
"""Most attempts of one commit: bounds how long the first of them waits for the last."""
QUEUE_MAX: Final = 10_000
GATHER_STEP_S: Final = 0.001
"""How long nobody may come for the writer to stop gathering; an event loop's clock knows no less."""
GATHER_STEPS_MAX: Final = 8
GATHER_ENOUGH: Final = 64
"""What a larger batch would save is not worth waiting for."""

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]
BookTogether = Callable[[Connection, Sequence[PaymentBooking]], Awaitable[list[PaymentRecord | GatewayError]]]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt, to be booked together with others."""

    future: asyncio.Future[PaymentRecord]
    booking: PaymentBooking


@dataclass(frozen=True, slots=True)
class _Call:
    """Anything else that books, by itself."""

    future: asyncio.Future[Any]
    work: Work[Any]


class Batches:
    """Owns the writing connection and the queue before it; made and used within one event loop."""

    def __init__(
        self,
        url: str,
        patience: Patience = PATIENCE,
        *,
        queue_max: int = QUEUE_MAX,
        book_together: BookTogether = book_payments,
    ) -> None:
        """Start the task; it connects when the first item arrives, and again after a failure."""
        self._url = url
        self._patience = patience
        self._queue_max = queue_max
        self._book_together = book_together
        self._waiting: deque[_Attempt | _Call] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._had_company = False
        self._connection: Connection | None = None
        self._task = asyncio.create_task(self._write_until_closed(), name="store-writer")

    def submit_booking(self, booking: PaymentBooking) -> asyncio.Future[PaymentRecord]:
        """Queue an attempt for the next batch; the future is resolved once that is on disk.

        A caller that stops waiting does not stop its work.

        Raises:
            GatewayBusy: the queue is full; the attempt was not taken.
            StoreUnavailable: the store is closed; through the future: the database can't be used, or was
                lost. Through the future also what `Store.book_payment` raises.
        """
        future: asyncio.Future[PaymentRecord] = asyncio.get_running_loop().create_future()
        self._take_in(_Attempt(future, booking))
        return future

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Queue something else that books, to be done by itself; raises as `submit_booking`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._take_in(_Call(future, work))
        return future

    async def close(self) -> None:
        """Write what is queued, then disconnect; repeatable."""
        self._closing = True
        self._arrived.set()
        await self._task

    def _take_in(self, item: _Attempt | _Call) -> None:
        if self._closing:
            raise StoreUnavailable("the store is closed")
        if len(self._waiting) >= self._queue_max:
            raise GatewayBusy("too many writes are waiting")
        self._waiting.append(item)
        self._arrived.set()

    async def _write_until_closed(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if isinstance(self._waiting[0], _Attempt):
                if self._had_company:
                    await self._gather()
                attempts = self._take_attempts()
                self._had_company = len(attempts) > 1
                await self._write_attempts(attempts)
            else:
                await self._write_call()
        if self._connection is not None:
            await end_connection(self._connection)

    async def _gather(self) -> None:
        count = len(self._waiting)
        for _ in range(GATHER_STEPS_MAX):
            if count >= GATHER_ENOUGH or self._closing:
                return
            await asyncio.sleep(GATHER_STEP_S)
            count, before = len(self._waiting), count
            if count == before:
                return

    def _take_attempts(self) -> list[_Attempt]:
        attempts: list[_Attempt] = []
        while self._waiting and len(attempts) < BATCH_MAX:
            item = self._waiting[0]
            if not isinstance(item, _Attempt):
                break
            attempts.append(item)
            self._waiting.popleft()
        return attempts

    async def _write_attempts(self, attempts: Sequence[_Attempt]) -> None:
        bookings = [attempt.booking for attempt in attempts]
        try:
            answers = await self._run(lambda connection: self._book_together(connection, bookings))
        except StoreUnavailable as error:
            for attempt in attempts:
                _fail(attempt.future, error)
            return
        # Whatever else it was, booking them one by one finds whose fault it is.
        except Exception as error:  # noqa: BLE001
            if len(attempts) == 1:
                _fail(attempts[0].future, error)
                return
            log.warning("batch_booked_one_by_one", error=type(error).__name__, attempts=len(attempts))
            for attempt in attempts:
                await self._write_attempts([attempt])
            return
        for attempt, answer in zip(attempts, answers, strict=True):
            if isinstance(answer, GatewayError):
                _fail(attempt.future, answer)
            elif not attempt.future.done():
                attempt.future.set_result(answer)

    async def _write_call(self) -> None:
        call = self._waiting.popleft()
        assert isinstance(call, _Call), "the first one waiting is a call"
        try:
            result = await self._run(call.work)
        # Its caller gets the error; the task must live on for the next one.
        except Exception as error:  # noqa: BLE001
            _fail(call.future, error)
            return
        if not call.future.done():
            call.future.set_result(result)

    async def _run(self, work: Work[T]) -> T:
        try:
            with translated_errors():
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(self._url, self._patience)
                return await work(self._connection)
        except StoreUnavailable:
            # A fresh connection may find the server that took over from this one.
            connection, self._connection = self._connection, None
            if connection is not None:
                await end_connection(connection)
            raise


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
