"""Random linked groups, booked by the store and by a model that shares no code with it."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.audit import audit
from gateway.ledger.model import Account, AccountKind, Transfer, TransferGroup, TransferKind
from gateway.storage.sqlite.store import SqliteStore, open_sqlite_store

ACCOUNTS = {"ada": ("EUR", True), "bob": ("EUR", True), "outside": ("EUR", False), "dollars": ("USD", False)}
NAMES = [*ACCOUNTS, "nobody"]


@dataclass(frozen=True)
class Leg:
    """A transfer in the words of the model."""

    kind: str
    number: int
    debit: str
    credit: str
    amount: int
    currency: str = "EUR"
    until: int | None = None
    of: int | None = None


HOLDS = 6
# Holds have the low numbers, so that what ends them finds them; few numbers, so that repeats happen.
hold_numbers = st.integers(0, HOLDS - 1)
numbers = st.one_of(st.integers(HOLDS, 40), st.integers(HOLDS, 40), st.integers(0, 40))
good_pairs = st.sampled_from([("outside", "ada"), ("ada", "bob"), ("bob", "ada"), ("ada", "outside")])
any_pairs = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES))
untils = st.integers(1, 40)


@st.composite
def singles(draw: st.DrawFn) -> Leg:
    return Leg("single", draw(numbers), *draw(good_pairs), draw(st.integers(1, 60)))


@st.composite
def holds(draw: st.DrawFn) -> Leg:
    # The amount and the accounts follow from the number, so that an end can repeat them unseen.
    number = draw(hold_numbers)
    return Leg("pending", number, *pair_of(number), 10 + number, until=draw(untils))


@st.composite
def ends(draw: st.DrawFn) -> Leg:
    of, kind = draw(hold_numbers), draw(st.sampled_from(["post", "post", "void", "expire"]))
    amount = draw(st.integers(1, 11 + of)) if kind == "post" else 10 + of
    return Leg(kind, draw(numbers), *pair_of(of), amount, of=of)


@st.composite
def mistakes(draw: st.DrawFn) -> Leg:
    """What a client might get wrong: one thing of a good transfer is anything at all."""
    leg = draw(st.one_of(singles(), holds(), ends()))
    debit, credit = draw(any_pairs)
    changes = (
        {"debit": debit},
        {"credit": credit},
        {"amount": draw(st.sampled_from([-1, 0, 1, 15, 10**15, 10**15 + 1]))},
        {"currency": "USD"},
        {"number": draw(st.integers(0, 40))},
    )
    return replace(leg, **draw(st.sampled_from(changes)))


def pair_of(number: int) -> tuple[str, str]:
    return ("ada", "bob") if number % 2 else ("bob", "ada")


legs = st.one_of(singles(), holds(), ends(), mistakes())
groups = st.one_of(legs.map(lambda leg: (leg,)), st.lists(legs, min_size=2, max_size=3).map(tuple))
FUNDING = (Leg("single", 41, "outside", "ada", 60), Leg("single", 42, "outside", "bob", 60))
plans = st.lists(
    st.tuples(st.integers(0, 5), st.lists(groups, min_size=1, max_size=8)), min_size=3, max_size=8
).map(lambda steps: [(0, [FUNDING]), *steps])


@dataclass
class Model:
    """The ledger in a few dictionaries; balances as signed numbers, and history as a list of groups."""

    posted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    held: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    history: list[tuple[Leg, ...]] = field(default_factory=list)
    holds: dict[int, tuple[Leg, str]] = field(default_factory=dict)
    now: int = 0

    def book(self, group: tuple[Leg, ...]) -> list[str]:
        return self._form(group) or self._repeat(group) or self._new(group)

    def expire(self) -> None:
        for number, (hold, state) in self.holds.items():
            if state == "open" and hold.until <= self.now:
                self._release(number, "expired")

    def _form(self, group: tuple[Leg, ...]) -> list[str] | None:
        for index, leg in enumerate(group):
            for wrong, code in (
                (leg.amount <= 0, "amount_must_be_positive"),
                (leg.amount > 10**15, "amount_too_large"),
                (leg.debit == leg.credit, "accounts_must_differ"),
                (leg.number in [one.number for one in group[:index]], "id_repeated_in_group"),
            ):
                if wrong:
                    return fail(group, index, code)
        return None

    def _repeat(self, group: tuple[Leg, ...]) -> list[str] | None:
        if group in self.history:
            return ["exists"] * len(group)
        booked = {leg.number: leg for one in self.history for leg in one}
        known = [index for index, leg in enumerate(group) if leg.number in booked]
        home = next((one for one in self.history if group[0] in one), ())
        for index in known:
            asked, was = group[index], booked[group[index].number]
            code = difference(asked, was)
            in_place = len(home) == len(group) and home[index] == asked
            if code or not in_place:
                return fail(group, index, code or "exists_in_different_group")
        return fail(group, known[0], "exists_in_different_group") if known else None

    def _new(self, group: tuple[Leg, ...]) -> list[str]:
        before = copy.deepcopy((self.posted, self.held, self.holds))
        for index, leg in enumerate(group):
            code = self._refusal(leg)
            if code:
                self.posted, self.held, self.holds = before
                return fail(group, index, code)
            self._apply(leg)
        self.history.append(group)
        return ["booked"] * len(group)

    def _refusal(self, leg: Leg) -> str | None:
        if leg.kind == "pending" and leg.until <= self.now:
            return "expiry_has_passed"
        code = self._refusal_of_hold(leg) if leg.of is not None else None
        if code or leg.of is not None:
            return code
        if leg.debit not in ACCOUNTS or leg.credit not in ACCOUNTS:
            return "account_not_found"
        if not ACCOUNTS[leg.debit][0] == ACCOUNTS[leg.credit][0] == leg.currency:
            return "currency_mismatch"
        free = self.posted[leg.debit] - self.held[leg.debit]
        return "insufficient_funds" if ACCOUNTS[leg.debit][1] and free < leg.amount else None

    def _refusal_of_hold(self, leg: Leg) -> str | None:
        if leg.of not in self.holds:
            return "pending_not_found"
        hold, state = self.holds[leg.of]
        over = hold.until <= self.now
        checks = (
            ((leg.debit, leg.credit) != (hold.debit, hold.credit), "pending_has_different_accounts"),
            (leg.currency != hold.currency, "pending_has_different_currency"),
            (leg.amount > hold.amount, "exceeds_pending"),
            (leg.kind != "post" and leg.amount != hold.amount, "pending_has_different_amount"),
            (state == "expired", "pending_expired"),
            (state != "open", f"pending_already_{state}"),
            (leg.kind == "expire" and not over, "pending_not_expired"),
            (leg.kind != "expire" and over, "pending_expired"),
        )
        return next((code for wrong, code in checks if wrong), None)

    def _apply(self, leg: Leg) -> None:
        if leg.kind == "pending":
            self.held[leg.debit] += leg.amount
            self.holds[leg.number] = (leg, "open")
            return
        if leg.of is not None:
            self._release(leg.of, {"post": "posted", "void": "voided"}.get(leg.kind, "expired"))
        if leg.kind in ("single", "post"):
            self.posted[leg.debit] -= leg.amount
            self.posted[leg.credit] += leg.amount

    def _release(self, number: int, state: str) -> None:
        hold, _ = self.holds[number]
        self.held[hold.debit] -= hold.amount
        self.holds[number] = (hold, state)


def difference(asked: Leg, was: Leg) -> str | None:
    for name, what in (
        ("kind", lambda leg: leg.kind),
        ("accounts", lambda leg: (leg.debit, leg.credit)),
        ("amount", lambda leg: leg.amount),
        ("currency", lambda leg: leg.currency),
        ("pending", lambda leg: leg.of),
        ("expiry", lambda leg: leg.until),
    ):
        if what(asked) != what(was):
            return f"exists_with_different_{name}"
    return None


def fail(group: tuple[Leg, ...], index: int, code: str) -> list[str]:
    return [code if place == index else "linked_failed" for place in range(len(group))]


def test_store_and_model_agree_on_every_outcome_and_balance(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with asyncio.Runner() as runner:
        store = runner.run(open_sqlite_store(path))
        run_count = 0

        @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(plans)
        def agree(plan: list[tuple[int, list[tuple[Leg, ...]]]]) -> None:
            nonlocal run_count
            run_count += 1
            runner.run(play(store, plan, run_count))

        try:
            agree()
        finally:
            runner.run(store.close())
    report = audit(path)
    assert report.first_break is None
    assert report.group_count > 0


async def play(store: SqliteStore, plan: list[tuple[int, list[tuple[Leg, ...]]]], run: int) -> None:
    """Play a plan in accounts of its own."""
    for name, (currency, is_limited) in ACCOUNTS.items():
        account = Account(id_of(run, name), AccountKind.WALLET, currency, is_limited)
        await store.open_account(account, 0)
    model = Model()
    # Time must not run backwards over the holds that earlier runs left open: each run has its own era.
    for wait, batch in plan:
        model.now += wait
        answers = await store.book([group_of(run, group) for group in batch], run * 1_000 + model.now)
        model.expire()
        for group, answer in zip(batch, answers, strict=True):
            assert [leg.name.lower() for leg in answer.legs] == model.book(group)
    for name in ACCOUNTS:
        found = await store.find_account(id_of(run, name))
        assert found is not None
        assert found.credits_posted - found.debits_posted == model.posted[name]
        assert found.debits_pending == model.held[name]


def group_of(run: int, group: tuple[Leg, ...]) -> TransferGroup:
    return TransferGroup(
        tuple(
            Transfer(
                transfer_id=id_of(run, leg.number),
                kind=TransferKind(leg.kind),
                debit_account_id=id_of(run, leg.debit),
                credit_account_id=id_of(run, leg.credit),
                amount_minor=leg.amount,
                currency=leg.currency,
                pending_id=None if leg.of is None else id_of(run, leg.of),
                expires_ms=None if leg.until is None else run * 1_000 + leg.until,
            )
            for leg in group
        )
    )


def id_of(run: int, name: object) -> bytes:
    return f"{run:06d}/{name}".encode().ljust(16, b".")
