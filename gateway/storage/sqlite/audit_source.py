"""The books in a SQLite file, as an auditor reads them."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError
from gateway.ledger.model import Account, GroupPurpose, PendingState, TransferGroup
from gateway.payments.settlement import DAY_MS
from gateway.storage.audit_source import GroupPayment, StoredGroup, StoredPending, UnreadableRow
from gateway.storage.sqlite.database import open_connection, translated_errors
from gateway.storage.sqlite.ledger import read_account, read_transfer
from gateway.storage.sqlite.migrate import read_migrations
from gateway.storage.sqlite.queries import load_queries

SQL = load_queries("audit")

_DERIVED: Final = (
    "payment_without_group",
    "order_total_differs",
    "day_total_differs",
    "receipt_count_differs",
)


@contextlib.contextmanager
def open_audit_source(path: Path) -> Iterator[SqliteAuditSource]:
    """Open one snapshot of the file; a gateway may go on booking beside it.

    Raises:
        ConfigurationError: the file has another version of the schema.
        StoreUnavailable: it can't be read.
    """
    with contextlib.closing(open_connection(path, writable=False)) as connection, translated_errors():
        connection.execute("BEGIN")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != len(read_migrations()):
            raise ConfigurationError("the database file has another version: migrate it first")
        yield SqliteAuditSource(connection)


class SqliteAuditSource:
    """Keeps gateway.storage.audit_source.AuditSource over an open read transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def count_groups(self) -> int:
        """Return how many groups are stored."""
        return self._count("count_groups")

    def groups(self) -> Iterator[StoredGroup]:
        """Yield all groups by sequence; first of all see that every transfer has one."""
        for stray in self._rows("find_transfer_without_group"):
            raise UnreadableRow(f"transfers of group {stray[0]}, which is missing")
        rows = self._rows("list_groups")
        for sequence, legs in itertools.groupby(rows, key=itemgetter("sequence")):
            with _readable(f"group {sequence}"):
                group = _read_group(list(legs))
            yield group

    def accounts(self) -> Iterator[Account]:
        """Yield all accounts with their stored counters."""
        for row in self._rows("list_accounts"):
            with _readable(f"account {bytes(row['account_id']).hex()}"):
                account = read_account(row)
            yield account

    def pendings(self) -> Iterator[StoredPending]:
        """Yield all pending transfers with their stored states."""
        for row in self._rows("list_pendings"):
            with _readable(f"pending transfer {bytes(row['transfer_id']).hex()}"):
                pending = StoredPending(row["transfer_id"], PendingState(row["state"]))
            yield pending

    def count_approved_payments(self) -> int:
        """Return how many payments are stored as approved."""
        return self._count("count_approved_payments")

    def find_derived_break(self) -> tuple[str, str] | None:
        """Return code and place of the first total that does not add up, or None."""
        for code in _DERIVED:
            for row in self._rows(code):
                return code, str(row[0])
        return None

    def _count(self, name: str) -> int:
        (row,) = self._rows(name)
        return int(row[0])

    def _rows(self, name: str) -> Iterator[sqlite3.Row]:
        with translated_errors():
            # No `yield from`: it would hand a late close() on to the cursor, whose database an audit that
            # stopped at a break has closed by then.
            for row in self._connection.execute(SQL[name], {"day_ms": DAY_MS}):  # noqa: UP028
                yield row


@contextlib.contextmanager
def _readable(where: str) -> Iterator[None]:
    try:
        yield
    except (AssertionError, ValueError, TypeError) as error:
        raise UnreadableRow(where) from error


def _read_group(rows: list[sqlite3.Row]) -> StoredGroup:
    head = rows[0]
    legs = [read_transfer(row) for row in rows if row["transfer_id"] is not None]
    if [row["leg_index"] for row in rows] != list(range(len(legs))):
        raise ValueError("legs are missing")
    return StoredGroup(
        sequence=head["sequence"],
        booked_ms=head["booked_ms"],
        leg_count=head["leg_count"],
        hash=head["hash"],
        group=TransferGroup(tuple(legs), GroupPurpose(head["purpose"])),
        payment=_read_payment(head),
    )


def _read_payment(head: sqlite3.Row) -> GroupPayment | None:
    if head["payment_id"] is None:
        return None
    return GroupPayment(
        payment_id=head["payment_id"],
        outcome=head["outcome"],
        amount_minor=head["paid_minor"],
        currency=head["paid_currency"],
        wallet_account_id=head["wallet_account_id"],
        merchant_account_id=head["merchant_account_id"],
    )
