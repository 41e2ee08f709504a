"""The ledger's book in SQLite: functions that run inside the writer's transaction.

A batch is read set by set, decided in memory (gateway/ledger/workbook.py), and written set by set; every
counter is checked once more by the WHERE of the very UPDATE that moves it. Under the write lock such a guard
never refuses what was decided on facts read under that lock: one that does is our own bug, and undoes all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.errors import GatewayError, NotFound
from gateway.ledger import rules
from gateway.ledger.accounts import expiry_of, operator_account_id
from gateway.ledger.book import EXPIRIES_PER_BOOKING_MAX
from gateway.ledger.chain import GENESIS, hash_group
from gateway.ledger.model import (
    COUNTER_MAX,
    Account,
    AccountKind,
    GroupPurpose,
    PendingState,
    Transfer,
    TransferGroup,
    TransferKind,
)
from gateway.ledger.outcomes import GroupOutcome, Outcome
from gateway.ledger.workbook import (
    BookedGroup,
    LedgerChanges,
    LedgerFacts,
    PendingEnd,
    Workbook,
    ids_of,
)
from gateway.storage.records import read_account
from gateway.storage.sqlite.database import insert
from gateway.storage.sqlite.queries import Row, list_rows, load_queries, write_rows

SQL = load_queries("ledger")

_ACCOUNT_KINDS: Final = {kind.value: kind for kind in AccountKind}
# Plain texts: a member of an enumeration goes through sqlite3's adapters, which costs microseconds.
_TEXT_OF: Final = {member: member.value for members in (TransferKind, GroupPurpose) for member in members}


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last group in the ledger; before the first one, its place is 0."""

    sequence: int
    hash: bytes


def open_account(connection: sqlite3.Connection, account: Account, now_ms: int) -> None:
    """Open an account with zero counters; IdempotencyConflict if its id is taken."""
    values = {
        "account_id": account.account_id,
        "kind": account.kind,
        "currency": account.currency,
        "debits_must_not_exceed_credits": account.debits_must_not_exceed_credits,
        "frozen": account.frozen,
        "opened_ms": now_ms,
    }
    insert(connection, SQL["open_account"], values)


def open_operator_account(
    connection: sqlite3.Connection, kind: AccountKind, currency: str, now_ms: int
) -> None:
    """Open the operator's account of this kind and currency unless it is open."""
    account_id = operator_account_id(kind, currency)
    values = {"account_id": account_id, "kind": kind, "currency": currency, "opened_ms": now_ms}
    connection.execute(SQL["open_operator_account"], values)


def find_account(connection: sqlite3.Connection, account_id: bytes) -> Account | None:
    """Return an account as it stands, or None."""
    row = connection.execute(SQL["find_account"], {"account_id": account_id}).fetchone()
    return None if row is None else read_account(row)


def set_account_frozen(connection: sqlite3.Connection, account_id: bytes, frozen: bool) -> None:
    """Freeze or unfreeze an account; NotFound if there is none."""
    values = {"account_id": account_id, "frozen": frozen}
    if connection.execute(SQL["set_account_frozen"], values).rowcount == 0:
        raise NotFound("there is no such account")


def book(connection: sqlite3.Connection, groups: Sequence[TransferGroup], now_ms: int) -> list[GroupOutcome]:
    """Let go of due holds, then book groups in order, each all or nothing."""
    expiries = list_due_expiries(connection, now_ms)
    facts = read_facts(connection, [*expiries, *groups])
    head = find_chain_head(connection)
    workbook = Workbook(facts, head.sequence + 1)
    let_go(workbook, expiries, now_ms)
    outcomes = [workbook.book_group(group, now_ms) for group in groups]
    write_changes(connection, workbook.changes(), head)
    return outcomes


def expire_pendings(connection: sqlite3.Connection, now_ms: int) -> int:
    """Book the expiry of up to EXPIRIES_PER_BOOKING_MAX due holds; return how many."""
    expiries = list_due_expiries(connection, now_ms)
    if expiries:
        book(connection, [], now_ms)
    return len(expiries)


def list_due_expiries(connection: sqlite3.Connection, now_ms: int) -> list[TransferGroup]:
    """Return the groups that let go of due holds, longest due first, EXPIRIES_PER_BOOKING_MAX at most."""
    values = {"now_ms": now_ms, "rows_max": EXPIRIES_PER_BOOKING_MAX}
    rows = connection.execute(SQL["list_due_pendings"], values)
    return [expiry_of(_transfer(tuple(row))) for row in rows]


def let_go(workbook: Workbook, expiries: Iterable[TransferGroup], now_ms: int) -> None:
    """Book the expiry of holds that are due."""
    for expiry in expiries:
        answer = workbook.book_group(expiry, now_ms)
        assert answer.outcome is Outcome.BOOKED, "a due hold is always let go"


def find_chain_head(connection: sqlite3.Connection) -> ChainHead:
    """Return the last group; read inside the transaction, since another process may have booked."""
    row = connection.execute(SQL["find_chain_head"]).fetchone()
    return ChainHead(0, GENESIS) if row is None else ChainHead(row["sequence"], row["hash"])


def read_facts(connection: sqlite3.Connection, groups: Iterable[TransferGroup]) -> LedgerFacts:
    """Read everything that groups name."""
    transfer_ids, pending_ids, account_ids = ids_of(groups)
    return LedgerFacts(
        accounts=read_accounts(connection, account_ids),
        booked_legs={row[0]: _booked_leg(row) for row in _list(connection, "list_booked_legs", transfer_ids)},
        pendings=read_pendings(connection, pending_ids),
    )


def read_pendings(
    connection: sqlite3.Connection, transfer_ids: Collection[bytes]
) -> dict[bytes, rules.Pending]:
    """Read pending transfers with what became of them, by id."""
    rows = _list(connection, "list_pendings", transfer_ids)
    return {row[0]: rules.Pending(_transfer(row), PendingState(row[8])) for row in rows}


def read_accounts(connection: sqlite3.Connection, account_ids: Collection[bytes]) -> dict[bytes, Account]:
    """Read accounts as they stand, by id."""
    return {row[0]: account_of(row) for row in _list(connection, "list_accounts", account_ids)}


def account_of(row: Row) -> Account:
    """Return the account in a row that begins with the columns of the query list_accounts."""
    return Account(row[0], _ACCOUNT_KINDS[row[1]], row[2], bool(row[3]), bool(row[4]), *row[5:9])


def write_changes(connection: sqlite3.Connection, changes: LedgerChanges, head: ChainHead) -> None:
    """Write what a batch changes, its groups following the head.

    Raises:
        GatewayError: a guard refused what was decided under the same lock: our own bug.
    """
    _add_groups(connection, changes.groups, head)
    rows = [
        (
            change.account_id,
            change.currency,
            change.debits_pending,
            change.debits_posted,
            change.credits_pending,
            change.credits_posted,
            change.needed_minor,
            change.needs_unfrozen,
            COUNTER_MAX,
        )
        for change in changes.accounts
    ]
    require_all(write_rows(connection, SQL["change_account"], rows), rows, "change_account")
    ends = [_end_row(end) for end in changes.ended_pendings]
    require_all(write_rows(connection, SQL["end_pending"], ends), ends, "end_pending")


def require_all(changed_count: int, rows: Collection[object], guard: str) -> None:
    """Return if a guarded statement changed one row for each of `rows`.

    Raises:
        GatewayError: it did not, though it was decided so under this very lock.
    """
    if changed_count != len(rows):
        raise GatewayError(f"the guard of {guard} refused what was decided under its lock")


def _list(connection: sqlite3.Connection, name: str, ids: Collection[bytes]) -> list[Row]:
    return list_rows(connection, SQL[name], [(one,) for one in ids])


def _add_groups(connection: sqlite3.Connection, groups: Sequence[BookedGroup], head: ChainHead) -> None:
    group_rows, transfer_rows, pending_rows = [], [], []
    sequence, previous_hash = head.sequence, head.hash
    for booked in groups:
        group, booked_ms = booked.group, booked.booked_ms
        sequence += 1
        previous_hash = hash_group(previous_hash, sequence, booked_ms, group)
        group_rows.append((sequence, _TEXT_OF[group.purpose], booked_ms, len(group.legs), previous_hash))
        for leg_index, leg in enumerate(group.legs):
            transfer_rows.append(_transfer_row(leg, sequence, leg_index))
            if leg.kind is TransferKind.PENDING:
                pending_rows.append((leg.transfer_id, leg.expires_ms))
    write_rows(connection, SQL["add_group"], group_rows)
    write_rows(connection, SQL["add_transfer"], transfer_rows)
    write_rows(connection, SQL["add_pending"], pending_rows)


def _transfer_row(leg: Transfer, sequence: int, leg_index: int) -> Row:
    return (
        sequence,
        leg_index,
        leg.transfer_id,
        _TEXT_OF[leg.kind],
        leg.debit_account_id,
        leg.credit_account_id,
        leg.amount_minor,
        leg.currency,
        leg.pending_id,
        leg.expires_ms,
    )


def _end_row(end: PendingEnd) -> Row:
    return end.pending_id, rules.state_after(end.kind), end.now_ms, end.kind is TransferKind.EXPIRE


def _transfer(row: Row) -> Transfer:
    return Transfer(row[0], TransferKind(row[1]), *row[2:8])


def _booked_leg(row: Row) -> rules.BookedLeg:
    sequence, leg_index, leg_count, purpose = row[8:12]
    return rules.BookedLeg(_transfer(row), sequence, leg_index, leg_count, GroupPurpose(purpose))
