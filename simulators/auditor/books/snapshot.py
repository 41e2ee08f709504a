"""Books read out of a gateway's database, whichever it is: the queries, and what their rows mean.

Whoever has the database runs the queries, in one transaction that sees one state, and hands over the rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from simulators.auditor.books.books import Books, StoredGroup
from simulators.auditor.books.histories import StoredPayment, StoredRecord, StoredRefund, StoredStep
from simulators.auditor.model.ledger import Account, Group, Leg

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
    "payment_id, attempt_id, terminal_id, merchant_id, order_id, amount_minor, currency, instrument_id,"
    " decline_code, receipt_number, group_sequence, decided_ms, outcome, tip_max_minor, fee_minor"
)
PAYMENTS: Final = f"SELECT {PAYMENT_COLUMNS} FROM payments"  # noqa: S608
STEPS: Final = (
    "SELECT payment_id, step_index, step, state, charged_minor, tip_minor, fee_minor, order_released_minor,"
    " day_released_minor, receipt_number, group_sequence, due_ms FROM payment_steps"
)
REFUNDS: Final = (
    "SELECT refund_id, payment_id, amount_minor, total_minor, fee_minor, group_sequence FROM refunds"
)
OPEN_PAYMENTS: Final = "SELECT payment_id, state, due_ms FROM open_payments"
ORDERS: Final = "SELECT merchant_id, order_id, amount_minor, taken_minor FROM orders"
DAYS: Final = "SELECT instrument_id, day, spent_minor FROM spent_days"
RECORDS: Final = (
    "SELECT r.payment_id, r.outcome, r.amount_minor, r.loss_minor, c.account_id FROM offline_records AS r"
    " LEFT JOIN credentials AS c ON c.credential_id = r.credential_id WHERE r.has_payment"
)
CREDENTIALS: Final = "SELECT account_id, allowance_minor, state FROM credentials"

QUERIES: Final = (
    *(ACCOUNTS, GROUPS, TRANSFERS, PENDINGS, PAYMENTS),
    *(STEPS, REFUNDS, OPEN_PAYMENTS, ORDERS, DAYS, RECORDS, CREDENTIALS),
)


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
        steps=tuple(StoredStep(*row) for row in query(STEPS)),
        refunds=tuple(StoredRefund(*row) for row in query(REFUNDS)),
        open_until={payment_id: (state, due_ms) for payment_id, state, due_ms in query(OPEN_PAYMENTS)},
        orders={(row[0], row[1]): (row[2], row[3]) for row in query(ORDERS)},
        spent={(row[0], row[1]): row[2] for row in query(DAYS)},
        records=tuple(_record_of(row) for row in query(RECORDS)),
        allowances={bytes(row[0]): (row[1], row[2]) for row in query(CREDENTIALS)},
    )


def _record_of(row: Row) -> StoredRecord:
    payment_id, outcome, amount_minor, loss_minor, account_id = row
    allowance_id = None if account_id is None else bytes(account_id)
    return StoredRecord(payment_id, outcome, amount_minor, loss_minor, allowance_id)


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
