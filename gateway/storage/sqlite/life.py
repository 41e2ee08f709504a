"""One change of one payment: read, judged (gateway/payments/life.py), written in the writer's transaction."""

from __future__ import annotations

import sqlite3

from gateway.ledger.workbook import LedgerFacts, Workbook
from gateway.payments.life import PaymentChange, decide_change
from gateway.payments.life_changes import Changed, LifeChanges, LifeFacts
from gateway.payments.model import PaymentRecord, TerminalEvent
from gateway.storage.life_rows import (
    Values,
    hold_of,
    question_of_terminal,
    read_life_facts,
    statements_of_step,
    values_of_event,
    values_of_refund,
)
from gateway.storage.sqlite import ledger
from gateway.storage.sqlite.ledger import require_all
from gateway.storage.sqlite.queries import load_queries
from gateway.storage.store import EVENTS_PER_CALL_MAX, PAGE_ROWS_MAX

SQL = load_queries("life")


def change_payment(connection: sqlite3.Connection, change: PaymentChange, now_ms: int) -> Changed:
    """Change one payment, or answer what a repeat of the change is answered.

    Raises:
        NotFound: no such payment, or not of the merchant of the terminal that asks.
        PaymentRefused: it can't be changed so; nothing was written.
    """
    facts, ledger_facts = _read_facts(connection, change, now_ms)
    expiries = ledger.list_due_expiries(connection, now_ms)
    due = ledger.read_facts(connection, expiries)
    ledger_facts.accounts |= due.accounts
    ledger_facts.booked_legs |= due.booked_legs
    ledger_facts.pendings |= due.pendings
    head = ledger.find_chain_head(connection)
    workbook = Workbook(ledger_facts, head.sequence + 1)
    ledger.let_go(workbook, expiries, now_ms)
    changes = decide_change(facts, change, workbook, now_ms)
    ledger.write_changes(connection, workbook.changes(), head)
    # The change's own group, if it has one, is the last: due holds were let go before it.
    _write_changes(connection, facts.record, changes, head.sequence + workbook.group_count)
    return changes.answer


def list_due_payments(connection: sqlite3.Connection, now_ms: int, after_id: str) -> list[str]:
    """Return a page of ids of open payments whose deadline has passed, in id order."""
    values = {"now_ms": now_ms, "after_id": after_id, "rows_max": PAGE_ROWS_MAX}
    return [row["payment_id"] for row in connection.execute(SQL["list_due_payments"], values)]


def list_terminal_events(connection: sqlite3.Connection, terminal_id: str, after: int) -> list[TerminalEvent]:
    """Return what happened to a terminal's payments without its asking, in order, after an event."""
    values = {"terminal_id": terminal_id, "after": after, "rows_max": EVENTS_PER_CALL_MAX}
    return [TerminalEvent(*row) for row in connection.execute(SQL["list_terminal_events"], values)]


def find_last_event(connection: sqlite3.Connection, terminal_id: str) -> int:
    """Return the sequence of a terminal's last event; 0 if it has none."""
    row = connection.execute(SQL["find_last_event"], {"terminal_id": terminal_id}).fetchone()
    return int(row["sequence"])


def forget_terminal_events(connection: sqlite3.Connection, before_ms: int) -> int:
    """Remove up to PAGE_ROWS_MAX events from before a time; return how many it were."""
    values = {"before_ms": before_ms, "rows_max": PAGE_ROWS_MAX}
    return connection.execute(SQL["forget_terminal_events"], values).rowcount


def _read_facts(
    connection: sqlite3.Connection, change: PaymentChange, now_ms: int
) -> tuple[LifeFacts, LedgerFacts]:
    values = {"payment_id": change.payment_id}
    payment = connection.execute(SQL["find_payment"], values).fetchone()
    refunds = connection.execute(SQL["list_refunds"], values).fetchall()
    question, terminal = question_of_terminal(change, now_ms), None
    if question is not None:
        name, asked = question
        terminal = connection.execute(SQL[name], asked).fetchone()
    facts = read_life_facts(change, payment, refunds, terminal)
    accounts = ledger.read_accounts(connection, facts.parties.account_ids)
    return facts, LedgerFacts(accounts, pendings=ledger.read_pendings(connection, hold_of(facts.record)))


def _write_changes(
    connection: sqlite3.Connection, record: PaymentRecord, changes: LifeChanges, group_sequence: int
) -> None:
    step = changes.step
    if step is not None:
        for name, values in statements_of_step(record, step, group_sequence):
            _change_one(connection, name, values)
    if changes.refund is not None:
        _change_one(connection, "add_refund", values_of_refund(changes.refund, group_sequence))
    if changes.resets_pin_tries:
        connection.execute(SQL["reset_pin_tries"], {"payment_id": record.payment_id})
    if changes.terminal_is_told and step is not None:
        connection.execute(SQL["add_terminal_event"], values_of_event(record, step.at_ms))


def _change_one(connection: sqlite3.Connection, name: str, values: Values) -> None:
    require_all(connection.execute(SQL[name], values).rowcount, (values,), name)
