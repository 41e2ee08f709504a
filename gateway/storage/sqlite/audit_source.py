"""The books in a SQLite file, as an auditor reads them: a connection of its own, one read transaction.

The file is read in the order it is stored in. What has to be sorted (orders, days, token uses) is sorted by
SQLite in temporary files, so memory stays at two caches of CACHE_KIB, however many payments there are;
SQLITE_TMPDIR says where those files are made, and they take about 60 bytes a payment while they last.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

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
from gateway.storage.sqlite.database import listen_to_signals, open_connection, translated_errors
from gateway.storage.sqlite.migrate import read_migrations
from gateway.storage.sqlite.queries import load_queries

CACHE_KIB: Final = 65_536
"""Pages kept, and rows sorted at a time before they go to a temporary file."""

SQL = load_queries("audit")


@contextlib.contextmanager
def open_audit_source(path: Path) -> Iterator[SqliteAuditSource]:
    """Open one snapshot of the file; a gateway may go on booking beside it.

    Its log grows until the snapshot is closed: of a large and busy ledger audit a backup instead.

    Raises:
        ConfigurationError: the file has another version of the schema.
        StoreUnavailable: it can't be read.
    """
    with contextlib.closing(open_connection(path, writable=False)) as connection, translated_errors():
        connection.row_factory = None
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA temp_store = FILE")
        listen_to_signals(connection)
        connection.execute("BEGIN")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != len(read_migrations()):
            raise ConfigurationError("the database file has another version: migrate it first")
        yield SqliteAuditSource(connection)


class SqliteAuditSource:
    """Keeps gateway.storage.audit_source.AuditSource over an open read transaction; see there."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

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
        with translated_errors():
            # No `yield from`: it would hand a late close() on to the cursor, whose database an audit that
            # stopped at a break has closed by then.
            for row in self._connection.execute(SQL[name], values):  # noqa: UP028
                yield row
