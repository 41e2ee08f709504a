"""The ledger's book in SQLite: functions that run inside the writer's transaction.

A counter is checked by the WHERE of the very UPDATE that moves it; its row count is the verdict. Only
when it did not match are the accounts read, to name the reason (gateway/ledger/rules.py).
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

from gateway.errors import NotFound
from gateway.ledger import rules
from gateway.ledger.book import EXPIRIES_PER_BOOKING_MAX
from gateway.ledger.chain import GENESIS, hash_group
from gateway.ledger.model import (
    COUNTER_MAX,
    ID_BYTES,
    Account,
    AccountKind,
    GroupPurpose,
    PendingState,
    Transfer,
    TransferGroup,
    TransferKind,
)
from gateway.ledger.outcomes import GroupOutcome, Outcome, fail_group
from gateway.storage.sqlite.database import insert, savepoint
from gateway.storage.sqlite.queries import load_queries

SQL = load_queries("ledger")


def operator_account_id(kind: AccountKind, currency: str) -> bytes:
    """Return the id of the operator's own account of this kind and currency; always the same."""
    return _derive_id("account", f"{kind} {currency}".encode("ascii"))


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


def read_account(row: sqlite3.Row) -> Account:
    """Return the account in a row that holds all columns of accounts."""
    return Account(
        account_id=row["account_id"],
        kind=AccountKind(row["kind"]),
        currency=row["currency"],
        debits_must_not_exceed_credits=bool(row["debits_must_not_exceed_credits"]),
        frozen=bool(row["frozen"]),
        debits_pending=row["debits_pending"],
        debits_posted=row["debits_posted"],
        credits_pending=row["credits_pending"],
        credits_posted=row["credits_posted"],
    )


def set_account_frozen(connection: sqlite3.Connection, account_id: bytes, frozen: bool) -> None:
    """Freeze or unfreeze an account; NotFound if there is none."""
    values = {"account_id": account_id, "frozen": frozen}
    if connection.execute(SQL["set_account_frozen"], values).rowcount == 0:
        raise NotFound("there is no such account")


def book(connection: sqlite3.Connection, groups: Sequence[TransferGroup], now_ms: int) -> list[GroupOutcome]:
    """Let go of due holds, then book groups in order, each all or nothing."""
    expire_pendings(connection, now_ms)
    return [book_group(connection, group, now_ms) for group in groups]


def expire_pendings(connection: sqlite3.Connection, now_ms: int) -> int:
    """Book the expiry of up to EXPIRIES_PER_BOOKING_MAX due holds; return how many."""
    values = {"now_ms": now_ms, "rows_max": EXPIRIES_PER_BOOKING_MAX}
    due = [read_transfer(row) for row in connection.execute(SQL["list_due_pendings"], values)]
    for pending in due:
        answer = book_group(connection, _expiry_of(pending), now_ms)
        assert answer.outcome is Outcome.BOOKED, "a due hold is always let go"
    return len(due)


def book_group(connection: sqlite3.Connection, group: TransferGroup, now_ms: int) -> GroupOutcome:
    """Book one group, all or nothing; the caller has seen to due holds."""
    known = rules.check_form(group) or rules.check_repeat(group, _find_booked_legs(connection, group))
    if known is not None:
        return known
    try:
        with savepoint(connection):
            return _book_new(connection, group, now_ms)
    except _LegRefused as refused:
        return fail_group(len(group.legs), refused.leg_index, refused.outcome)


def read_transfer(row: sqlite3.Row) -> Transfer:
    """Return the transfer in a row that holds all columns of transfers."""
    return Transfer(
        transfer_id=row["transfer_id"],
        kind=TransferKind(row["kind"]),
        debit_account_id=row["debit_account_id"],
        credit_account_id=row["credit_account_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        pending_id=row["pending_id"],
        expires_ms=row["expires_ms"],
    )


class _LegRefused(Exception):
    """Unwinds the savepoint of a group whose leg can't be booked."""

    def __init__(self, leg_index: int, outcome: Outcome) -> None:
        super().__init__(outcome.name)
        self.leg_index = leg_index
        self.outcome = outcome


def _find_booked_legs(connection: sqlite3.Connection, group: TransferGroup) -> list[rules.BookedLeg | None]:
    return [_find_booked_leg(connection, leg.transfer_id) for leg in group.legs]


def _find_booked_leg(connection: sqlite3.Connection, transfer_id: bytes) -> rules.BookedLeg | None:
    row = connection.execute(SQL["find_booked_leg"], {"transfer_id": transfer_id}).fetchone()
    if row is None:
        return None
    return rules.BookedLeg(
        transfer=read_transfer(row),
        sequence=row["group_sequence"],
        leg_index=row["leg_index"],
        leg_count=row["leg_count"],
        purpose=GroupPurpose(row["purpose"]),
    )


def _book_new(connection: sqlite3.Connection, group: TransferGroup, now_ms: int) -> GroupOutcome:
    # The head is read inside the transaction, since another process may have booked since ours did.
    head = connection.execute(SQL["find_chain_head"]).fetchone()
    sequence, previous_hash = (head["sequence"] + 1, head["hash"]) if head else (1, GENESIS)
    values = {
        "sequence": sequence,
        "purpose": group.purpose,
        "booked_ms": now_ms,
        "leg_count": len(group.legs),
        "hash": hash_group(previous_hash, sequence, now_ms, group),
    }
    connection.execute(SQL["add_group"], values)
    for leg_index, leg in enumerate(group.legs):
        outcome = _book_leg(connection, leg, sequence, leg_index, now_ms)
        if outcome is not Outcome.BOOKED:
            raise _LegRefused(leg_index, outcome)
    return GroupOutcome((Outcome.BOOKED,) * len(group.legs), sequence)


def _book_leg(
    connection: sqlite3.Connection, leg: Transfer, sequence: int, leg_index: int, now_ms: int
) -> Outcome:
    if leg.expires_ms is not None and leg.expires_ms <= now_ms:
        return Outcome.EXPIRY_HAS_PASSED
    held_minor = 0
    if leg.resolves_pending:
        outcome, held_minor = _resolve_pending(connection, leg, now_ms)
        if outcome is not Outcome.BOOKED:
            return outcome
    outcome = _move(connection, leg, rules.movement_of(leg, held_minor))
    if outcome is Outcome.BOOKED:
        _add_transfer(connection, leg, sequence, leg_index)
    return outcome


def _resolve_pending(connection: sqlite3.Connection, leg: Transfer, now_ms: int) -> tuple[Outcome, int]:
    row = connection.execute(SQL["find_pending"], {"pending_id": leg.pending_id}).fetchone()
    pending = None if row is None else rules.Pending(read_transfer(row), PendingState(row["state"]))
    outcome = rules.judge_pending(leg, pending, now_ms)
    if outcome is not Outcome.BOOKED or pending is None:
        return outcome, 0
    values = {
        "pending_id": leg.pending_id,
        "state": rules.state_after(leg.kind),
        "now_ms": now_ms,
        "is_expiry": leg.kind is TransferKind.EXPIRE,
    }
    changed = connection.execute(SQL["resolve_pending"], values).rowcount
    assert changed == 1, "what was judged open under the write lock is open"
    return Outcome.BOOKED, pending.transfer.amount_minor


def _move(connection: sqlite3.Connection, leg: Transfer, movement: rules.Movement) -> Outcome:
    values = {
        "pending_minor": movement.pending_minor,
        "posted_minor": movement.posted_minor,
        "currency": leg.currency,
        "counter_max": COUNTER_MAX,
    }
    debit = values | {"account_id": leg.debit_account_id, "lets_go": leg.lets_go}
    credit = values | {"account_id": leg.credit_account_id}
    # Where only the credit side fails, the debit has moved when the reason is looked for; that can only
    # add reasons that rank below every one the credit side can have.
    if connection.execute(SQL["debit_account"], debit).rowcount == 0:
        return _refusal(connection, leg, movement)
    if connection.execute(SQL["credit_account"], credit).rowcount == 0:
        return _refusal(connection, leg, movement)
    return Outcome.BOOKED


def _refusal(connection: sqlite3.Connection, leg: Transfer, movement: rules.Movement) -> Outcome:
    debit = find_account(connection, leg.debit_account_id)
    credit = find_account(connection, leg.credit_account_id)
    outcome = rules.judge_accounts(leg, movement, debit, credit)
    assert outcome is not Outcome.BOOKED, "the rules and the statement disagree"
    return outcome


def _add_transfer(connection: sqlite3.Connection, leg: Transfer, sequence: int, leg_index: int) -> None:
    values = {
        "group_sequence": sequence,
        "leg_index": leg_index,
        "transfer_id": leg.transfer_id,
        "kind": leg.kind,
        "debit_account_id": leg.debit_account_id,
        "credit_account_id": leg.credit_account_id,
        "amount_minor": leg.amount_minor,
        "currency": leg.currency,
        "pending_id": leg.pending_id,
        "expires_ms": leg.expires_ms,
    }
    connection.execute(SQL["add_transfer"], values)
    if leg.kind is TransferKind.PENDING:
        connection.execute(SQL["add_pending"], values)


def _expiry_of(pending: Transfer) -> TransferGroup:
    expiry = Transfer(
        transfer_id=_derive_id("expiry", pending.transfer_id),
        kind=TransferKind.EXPIRE,
        debit_account_id=pending.debit_account_id,
        credit_account_id=pending.credit_account_id,
        amount_minor=pending.amount_minor,
        currency=pending.currency,
        pending_id=pending.transfer_id,
    )
    return TransferGroup((expiry,), GroupPurpose.EXPIRY)


def _derive_id(use: str, of: bytes) -> bytes:
    return hashlib.sha256(f"tapscan {use}\0".encode("ascii") + of).digest()[:ID_BYTES]
