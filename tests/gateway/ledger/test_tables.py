"""The ledger as tables: one line a request and its outcome, the way a bookkeeper would try it.

open NAME CURRENCY [limited]         open an account; limited: debits must not exceed credits
freeze NAME / thaw NAME
at MS                                set the time
KIND ID DEBIT > CREDIT AMOUNT CURRENCY [until MS] [of PENDING]   OUTCOME
+ KIND ...                           a further leg of the group above
expire                               COUNT of holds let go
NAME                                 debits pending/posted, credits pending/posted
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.errors import NotFound
from gateway.ledger.book import LedgerBook
from gateway.ledger.model import (
    AMOUNT_MINOR_MAX,
    COUNTER_MAX,
    LEGS_MAX,
    Account,
    AccountKind,
    Transfer,
    TransferGroup,
    TransferKind,
)
from gateway.storage.sqlite.store import open_sqlite_store

LEG = re.compile(
    r"(?P<kind>single|pending|post|void|expire) (?P<id>\w+) (?P<debit>\w+) > (?P<credit>\w+)"
    r" (?P<amount>-?\d+) (?P<currency>[A-Z]{3})(?: until (?P<until>\d+))?(?: of (?P<of>\w+))?"
)

MONEY = """
open outside EUR
open ada     EUR limited
open shop    EUR
single f1 outside > ada 100 EUR         booked
"""

TABLES = {
    "money moves once and only as far as there is some": """
        single t1 ada > shop 60 EUR         booked
        single t2 ada > shop 41 EUR         insufficient_funds
        single t3 ada > shop 40 EUR         booked
        single t4 ada > shop 1 EUR          insufficient_funds
        ada                                 0/100 0/100
        shop                                0/0 0/100
    """,
    "an account without the flag may go below nothing": """
        single t1 shop > ada 500 EUR        booked
        shop                                0/500 0/0
    """,
    "a repeat is exact or it is refused": """
        single t1 ada > shop 10 EUR         booked
        single t1 ada > shop 10 EUR         exists
        single t1 ada > shop 11 EUR         exists_with_different_amount
        single t1 shop > ada 10 EUR         exists_with_different_accounts
        single t1 ada > shop 10 USD         exists_with_different_currency
        pending t1 ada > shop 10 EUR until 9  exists_with_different_kind
        single t1 ada > outside 11 EUR      exists_with_different_accounts
        ada                                 0/10 0/100
    """,
    "a refused transfer may be asked for again": """
        single t1 ada > shop 150 EUR        insufficient_funds
        single f2 outside > ada 50 EUR      booked
        single t1 ada > shop 150 EUR        booked
    """,
    "a repeat answers even when it could not be booked now": """
        single t1 ada > shop 100 EUR        booked
        freeze ada
        single t1 ada > shop 100 EUR        exists
    """,
    "form comes before everything": """
        single t1 ada > shop 0 EUR          amount_must_be_positive
        single t1 ada > shop -5 EUR         amount_must_be_positive
        single t1 ada > shop 1000000000000001 EUR  amount_too_large
        single t1 ada > ada 5 EUR           accounts_must_differ
        single t1 ada > ada 0 EUR           amount_must_be_positive
        single f1 ada > ada 5 EUR           accounts_must_differ
    """,
    "accounts must exist and share the currency": """
        open eve USD
        single t1 ada > nobody 5 EUR        account_not_found
        single t1 nobody > ada 5 EUR        account_not_found
        single t1 ada > eve 5 EUR           currency_mismatch
        single t1 eve > ada 5 EUR           currency_mismatch
        single t1 ada > shop 5 USD          currency_mismatch
        ada                                 0/0 0/100
        eve                                 0/0 0/0
    """,
    "a frozen account pays nothing, receives, and lets go": """
        pending p1 ada > shop 10 EUR until 99   booked
        pending p2 ada > shop 10 EUR until 99   booked
        freeze ada
        single t1 ada > shop 5 EUR              account_frozen
        single t1 ada > shop 500 EUR            account_frozen
        single t1 ada > shop 5 USD              account_frozen
        pending p3 ada > shop 5 EUR until 99    account_frozen
        post q1 ada > shop 10 EUR of p1         account_frozen
        void v1 ada > shop 10 EUR of p1         booked
        single f2 outside > ada 5 EUR           booked
        thaw ada
        post q2 ada > shop 10 EUR of p2         booked
        ada                                     0/10 0/105
    """,
    "a hold counts against what is there": """
        pending p1 ada > shop 70 EUR until 99   booked
        single t1 ada > shop 31 EUR             insufficient_funds
        pending p2 ada > shop 31 EUR until 99   insufficient_funds
        single t2 ada > shop 30 EUR             booked
        ada                                     70/30 0/100
        shop                                    0/0 70/30
    """,
    "a post takes all or part, and lets go of the rest": """
        pending p1 ada > shop 70 EUR until 99   booked
        post q1 ada > shop 71 EUR of p1         exceeds_pending
        post q1 ada > shop 50 EUR of p1         booked
        post q1 ada > shop 50 EUR of p1         exists
        post q2 ada > shop 20 EUR of p1         pending_already_posted
        void v1 ada > shop 70 EUR of p1         pending_already_posted
        ada                                     0/50 0/100
        shop                                    0/0 0/50
        single t1 ada > shop 50 EUR             booked
    """,
    "a void lets go of everything": """
        pending p1 ada > shop 70 EUR until 99   booked
        void v1 ada > shop 60 EUR of p1         pending_has_different_amount
        void v1 ada > shop 70 EUR of p1         booked
        void v2 ada > shop 70 EUR of p1         pending_already_voided
        post q1 ada > shop 70 EUR of p1         pending_already_voided
        ada                                     0/0 0/100
    """,
    "a post names its pending transfer and repeats it": """
        pending p1 ada > shop 70 EUR until 99   booked
        post q1 ada > shop 70 EUR of p9         pending_not_found
        post q1 ada > shop 70 EUR of f1         pending_not_found
        post q1 shop > ada 70 EUR of p1         pending_has_different_accounts
        post q1 ada > shop 70 USD of p1         pending_has_different_currency
        post q1 ada > shop 70 EUR of p1         booked
        post q1 ada > shop 70 EUR of p9         exists_with_different_pending
    """,
    "a hold is over from its time on": """
        at 10
        pending p0 ada > shop 5 EUR until 10    expiry_has_passed
        pending p1 ada > shop 70 EUR until 20   booked
        pending p1 ada > shop 70 EUR until 21   exists_with_different_expiry
        expire                                  0
        expire e1 ada > shop 70 EUR of p1       pending_not_expired
        at 19
        single t1 ada > shop 40 EUR             insufficient_funds
        at 20
        post q1 ada > shop 70 EUR of p1         pending_expired
        void v1 ada > shop 70 EUR of p1         pending_expired
        ada                                     0/0 0/100
        expire                                  0
    """,
    "the next booking or the sweep lets go of what is due": """
        pending p1 ada > shop 60 EUR until 20   booked
        pending p2 ada > shop 40 EUR until 30   booked
        at 20
        single t1 ada > shop 60 EUR             booked
        ada                                     40/60 0/100
        at 30
        expire                                  1
        expire                                  0
        ada                                     0/60 0/100
    """,
    "linked legs are booked together or not at all": """
        single a1 ada > shop 60 EUR             linked_failed
        + single a2 ada > shop 60 EUR           insufficient_funds
        + single a3 outside > ada 60 EUR        linked_failed
        ada                                     0/0 0/100
        single a1 ada > shop 60 EUR             booked
        + single a3 outside > ada 60 EUR        booked
        + single a2 ada > shop 60 EUR           booked
        ada                                     0/120 0/160
    """,
    "a fee is taken from what the leg before brought": """
        open fees EUR
        open tea  EUR limited
        single a1 ada > tea 50 EUR              booked
        + single a2 tea > fees 50 EUR           booked
        single b1 tea > fees 1 EUR              insufficient_funds
    """,
    "a group is repeated as a whole, in its order": """
        single a1 ada > shop 10 EUR             booked
        + single a2 ada > shop 20 EUR           booked
        single a1 ada > shop 10 EUR             exists
        + single a2 ada > shop 20 EUR           exists
        single a1 ada > shop 10 EUR             exists_in_different_group
        single a2 ada > shop 20 EUR             exists_in_different_group
        + single a1 ada > shop 10 EUR           linked_failed
        single a1 ada > shop 10 EUR             exists_in_different_group
        + single a3 ada > shop 20 EUR           linked_failed
        single a3 ada > shop 20 EUR             linked_failed
        + single a2 ada > shop 20 EUR           exists_in_different_group
        single a1 ada > shop 10 EUR             linked_failed
        + single a2 ada > shop 21 EUR           exists_with_different_amount
        ada                                     0/30 0/100
    """,
    "one id stands once in a group": """
        single a1 ada > shop 10 EUR             linked_failed
        + single a1 ada > shop 10 EUR           id_repeated_in_group
    """,
    "a hold can be made and posted in one group": """
        pending p1 ada > shop 10 EUR until 99   booked
        + post q1 ada > shop 4 EUR of p1        booked
        ada                                     0/4 0/100
    """,
    "what failed with its group may be booked by itself": """
        pending p1 ada > shop 10 EUR until 99   linked_failed
        + post q1 ada > shop 11 EUR of p1       exceeds_pending
        post q1 ada > shop 10 EUR of p1         pending_not_found
        pending p1 ada > shop 10 EUR until 99   booked
    """,
}


@pytest.fixture(params=["sqlite"])
async def book(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerBook]:
    openers = {"sqlite": open_sqlite_store}
    store = await openers[request.param](tmp_path / "ledger.sqlite3")
    yield store
    await store.close()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
async def test_ledger_answers_as_its_table_says(book: LedgerBook, table: str) -> None:
    await Bookkeeper(book).play(MONEY + table)


async def test_batch_answers_each_group_by_itself(book: LedgerBook) -> None:
    keeper = Bookkeeper(book)
    await keeper.play(MONEY)
    legs = [
        keeper.read_leg(f"single {name} ada > shop {amount} EUR")
        for name, amount in (("t1", 60), ("t2", 60), ("t3", 40))
    ]
    answers = await book.book([TransferGroup((leg,)) for leg in legs], 0)
    assert [answer.outcome.name for answer in answers] == ["BOOKED", "INSUFFICIENT_FUNDS", "BOOKED"]
    assert [answer.sequence for answer in answers] == [2, None, 3]


async def test_counters_never_leave_their_range(book: LedgerBook) -> None:
    keeper = Bookkeeper(book)
    await keeper.play("open outside EUR\nopen ada EUR")
    full_groups, rest = divmod(COUNTER_MAX // AMOUNT_MINOR_MAX, LEGS_MAX)
    most = f"outside > ada {AMOUNT_MINOR_MAX} EUR"
    for group in range(full_groups):
        legs = tuple(keeper.read_leg(f"single g{group}l{leg} {most}") for leg in range(LEGS_MAX))
        await book.book([TransferGroup(legs)], 0)
    await keeper.play("\n".join(f"single r{number} {most} booked" for number in range(rest)))
    await keeper.play(f"single one_more {most} counter_out_of_range")
    await keeper.play(f"pending one_more {most} until 9 counter_out_of_range")


async def test_account_that_does_not_exist_is_neither_found_nor_frozen(book: LedgerBook) -> None:
    assert await book.find_account(id_of("nobody")) is None
    with pytest.raises(NotFound):
        await book.set_account_frozen(id_of("nobody"), True)


class Bookkeeper:
    """Plays a table against a book."""

    def __init__(self, book: LedgerBook) -> None:
        self._book = book
        self._now_ms = 0

    async def play(self, table: str) -> None:
        lines = [line.strip() for line in table.splitlines() if line.strip()]
        for group in group_lines(lines):
            if LEG.match(group[0]):
                await self._book_group(group)
            else:
                await self._do(group[0])

    async def _book_group(self, lines: list[str]) -> None:
        legs = [self.read_leg(line) for line in lines]
        (answer,) = await self._book.book([TransferGroup(tuple(legs))], self._now_ms)
        assert [leg.name.lower() for leg in answer.legs] == [line.split()[-1] for line in lines], lines

    def read_leg(self, line: str) -> Transfer:
        match = LEG.match(line)
        assert match is not None, line
        return Transfer(
            transfer_id=id_of(match["id"]),
            kind=TransferKind(match["kind"]),
            debit_account_id=id_of(match["debit"]),
            credit_account_id=id_of(match["credit"]),
            amount_minor=int(match["amount"]),
            currency=match["currency"],
            pending_id=id_of(match["of"]) if match["of"] else None,
            expires_ms=int(match["until"]) if match["until"] else None,
        )

    async def _do(self, line: str) -> None:
        word, *rest = line.split()
        if word == "open":
            account = Account(id_of(rest[0]), AccountKind.WALLET, rest[1], "limited" in rest)
            await self._book.open_account(account, self._now_ms)
        elif word in ("freeze", "thaw"):
            await self._book.set_account_frozen(id_of(rest[0]), word == "freeze")
        elif word == "at":
            self._now_ms = int(rest[0])
        elif word == "expire":
            assert await self._book.expire_pendings(self._now_ms) == int(rest[0]), line
        else:
            found = await self._book.find_account(id_of(word))
            assert found is not None, line
            debits = f"{found.debits_pending}/{found.debits_posted}"
            credits = f"{found.credits_pending}/{found.credits_posted}"
            assert [debits, credits] == rest, word


def group_lines(lines: list[str]) -> Iterator[list[str]]:
    """Join each line that begins with `+` to the group above it."""
    group: list[str] = []
    for line in lines:
        if line.startswith("+ "):
            group.append(line.removeprefix("+ "))
            continue
        if group:
            yield group
        group = [line]
    yield group


def id_of(name: str) -> bytes:
    return name.encode().ljust(16, b".")
