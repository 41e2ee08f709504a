"""Reading threads, each with a connection of its own, so that a slow read delays no payment."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from gateway.errors import GatewayBusy, StoreUnavailable
from gateway.storage.sqlite.database import open_connection, translated_errors

THREADS: Final = 2
READS_WAITING_MAX: Final = 10_000

T = TypeVar("T")


class Readers:
    """A small pool; what it reads was committed before the read began."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting_count = 0
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="store-reader")
        self._own = threading.local()
        self._connections: set[sqlite3.Connection] = set()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query in a reading thread.

        Raises:
            GatewayBusy: too many reads are waiting.
            StoreUnavailable: the database can't be read, or the store is closed.
        """
        if self._waiting_count >= READS_WAITING_MAX:
            raise GatewayBusy("too many reads are waiting")
        answer = self._submit(query)
        self._waiting_count += 1
        try:
            return await answer
        finally:
            self._waiting_count -= 1

    async def close(self) -> None:
        """Finish what is running, then close the connections; repeatable."""
        await asyncio.to_thread(self._executor.shutdown)
        while self._connections:
            self._connections.pop().close()

    def _submit(self, query: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        try:
            return asyncio.get_running_loop().run_in_executor(self._executor, self._run, query)
        except RuntimeError as error:
            # What an executor says once it is shut down; a query's own errors come through the future.
            raise StoreUnavailable("the store is closed") from error

    def _run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with translated_errors():
                return query(self._connect())
        except StoreUnavailable:
            self._disconnect()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = open_connection(self._path, writable=False)
            self._own.connection = connection
            self._connections.add(connection)
        return connection

    def _disconnect(self) -> None:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is not None:
            self._own.connection = None
            self._connections.discard(connection)
            with contextlib.suppress(sqlite3.Error):
                connection.close()
