"""A batch, read, decided and written: without a lock while it is decided, and in one call when it is written.

Another gateway may change meanwhile what was read. Then a guard of `book_batch` refuses, everything is
undone, and the batch is read and decided anew; the last time with the head of the chain locked before it is
read, so that nobody can change anything any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog
from msgspec.structs import replace

from gateway.errors import GatewayError
from gateway.ledger.model import TransferGroup
from gateway.ledger.outcomes import GroupOutcome, Outcome
from gateway.ledger.workbook import LedgerChanges, Workbook
from gateway.payments.changes import Draft, PaymentChanges
from gateway.payments.decide import Decision, Register
from gateway.payments.model import PaymentBooking, PaymentRecord
from gateway.storage.postgres.changes import Written, book_arguments
from gateway.storage.postgres.database import Connection, GuardRefused, call_guarded, fetch_row
from gateway.storage.postgres.facts import list_due_expiries, read_ledger_facts, read_payment_facts
from gateway.storage.postgres.queries import load_queries

TRIES_WITHOUT_LOCK_MAX: Final = 2
UNPLACED: Final = 1 << 62
"""Where a batch is thought to begin until it is written: beyond every sequence there will be."""

SQL = load_queries("ledger")
PAYMENTS_SQL = load_queries("payments")
T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """What a batch changes, and what is answered once that is written."""

    ledger: LedgerChanges
    payments: PaymentChanges
    answer: Callable[[Written], T]

    @property
    def changes_nothing(self) -> bool:
        """Say whether there is nothing to write: only repeats and errors."""
        return not (self.ledger.groups or self.payments.drafts)


Decide = Callable[[Connection], Awaitable[Plan[T]]]


async def book_payments(
    connection: Connection, bookings: Sequence[PaymentBooking]
) -> list[PaymentRecord | GatewayError]:
    """Decide attempts and store the decisions, each answered by its record or by its own error.

    Raises:
        GatewayError: one of them can't be booked for a reason of our own; nothing was booked.
        asyncpg.PostgresError, OSError: as the driver does; to be translated by the caller.
    """
    return await _book(connection, lambda lent: _decide_payments(lent, bookings))


async def book_groups(
    connection: Connection, groups: Sequence[TransferGroup], now_ms: int
) -> list[GroupOutcome]:
    """Let go of due holds, then book groups in order, each all or nothing; raises as `book_payments`."""
    return await _book(connection, lambda lent: _decide_groups(lent, groups, now_ms))


async def expire_pendings(connection: Connection, now_ms: int) -> int:
    """Book the expiry of due holds and return how many it were; raises as `book_payments`."""
    return await _book(connection, lambda lent: _decide_expiries(lent, now_ms))


async def _book(connection: Connection, decide: Decide[T]) -> T:
    for _ in range(TRIES_WITHOUT_LOCK_MAX):
        plan = await decide(connection)
        try:
            return plan.answer(await write_plan(connection, plan))
        except GuardRefused as refused:
            log.info("batch_decided_anew", guard=refused.guard)
    async with connection.transaction():
        await fetch_row(connection, SQL["lock_chain_head"], {})
        plan = await decide(connection)
        try:
            written = await write_plan(connection, plan)
        except GuardRefused as refused:
            raise GatewayError(f"{refused.guard} refused what was decided under the lock") from refused
    return plan.answer(written)


async def write_plan(connection: Connection, plan: Plan[T]) -> Written:
    """Write what a plan changes, whole or not at all.

    Raises:
        GuardRefused: the facts were no longer so.
    """
    if plan.changes_nothing:
        return Written(UNPLACED, {})
    arguments = book_arguments(plan.ledger, plan.payments)
    row = await call_guarded(connection, PAYMENTS_SQL["book_batch"].sql, arguments)
    counts = zip(plan.payments.receipts, row["receipt_counts"], strict=True)
    return Written(row["first_sequence"], dict(counts))


async def _decide_payments(
    connection: Connection, bookings: Sequence[PaymentBooking]
) -> Plan[list[PaymentRecord | GatewayError]]:
    now_ms = max(booking.now_ms for booking in bookings)
    facts, ledger_facts, expiries = await read_payment_facts(connection, bookings, now_ms)
    workbook = Workbook(ledger_facts, UNPLACED)
    let_go(workbook, expiries, now_ms)
    register = Register(facts, workbook)
    decisions = [register.decide(booking) for booking in bookings]
    return Plan(
        workbook.changes(), register.changes, lambda written: [_answer(one, written) for one in decisions]
    )


async def _decide_groups(
    connection: Connection, groups: Sequence[TransferGroup], now_ms: int
) -> Plan[list[GroupOutcome]]:
    expiries = await list_due_expiries(connection, now_ms)
    workbook = Workbook(await read_ledger_facts(connection, [*expiries, *groups]), UNPLACED)
    let_go(workbook, expiries, now_ms)
    outcomes = [workbook.book_group(group, now_ms) for group in groups]
    return Plan(
        workbook.changes(), PaymentChanges(), lambda written: [_place(one, written) for one in outcomes]
    )


async def _decide_expiries(connection: Connection, now_ms: int) -> Plan[int]:
    expiries = await list_due_expiries(connection, now_ms)
    workbook = Workbook(await read_ledger_facts(connection, expiries), UNPLACED)
    count = let_go(workbook, expiries, now_ms)
    return Plan(workbook.changes(), PaymentChanges(), lambda _: count)


def let_go(workbook: Workbook, expiries: Sequence[TransferGroup], now_ms: int) -> int:
    """Book the expiry of holds that are due, and return how many it were."""
    # What another gateway let go of since the due ones were listed is over already, and not counted.
    outcomes = [workbook.book_group(expiry, now_ms).outcome for expiry in expiries]
    return sum(outcome is Outcome.BOOKED for outcome in outcomes)


def _answer(decision: Decision, written: Written) -> PaymentRecord | GatewayError:
    return decision.record(written.receipt_counts) if isinstance(decision, Draft) else decision


def _place(outcome: GroupOutcome, written: Written) -> GroupOutcome:
    if outcome.sequence is None or outcome.sequence < UNPLACED:
        return outcome
    return replace(outcome, sequence=outcome.sequence - UNPLACED + written.first_sequence)
