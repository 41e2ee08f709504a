"""The gateway's SQLite store without its threads: the same statements, run in the event loop.

The database is in memory and outlives the gateway that uses it, as a file outlives a process. A commit takes
some virtual milliseconds, in which others join it, as they do in the writer's group commits.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from gateway.errors import StoreUnavailable
from gateway.storage.sqlite import writer as writing
from gateway.storage.sqlite.database import _configure, translated_errors
from gateway.storage.sqlite.payments import book_payments
from gateway.storage.sqlite.store import SqliteStore
from gateway.storage.sqlite.writer import BATCH_MAX, QUEUE_MAX, Writer

T = TypeVar("T")


class Fate(Enum):
    """What becomes of a commit."""

    COMMITTED = "committed"
    UNAVAILABLE = "unavailable"
    UNCERTAIN = "uncertain"
    """It stands, and whoever waits for it is told that it failed."""
    CRASHED_BEFORE = "crashed before"
    CRASHED_AFTER = "crashed after"


class NoLock:
    """There is no file to lock."""

    def release(self) -> None:
        """Do nothing."""


def open_database(image: bytes) -> sqlite3.Connection:
    """Return a copy of a database, in memory, in the settings of the gateway's own connections."""
    connection = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.deserialize(image)
    _configure(connection, writable=True)
    return connection


class InlineWriter(Writer):
    """The real writer's queue, batches, savepoints and errors; its thread's work is done by timers."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        draw_delay_s: Callable[[], float],
        draw_fate: Callable[[], Fate],
        on_fate: Callable[[Fate], None],
    ) -> None:
        # Not the parent's, which would start the thread.
        self._connection = connection
        self._book_together = book_payments
        self._queue_max = QUEUE_MAX
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Any] = deque()
        self._closing = False
        self._draw_delay_s = draw_delay_s
        self._draw_fate = draw_fate
        self._on_fate = on_fate

    def die(self) -> None:
        """End with the process: nobody of those who wait is told anything."""
        self._closing = True
        self._waiting.clear()

    async def close(self) -> None:
        """Nothing has to be waited for."""
        self.die()

    def _take_in(self, item: Any) -> None:
        if self._closing:
            raise StoreUnavailable("the store is closed")
        self._waiting.append(item)
        if len(self._waiting) == 1:
            self._loop.call_later(self._draw_delay_s(), self._commit_waiting)

    def _commit_waiting(self) -> None:
        if self._closing or not self._waiting:
            return
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
        if self._waiting:
            self._loop.call_later(self._draw_delay_s(), self._commit_waiting)
        fate = self._draw_fate()
        if fate in (Fate.COMMITTED, Fate.UNCERTAIN, Fate.CRASHED_AFTER):
            self._commit(batch)
        if fate in (Fate.UNAVAILABLE, Fate.UNCERTAIN):
            for item in batch:
                item.fail(sqlite3.OperationalError("disk I/O error"))
        if fate not in (Fate.CRASHED_BEFORE, Fate.CRASHED_AFTER):
            writing._deliver(batch)
        self._on_fate(fate)

    def _disconnect(self) -> None:
        # The database is only in this connection; a transaction is undone as closing a file's would.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class InlineReaders:
    """Reads in the event loop, after a moment."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        draw_delay_s: Callable[[], float],
        is_available: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._draw_delay_s = draw_delay_s
        self._is_available = is_available

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query on what is committed."""
        await asyncio.sleep(self._draw_delay_s())
        if not self._is_available():
            raise StoreUnavailable("the database answers SQLITE_IOERR")
        with translated_errors():
            return query(self._connection)

    async def close(self) -> None:
        """Nothing has to be waited for."""


def make_store(writer: InlineWriter, readers: InlineReaders) -> SqliteStore:
    """Return the real store over them."""
    return SqliteStore(writer, readers, NoLock())
