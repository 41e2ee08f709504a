"""One thread writes; whoever arrives while it commits is committed next, together (group commit).

An idle writer takes a lone item at once: batching adds no wait, it only uses the time a commit takes.
Each item runs in its own savepoint, so a failing one undoes itself and nothing else; its caller gets the
error. If the transaction itself fails, nothing of the batch was booked and every caller is told so. One
gap no database closes: a commit whose sync fails and whose machine then dies at once may be found whole in
the log. Callers resend the same request under the same id, so even then nothing is booked twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from gateway.errors import GatewayBusy, StoreUnavailable
from gateway.storage.sqlite.database import open_connection, savepoint, translated_errors

BATCH_MAX: Final = 256
"""Most items of one commit: bounds how long the first of them waits for the last."""
QUEUE_MAX: Final = 10_000

T = TypeVar("T")


class Writer:
    """Owns the writing connection and its thread; made and used within one event loop."""

    def __init__(self, path: Path, queue_max: int = QUEUE_MAX) -> None:
        """Start the thread; it connects when the first item arrives, and again after a failure."""
        self._path = path
        self._queue_max = queue_max
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_AnyItem] = deque()
        self._arrived = threading.Condition()
        self._closing = False
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
        future: asyncio.Future[T] = self._loop.create_future()
        with self._arrived:
            if self._closing:
                raise StoreUnavailable("the store is closed")
            if len(self._waiting) >= self._queue_max:
                raise GatewayBusy("too many writes are waiting")
            self._waiting.append(_Item(work, future))
            self._arrived.notify()
        return future

    async def close(self) -> None:
        """Commit what is queued, then end the thread; repeatable."""
        with self._arrived:
            self._closing = True
            self._arrived.notify()
        await asyncio.to_thread(self._thread.join)

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
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]

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
        for item in batch:
            item.run(connection)
            if not connection.in_transaction:
                raise StoreUnavailable("the database gave up the transaction")
        connection.execute("COMMIT")

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

    def run(self, connection: sqlite3.Connection) -> None: ...

    def fail(self, error: Exception) -> None: ...

    def deliver(self) -> None: ...


class _Item(Generic[T]):
    """One piece of work, and what became of it until its future may be told."""

    __slots__ = ("_error", "_future", "_result", "_work")

    def __init__(self, work: Callable[[sqlite3.Connection], T], future: asyncio.Future[T]) -> None:
        self._work = work
        self._future = future
        self._result: T
        self._error: Exception | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        try:
            with translated_errors(), savepoint(connection):
                self._result = self._work(connection)
        # A poisoned item fails alone: its caller gets the error, its neighbours are booked.
        except Exception as error:  # noqa: BLE001
            self._error = error

    def fail(self, error: Exception) -> None:
        failure = StoreUnavailable(f"the batch was not committed: {error}")
        failure.__cause__ = error
        self._error = failure

    def deliver(self) -> None:
        if self._future.done():
            return
        if self._error is None:
            self._future.set_result(self._result)
        else:
            self._future.set_exception(self._error)


def _deliver(batch: Sequence[_AnyItem]) -> None:
    for item in batch:
        item.deliver()
