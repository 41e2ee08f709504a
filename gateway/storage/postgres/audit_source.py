"""The books in a PostgreSQL database, as an auditor reads them: one connection, one read transaction.

An audit is plain synchronous code, and the driver is not; so the connection lives in a thread of its own,
which fetches ROWS_PER_FETCH rows at a time of each stream that the auditor reads. What has to be sorted, the
server sorts, in its own temporary files.

The snapshot stays open as long as the audit takes, and until then the server keeps old versions of rows that
bookings change. Of a large and busy ledger audit a standby server or a restored backup instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Iterator
from typing import Any, Final, TypeVar

from gateway.errors import ConfigurationError
from gateway.payments.settlement import DAY_MS
from gateway.storage.audit_source import (
    AccountRow,
    BookedPaymentRow,
    BookedRecordRow,
    BookedRefundRow,
    BookedStepRow,
    CredentialRow,
    DayRow,
    GroupRow,
    MerchantRow,
    OfflineRecordRow,
    OpenPaymentRow,
    OrderRow,
    OrderSumRow,
    PaymentRow,
    RefundRow,
    StepRow,
    TransferRow,
)
from gateway.storage.postgres.database import (
    READING_SETTINGS,
    Connection,
    Cursor,
    Patience,
    connect,
    end_connection,
    open_cursor,
    translated_errors,
)
from gateway.storage.postgres.migrate import read_migrations, read_version
from gateway.storage.postgres.queries import load_queries

ROWS_PER_FETCH: Final = 2_000
PATIENCE: Final = Patience(statement_ms=0, idle_in_transaction_ms=0, command_ms=0)
"""Sorting a large table takes as long as it takes."""

BEGIN: Final = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

SQL = load_queries("audit")
T = TypeVar("T")


@contextlib.contextmanager
def open_audit_source(url: str) -> Iterator[PostgresAuditSource]:
    """Open one snapshot of the books; gateways may go on booking beside it.

    Raises:
        ConfigurationError: the database has another version of the schema, or there is none.
        StoreUnavailable: it can't be read.
    """
    with _LoopThread() as thread:
        connection = thread.run(connect(url, PATIENCE, READING_SETTINGS))
        try:
            thread.run(_begin(connection))
            yield PostgresAuditSource(connection, thread)
        finally:
            thread.run(end_connection(connection))


class PostgresAuditSource:
    """Keeps gateway.storage.audit_source.AuditSource over an open read transaction; see there."""

    def __init__(self, connection: Connection, thread: _LoopThread) -> None:
        self._connection = connection
        self._thread = thread

    def count_groups(self) -> int:
        return self._count("count_groups")

    def accounts(self) -> Iterator[AccountRow]:
        return self._rows("list_accounts")

    def merchants(self) -> Iterator[MerchantRow]:
        return self._rows("list_merchants")

    def groups(self) -> Iterator[GroupRow]:
        return self._rows("list_groups")

    def transfers(self) -> Iterator[TransferRow]:
        return self._rows("list_transfers")

    def booked_payments(self) -> Iterator[BookedPaymentRow]:
        return self._rows("list_booked_payments")

    def booked_steps(self) -> Iterator[BookedStepRow]:
        return self._rows("list_booked_steps")

    def booked_refunds(self) -> Iterator[BookedRefundRow]:
        return self._rows("list_booked_refunds")

    def booked_records(self) -> Iterator[BookedRecordRow]:
        return self._rows("list_booked_records")

    def credentials(self) -> Iterator[CredentialRow]:
        return self._rows("list_credentials")

    def offline_records(self) -> Iterator[OfflineRecordRow]:
        return map(OfflineRecordRow._make, self._rows("list_offline_records"))

    def count_pendings(self) -> int:
        return self._count("count_pendings")

    def payments(self) -> Iterator[PaymentRow]:
        return self._rows("list_payments")

    def steps(self) -> Iterator[StepRow]:
        return self._rows("list_steps")

    def refunds(self) -> Iterator[RefundRow]:
        return self._rows("list_refunds")

    def open_payments(self) -> Iterator[OpenPaymentRow]:
        return self._rows("list_open_payments")

    def token_payment_ids(self) -> Iterator[tuple[str]]:
        return self._rows("list_token_payment_ids")

    def copied_payment_ids(self) -> Iterator[tuple[str]]:
        return self._rows("list_copied_payment_ids")

    def orders(self) -> Iterator[OrderRow]:
        return self._rows("list_orders")

    def order_sums(self) -> Iterator[OrderSumRow]:
        return self._rows("list_order_sums")

    def days(self) -> Iterator[DayRow]:
        return self._rows("list_days")

    def day_sums(self) -> Iterator[DayRow]:
        return self._rows("list_day_sums", day_ms=DAY_MS)

    def _count(self, name: str) -> int:
        ((count,),) = self._rows(name)
        return int(count)

    def _rows(self, name: str, **values: int) -> Iterator[Any]:
        cursor = self._thread.run(open_cursor(self._connection, SQL[name], values))
        while rows := self._thread.run(_fetch(cursor)):
            yield from rows


class _LoopThread:
    """An event loop in a thread, for a caller that has none, or that may not wait in its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="audit-reader", daemon=True)

    def __enter__(self) -> _LoopThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Awaitable[T]) -> T:
        """Wait for the work; Ctrl-C ends the waiting, and the work with it."""

        async def translated() -> T:
            with translated_errors():
                return await work

        future = asyncio.run_coroutine_threadsafe(translated(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


async def _begin(connection: Connection) -> None:
    await connection.execute(BEGIN)
    if await read_version(connection) != len(read_migrations()):
        raise ConfigurationError("the database has another version: migrate it first")


async def _fetch(cursor: Cursor) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await cursor.fetch(ROWS_PER_FETCH)]
