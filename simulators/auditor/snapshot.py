"""Books read out of a gateway's database, whichever it is: the queries, and what their rows mean.

Whoever has the database runs the queries, in one transaction that sees one state, and hands over the rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from simulators.auditor.books import Books, StoredGroup, StoredPayment
from simulators.auditor.ledger import Account, Group, Leg

Row = Sequence[Any]
Query = Callable[[str], Iterable[Row]]

ACCOUNTS: Final = (
    "SELECT account_id, currency, debits_must_not_exceed_credits, frozen, debits_pending, debits_posted,"
    " credits_pending, credits_posted FROM accounts"
)
GROUPS: Final = "SELECT sequence, booked_ms, purpose FROM ledger_groups ORDER BY sequence"
TRANSFER_COLUMNS: Final = (
    "group_sequence, transfer_id, kind, debit_account_id, credit_account_id, amount_minor, currency,"
    " pending_id, expires_ms"
)
TRANSFERS: Final = f"SELECT {TRANSFER_COLUMNS} FROM transfers ORDER BY group_sequence, leg_index"  # noqa: S608
PENDINGS: Final = "SELECT transfer_id, state FROM pendings"
PAYMENT_COLUMNS: Final = (
    "payment_id, attempt_id, terminal_id, merchant_id, order_id, amount_minor, currency,"
    " instrument_id, decline_code, receipt_number, group_sequence, decided_ms"
)
PAYMENTS: Final = f"SELECT {PAYMENT_COLUMNS} FROM payments"  # noqa: S608

QUERIES: Final = (ACCOUNTS, GROUPS, TRANSFERS, PENDINGS, PAYMENTS)


def read_books(query: Query) -> Books:
    """Return the books that a database holds.

    Args:
        query: returns the rows of one of QUERIES, columns by position; all of them from one state.
    """
    legs: dict[int, list[Leg]] = defaultdict(list)
    for sequence, *columns in query(TRANSFERS):
        legs[sequence].append(leg_of(columns))
    return Books(
        accounts={bytes(row[0]): account_of(row[1:]) for row in query(ACCOUNTS)},
        groups=tuple(
            StoredGroup(sequence, booked_ms, Group(tuple(legs[sequence]), purpose))
            for sequence, booked_ms, purpose in query(GROUPS)
        ),
        payments=tuple(StoredPayment(*row) for row in query(PAYMENTS)),
        pending_states={bytes(transfer_id): state for transfer_id, state in query(PENDINGS)},
    )


def account_of(row: Row) -> Account:
    """Return an account from the columns of ACCOUNTS behind its id."""
    currency, limited, frozen, *counters = row
    return Account(currency, bool(limited), bool(frozen), *counters)


def leg_of(row: Row) -> Leg:
    """Return a transfer from the columns of TRANSFERS behind its group's sequence."""
    transfer_id, kind, debit_id, credit_id, amount, currency, pending_id, expires_ms = row
    pending = None if pending_id is None else bytes(pending_id)
    ids = bytes(debit_id), bytes(credit_id)
    return Leg(bytes(transfer_id), kind, *ids, amount, currency, pending, expires_ms)
