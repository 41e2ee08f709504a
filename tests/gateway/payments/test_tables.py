"""Payments and their lives as tables: one line an event and what it was answered, readable at a counter.

tables/*.txt are read by people first; what their lines can be stands in cashier.py. A file's lines before its
first `==` happen before each of its tables. Every table is played on every store, and on the auditor's model.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.audit import audit
from simulators.auditor.books.books import check_books
from tests.gateway.payments.cashier import ATTEMPT, CHANGE, Cashier
from wire.notices import NOTICES, NoticeKind

if TYPE_CHECKING:
    from tests.databases import Database

FOLDER = Path(__file__).with_name("tables")
ASKED_OF_OTHERS = {"staff_not_allowed", "staff_locked", "pin_wrong", "merchant_funds_insufficient"}
"""Refusals of those who verify PINs before a payment is changed, and of the ledger where a merchant's account
is bounded, which none is yet."""
PROBLEMS = {"idempotency_conflict", "internal", "not_found", "terminal_revoked", "terminal_unknown"}
REFUSALS = {
    "capture_exceeds_hold",
    "confirmation_way_not_allowed",
    "payer_wallet_frozen",
    "payment_not_open",
    "refund_exceeds_payment",
    "refund_limit_exceeded",
    "refund_total_passed",
}


def read_tables() -> dict[str, list[str]]:
    """Return the lines of each table under its name, with those of its file's beginning before them."""
    tables: dict[str, list[str]] = {}
    for path in sorted(FOLDER.glob("*.txt")):
        beginning, *parts = path.read_text(encoding="utf-8").split("\n== ")
        for part in parts:
            title, _, body = part.partition("\n")
            lines = [" ".join(line.split()) for line in f"{beginning}\n{body}".splitlines()]
            tables[f"{path.stem}: {title}"] = [line for line in lines if line and not line.startswith("#")]
    return tables


TABLES = read_tables()


@pytest.mark.parametrize("lines", TABLES.values(), ids=TABLES)
async def test_payments_are_answered_as_their_table_says(database: Database, lines: list[str]) -> None:
    store = await database.open_store()
    try:
        await Cashier(database, store).play(lines)
    finally:
        await store.close()
    assert check_books(await database.read_books()) == []
    assert (await asyncio.to_thread(audit, database.place)).first_break is None


def answers() -> set[str]:
    """Return every answer that stands in a table."""
    lines = [line for lines in TABLES.values() for line in lines]
    matches = [ATTEMPT.fullmatch(line) or CHANGE.fullmatch(line) for line in lines]
    return {match["answer"] for match in matches if match is not None}


def test_every_decline_stands_in_a_table() -> None:
    declines = {code for code, notice in NOTICES.items() if notice.kind is NoticeKind.DECLINE}
    assert {answer for answer in answers() if " " not in answer} - {"held"} == declines


def test_every_reason_to_ask_the_holder_stands_in_a_table() -> None:
    asked = {code for code, notice in NOTICES.items() if notice.kind is NoticeKind.CONFIRMATION}
    assert {answer.removeprefix("asked ") for answer in answers() if answer.startswith("asked ")} == asked


def test_every_refusal_of_a_change_stands_in_a_table() -> None:
    refused = {answer.removeprefix("! ") for answer in answers() if answer.startswith("! ")}
    assert refused == PROBLEMS | REFUSALS
    known = {code for code, notice in NOTICES.items() if notice.kind is NoticeKind.PROBLEM}
    assert known >= REFUSALS | ASKED_OF_OTHERS
