"""Random histories, booked by the real ledger and by a model that shares no code with it.

A history is a list of steps: batches of linked groups, several batches at once over one or two open
stores, sweeps, freezing and thawing, time passing, closing and opening again. After every step each
answer and each counter of each account must be the model's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.ledger.book import EXPIRIES_PER_BOOKING_MAX, LedgerBook
from gateway.ledger.model import Account, AccountKind
from gateway.ledger.outcomes import GroupOutcome, Outcome
from simulators.auditor.books.books import check_books
from simulators.auditor.model import ledger as model_ledger
from simulators.auditor.model.ledger import Group, LedgerModel, Leg, expiry_of
from simulators.auditor.model.orders import find_serial_order
from simulators.auditor.model.outcomes import NUMBERS
from tests.gateway.translation import group_of, names_of

if TYPE_CHECKING:
    from tests.databases import Database

EXAMPLES = {"sqlite": 60, "postgres": 30}
"""How many histories are tried on each; MODEL_EXAMPLES sets more for a long campaign."""
ERA_MS = 1_000
"""Time between the beginnings of two histories: longer than any of them, and than any hold."""
ACCOUNTS = {"ada": ("EUR", True), "bob": ("EUR", True), "outside": ("EUR", False), "dollars": ("USD", False)}
LATE = "late"
"""An account that does not exist until a step opens it."""
NAMES = [*ACCOUNTS, LATE]
FUNDS = 150
FUNDING = {90: "ada", 91: "bob"}


@dataclass(frozen=True)
class Asked:
    """A leg in small numbers: transfers are numbered, accounts named, times counted from now."""

    kind: str
    number: int | None
    debit: str
    credit: str
    amount: int
    currency: str = "EUR"
    until: int | None = None


@dataclass(frozen=True)
class End:
    """What ends a hold that is known when it is asked: which one, how, and what is wrong with it."""

    kind: str
    number: int | None
    pick: int
    share: int
    """Sixteenths of the held amount, rounded up; above 16 it is more than was held."""
    mistake: str


@dataclass(frozen=True)
class AskedGroup:
    legs: tuple[Asked | End, ...]
    purpose: str = "transfer"


@dataclass(frozen=True)
class Again:
    """A group that was asked for before, perhaps with one thing of it changed."""

    back: int
    change: str


@dataclass(frozen=True)
class Batch:
    groups: tuple[AskedGroup | Again, ...]


@dataclass(frozen=True)
class Crowd:
    """Batches sent at once; each goes through the first or the second open store.

    Through both stores go batches of one group only: of a larger one, what a gateway refuses was decided
    on what it had read, and what it books is booked a moment later. Each of its groups then has an order
    that explains it, but not the batch as a whole (docs/adr/0005, decision 2).
    """

    batches: tuple[Batch, ...]
    doors: tuple[int, ...]


@dataclass(frozen=True)
class Wait:
    ms: int


@dataclass(frozen=True)
class Freeze:
    name: str
    frozen: bool


@dataclass(frozen=True)
class Do:
    """`sweep`, `reopen`, or `open` the late account."""

    what: str


State = tuple[LedgerModel, dict[int, int]]
Step = Batch | Crowd | Wait | Freeze | Do

# Mostly None, a number nobody used; else one of few, so that ids are used again without meaning to.
numbers = st.sampled_from([None] * 9 + [0, 1])
good_pairs = st.sampled_from([("outside", "ada"), ("ada", "bob"), ("bob", "ada"), ("ada", "outside")])
good_singles = st.builds(
    lambda number, pair, amount: Asked("single", number, *pair, amount),
    numbers,
    good_pairs,
    st.integers(1, 60),
)
good_holds = st.builds(
    lambda number, pair, amount, until: Asked("pending", number, *pair, amount, until=until),
    numbers,
    good_pairs,
    st.integers(1, 20),
    st.sampled_from([0, 1, 5, 9, 15, 20]),
)
ends = st.builds(
    End,
    st.sampled_from(["post", "post", "void", "expire"]),
    numbers,
    st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5, 8]),
    st.sampled_from([16] * 6 + [1, 8, 17]),
    st.sampled_from([""] * 9 + ["pair", "currency", "hold"]),
)


HOPELESS = Asked("single", None, "ada", "bob", 10**12)


@st.composite
def mistakes(draw: st.DrawFn) -> Asked:
    """What a client might get wrong: one thing of a good transfer is anything at all."""
    leg = draw(st.one_of(good_singles, good_holds))
    changes: tuple[dict[str, Any], ...] = (
        {"debit": draw(st.sampled_from(NAMES))},
        {"credit": draw(st.sampled_from(NAMES))},
        {"amount": draw(st.sampled_from([-1, 0, 1, 15, 10**15, 10**15 + 1]))},
        {"currency": "USD"},
    )
    return replace(leg, **draw(st.sampled_from(changes)))


legs = st.one_of(good_singles, good_singles, good_holds, ends, ends, ends, mistakes())
groups = st.builds(
    AskedGroup,
    st.one_of(
        legs.map(lambda leg: (leg,)),
        legs.map(lambda leg: (leg,)),
        st.lists(legs, min_size=2, max_size=4).map(tuple),
        # Many linked legs on few accounts: the counters of each depend on all before it.
        st.lists(good_singles, min_size=5, max_size=16).map(tuple),
        # What goes well until the last leg must leave nothing behind.
        st.lists(st.one_of(good_holds, ends, ends), min_size=1, max_size=3).map(
            lambda some: (*some, HOPELESS)
        ),
    ),
)
CHANGES = (
    "",
    "",
    "",
    "purpose",
    "headless",
    "shorter",
    "shorter",
    "longer",
    "turned",
    "amount",
    "currency",
    "until",
    "of",
    "kind",
    "pair",
)
agains = st.builds(Again, st.integers(0, 30), st.sampled_from(CHANGES))
batches = st.lists(st.one_of([groups] * 5 + [agains]), min_size=2, max_size=8).map(tuple).map(Batch)
small_batches = st.lists(st.one_of(groups, groups, agains), min_size=1, max_size=2).map(tuple).map(Batch)
lone_batches = st.one_of(groups, groups, agains).map(lambda one: Batch((one,)))
crowds = st.one_of(
    st.lists(small_batches, min_size=2, max_size=4).map(lambda some: Crowd(tuple(some), (0,) * len(some))),
    st.lists(st.tuples(lone_batches, st.integers(0, 1)), min_size=2, max_size=6).map(
        lambda items: Crowd(tuple(batch for batch, _ in items), tuple(door for _, door in items))
    ),
)
steps: st.SearchStrategy[Step] = st.one_of(
    batches,
    batches,
    batches,
    crowds,
    st.integers(1, 9).map(Wait),
    st.builds(Freeze, st.sampled_from(list(ACCOUNTS)), st.sampled_from([True, False, False])),
    st.sampled_from(["sweep", "reopen", "open"]).map(Do),
)
histories = st.lists(steps, min_size=6, max_size=16)


def changed(group: Group, change: str, extra: Leg) -> Group:
    """Return a group again, with one thing of it changed."""
    first, *rest = group.legs
    changes: dict[str, Callable[[], tuple[Leg, ...]]] = {
        "headless": lambda: group.legs[1:] or group.legs,
        "shorter": lambda: group.legs[:-1] or group.legs,
        "longer": lambda: (*group.legs[:15], extra),
        "turned": lambda: group.legs[::-1],
        "amount": lambda: (replace(first, amount_minor=first.amount_minor + 1), *rest),
        "currency": lambda: (replace(first, currency="USD"), *rest),
        "until": lambda: (replace(first, expires_ms=first.expires_ms and first.expires_ms + 1), *rest),
        "of": lambda: (replace(first, pending_id=first.pending_id and extra.transfer_id), *rest),
        "kind": lambda: (replace(first, kind="single", expires_ms=None, pending_id=None), *rest),
        "pair": lambda: (
            replace(
                first, debit_account_id=first.credit_account_id, credit_account_id=first.debit_account_id
            ),
            *rest,
        ),
    }
    if change == "purpose":
        return replace(group, purpose="funding")
    return replace(group, legs=changes[change]()) if change else group


def take_places(
    places: dict[int, int], expected: list[model_ledger.Answer], heard: list[GroupOutcome]
) -> bool:
    """Note the places of new groups; False if they do not rise, or a repeat heard of another place."""
    for ours, theirs in zip(expected, heard, strict=True):
        if (ours.sequence is None) != (theirs.sequence is None):
            return False
        if ours.sequence is None or theirs.sequence is None:
            continue
        if ours.legs[0] == "booked":
            if theirs.sequence <= max(places.values(), default=0):
                return False
            places[ours.sequence] = theirs.sequence
        # Expiries that were let go of before a batch have a place that nobody was told.
        if places.get(ours.sequence, theirs.sequence) != theirs.sequence:
            return False
    return True


@dataclass
class Player:
    """Plays one history in accounts and at times of its own, against the store and against the model."""

    run: int
    open_book: Callable[[], Awaitable[Any]]
    doors: list[Any]
    """The open stores; shared with the histories before and after."""
    model: LedgerModel = field(default_factory=LedgerModel)
    asked: list[Group] = field(default_factory=list)
    holds: list[Leg] = field(default_factory=list)
    """Every pending transfer that was asked for, booked or not."""
    places: dict[int, int] = field(default_factory=dict)
    """Which sequence the real ledger gave to each of the model's."""
    now: int = 0
    fresh: int = 100
    """The last number that was given to a transfer without one."""

    @property
    def now_ms(self) -> int:
        # Time must not run backwards over the holds that earlier histories left open.
        return self.run * ERA_MS + self.now

    async def play(self, history: Sequence[Step]) -> None:
        for name in ACCOUNTS:
            await self._open(name)
        funding = [
            AskedGroup((Asked("single", number, "outside", name, FUNDS),)) for number, name in FUNDING.items()
        ]
        holds = [
            AskedGroup((Asked("pending", None, "ada", "bob", 7 + until, until=until),))
            for until in (2, 9, 30)
        ]
        for step in (Batch((*funding, *holds)), *history):
            await self._take(step)
            await self._compare()

    async def _take(self, step: Step) -> None:
        match step:
            case Batch():
                await self._crowd([step], [0])
            case Crowd():
                await self._crowd(step.batches, step.doors)
            case Wait():
                self.now += step.ms
            case Freeze():
                await self.doors[0].set_account_frozen(self._id(step.name), step.frozen)
                self.model.set_frozen(self._id(step.name), step.frozen)
            case Do("sweep"):
                assert await self.doors[1].expire_pendings(self.now_ms) == self.model.expire(self.now_ms)
            case Do("reopen"):
                await self.doors[0].close()
                self.doors[0] = await self.open_book()
            case Do("open") if self._id(LATE) not in self.model.accounts:
                await self._open(LATE)

    async def _crowd(self, batches: Sequence[Batch], doors: Sequence[int]) -> None:
        plain = [[self._group(one) for one in batch.groups] for batch in batches]
        answers = await asyncio.gather(
            *(
                self.doors[door].book([group_of(group) for group in groups], self.now_ms)
                for door, groups in zip(doors, plain, strict=True)
            )
        )

        def step(before: State, index: int) -> State | None:
            model, places = before[0].fork(), dict(before[1])
            expected = model.book(plain[index], self.now_ms)
            if [names_of(answer) for answer in answers[index]] != [answer.legs for answer in expected]:
                return None
            return (model, places) if take_places(places, expected, answers[index]) else None

        found = find_serial_order((self.model, self.places), len(plain), step)
        assert found is not None, self._explain(plain, answers)
        self.model, self.places = found[1]

    def _explain(self, plain: list[list[Group]], answers: list[list[GroupOutcome]]) -> str:
        """Say what the model would have answered in the order of sending."""
        model = self.model.fork()
        lines = ["no order explains these answers; in the order of sending they differ here:"]
        for groups, heard in zip(plain, answers, strict=True):
            for group, ours, theirs in zip(groups, model.book(groups, self.now_ms), heard, strict=True):
                if names_of(theirs) != ours.legs:
                    lines.append(f"{group}: the ledger says {names_of(theirs)}, the model {ours.legs}")
        return "\n".join(lines)

    async def _compare(self) -> None:
        for account_id, account in self.model.accounts.items():
            found = await self.doors[1].find_account(account_id)
            counters = (
                found.debits_pending,
                found.debits_posted,
                found.credits_pending,
                found.credits_posted,
            )
            assert (counters, found.frozen) == (account.counters, account.frozen), account_id

    async def _open(self, name: str) -> None:
        currency, limited = ACCOUNTS.get(name, ("EUR", False))
        account = Account(self._id(name), AccountKind.WALLET, currency, limited)
        await self.doors[0].open_account(account, self.now_ms)
        self.model.open_account(account.account_id, currency, limited=limited)

    def _group(self, asked: AskedGroup | Again) -> Group:
        if isinstance(asked, AskedGroup):
            group = Group(tuple(map(self._leg, asked.legs)), asked.purpose)
        else:
            extra = self._leg(Asked("single", None, "outside", "ada", 1))
            group = changed(self.asked[-1 - asked.back % len(self.asked)], asked.change, extra)
        self.asked.append(group)
        return group

    def _leg(self, leg: Asked | End) -> Leg:
        if isinstance(leg, End):
            return self._end(leg)
        made = Leg(
            transfer_id=self._transfer_id(leg.number),
            kind=leg.kind,
            debit_account_id=self._id(leg.debit),
            credit_account_id=self._id(leg.credit),
            amount_minor=leg.amount,
            currency=leg.currency,
            expires_ms=None if leg.until is None else self.now_ms + leg.until,
        )
        if made.kind == "pending":
            self.holds.append(made)
        return made

    def _end(self, end: End) -> Leg:
        # Of all that were ever asked for: some were refused, some are asked for in this very group.
        held = self.holds[-1 - end.pick % len(self.holds)]
        debit, credit = held.accounts if end.mistake != "pair" else held.accounts[::-1]
        whole = end.kind != "post" and end.share == 16
        return Leg(
            transfer_id=self._transfer_id(end.number),
            kind=end.kind,
            debit_account_id=debit,
            credit_account_id=credit,
            amount_minor=held.amount_minor if whole else -(-held.amount_minor * end.share // 16),
            currency="USD" if end.mistake == "currency" else held.currency,
            pending_id=self._id(min(FUNDING)) if end.mistake == "hold" else held.transfer_id,
        )

    def _transfer_id(self, number: int | None) -> bytes:
        self.fresh += 1
        return self._id(self.fresh if number is None else number)

    def _id(self, name: object) -> bytes:
        return f"{self.run:06d}/{name}".encode().ljust(16, b".")


def test_outcomes_are_spelt_and_numbered_alike() -> None:
    assert {outcome.name.lower(): outcome.value for outcome in Outcome} == dict(NUMBERS)
    assert EXPIRIES_PER_BOOKING_MAX == model_ledger.EXPIRIES_MAX


def test_ledger_and_model_agree_on_every_answer_and_every_counter(
    database: Database,
) -> None:
    with asyncio.Runner() as runner:
        doors = [runner.run(database.open_store()), runner.run(database.open_store())]
        run_count = 0

        @settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", EXAMPLES[database.kind])),
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(histories)
        def agree(history: list[Step]) -> None:
            nonlocal run_count
            run_count += 1
            runner.run(Player(run_count, database.open_store, doors).play(history))

        try:
            agree()
        finally:
            for door in doors:
                runner.run(door.close())
        assert check_books(runner.run(database.read_books())) == []


async def test_more_holds_than_one_booking_lets_go(
    database: Database,
) -> None:
    book: LedgerBook = await database.open_store()
    model = LedgerModel()
    for name in (b"rich", b"shop"):
        model.open_account(name.ljust(16, b"."), "EUR")
        await book.open_account(Account(name.ljust(16, b"."), AccountKind.WALLET, "EUR"), 0)
    rich, shop = model.accounts
    # Every third is due at the same moment, so that their ids decide who goes first.
    pendings = [
        Leg(b"%016d" % number, "pending", rich, shop, 1 + number, "EUR", expires_ms=10 + number // 3)
        for number in range(2 * EXPIRIES_PER_BOOKING_MAX + 5)
    ]
    last = pendings[-1]
    end = replace(expiry_of(last), transfer_id=b"asked-by-hand---")
    void = replace(end, transfer_id=b"void-by-hand----", kind="void")
    asked = [
        ([Group((pending,)) for pending in pendings], 0),
        ([Group((void,)), Group((end,)), Group((expiry_of(pendings[0]),), "expiry")], 99),
        ([Group((expiry_of(pendings[0]),))], 99),
    ]
    for groups, now_ms in asked:
        answers = await book.book([group_of(group) for group in groups], now_ms)
        expected = [answer.legs for answer in model.book(groups, now_ms)]
        assert [names_of(answer) for answer in answers] == expected
        found = await book.find_account(rich)
        assert found is not None
        assert (found.debits_pending, found.debits_posted) == model.accounts[rich].counters[:2]
    assert await book.expire_pendings(99) == model.expire(99)
    assert await book.expire_pendings(99) == model.expire(99) == 0
    await book.close()
