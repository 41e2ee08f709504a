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

from gateway.audit import AuditBreak, BreakCode, audit
from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.ledger.chain import GENESIS, hash_group
from gateway.ledger.model import Account, AccountKind, GroupPurpose, Transfer, TransferGroup, TransferKind
from gateway.payments.model import Refused
from gateway.storage.sqlite.ledger import operator_account_id
from gateway.storage.sqlite.migrate import migrate
from gateway.storage.sqlite.store import open_sqlite_store
from tests.gateway.storage.test_audit_lives import PROVOKED as PROVOKED_BY_LIVES
from tests.gateway.storage.test_audit_offline import PROVOKED as PROVOKED_OFFLINE

if TYPE_CHECKING:
    from tests.conftest import Shop

ADA = b"wallet-account-1"
HOLDS = b"account-of-holds"
OUTSIDE = operator_account_id(AccountKind.OUTSIDE, "EUR")
# Booked in this order: the funding, payments 1 to 3, the holds, then what ended them.
LEGS = (
    "SELECT transfer_id, kind, debit_account_id, credit_account_id, amount_minor, currency, pending_id, "
    "expires_ms FROM transfers WHERE group_sequence = ? ORDER BY leg_index"
)
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


def reseal(path: Path) -> None:
    """Hash all groups anew as they now are, as somebody would who knows how the chain is made."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        head = GENESIS
        groups = connection.execute("SELECT sequence, purpose, booked_ms FROM ledger_groups").fetchall()
        connection.execute("BEGIN")
        for sequence, purpose, booked_ms in groups:
            rows = connection.execute(LEGS, [sequence]).fetchall()
            legs = [Transfer(row[0], TransferKind(row[1]), *row[2:]) for row in rows]
            head = hash_group(head, sequence, booked_ms, TransferGroup(tuple(legs), GroupPurpose(purpose)))
            connection.execute("UPDATE ledger_groups SET hash = ? WHERE sequence = ?", [head, sequence])
        connection.execute("COMMIT")


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
    assert [what for what, done, total in seen if done == total] == [
        "groups",
        "payments",
        "records",
        "orders",
        "days",
    ]


def test_empty_books_pass(tmp_path: Path) -> None:
    migrate(tmp_path / "empty.sqlite3")
    assert audit(tmp_path / "empty.sqlite3").is_ok


HOLD_HEX = {number: hold(number, 0).transfer_id.hex() for number in (1, 2, 3, 4)}
FALSIFIED = {
    "a leg put in": (
        [
            "INSERT INTO transfers SELECT group_sequence, 2, randomblob(16), kind, debit_account_id, "
            "credit_account_id, amount_minor, currency, pending_id, expires_ms FROM transfers "
            "WHERE group_sequence = 2 AND leg_index = 1"
        ],
        AuditBreak("legs_added", "group 2"),
    ),
    "an id cut off": (
        ["UPDATE transfers SET transfer_id = substr(transfer_id, 1, 15) WHERE group_sequence = 1"],
        AuditBreak("row_unreadable", "group 1"),
    ),
    "a kind of account that there is not": (
        [f"UPDATE accounts SET kind = 'gift' WHERE account_id = x'{ADA.hex()}'"],
        AuditBreak("row_unreadable", f"account {ADA.hex()}"),
    ),
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
    "when a hold is over": (
        ["UPDATE pendings SET expires_ms = expires_ms + 1 WHERE state = 'open'"],
        AuditBreak("pending_expiry_differs", f"pending transfer {HOLD_HEX[4]}"),
    ),
    "a hold made up": (
        ["INSERT INTO pendings VALUES (randomblob(16), 1, 'voided')"],
        AuditBreak("pending_without_transfer", "5 pending transfers stored, 4 booked"),
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
    "a declined payment given a group that there is not": (
        [
            "UPDATE payments SET outcome = 'approved', group_sequence = 99 "
            "WHERE decline_code = 'token_invalid'"
        ],
        AuditBreak("payment_without_group", "payment 0PAYMENT000000000000000005"),
    ),
    "a second payment of one group": (
        ["UPDATE payments SET group_sequence = 0 WHERE group_sequence = 2"],
        AuditBreak("payment_without_group", "payment 0PAYMENT000000000000000001"),
    ),
    "a payment's merchant": (
        ["UPDATE payments SET merchant_id = 'MERCHANT0000002' WHERE group_sequence = 2"],
        AuditBreak("payment_differs_from_group", "group 2, payment 0PAYMENT000000000000000001"),
    ),
    "a payment's currency": (
        ["UPDATE payments SET currency = 'USD' WHERE group_sequence = 2"],
        AuditBreak("payment_differs_from_group", "group 2, payment 0PAYMENT000000000000000001"),
    ),
    "a payment's name": (
        ["UPDATE payments SET payment_id = '0PAYMENT000000000000000009' WHERE group_sequence = 2"],
        AuditBreak("payment_differs_from_group", "group 2, payment 0PAYMENT000000000000000009"),
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
    "a payment's terminal": (
        ["UPDATE payments SET terminal_id = 'ANOTHER' WHERE group_sequence = 2"],
        AuditBreak("payment_refers_to_nothing", "payment 0PAYMENT000000000000000001"),
    ),
    "a payment's entry mode": (
        ["UPDATE payments SET entry_mode = 'by_ear' WHERE group_sequence = 2"],
        AuditBreak("payment_refers_to_nothing", "payment 0PAYMENT000000000000000001"),
    ),
    "a declined payment's merchant": (
        ["UPDATE payments SET merchant_id = 'MERCHANT0000009' WHERE payment_id LIKE '%4'"],
        AuditBreak("payment_refers_to_nothing", "payment 0PAYMENT000000000000000004"),
    ),
    "a declined payment's instrument": (
        ["UPDATE payments SET instrument_id = 'ANOTHER' WHERE payment_id LIKE '%4'"],
        AuditBreak("payment_refers_to_nothing", "payment 0PAYMENT000000000000000004"),
    ),
    "what an order was paid": (
        ["UPDATE orders SET taken_minor = 1 WHERE order_id = 'order-2'"],
        AuditBreak("order_total_differs", "order order-2 of merchant MERCHANT0000001"),
    ),
    "an order that forgot its payment": (
        ["DELETE FROM orders WHERE order_id = 'order-3'"],
        AuditBreak("order_total_differs", "order order-3 of merchant MERCHANT0000001"),
    ),
    "an order without a payment": (
        [
            "INSERT INTO orders (merchant_id, order_id, amount_minor, taken_minor) "
            "VALUES ('MERCHANT0000001', 'order-0', 5, 5)"
        ],
        AuditBreak("order_total_differs", "order order-0 of merchant MERCHANT0000001"),
    ),
    "an order for less than was paid": (
        ["UPDATE orders SET amount_minor = 1 WHERE order_id = 'order-2'"],
        AuditBreak("order_overpaid", "order order-2 of merchant MERCHANT0000001"),
    ),
    "a day that nobody spent": (
        ["INSERT INTO spent_days (instrument_id, day, spent_minor) VALUES ('INSTRUMENT1', 20832, 5)"],
        AuditBreak("day_total_differs", "instrument INSTRUMENT1 on day 20832"),
    ),
    "a day forgotten": (
        ["DELETE FROM spent_days"],
        AuditBreak("day_total_differs", "instrument INSTRUMENT1 on day 20833"),
    ),
    "a token's use forgotten": (
        ["DELETE FROM token_uses WHERE payment_id = '0PAYMENT000000000000000002'"],
        AuditBreak("token_use_missing", "payment 0PAYMENT000000000000000002"),
    ),
    "a token's last use forgotten": (
        ["DELETE FROM token_uses WHERE payment_id >= '0PAYMENT000000000000000003'"],
        AuditBreak("token_use_missing", "payment 0PAYMENT000000000000000003"),
    ),
    "a use of a token made up": (
        ["UPDATE token_uses SET payment_id = '0PAYMENT000000000000000000' WHERE counter = 4"],
        AuditBreak("token_use_without_payment", "payment 0PAYMENT000000000000000000"),
    ),
    "a use of a token by nobody known": (
        ["UPDATE token_uses SET payment_id = '0PAYMENT000000000000000009' WHERE counter = 4"],
        AuditBreak("token_use_without_payment", "payment 0PAYMENT000000000000000009"),
    ),
    "two receipts that trade numbers": (
        [
            "UPDATE payments SET receipt_number = 4 - receipt_number WHERE receipt_number <> 2",
        ],
        AuditBreak(
            "receipt_number_differs", "payment 0PAYMENT000000000000000001 of merchant MERCHANT0000001"
        ),
    ),
    "a receipt's number left out": (
        ["UPDATE payments SET receipt_number = 4 WHERE receipt_number = 3"],
        AuditBreak(
            "receipt_number_differs", "payment 0PAYMENT000000000000000003 of merchant MERCHANT0000001"
        ),
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


# What the chain would name first, were it not made anew.
PAYMENT_1 = AuditBreak("payment_differs_from_group", "group 2, payment 0PAYMENT000000000000000001")
FALSIFIED_AND_SEALED = {
    "an account that pays itself": (
        "UPDATE transfers SET credit_account_id = debit_account_id WHERE group_sequence = 1",
        AuditBreak("accounts_equal", "group 1, leg 0"),
    ),
    "nothing moved": (
        "UPDATE transfers SET amount_minor = 0 WHERE group_sequence = 1",
        AuditBreak("amount_not_positive", "group 1, leg 0"),
    ),
    "more moved than there can be": (
        "UPDATE transfers SET amount_minor = 1000000000000001 WHERE group_sequence = 1",
        AuditBreak("amount_too_large", "group 1, leg 0"),
    ),
    "less given than was spent": (
        "UPDATE transfers SET amount_minor = 2499 WHERE group_sequence = 1",
        AuditBreak("balance_negative", f"account {ADA.hex()} at group 3, leg 0"),
    ),
    "less given than was spent and is held": (
        "UPDATE transfers SET amount_minor = 3 * 1250 + 39 WHERE group_sequence = 1",
        AuditBreak("balance_negative", f"account {ADA.hex()} at group 5, leg 3"),
    ),
    "a transfer's currency": (
        "UPDATE transfers SET currency = 'USD' WHERE group_sequence = 1",
        AuditBreak("currency_mismatch", "group 1, leg 0"),
    ),
    "more given than is counted": (
        "UPDATE transfers SET amount_minor = amount_minor + 1 WHERE group_sequence = 1",
        AuditBreak("counters_differ", f"account {ADA.hex()}"),
    ),
    "a hold that nobody had": (
        "UPDATE transfers SET pending_id = zeroblob(16) WHERE kind = 'post'",
        AuditBreak("pending_not_open", "group 6, leg 0"),
    ),
    "a hold ended twice": (
        f"UPDATE transfers SET pending_id = x'{HOLD_HEX[1]}' WHERE kind = 'void'",
        AuditBreak("pending_not_open", "group 6, leg 1"),
    ),
    "more taken than was held": (
        "UPDATE transfers SET amount_minor = 11 WHERE kind = 'post'",
        AuditBreak("pending_differs", "group 6, leg 0"),
    ),
    "less let go than was held": (
        "UPDATE transfers SET amount_minor = 9 WHERE kind = 'void'",
        AuditBreak("pending_differs", "group 6, leg 1"),
    ),
    "a hold taken by somebody else": (
        f"UPDATE transfers SET credit_account_id = x'{OUTSIDE.hex()}' WHERE kind = 'post'",
        AuditBreak("pending_differs", "group 6, leg 0"),
    ),
    "a hold that ended before its time": (
        "UPDATE ledger_groups SET booked_ms = booked_ms - 1000 WHERE sequence = 7",
        AuditBreak("pending_differs", "group 7, leg 0"),
    ),
    "a hold taken after its time": (
        "UPDATE ledger_groups SET booked_ms = booked_ms + 1 WHERE sequence = 6",
        AuditBreak("pending_differs", "group 6, leg 0"),
    ),
    "a hold said to last longer": (
        "UPDATE transfers SET expires_ms = expires_ms + 1 WHERE group_sequence = 5 AND leg_index = 3",
        AuditBreak("pending_expiry_differs", f"pending transfer {HOLD_HEX[4]}"),
    ),
    "a payment that is a hold": (
        "UPDATE transfers SET kind = 'pending', expires_ms = 1 WHERE group_sequence = 2 AND leg_index = 0",
        PAYMENT_1,
    ),
    "what a payer paid": (
        "UPDATE transfers SET amount_minor = 1251 WHERE group_sequence = 2 AND leg_index = 0",
        PAYMENT_1,
    ),
    "which payment moved the money": (
        "UPDATE transfers SET transfer_id = randomblob(16) WHERE group_sequence = 2 AND leg_index = 0",
        PAYMENT_1,
    ),
    "a fee above the payment": (
        "UPDATE transfers SET amount_minor = 1251 WHERE group_sequence = 2 AND leg_index = 1",
        PAYMENT_1,
    ),
    "whose the fee is": (
        f"UPDATE transfers SET credit_account_id = x'{HOLDS.hex()}' "
        "WHERE group_sequence = 2 AND leg_index = 1",
        PAYMENT_1,
    ),
    "who paid the fee": (
        f"UPDATE transfers SET debit_account_id = x'{ADA.hex()}' WHERE group_sequence = 2 AND leg_index = 1",
        PAYMENT_1,
    ),
    "which payment the fee is of": (
        "UPDATE transfers SET transfer_id = randomblob(16) WHERE group_sequence = 2 AND leg_index = 1",
        PAYMENT_1,
    ),
    "a payment's group called a funding": (
        "UPDATE ledger_groups SET purpose = 'funding' WHERE sequence = 2",
        AuditBreak("payment_of_other_group", "group 2"),
    ),
    "a funding called a payment": (
        "UPDATE ledger_groups SET purpose = 'payment' WHERE sequence = 1",
        AuditBreak("group_without_payment", "group 1"),
    ),
}


@pytest.mark.parametrize(("statement", "expected"), FALSIFIED_AND_SEALED.values(), ids=FALSIFIED_AND_SEALED)
def test_audit_names_what_was_falsified_behind_a_chain_made_anew(
    copy: Path, statement: str, expected: AuditBreak
) -> None:
    falsify(copy, statement)
    assert audit(copy).first_break is not None
    reseal(copy)
    assert audit(copy).first_break == expected


def test_a_chain_made_anew_passes_but_has_another_head(copy: Path) -> None:
    before = audit(copy).chain_head
    falsify(copy, "UPDATE ledger_groups SET booked_ms = booked_ms - 1 WHERE sequence = 1")
    assert audit(copy).first_break == AuditBreak("hash_mismatch", "group 1")
    reseal(copy)
    report = audit(copy)
    assert report.is_ok
    assert report.chain_head != before


def test_a_counter_that_no_column_holds_is_named(copy: Path) -> None:
    falsify(
        copy,
        "WITH RECURSIVE counted(n) AS (SELECT 8 UNION ALL SELECT n + 1 FROM counted WHERE n < 9300) "
        "INSERT INTO ledger_groups SELECT n, 'funding', 1, 1, zeroblob(32) FROM counted",
        "INSERT INTO transfers SELECT g.sequence, 0, randomblob(16), t.kind, t.debit_account_id, "
        "t.credit_account_id, 1000000000000000, t.currency, NULL, NULL "
        "FROM transfers AS t, ledger_groups AS g WHERE t.group_sequence = 1 AND g.sequence > 7",
    )
    reseal(copy)
    found = audit(copy).first_break
    assert found is not None
    assert found.code == "counter_out_of_range"


def test_every_code_has_a_test_that_provokes_it() -> None:
    provoked = {expected.code for _, expected in (*FALSIFIED.values(), *FALSIFIED_AND_SEALED.values())}
    elsewhere = {BreakCode.FILE_DAMAGED, BreakCode.COUNTER_OUT_OF_RANGE}
    assert provoked | PROVOKED_BY_LIVES | PROVOKED_OFFLINE == set(BreakCode) - elsewhere


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
