"""The audit of payments without a connection: clean books pass, what was falsified is named, in any store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.audit import audit
from simulators.auditor.books.books import check_books
from tests.databases import KINDS, Database
from tests.gateway.storage.falsifying import blob, copied, falsify, found_in, kept_once, reseal
from tests.gateway.storage.offline_books import (
    ALL_LOST,
    DECLINED,
    ENDED,
    LIVE,
    LOST,
    ONLINE,
    PAID,
    REFUND,
    UNUSED,
    keep_offline_books,
)

if TYPE_CHECKING:
    from tests.conftest import Shop

NAME = "offline_books"


@pytest.fixture(scope="module", params=KINDS)
def kept_books(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_shop: type[Shop]
) -> Iterator[Database]:
    """The books, once for all tests of a kind."""
    yield from kept_once(
        request, tmp_path_factory, NAME, lambda database: keep_offline_books(database, make_shop())
    )


@pytest.fixture
def books(kept_books: Database, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A copy of the books, to be falsified."""
    yield from copied(kept_books, request, tmp_path, NAME)


async def test_clean_books_pass_and_are_counted(books: Database) -> None:
    told: list[tuple[str, int, int | None]] = []
    report = await asyncio.to_thread(audit, books.place, lambda *what: told.append(what))
    assert report.first_break is None
    assert report.payment_count == 7
    assert ("records", 9, 9) in told


async def test_independent_witness_finds_nothing_either(books: Database) -> None:
    assert check_books(await books.read_books()) == []


async def test_books_hold_what_these_tests_are_about(books: Database) -> None:
    lost, alarms = await books.read(
        [
            "SELECT loss_minor FROM offline_records WHERE loss_bearer = 'operator' ORDER BY loss_minor",
            "SELECT DISTINCT kind FROM offline_alarms ORDER BY kind",
        ]
    )
    assert lost == [(500,), (32_250,)]
    assert alarms == [("chain_broken",), ("gap",), ("key_copied",), ("tap_repeated",)]


def of(table: str, payment_id: str, change: str) -> str:
    return f"UPDATE {table} SET {change} WHERE payment_id = '{payment_id}'"


def credential(credential_id: str, change: str) -> str:
    return f"UPDATE credentials SET {change} WHERE credential_id = '{credential_id}'"


def record(sequence: int, change: str) -> str:
    return f"UPDATE offline_records SET {change} WHERE terminal_id = 'TERMNA01' AND sequence = {sequence}"


FALSIFIED: dict[str, tuple[list[str], str, str]] = {
    "an allowance of another amount": (
        [credential(ENDED, "allowance_minor = 5001")],
        "allowance_differs_from_group",
        "group 2",
    ),
    "an allowance given back too early": (
        [credential(ENDED, "state = 'replaced'")],
        "allowance_differs_from_group",
        "group",
    ),
    "an allowance that nobody has": (
        [f"DELETE FROM credentials WHERE credential_id = '{ENDED}'"],
        "allowance_differs_from_group",
        "group 2",
    ),
    "an allowance under another name": (
        [credential(LIVE, "credential_id = '0CREDENT000009000000000009'")],
        "allowance_differs_from_group",
        "group",
    ),
    "an allowance that was not given back": (
        [credential(UNUSED, "state = 'ended'")],
        "allowance_left",
        UNUSED,
    ),
    "a settled record that never was": (
        [f"DELETE FROM offline_records WHERE payment_id = '{PAID}' AND sequence = 1"],
        "group_without_record",
        "group 3",
    ),
    "a payment that never was": (
        [f"DELETE FROM payments WHERE payment_id = '{PAID}'"],
        "group_without_payment",
        "group 3",
    ),
    "the amount of a payment": (
        [of("payments", PAID, "amount_minor = 1001")],
        "payment_differs_from_group",
        PAID,
    ),
    "the loss of a payment": (
        [of("offline_records", LOST, "loss_minor = 32249")],
        "payment_differs_from_group",
        LOST,
    ),
    "a payment called declined": (
        [of("payments", PAID, "outcome = 'declined'")],
        "payment_differs_from_group",
        PAID,
    ),
    "the credential of a record": (
        [of("offline_records", PAID, f"credential_id = '{LIVE}'")],
        "payment_differs_from_group",
        PAID,
    ),
    "the receipt of a payment": (
        [of("payments", PAID, "receipt_number = 5")],
        "receipt_number_differs",
        PAID,
    ),
    "what a refund gave the operator": (
        [f"UPDATE refunds SET total_minor = 40001 WHERE refund_id = '{REFUND}'"],
        "refund_differs_from_group",
        REFUND,
    ),
    "a declined record left out": (
        [f"DELETE FROM offline_records WHERE payment_id = '{DECLINED}'"],
        "record_gap",
        "record 3",
    ),
    "a gap that nobody was told of": (
        ["DELETE FROM offline_alarms WHERE kind = 'gap'"],
        "record_gap",
        "record 6",
    ),
    "a torn chain that nobody was told of": (
        ["DELETE FROM offline_alarms WHERE kind = 'chain_broken'"],
        "record_chain_broken",
        "record 7",
    ),
    "what stands beside a seal": (
        [record(2, "amount_minor = 601, loss_minor = 601")],
        "record_differs_from_seal",
        "record 2",
    ),
    "when a record was sealed": (
        [record(2, "accepted_ms = accepted_ms + 1")],
        "record_differs_from_seal",
        "record 2",
    ),
    "sealed bytes": ([record(2, "sealed = {nothing}")], "record_differs_from_seal", "record 2"),
    "the bytes of another record": (
        [
            record(
                2,
                "sealed = (SELECT o.sealed FROM offline_records AS o"
                " WHERE o.terminal_id = 'TERMNA01' AND o.sequence = 1)",
            )
        ],
        "record_differs_from_seal",
        "record 2",
    ),
    "a decline called settled": (
        [record(2, "outcome = 'settled', loss_minor = 0, loss_bearer = NULL")],
        "record_differs_from_payment",
        "record 2",
    ),
    "a payment of another record": (
        [of("payments", DECLINED, "request_digest = {digest}")],
        "record_differs_from_payment",
        "record 2",
    ),
    "a payment of another till": (
        [of("payments", DECLINED, "terminal_id = 'TERMNA02'")],
        "record_differs_from_payment",
        "record 2",
    ),
    "an attempt that was another one": (
        [of("payments", ONLINE, "attempt_id = '0ATTEMPT000000000000000099'")],
        "record_differs_from_payment",
        "record 4",
    ),
    "a conflict with nobody": (
        [record(3, f"payment_id = '{ONLINE[:-1]}8'")],
        "record_differs_from_payment",
        "record 3",
    ),
    "a loss that a merchant was spared": (
        [record(2, "loss_minor = 0, loss_bearer = NULL")],
        "record_loss_differs",
        "record 2",
    ),
    "a loss borne by somebody else": (
        [of("offline_records", LOST, "loss_bearer = 'merchant'")],
        "record_loss_differs",
        "record 1",
    ),
    "a loss of what was paid": (
        [record(4, "loss_minor = 1, loss_bearer = 'operator'")],
        "record_loss_differs",
        "record 4",
    ),
    "a tap that could pay again": (
        [f"DELETE FROM token_uses WHERE payment_id = '{PAID}'"],
        "token_use_missing",
        PAID,
    ),
    "what was spent in a day": (
        ["UPDATE spent_days SET spent_minor = spent_minor - 60000 WHERE spent_minor > 60000"],
        "day_total_differs",
        "INSTRUMENT1",
    ),
}


@pytest.mark.parametrize(("statements", "code", "where"), FALSIFIED.values(), ids=FALSIFIED)
async def test_audit_names_what_was_falsified(
    books: Database, statements: list[str], code: str, where: str
) -> None:
    await falsify(books, *(_filled(books, statement) for statement in statements))
    found = await found_in(books)
    assert found is not None
    assert found.code == code
    assert where in found.where


def leg(payment_id: str, index: int, change: str) -> str:
    group = f"(SELECT group_sequence FROM payments WHERE payment_id = '{payment_id}')"
    return f"UPDATE transfers SET {change} WHERE leg_index = {index} AND group_sequence = {group}"


def leg_of_step(index: int, change: str) -> str:
    group = f"(SELECT group_sequence FROM payment_steps WHERE payment_id = '{ALL_LOST}')"
    return f"UPDATE transfers SET {change} WHERE leg_index = {index} AND group_sequence = {group}"


def account(kind: str) -> str:
    return f"(SELECT min(account_id) FROM accounts WHERE kind = '{kind}')"


FALSIFIED_AND_SEALED: dict[str, tuple[list[str], str, str]] = {
    "a cent that the wallet paid for the allowance": (
        [
            leg(LOST, 0, "amount_minor = amount_minor - 1"),
            leg(LOST, 1, "amount_minor = amount_minor + 1"),
        ],
        "payment_differs_from_group",
        LOST,
    ),
    "a cent that the operator paid for the wallet": (
        [
            leg(LOST, 1, "amount_minor = amount_minor - 1"),
            leg(LOST, 2, "amount_minor = amount_minor + 1"),
            of("offline_records", LOST, "loss_minor = loss_minor + 1"),
        ],
        "payment_differs_from_group",
        LOST,
    ),
    "a loss paid from the fees": (
        [leg(LOST, 2, f"debit_account_id = {account('fees')}")],
        "payment_differs_from_group",
        LOST,
    ),
    "another fee": ([leg(PAID, 1, "amount_minor = amount_minor + 1")], "payment_differs_from_group", PAID),
    "money that was given back to the payer": (
        [leg_of_step(1, f"credit_account_id = {account('wallet')}")],
        "step_differs_from_group",
        ALL_LOST,
    ),
    "an offline payment called a sale": (
        ["UPDATE ledger_groups SET purpose = 'payment' WHERE sequence = 3"],
        "payment_of_other_group",
        "group 3",
    ),
    "a funding called an offline payment": (
        ["UPDATE ledger_groups SET purpose = 'offline' WHERE sequence = 1"],
        "group_without_payment",
        "group 1",
    ),
    "a funding called an allowance": (
        ["UPDATE ledger_groups SET purpose = 'allowance' WHERE sequence = 1"],
        "allowance_differs_from_group",
        "group 1",
    ),
    "an allowance that was a transfer": (
        ["UPDATE ledger_groups SET purpose = 'transfer' WHERE sequence = 2"],
        "credential_without_group",
        ENDED,
    ),
}


@pytest.mark.parametrize(
    ("statements", "code", "where"), FALSIFIED_AND_SEALED.values(), ids=FALSIFIED_AND_SEALED
)
async def test_audit_names_what_was_falsified_behind_a_chain_made_anew(
    books: Database, statements: list[str], code: str, where: str
) -> None:
    await falsify(books, *(_filled(books, statement) for statement in statements))
    await reseal(books)
    found = await found_in(books)
    assert found is not None
    assert found.code == code
    assert where in found.where


def _filled(books: Database, statement: str) -> str:
    return statement.replace("{nothing}", blob(books, b"")).replace("{digest}", blob(books, bytes(32)))


PROVOKED = {code for _, code, _ in (*FALSIFIED.values(), *FALSIFIED_AND_SEALED.values())}
