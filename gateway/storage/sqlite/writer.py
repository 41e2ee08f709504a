"""One thread writes; whoever arrives while it commits is committed next, together (group commit).

An idle writer takes a lone item at once: a lone payment waits for nobody. Under load, when the last batch had
company, the writer gathers while more keep coming, for some milliseconds at most: a batch costs half a
millisecond before its first payment and a tenth for each, so few large batches leave more of the processor
to whoever verifies the next ones.
All attempts of a batch are booked together, set by set; should that fail, each is booked by itself. Every
other item runs by itself. What runs by itself has its own savepoint, so a failing one undoes itself and
nothing else; its caller gets the error. If the transaction itself fails, nothing of the batch was booked and
every caller is told so. One gap no database closes: a commit whose sync fails and whose machine then dies at
once may be found whole in the log. Callers resend the same request under the same id, so even then nothing
is booked twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

import structlog

from gateway.errors import GatewayBusy, GatewayError, StoreUnavailable
from gateway.payments.model import PaymentBooking, PaymentRecord
from gateway.storage.sqlite.database import open_connection, savepoint, translated_errors
from gateway.storage.sqlite.payments import book_payments

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BATCH_MAX: Final = 256
"""Most items of one commit: bounds how long the first of them waits for the last."""
QUEUE_MAX: Final = 10_000
GATHER_STEP_S: Final = 0.000_5
"""How long nobody may come for the writer to stop gathering."""
GATHER_STEPS_MAX: Final = 12
"""How often it waits so: some six milliseconds at most."""
GATHER_ENOUGH: Final = 64
"""What a larger batch would save is not worth waiting for."""

T = TypeVar("T")
BookTogether = Callable[
    [sqlite3.Connection, Sequence[PaymentBooking]], Sequence[PaymentRecord | GatewayError]
]


class Writer:
    """Owns the writing connection and its thread; made and used within one event loop."""

    def __init__(
        self, path: Path, queue_max: int = QUEUE_MAX, *, book_together: BookTogether = book_payments
    ) -> None:
        """Start the thread; it connects when the first item arrives, and again after a failure."""
        self._path = path
        self._book_together = book_together
        self._queue_max = queue_max
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_AnyItem] = deque()
        self._arrived = threading.Condition()
        self._closing = False
        self._had_company = False
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._write_until_closed, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queue work for the next transaction; the future is resolved once that is on disk.

        A caller that stops waiting does not stop its work.

        Raises:
            GatewayBusy: the queue is full; the work was not taken.
            StoreUnavailable: the store is closed; through the future: nothing of the work was booked.
        """
        item = _Work(self._loop.create_future(), work)
        self._take_in(item)
        return item.future

    def submit_booking(self, booking: PaymentBooking) -> asyncio.Future[PaymentRecord]:
        """Queue an attempt for the next transaction, to be booked together with others.

        Raises: as `submit`; through the future also what `Store.book_payment` raises.
        """
        item = _Attempt(self._loop.create_future(), booking, self._book_together)
        self._take_in(item)
        return item.future

    async def close(self) -> None:
        """Commit what is queued, then end the thread; repeatable."""
        with self._arrived:
            self._closing = True
            self._arrived.notify()
        await asyncio.to_thread(self._thread.join)

    def _take_in(self, item: _AnyItem) -> None:
        with self._arrived:
            if self._closing:
                raise StoreUnavailable("the store is closed")
            if len(self._waiting) >= self._queue_max:
                raise GatewayBusy("too many writes are waiting")
            self._waiting.append(item)
            self._arrived.notify()

    def _write_until_closed(self) -> None:
        while batch := self._take_batch():
            self._commit(batch)
            # The loop may be gone when a process ends without closing its store; then nobody waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_deliver, batch)
        self._disconnect()

    def _take_batch(self) -> list[_AnyItem]:
        with self._arrived:
            while not self._waiting and not self._closing:
                self._arrived.wait()
        if self._had_company:
            self._gather()
        with self._arrived:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
        self._had_company = len(batch) > 1
        return batch

    def _gather(self) -> None:
        # Sleeping, rather than being woken by each arrival, leaves the interpreter to whoever sends them.
        count = len(self._waiting)
        for _ in range(GATHER_STEPS_MAX):
            if count >= GATHER_ENOUGH or self._closing:
                return
            time.sleep(GATHER_STEP_S)
            count, before = len(self._waiting), count
            if count == before:
                return

    def _commit(self, batch: Sequence[_AnyItem]) -> None:
        try:
            with translated_errors():
                self._run_in_transaction(self._connect(), batch)
        # Whatever broke the transaction broke it for all; the thread must live on for the next batch.
        except Exception as error:  # noqa: BLE001
            self._disconnect()
            for item in batch:
                item.fail(error)

    def _run_in_transaction(self, connection: sqlite3.Connection, batch: Sequence[_AnyItem]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        attempts = [item for item in batch if isinstance(item, _Attempt)]
        if len(attempts) > 1:
            self._run_together(connection, attempts)
        for item in batch:
            if not item.is_done:
                item.run(connection)
            _require_transaction(connection)
        connection.execute("COMMIT")

    def _run_together(self, connection: sqlite3.Connection, attempts: Sequence[_Attempt]) -> None:
        try:
            with translated_errors(), savepoint(connection):
                answers = self._book_together(connection, [attempt.booking for attempt in attempts])
        # Whatever it was, booking them one by one finds whose fault it is.
        except Exception as error:  # noqa: BLE001
            log.warning("batch_booked_one_by_one", error=type(error).__name__, attempts=len(attempts))
            return
        for attempt, answer in zip(attempts, answers, strict=True):
            attempt.take(answer)

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_connection(self._path, writable=True)
        return self._connection

    def _disconnect(self) -> None:
        # Closing rolls back what is open; a fresh connection then starts from what is on disk.
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


class _AnyItem(Protocol):
    """An item of whatever result."""

    is_done: bool

    def run(self, connection: sqlite3.Connection) -> None: ...

    def fail(self, error: Exception) -> None: ...

    def deliver(self) -> None: ...


class _Item(ABC, Generic[T]):
    """Something to write, and what became of it until its future may be told."""

    __slots__ = ("_error", "_result", "future", "is_done")

    def __init__(self, future: asyncio.Future[T]) -> None:
        self.future = future
        self.is_done = False
        self._result: T
        self._error: Exception | None = None

    @abstractmethod
    def write(self, connection: sqlite3.Connection) -> T:
        """Write it, and return what its caller waits for."""

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            with translated_errors(), savepoint(connection):
                self._result = self.write(connection)
        # A poisoned item fails alone: its caller gets the error, its neighbours are booked.
        except Exception as error:  # noqa: BLE001
            self._error = error
        self.is_done = True

    def fail(self, error: Exception) -> None:
        failure = StoreUnavailable(f"the batch was not committed: {error}")
        failure.__cause__ = error
        self._error = failure

    def deliver(self) -> None:
        if self.future.done():
            return
        if self._error is None:
            self.future.set_result(self._result)
        else:
            self.future.set_exception(self._error)


class _Work(_Item[T]):
    """One piece of work."""

    __slots__ = ("_work",)

    def __init__(self, future: asyncio.Future[T], work: Callable[[sqlite3.Connection], T]) -> None:
        super().__init__(future)
        self._work = work

    def write(self, connection: sqlite3.Connection) -> T:
        return self._work(connection)


class _Attempt(_Item[PaymentRecord]):
    """One attempt, which may be booked together with others."""

    __slots__ = ("_book_together", "booking")

    def __init__(
        self, future: asyncio.Future[PaymentRecord], booking: PaymentBooking, book_together: BookTogether
    ) -> None:
        super().__init__(future)
        self.booking = booking
        self._book_together = book_together

    def write(self, connection: sqlite3.Connection) -> PaymentRecord:
        (answer,) = self._book_together(connection, [self.booking])
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    def take(self, answer: PaymentRecord | GatewayError) -> None:
        """Take the answer it got among others."""
        if isinstance(answer, GatewayError):
            self._error = answer
        else:
            self._result = answer
        self.is_done = True


def _require_transaction(connection: sqlite3.Connection) -> None:
    if not connection.in_transaction:
        raise StoreUnavailable("the database gave up the transaction")


def _deliver(batch: Sequence[_AnyItem]) -> None:
    for item in batch:
        item.deliver()
