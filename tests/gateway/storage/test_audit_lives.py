"""The audit of what became of payments: clean books pass, and each falsified row is named, in both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.audit import audit
from tests.databases import KINDS, Database
from tests.gateway.storage.falsifying import blob, copied, falsify, found_in, kept_once, reseal
from tests.gateway.storage.payment_lives import (
    CAPTURED,
    CAPTURED_AND_REVERSED,
    CONFIRMED,
    CONFIRMED_HOLD,
    DECLINED,
    FIRST_REFUND,
    GIVEN_BACK,
    HALF,
    HELD,
    LET_GO,
    REFUNDED,
    REFUSED,
    REVERSED,
    SECOND_REFUND,
    VOIDED,
    WAITING,
    keep_lives,
)

if TYPE_CHECKING:
    from tests.conftest import Shop

DAY_MS = 86_400_000
NOBODY = "0PAYMENT000000000000000099"
NAME = "books_of_lives"
MERCHANT = "MERCHANT0000001"


@pytest.fixture(scope="module", params=KINDS)
def kept_books(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_shop: type[Shop]
) -> Iterator[Database]:
    """The books, once for all tests of a kind."""
    yield from kept_once(request, tmp_path_factory, NAME, lambda database: keep_lives(database, make_shop()))


@pytest.fixture
def books(kept_books: Database, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A copy of the books, to be falsified."""
    yield from copied(kept_books, request, tmp_path, NAME)


async def test_clean_books_pass_and_are_counted(books: Database) -> None:
    report = await asyncio.to_thread(audit, books.place)
    assert report.first_break is None
    # All but the declined one.
    assert report.payment_count == 14


def of(table: str, payment_id: str, change: str) -> str:
    return f"UPDATE {table} SET {change} WHERE payment_id = '{payment_id}'"


def add_step(
    payment_id: str, step: str, state: str, *, released: tuple[int, int] = (0, 0), charged: int = 0
) -> str:
    """A step without a group."""
    fee = 18 if charged else 0
    order_minor, day_minor = released
    return (
        "INSERT INTO payment_steps (payment_id, step_index, step, state, charged_minor, tip_minor, fee_minor,"
        " order_released_minor, day_released_minor, at_ms, terminal_id) VALUES"
        f" ('{payment_id}', 1, '{step}', '{state}', {charged}, 0, {fee}, {order_minor}, {day_minor}, 5,"
        " 'TERMNA01')"
    )


def add_refund(payment_id: str, group_sequence: int) -> str:
    return (
        "INSERT INTO refunds (refund_id, payment_id, terminal_id, day, amount_minor, total_minor, fee_minor,"
        " reason, staff_id, group_sequence, refunded_ms) VALUES ('0REFVND0000000000000000099',"
        f" '{payment_id}', 'TERMNA01', 0, 1, 801, 0, '', '', {group_sequence}, 5)"
    )


def group_of(table: str, payment_id: str) -> str:
    return f"(SELECT group_sequence FROM {table} WHERE payment_id = '{payment_id}')"


FALSIFIED: dict[str, tuple[list[str], str, str]] = {
    "the fee of a sale": ([of("payments", HALF, "fee_minor = 17")], "payment_differs_from_group", HALF),
    "the amount of a hold": (
        [of("payments", HELD, "amount_minor = amount_minor + 1")],
        "payment_differs_from_group",
        HELD,
    ),
    "a hold called a sale": (
        [of("payments", HELD, "outcome = 'approved'")],
        "payment_differs_from_group",
        HELD,
    ),
    "a hold called a decline": (
        [of("payments", HELD, "outcome = 'declined'")],
        "payment_differs_from_group",
        HELD,
    ),
    "a hold that forgot its payment": (
        [f"DELETE FROM payments WHERE payment_id = '{HELD}'"],
        "group_without_payment",
        "group",
    ),
    "a capture that was never made": (
        [f"DELETE FROM payment_steps WHERE payment_id = '{CAPTURED}'"],
        "group_without_step",
        "group",
    ),
    "a void that was never made": (
        [f"DELETE FROM payment_steps WHERE payment_id = '{VOIDED}'"],
        "group_without_step",
        "group",
    ),
    "a reversal that was never made": (
        [f"DELETE FROM payment_steps WHERE payment_id = '{REVERSED}'"],
        "group_without_refund",
        "group",
    ),
    "a refund that was never made": (
        [f"DELETE FROM refunds WHERE refund_id = '{FIRST_REFUND}'"],
        "group_without_refund",
        "group",
    ),
    "a step with a group that there is not": (
        [of("payment_steps", CONFIRMED_HOLD, "group_sequence = 999")],
        "step_without_group",
        CONFIRMED_HOLD,
    ),
    "a hold let go without its money": (
        [add_step(HELD, "voided", "voided", released=(1_050, 1_250))],
        "step_without_group",
        HELD,
    ),
    "a sale reversed without its money": (
        [add_step(HALF, "reversed", "reversed", released=(1_250, 1_250), charged=1_250)],
        "step_without_group",
        HALF,
    ),
    "a hold captured without its money": (
        [
            add_step(HELD, "captured", "succeeded", released=(0, 200), charged=1_050),
            of("payment_steps", HELD, "receipt_number = 9"),
        ],
        "step_without_group",
        HELD,
    ),
    "a payment let go before its hold was over": (
        [of("payment_steps", LET_GO, f"at_ms = at_ms - {DAY_MS}")],
        "step_without_group",
        LET_GO,
    ),
    "a step hung on a funding": (
        [of("payment_steps", CONFIRMED_HOLD, "group_sequence = 1")],
        "step_of_other_group",
        "group 1",
    ),
    "a capture called a void": (
        [of("payment_steps", CAPTURED, "step = 'voided', state = 'voided'")],
        "step_of_other_group",
        "group",
    ),
    "what a capture charged": (
        [of("payment_steps", CAPTURED, "charged_minor = 1051, day_released_minor = 199")],
        "step_differs_from_group",
        CAPTURED,
    ),
    "the fee of a capture": (
        [of("payment_steps", CAPTURED, "fee_minor = fee_minor + 1")],
        "step_differs_from_group",
        CAPTURED,
    ),
    "what was charged before a reversal": (
        [of("payment_steps", REVERSED, "charged_minor = 1249")],
        "step_differs_from_group",
        REVERSED,
    ),
    "two voids that trade places": (
        [
            of("payment_steps", VOIDED, "payment_id = 'x'"),
            of("payment_steps", REFUSED, f"payment_id = '{VOIDED}'"),
            of("payment_steps", "x", f"payment_id = '{REFUSED}'"),
        ],
        "step_differs_from_group",
        "group",
    ),
    "the receipt of a capture": (
        [of("payment_steps", CONFIRMED, "receipt_number = 9")],
        "receipt_number_differs",
        CONFIRMED,
    ),
    "a receipt without a charge": (
        [of("payment_steps", VOIDED, "receipt_number = 9")],
        "receipt_number_differs",
        VOIDED,
    ),
    "a step of nobody's payment": (
        [add_step(NOBODY, "expired", "expired")],
        "step_without_payment",
        NOBODY,
    ),
    "a step of a decline": (
        [add_step(DECLINED, "voided", "voided", released=(60_000, 60_000))],
        "step_not_allowed",
        DECLINED,
    ),
    "a step left out": ([of("payment_steps", VOIDED, "step_index = 2")], "step_missing", VOIDED),
    "a state that the step does not lead to": (
        [of("payment_steps", VOIDED, "state = 'expired'")],
        "step_not_allowed",
        VOIDED,
    ),
    "a confirmation that charged what was to be captured": (
        [of("payments", CONFIRMED, "is_manual = true")],
        "step_not_allowed",
        CONFIRMED,
    ),
    "a confirmation of what nobody had to confirm": (
        [of("payments", CONFIRMED, "outcome = 'authorised'")],
        "step_not_allowed",
        CONFIRMED,
    ),
    "what a void gave back of its order": (
        [of("payment_steps", VOIDED, "order_released_minor = 1049")],
        "step_amounts_differ",
        VOIDED,
    ),
    "what a refusal gave back of its day": (
        [of("payment_steps", REFUSED, "day_released_minor = 0")],
        "step_amounts_differ",
        REFUSED,
    ),
    "what a capture gave back of its order": (
        [of("payment_steps", CAPTURED, "order_released_minor = 151")],
        "step_amounts_differ",
        CAPTURED,
    ),
    "a tip beyond what was held for it": (
        [of("payment_steps", CAPTURED, "tip_minor = 201, order_released_minor = 201")],
        "step_amounts_differ",
        CAPTURED,
    ),
    "goods beyond what was held for them": (
        [of("payment_steps", CAPTURED_AND_REVERSED, "tip_minor = 149, order_released_minor = -1")],
        "step_amounts_differ",
        CAPTURED_AND_REVERSED,
    ),
    "what a reversal gave back of its order": (
        [of("payment_steps", GIVEN_BACK, "order_released_minor = 0")],
        "step_amounts_differ",
        GIVEN_BACK,
    ),
    "a hold that nobody would end": (
        [f"DELETE FROM open_payments WHERE payment_id = '{HELD}'"],
        "open_payment_missing",
        HELD,
    ),
    "a confirmation that nobody would end": (
        [f"DELETE FROM open_payments WHERE payment_id = '{WAITING}'"],
        "open_payment_missing",
        WAITING,
    ),
    "another deadline than that of the last step": (
        [of("open_payments", CONFIRMED_HOLD, "due_ms = due_ms - 1")],
        "open_payment_differs",
        CONFIRMED_HOLD,
    ),
    "a deadline behind the end of the hold": (
        [of("open_payments", HELD, "due_ms = due_ms + 1")],
        "open_payment_differs",
        HELD,
    ),
    "another state than that of the last step": (
        [of("open_payments", CONFIRMED_HOLD, "state = 'requires_confirmation'")],
        "open_payment_differs",
        CONFIRMED_HOLD,
    ),
    "a voided payment that is open": (
        [f"INSERT INTO open_payments (payment_id, state, due_ms) VALUES ('{VOIDED}', 'authorised', 5)"],
        "open_payment_differs",
        VOIDED,
    ),
    "an open payment that there is not": (
        [f"INSERT INTO open_payments (payment_id, state, due_ms) VALUES ('{NOBODY}', 'authorised', 5)"],
        "open_payment_differs",
        NOBODY,
    ),
    "a refund with a group that there is not": (
        [add_refund(REFUNDED, 999)],
        "refund_without_group",
        REFUNDED,
    ),
    "a refund hung on a funding": ([add_refund(REFUNDED, 1)], "refund_of_other_group", "group 1"),
    "the fee of a refund": (
        [f"UPDATE refunds SET fee_minor = fee_minor + 1 WHERE refund_id = '{FIRST_REFUND}'"],
        "refund_differs_from_group",
        FIRST_REFUND,
    ),
    "the amount of a refund": (
        [f"UPDATE refunds SET amount_minor = 334 WHERE refund_id = '{FIRST_REFUND}'"],
        "refund_differs_from_group",
        FIRST_REFUND,
    ),
    "the payment of a refund": (
        [f"UPDATE refunds SET payment_id = '{NOBODY}' WHERE refund_id = '{SECOND_REFUND}'"],
        "refund_differs_from_group",
        SECOND_REFUND,
    ),
    "a refund's name": (
        [f"UPDATE refunds SET refund_id = '{NOBODY}' WHERE refund_id = '{SECOND_REFUND}'"],
        "refund_differs_from_group",
        NOBODY,
    ),
    "a refund moved to another payment of the same payer": (
        [f"UPDATE refunds SET payment_id = '{VOIDED}' WHERE refund_id = '{FIRST_REFUND}'"],
        "refund_total_differs",
        SECOND_REFUND,
    ),
    "a total that a refund did not reach": (
        [f"UPDATE refunds SET total_minor = 334 WHERE refund_id = '{FIRST_REFUND}'"],
        "refund_total_differs",
        FIRST_REFUND,
    ),
    "the day of a refund": (
        [f"UPDATE refunds SET day = day - 1 WHERE refund_id = '{SECOND_REFUND}'"],
        "refund_day_differs",
        SECOND_REFUND,
    ),
    "what a voided order was paid": (
        ["UPDATE orders SET taken_minor = 1 WHERE order_id = 'order-3'"],
        "order_total_differs",
        "order-3",
    ),
    "what a captured order was paid": (
        ["UPDATE orders SET taken_minor = taken_minor + 150 WHERE order_id = 'order-2'"],
        "order_total_differs",
        "order-2",
    ),
    "a shared order for less than was paid": (
        ["UPDATE orders SET amount_minor = 2499 WHERE order_id = 'shared'"],
        "order_overpaid",
        "shared",
    ),
    "what was spent in a day": (
        ["UPDATE spent_days SET spent_minor = spent_minor + 1250"],
        "day_total_differs",
        "INSTRUMENT1",
    ),
    "the count of receipts": (
        ["UPDATE merchants SET receipt_count = receipt_count + 1"],
        "receipt_count_differs",
        MERCHANT,
    ),
}


@pytest.mark.parametrize(("statements", "code", "where"), FALSIFIED.values(), ids=FALSIFIED)
async def test_audit_names_what_was_falsified(
    books: Database, statements: list[str], code: str, where: str
) -> None:
    await falsify(books, *statements)
    found = await found_in(books)
    assert found is not None
    assert found.code == code
    assert where in found.where


def leg(table: str, payment_id: str, index: int, change: str) -> str:
    group = group_of(table, payment_id)
    return f"UPDATE transfers SET {change} WHERE leg_index = {index} AND group_sequence = {group}"


def leg_of_refund(refund_id: str, index: int, change: str) -> str:
    return (
        f"UPDATE transfers SET {change} WHERE leg_index = {index} AND group_sequence ="
        f" (SELECT group_sequence FROM refunds WHERE refund_id = '{refund_id}')"
    )


def call_group(purpose: str, payment_id: str) -> str:
    """Give the group of a payment's step another purpose."""
    group = group_of("payment_steps", payment_id)
    return f"UPDATE ledger_groups SET purpose = '{purpose}' WHERE sequence = {group}"


A_CENT_MORE = "amount_minor = amount_minor + 1"
FALSIFIED_AND_SEALED: dict[str, tuple[list[str], str, str]] = {
    "a hold that is a sale": (
        [leg("payments", HELD, 0, "kind = 'single', expires_ms = NULL")],
        "payment_differs_from_group",
        HELD,
    ),
    "a fee of a capture that was not taken": (
        [leg("payment_steps", CAPTURED, 1, A_CENT_MORE)],
        "step_differs_from_group",
        CAPTURED,
    ),
    "a capture that charged something else": (
        [leg("payment_steps", CONFIRMED, 0, "amount_minor = amount_minor - 1")],
        "step_differs_from_group",
        CONFIRMED,
    ),
    "a void under another's name": (
        [leg("payment_steps", VOIDED, 0, f"transfer_id = {'{any_id}'}")],
        "step_differs_from_group",
        VOIDED,
    ),
    "a refund to nobody": (
        [leg_of_refund(FIRST_REFUND, 1, "credit_account_id = debit_account_id")],
        "refund_differs_from_group",
        FIRST_REFUND,
    ),
    "a refund of another amount": (
        [leg_of_refund(FIRST_REFUND, 1, A_CENT_MORE)],
        "refund_differs_from_group",
        FIRST_REFUND,
    ),
    "a reversal that left something": (
        [leg("payment_steps", REVERSED, 1, "amount_minor = amount_minor - 1")],
        "step_differs_from_group",
        REVERSED,
    ),
    "a release called a capture": (
        [call_group("capture", VOIDED)],
        "step_of_other_group",
        "group",
    ),
    "a capture called a transfer": (
        [call_group("transfer", CAPTURED)],
        "step_of_other_group",
        "group",
    ),
    "a transfer called a refund": (
        ["UPDATE ledger_groups SET purpose = 'refund' WHERE sequence = 1"],
        "group_without_refund",
        "group 1",
    ),
    "a transfer called a capture": (
        ["UPDATE ledger_groups SET purpose = 'capture' WHERE sequence = 1"],
        "group_without_step",
        "group 1",
    ),
    "a transfer called a hold": (
        ["UPDATE ledger_groups SET purpose = 'hold' WHERE sequence = 1"],
        "group_without_payment",
        "group 1",
    ),
    "a cent of the fee returned too early": (
        [
            leg_of_refund(FIRST_REFUND, 0, A_CENT_MORE),
            leg_of_refund(SECOND_REFUND, 0, "amount_minor = amount_minor - 1"),
            f"UPDATE refunds SET fee_minor = fee_minor + 1 WHERE refund_id = '{FIRST_REFUND}'",
            f"UPDATE refunds SET fee_minor = fee_minor - 1 WHERE refund_id = '{SECOND_REFUND}'",
        ],
        "refund_fee_differs",
        FIRST_REFUND,
    ),
    "more refunded than was charged": (
        [
            leg_of_refund(SECOND_REFUND, 1, "amount_minor = amount_minor + 451"),
            "UPDATE refunds SET amount_minor = amount_minor + 451, total_minor = total_minor + 451"
            f" WHERE refund_id = '{SECOND_REFUND}'",
            "UPDATE accounts SET credits_posted = credits_posted + 451 WHERE kind = 'wallet'",
            "UPDATE accounts SET debits_posted = debits_posted + 451 WHERE kind = 'merchant'",
        ],
        "refund_above_charged",
        SECOND_REFUND,
    ),
}


@pytest.mark.parametrize(
    ("statements", "code", "where"), FALSIFIED_AND_SEALED.values(), ids=FALSIFIED_AND_SEALED
)
async def test_audit_names_what_was_falsified_behind_a_chain_made_anew(
    books: Database, statements: list[str], code: str, where: str
) -> None:
    any_id = blob(books, bytes(16))
    await falsify(books, *(statement.replace("{any_id}", any_id) for statement in statements))
    await reseal(books)
    found = await found_in(books)
    assert found is not None
    assert found.code == code
    assert where in found.where


PROVOKED = {code for _, code, _ in (*FALSIFIED.values(), *FALSIFIED_AND_SEALED.values())}
