"""One change of one payment: read, judged (gateway/payments/life.py) and written under the chain's lock.

Changes are rare beside payments, so they don't go the way of batches, which decide first and lock later:
whoever holds the lock reads what is so, and nobody can change it before the commit.
"""

from __future__ import annotations

from gateway.errors import GatewayError
from gateway.ledger.workbook import LedgerFacts, Workbook
from gateway.payments.changes import PaymentChanges
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
from gateway.storage.postgres.booking import Plan, let_go, write_plan
from gateway.storage.postgres.database import Connection, GuardRefused, execute, fetch, fetch_row
from gateway.storage.postgres.facts import list_due_expiries, read_ledger_facts, read_touched
from gateway.storage.postgres.queries import load_queries
from gateway.storage.store import EVENTS_PER_CALL_MAX, PAGE_ROWS_MAX

SQL = load_queries("life")
LEDGER_SQL = load_queries("ledger")
UNPLACED_GROUPS = 1


async def change_payment(connection: Connection, change: PaymentChange, now_ms: int) -> Changed:
    """Change one payment, or answer what a repeat of the change is answered.

    Raises:
        NotFound: no such payment, or not of the merchant of the terminal that asks.
        PaymentRefused: it can't be changed so; nothing was written.
    """
    async with connection.transaction():
        await fetch_row(connection, LEDGER_SQL["lock_chain_head"], {})
        facts, ledger_facts = await _read_facts(connection, change, now_ms)
        expiries = await list_due_expiries(connection, now_ms)
        due = await read_ledger_facts(connection, expiries)
        ledger_facts.accounts |= due.accounts
        ledger_facts.booked_legs |= due.booked_legs
        ledger_facts.pendings |= due.pendings
        workbook = Workbook(ledger_facts, UNPLACED_GROUPS)
        let_go(workbook, expiries, now_ms)
        changes = decide_change(facts, change, workbook, now_ms)
        try:
            plan = Plan(workbook.changes(), PaymentChanges(), lambda written: written.first_sequence)
            first_sequence = plan.answer(await write_plan(connection, plan))
        except GuardRefused as refused:
            raise GatewayError(f"{refused.guard} refused what was decided under the lock") from refused
        # The change's own group, if it has one, is the last: due holds were let go before it.
        await _write_changes(connection, facts.record, changes, first_sequence + workbook.group_count - 1)
    return changes.answer


async def list_due_payments(connection: Connection, now_ms: int, after_id: str) -> list[str]:
    """Return a page of ids of open payments whose deadline has passed, in id order."""
    values = {"now_ms": now_ms, "after_id": after_id, "rows_max": PAGE_ROWS_MAX}
    return [row["payment_id"] for row in await fetch(connection, SQL["list_due_payments"], values)]


async def list_terminal_events(connection: Connection, terminal_id: str, after: int) -> list[TerminalEvent]:
    """Return what happened to a terminal's payments without its asking, in order, after an event."""
    values = {"terminal_id": terminal_id, "after": after, "rows_max": EVENTS_PER_CALL_MAX}
    rows = await fetch(connection, SQL["list_terminal_events"], values)
    return [TerminalEvent(row["sequence"], row["payment_id"], row["at_ms"]) for row in rows]


async def find_last_event(connection: Connection, terminal_id: str) -> int:
    """Return the sequence of a terminal's last event; 0 if it has none."""
    row = await fetch_row(connection, SQL["find_last_event"], {"terminal_id": terminal_id})
    return 0 if row is None else int(row["sequence"])


async def forget_terminal_events(connection: Connection, before_ms: int) -> int:
    """Remove up to PAGE_ROWS_MAX events from before a time; return how many it were."""
    values = {"before_ms": before_ms, "rows_max": PAGE_ROWS_MAX}
    return await execute(connection, SQL["forget_terminal_events"], values)


async def _read_facts(
    connection: Connection, change: PaymentChange, now_ms: int
) -> tuple[LifeFacts, LedgerFacts]:
    values = {"payment_id": change.payment_id}
    payment = await fetch_row(connection, SQL["find_payment"], values)
    refunds = await fetch(connection, SQL["list_refunds"], values)
    question, terminal = question_of_terminal(change, now_ms), None
    if question is not None:
        name, asked = question
        terminal = await fetch_row(connection, SQL[name], asked)
    facts = read_life_facts(change, payment, refunds, terminal)
    return facts, await read_touched(connection, facts.parties.account_ids, hold_of(facts.record))


async def _write_changes(
    connection: Connection, record: PaymentRecord, changes: LifeChanges, group_sequence: int
) -> None:
    step = changes.step
    if step is not None:
        for name, values in statements_of_step(record, step, group_sequence):
            await _change_one(connection, name, values)
    if changes.refund is not None:
        await _change_one(connection, "add_refund", values_of_refund(changes.refund, group_sequence))
    if changes.resets_pin_tries:
        await execute(connection, SQL["reset_pin_tries"], {"payment_id": record.payment_id})
    if changes.terminal_is_told and step is not None:
        await execute(connection, SQL["add_terminal_event"], values_of_event(record, step.at_ms))


async def _change_one(connection: Connection, name: str, values: Values) -> None:
    if await execute(connection, SQL[name], values) != 1:
        raise GatewayError(f"the guard of {name} refused what was decided under the lock")
