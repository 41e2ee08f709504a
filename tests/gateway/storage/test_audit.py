"""The audit: clean books pass, and each way of falsifying a file is named with its place."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.audit import AuditBreak, audit
from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.ledger.model import Account, AccountKind, Transfer, TransferGroup, TransferKind
from gateway.payments.model import Refused
from gateway.storage.sqlite.ledger import operator_account_id
from gateway.storage.sqlite.migrate import migrate
from gateway.storage.sqlite.store import open_sqlite_store

if TYPE_CHECKING:
    from tests.conftest import Shop

ADA = b"wallet-account-1"
HOLDS = b"account-of-holds"
OUTSIDE = operator_account_id(AccountKind.OUTSIDE, "EUR")
# Booked in this order: the funding, payments 1 to 3, the holds, then what ended them.
GROUPS = {"funding": 1, "payment 1": 2, "payment 2": 3, "payment 3": 4, "holds": 5, "ends": 6, "expiry": 7}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory, make_shop: type[Shop]) -> Path:
    """A file in which something of everything was booked."""
    path = tmp_path_factory.mktemp("books") / "store.sqlite3"
    asyncio.run(keep_books(path, make_shop()))
    return path


async def keep_books(path: Path, shop: Shop) -> None:
    store = await open_sqlite_store(path)
    await shop.furnish(store)
    for number in (1, 2, 3):
        await store.book_payment(shop.booking(number))
    await store.book_payment(shop.booking(4, amount_minor=50_001))
    await store.book_payment(shop.booking(5, verdict=Refused("token_invalid")))
    await store.open_account(Account(HOLDS, AccountKind.MERCHANT, "EUR"), shop.now_ms)
    holds = [hold(number, shop.now_ms) for number in (1, 2, 3, 4)]
    await store.book([TransferGroup(tuple(holds))], shop.now_ms)
    ends = (end(holds[0], TransferKind.POST, 7), end(holds[1], TransferKind.VOID, 10))
    await store.book([TransferGroup(ends)], shop.now_ms)
    assert await store.expire_pendings(shop.now_ms + 3) == 1
    await store.close()


def hold(number: int, now_ms: int) -> Transfer:
    return Transfer(
        b"hold".ljust(15, b".") + bytes((48 + number,)),
        TransferKind.PENDING,
        ADA,
        HOLDS,
        10,
        "EUR",
        expires_ms=now_ms + number,
    )


def end(held: Transfer, kind: TransferKind, amount_minor: int) -> Transfer:
    changes = {"kind": kind, "amount_minor": amount_minor, "pending_id": held.transfer_id, "expires_ms": None}
    return replace(held, transfer_id=held.transfer_id[::-1], **changes)


@pytest.fixture
def copy(books: Path, tmp_path: Path) -> Path:
    shutil.copy(books, tmp_path / "copy.sqlite3")
    return tmp_path / "copy.sqlite3"


def falsify(path: Path, *statements: str) -> None:
    """Do to a file what only somebody with the file in hand can do."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        guards = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in guards:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement


def test_clean_books_pass_and_are_counted(copy: Path) -> None:
    report = audit(copy)
    assert report.first_break is None
    assert report.is_ok
    assert (report.group_count, report.transfer_count, report.payment_count) == (len(GROUPS), 14, 3)
    assert report.account_count == 5


def test_progress_ends_at_the_last_group(copy: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    audit(copy, lambda *told: seen.append(told))
    assert ("groups", len(GROUPS), len(GROUPS)) in seen
    assert [what for what, done, total in seen if done == total] == ["groups", "tokens", "orders", "days"]


def test_empty_books_pass(tmp_path: Path) -> None:
    migrate(tmp_path / "empty.sqlite3")
    assert audit(tmp_path / "empty.sqlite3").is_ok


HOLD_HEX = {number: hold(number, 0).transfer_id.hex() for number in (1, 2, 3, 4)}
FALSIFIED = {
    "an amount": (
        ["UPDATE transfers SET amount_minor = amount_minor + 1 WHERE group_sequence = 3 AND leg_index = 1"],
        AuditBreak("hash_mismatch", "group 3"),
    ),
    "whom it went to": (
        [f"UPDATE transfers SET credit_account_id = x'{HOLDS.hex()}' WHERE group_sequence = 1"],
        AuditBreak("hash_mismatch", "group 1"),
    ),
    "a time": (
        ["UPDATE ledger_groups SET booked_ms = booked_ms - 1 WHERE sequence = 5"],
        AuditBreak("hash_mismatch", "group 5"),
    ),
    "a hash": (
        ["UPDATE ledger_groups SET hash = zeroblob(32) WHERE sequence = 7"],
        AuditBreak("hash_mismatch", "group 7"),
    ),
    "a purpose": (
        ["UPDATE ledger_groups SET purpose = 'transfer' WHERE sequence = 1"],
        AuditBreak("hash_mismatch", "group 1"),
    ),
    "a group taken out": (
        ["DELETE FROM transfers WHERE group_sequence = 5", "DELETE FROM ledger_groups WHERE sequence = 5"],
        AuditBreak("sequence_gap", "group 6"),
    ),
    "a group taken out without its legs": (
        ["DELETE FROM ledger_groups WHERE sequence = 5"],
        AuditBreak("transfer_without_group", "group 5"),
    ),
    "a last leg taken out": (
        ["DELETE FROM transfers WHERE group_sequence = 2 AND leg_index = 1"],
        AuditBreak("legs_missing", "group 2"),
    ),
    "a first leg taken out": (
        ["DELETE FROM transfers WHERE group_sequence = 2 AND leg_index = 0"],
        AuditBreak("legs_missing", "group 2"),
    ),
    "a kind that there is not": (
        ["UPDATE transfers SET kind = 'gift' WHERE group_sequence = 4 AND leg_index = 0"],
        AuditBreak("row_unreadable", "group 4"),
    ),
    "the end of history cut off": (
        ["DELETE FROM transfers WHERE group_sequence = 7", "DELETE FROM ledger_groups WHERE sequence = 7"],
        AuditBreak("counters_differ", f"account {HOLDS.hex()}"),
    ),
    "one counter": (
        [f"UPDATE accounts SET credits_posted = credits_posted + 1 WHERE account_id = x'{ADA.hex()}'"],
        AuditBreak("debits_differ_from_credits", "currency EUR"),
    ),
    "two counters that cancel out": (
        [
            f"UPDATE accounts SET credits_posted = credits_posted + 1 WHERE account_id = x'{ADA.hex()}'",
            "UPDATE accounts SET debits_posted = debits_posted + 1 WHERE kind = 'outside'",
        ],
        AuditBreak("counters_differ", f"account {ADA.hex()}"),
    ),
    "held counters that cancel out": (
        [
            f"UPDATE accounts SET debits_pending = 0 WHERE account_id = x'{ADA.hex()}'",
            f"UPDATE accounts SET credits_pending = 0 WHERE account_id = x'{HOLDS.hex()}'",
        ],
        AuditBreak("counters_differ", f"account {HOLDS.hex()}"),
    ),
    "an account taken out": (
        [f"DELETE FROM accounts WHERE account_id = x'{HOLDS.hex()}'"],
        AuditBreak("account_missing", "group 5, leg 0"),
    ),
    "an account's currency": (
        [f"UPDATE accounts SET currency = 'USD' WHERE account_id = x'{HOLDS.hex()}'"],
        AuditBreak("currency_mismatch", "group 5, leg 0"),
    ),
    "an account that may not go below nothing": (
        ["UPDATE accounts SET debits_must_not_exceed_credits = 1 WHERE kind = 'outside'"],
        AuditBreak("balance_negative", f"account {OUTSIDE.hex()} at group 1, leg 0"),
    ),
    "what became of a hold": (
        ["UPDATE pendings SET state = 'voided' WHERE state = 'posted'"],
        AuditBreak("pending_state_differs", f"pending transfer {HOLD_HEX[1]}"),
    ),
    "a hold said to be open": (
        ["UPDATE pendings SET state = 'open' WHERE state = 'expired'"],
        AuditBreak("pending_state_differs", f"pending transfer {HOLD_HEX[3]}"),
    ),
    "a hold taken out": (
        ["DELETE FROM pendings WHERE state = 'open'"],
        AuditBreak("pending_missing", f"pending transfer {HOLD_HEX[4]}"),
    ),
    "a payment's amount": (
        ["UPDATE payments SET amount_minor = 1 WHERE group_sequence = 2"],
        AuditBreak("payment_differs_from_group", "group 2, payment 0PAYMENT000000000000000001"),
    ),
    "a payment's payer": (
        ["UPDATE payments SET instrument_id = 'ANOTHER' WHERE group_sequence = 2"],
        AuditBreak("payment_differs_from_group", "group 2, payment 0PAYMENT000000000000000001"),
    ),
    "an approved payment called declined": (
        ["UPDATE payments SET outcome = 'declined' WHERE group_sequence = 2"],
        AuditBreak("payment_differs_from_group", "group 2, payment 0PAYMENT000000000000000001"),
    ),
    "a declined payment called approved": (
        ["UPDATE payments SET outcome = 'approved' WHERE decline_code = 'token_invalid'"],
        AuditBreak("payment_without_group", "payment 0PAYMENT000000000000000005"),
    ),
    "two payments that trade places": (
        [
            "UPDATE payments SET group_sequence = 99 WHERE group_sequence = 2",
            "UPDATE payments SET group_sequence = 2 WHERE group_sequence = 3",
            "UPDATE payments SET group_sequence = 3 WHERE group_sequence = 99",
        ],
        AuditBreak("payment_differs_from_group", "group 2, payment 0PAYMENT000000000000000002"),
    ),
    "a payment taken out": (
        ["DELETE FROM payments WHERE group_sequence = 3"],
        AuditBreak("group_without_payment", "group 3"),
    ),
    "a payment hung on a funding": (
        ["UPDATE payments SET group_sequence = 1 WHERE group_sequence = 3"],
        AuditBreak("payment_of_other_group", "group 1"),
    ),
    "what an order was paid": (
        ["UPDATE orders SET approved_minor = 1 WHERE order_id = 'order-2'"],
        AuditBreak("order_total_differs", "order order-2 of merchant MERCHANT0000001"),
    ),
    "an order that forgot its payment": (
        ["DELETE FROM orders WHERE order_id = 'order-3'"],
        AuditBreak("order_total_differs", "order order-3 of merchant MERCHANT0000001"),
    ),
    "what was spent in a day": (
        ["UPDATE spent_days SET spent_minor = 1"],
        AuditBreak("day_total_differs", "instrument INSTRUMENT1 on day 20833"),
    ),
    "the count of receipts": (
        ["UPDATE merchants SET receipt_count = 4"],
        AuditBreak("receipt_count_differs", "merchant MERCHANT0000001"),
    ),
}


@pytest.mark.parametrize(("statements", "expected"), FALSIFIED.values(), ids=FALSIFIED)
def test_audit_names_what_was_falsified(copy: Path, statements: list[str], expected: AuditBreak) -> None:
    falsify(copy, *statements)
    assert audit(copy).first_break == expected


def test_damaged_file_is_named_as_such(copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'transfers'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with copy.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    found = audit(copy).first_break
    assert found is not None
    assert found.code == "file_damaged"


def test_head_of_the_chain_tells_two_histories_apart(copy: Path, books: Path) -> None:
    before = audit(books).chain_head
    falsify(copy, "UPDATE ledger_groups SET hash = zeroblob(32) WHERE sequence = 7")
    assert audit(copy).chain_head != before


def test_audit_does_not_migrate_or_create(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(StoreUnavailable):
        audit(tmp_path / "missing.sqlite3")
    assert not (tmp_path / "missing.sqlite3").exists()
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA user_version = 0")
    with pytest.raises(ConfigurationError):
        audit(copy)
