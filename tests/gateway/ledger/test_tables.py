"""The ledger as tables: one line a request and its outcome, the way a bookkeeper would try it.

tables/*.txt are read by people first. A file's lines before its first `==` happen before each of its
tables; `#` begins a remark. Every table is played on every store, and on the auditor's model.

open NAME CURRENCY [limited]         open an account; limited: debits must not exceed credits
freeze NAME / thaw NAME
at MS                                set the time
KIND ID DEBIT > CREDIT AMOUNT CURRENCY [until MS] [of PENDING] [times N]   OUTCOME
+ KIND ...                           a further leg of the group above
& KIND ...                           a further group of the batch above, which is asked for in one call
expire                               COUNT of holds let go
NAME                                 debits pending/posted, credits pending/posted
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.errors import NotFound
from gateway.ledger.book import LedgerBook
from gateway.ledger.model import LEGS_MAX, Account, AccountKind
from gateway.ledger.outcomes import Outcome
from simulators.auditor.model.ledger import Group, LedgerModel, Leg
from tests.gateway.translation import group_of, names_of

if TYPE_CHECKING:
    from tests.databases import Database

FOLDER = Path(__file__).with_name("tables")
LEG = re.compile(
    r"(?P<kind>single|pending|post|void|expire) (?P<id>\w+) (?P<debit>\w+) > (?P<credit>\w+)"
    r" (?P<amount>-?\d+) (?P<currency>[A-Z]{3})(?: until (?P<until>\d+))?(?: of (?P<of>\w+))?"
    r"(?: times (?P<times>\d+))?\s+(?P<outcome>\w+)"
)


def read_tables() -> dict[str, list[str]]:
    """Return the lines of each table under its name, with those of its file's beginning before them."""
    tables: dict[str, list[str]] = {}
    for path in sorted(FOLDER.glob("*.txt")):
        beginning, *parts = path.read_text(encoding="utf-8").split("\n== ")
        for part in parts:
            title, _, body = part.partition("\n")
            lines = [line.strip() for line in f"{beginning}\n{body}".splitlines()]
            tables[f"{path.stem}: {title}"] = [line for line in lines if line and not line.startswith("#")]
    return tables


TABLES = read_tables()


class Bookkeeper(ABC):
    """Plays a table, line by line."""

    now_ms = 0

    async def play(self, lines: list[str]) -> None:
        for batch in join_lines(lines, "& "):
            if LEG.match(batch[0]):
                await self._book_lines([*join_lines(batch, "+ ")])
            else:
                await self._do(batch[0])

    @abstractmethod
    async def open_account(self, account_id: bytes, currency: str, limited: bool) -> None: ...

    @abstractmethod
    async def set_frozen(self, account_id: bytes, frozen: bool) -> None: ...

    @abstractmethod
    async def book(self, groups: list[Group]) -> list[tuple[str, ...]]: ...

    @abstractmethod
    async def expire(self) -> int: ...

    @abstractmethod
    async def counters(self, account_id: bytes) -> tuple[int, int, int, int]: ...

    async def _book_lines(self, groups: list[list[str]]) -> None:
        matches = [[read_line(line) for line in lines] for lines in groups]
        first = matches[0][0]
        if first["times"]:
            await self._book_many(first, int(first["times"]))
            return
        answers = await self.book([Group(tuple(map(read_leg, group))) for group in matches])
        assert answers == [tuple(match["outcome"] for match in group) for group in matches], groups

    async def _book_many(self, match: re.Match[str], times: int) -> None:
        """Book the same leg many times, under an id each and in groups of as many as one may have."""
        legs = [read_leg(match, f"{match['id']}{number}") for number in range(times)]
        groups = [Group(tuple(legs[start : start + LEGS_MAX])) for start in range(0, times, LEGS_MAX)]
        for answer in await self.book(groups):
            assert set(answer) == {match["outcome"]}

    async def _do(self, line: str) -> None:
        word, *rest = line.split()
        if word == "open":
            await self.open_account(id_of(rest[0]), rest[1], "limited" in rest)
        elif word in ("freeze", "thaw"):
            await self.set_frozen(id_of(rest[0]), word == "freeze")
        elif word == "at":
            self.now_ms = int(rest[0])
        elif word == "expire":
            assert await self.expire() == int(rest[0]), line
        else:
            counters = await self.counters(id_of(word))
            assert "{}/{} {}/{}".format(*counters) == " ".join(rest), line


class StoreBookkeeper(Bookkeeper):
    """Plays it on a real ledger."""

    def __init__(self, book: LedgerBook) -> None:
        self._book = book

    async def open_account(self, account_id: bytes, currency: str, limited: bool) -> None:
        await self._book.open_account(Account(account_id, AccountKind.WALLET, currency, limited), self.now_ms)

    async def set_frozen(self, account_id: bytes, frozen: bool) -> None:
        await self._book.set_account_frozen(account_id, frozen)

    async def book(self, groups: list[Group]) -> list[tuple[str, ...]]:
        answers = await self._book.book([group_of(group) for group in groups], self.now_ms)
        return [names_of(answer) for answer in answers]

    async def expire(self) -> int:
        return await self._book.expire_pendings(self.now_ms)

    async def counters(self, account_id: bytes) -> tuple[int, int, int, int]:
        found = await self._book.find_account(account_id)
        assert found is not None, account_id
        return found.debits_pending, found.debits_posted, found.credits_pending, found.credits_posted


class ModelBookkeeper(Bookkeeper):
    """Plays it on the model, so that the model itself is held to what people wrote."""

    def __init__(self) -> None:
        self._model = LedgerModel()

    async def open_account(self, account_id: bytes, currency: str, limited: bool) -> None:
        self._model.open_account(account_id, currency, limited=limited)

    async def set_frozen(self, account_id: bytes, frozen: bool) -> None:
        self._model.set_frozen(account_id, frozen)

    async def book(self, groups: list[Group]) -> list[tuple[str, ...]]:
        return [answer.legs for answer in self._model.book(groups, self.now_ms)]

    async def expire(self) -> int:
        return self._model.expire(self.now_ms)

    async def counters(self, account_id: bytes) -> tuple[int, int, int, int]:
        return self._model.accounts[account_id].counters


@pytest.fixture
async def book(database: Database) -> AsyncIterator[LedgerBook]:
    store = await database.open_store()
    yield store
    await store.close()


@pytest.fixture
def keeper(book: LedgerBook) -> StoreBookkeeper:
    return StoreBookkeeper(book)


@pytest.mark.parametrize("lines", TABLES.values(), ids=TABLES)
async def test_ledger_answers_as_its_table_says(keeper: StoreBookkeeper, lines: list[str]) -> None:
    await keeper.play(lines)


@pytest.mark.parametrize("lines", TABLES.values(), ids=TABLES)
async def test_model_answers_as_the_table_says(lines: list[str]) -> None:
    await ModelBookkeeper().play(lines)


def test_every_outcome_stands_in_a_table() -> None:
    written = {match["outcome"] for lines in TABLES.values() for line in lines if (match := LEG.search(line))}
    assert written == {outcome.name.lower() for outcome in Outcome}


async def test_batch_answers_each_group_by_itself(book: LedgerBook, keeper: StoreBookkeeper) -> None:
    await keeper.play(
        ["open outside EUR", "open ada EUR limited", "open shop EUR", "single f outside > ada 100 EUR booked"]
    )
    legs = [
        Leg(id_of(name), "single", id_of("ada"), id_of("shop"), amount, "EUR")
        for name, amount in (("t1", 60), ("t2", 60), ("t3", 40))
    ]
    answers = await book.book([group_of(Group((leg,))) for leg in legs], 0)
    assert [answer.outcome.name for answer in answers] == ["BOOKED", "INSUFFICIENT_FUNDS", "BOOKED"]
    assert [answer.sequence for answer in answers] == [2, None, 3]


async def test_account_that_does_not_exist_is_neither_found_nor_frozen(book: LedgerBook) -> None:
    assert await book.find_account(id_of("nobody")) is None
    with pytest.raises(NotFound):
        await book.set_account_frozen(id_of("nobody"), True)


def join_lines(lines: list[str], sign: str) -> Iterator[list[str]]:
    """Join each line that begins with a sign to the one above it; a group's own lines keep theirs."""
    joined: list[str] = []
    for line in lines:
        if joined and not line.startswith(("+ ", sign)):
            yield [one.removeprefix(sign) for one in joined]
            joined = []
        joined.append(line)
    yield [one.removeprefix(sign) for one in joined]


def read_line(line: str) -> re.Match[str]:
    match = LEG.fullmatch(line)
    assert match is not None, line
    return match


def read_leg(match: re.Match[str], name: str = "") -> Leg:
    return Leg(
        transfer_id=id_of(name or match["id"]),
        kind=match["kind"],
        debit_account_id=id_of(match["debit"]),
        credit_account_id=id_of(match["credit"]),
        amount_minor=int(match["amount"]),
        currency=match["currency"],
        pending_id=id_of(match["of"]) if match["of"] else None,
        expires_ms=int(match["until"]) if match["until"] else None,
    )


def id_of(name: str) -> bytes:
    return name.encode().ljust(16, b".")
