"""Random payments, decided by the real store and by a model that shares no code with it.

A history is a list of steps: one action, or a crowd of actions at once over one or two open stores. The
world is so small that actions meet: few wallets with little in them, few orders, tokens, nonces, codes,
cards, two days. Every answer of a crowd must be the model's in some order, and after every step every
counter, instrument, code and stored decision must be the model's as well.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulators.auditor.books import check_books, check_limits
from simulators.auditor.ledger import Group, Leg
from simulators.auditor.orders import find_serial_order
from simulators.auditor.payments import (
    DAY_MS,
    WEAKNESS,
    Attempt,
    CardTap,
    Code,
    Decision,
    PaymentModel,
    Token,
)
from simulators.auditor.promises import Promise, Told, check_promises
from tests.gateway.payments.payment_world import Standing, World, add_card_keys

if TYPE_CHECKING:
    from tests.databases import Database

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "30"))
"""How many histories are tried; a long campaign sets more."""
FIRST_DAY = 20_000
"""The day of UTC on which the first world lives; each has the next two for itself."""
BEFORE_MIDNIGHT_MS = 40
"""Worlds begin this long before midnight, and time passes in tens."""
TICK_MS = 10
MANY = 120
"""Attempts of a crowd that is too large to look for its order."""

TILLS = ("tea-1", "tea-2", "books-1", "closed-1", "diner-1")
PHONES = ("ada-phone", "ada-watch", "bob-phone", "eve-phone")
CARDS = ("bob-card", "ada-card")
WALLETS = {"ada": "EUR", "bob": "EUR", "eve": "USD"}
UNKNOWN_TILL = "nowhere"


@dataclass(frozen=True)
class Pay:
    """An attempt in small numbers; None stands for one that nobody used yet."""

    till: str
    payer: str
    mode: str
    amount: int
    order: int | None = None
    counter: int | None = None
    forged: bool = False
    nonce: int | None = None
    code: int = 0
    currency: str = "EUR"
    refused: str | None = None
    later_ms: int = 0


@dataclass(frozen=True)
class Again:
    """An attempt that was sent before: the same, another request under its id, or another attempt that
    carries what it carried, or its payment id."""

    back: int
    change: str
    later_ms: int


@dataclass(frozen=True)
class Change:
    """What an operator or a holder does: `freeze`, `thaw`, `suspend`, `reactivate`, `withdraw`, `fund`,
    `issue` a code, `hold` money, or `void` and `post` a hold; `withdraw` is about one till."""

    what: str
    name: str
    number: int = 0


Action = Pay | Again | Change


@dataclass(frozen=True)
class Crowd:
    """Actions at once; each goes through the first or the second open store."""

    actions: tuple[Action, ...]
    doors: tuple[int, ...]


@dataclass(frozen=True)
class Wait:
    ticks: int


@dataclass(frozen=True)
class Reopen:
    pass


Step = Crowd | Wait | Reopen

later = st.integers(0, 3)
few = st.sampled_from([None] * 6 + [0, 1, 2])
fine_amounts = st.sampled_from([1, 20, 30, 50, 99, 100])
refusals = st.sampled_from([None] * 8 + ["amount_mismatch", "token_expired"])


@st.composite
def phone_payments(draw: st.DrawFn) -> Pay:
    return Pay(
        till=draw(st.sampled_from(TILLS[:3])),
        payer=draw(st.sampled_from(PHONES[:3])),
        mode=draw(st.sampled_from(["nfc_app", "nfc_app", "qr_consumer"])),
        amount=draw(fine_amounts),
        order=draw(few),
        counter=draw(few),
        forged=draw(st.sampled_from([False] * 8 + [True])),
        nonce=draw(few),
        refused=draw(refusals),
        later_ms=draw(later),
    )


@st.composite
def card_payments(draw: st.DrawFn) -> Pay:
    return Pay(
        till=draw(st.sampled_from(TILLS[:3])),
        payer=draw(st.sampled_from(CARDS)),
        mode="nfc_sdm",
        amount=draw(fine_amounts),
        order=draw(few),
        counter=draw(st.sampled_from([None, None, None, 1, 3, 6])),
        refused=draw(refusals),
        later_ms=draw(later),
    )


@st.composite
def code_payments(draw: st.DrawFn) -> Pay:
    return Pay(
        till=draw(st.sampled_from(TILLS[:3])),
        payer=draw(st.sampled_from(PHONES[:2])),
        mode="code_numeric",
        amount=draw(fine_amounts),
        order=draw(few),
        code=draw(st.integers(0, 2)),
        later_ms=draw(later),
    )


@st.composite
def odd_payments(draw: st.DrawFn) -> Pay:
    """One thing of a good payment is anything at all."""
    good = draw(st.one_of(phone_payments(), card_payments(), code_payments()))
    changes: tuple[dict[str, Any], ...] = (
        {"till": draw(st.sampled_from([*TILLS, UNKNOWN_TILL]))},
        {"payer": draw(st.sampled_from([*PHONES, "nobody"]))},
        {"amount": draw(st.sampled_from([101, 151, 249, 250, 251, 10**12]))},
        {"mode": draw(st.sampled_from(WEAKNESS))},
        {"currency": "USD"},
        {"payer": "eve-phone", "till": "diner-1", "currency": "USD"},
    )
    return replace(good, **draw(st.sampled_from(changes)))


payments = st.one_of(phone_payments(), phone_payments(), phone_payments(), card_payments(), code_payments())
agains = st.builds(
    Again,
    st.integers(0, 20),
    st.sampled_from(["", "", "digest", "use", "use", "order", "payment_id", "till"]),
    later,
)
changes = st.one_of(
    st.builds(Change, st.sampled_from(["freeze", "thaw", "thaw", "fund"]), st.sampled_from(list(WALLETS))),
    st.builds(Change, st.sampled_from(["suspend", "reactivate", "reactivate"]), st.sampled_from(PHONES[:3])),
    st.builds(Change, st.sampled_from(["issue", "issue"]), st.sampled_from(PHONES[:2]), st.integers(0, 2)),
    st.builds(Change, st.just("hold"), st.sampled_from(["ada", "bob"]), st.integers(1, 6)),
    st.builds(Change, st.sampled_from(["void", "post"]), st.just(""), st.integers(0, 5)),
    st.builds(Change, st.sampled_from(["fund"] * 5 + ["withdraw"]), st.sampled_from(["eve", "bob"])),
)
actions = st.one_of([payments] * 6 + [odd_payments()] + [agains] * 2 + [changes] * 2)
lone = st.tuples(actions, st.integers(0, 1)).map(lambda one: Crowd((one[0],), (one[1],)))


@st.composite
def crowds(draw: st.DrawFn) -> Crowd:
    """Actions at once, often made to meet at one thing."""
    found = draw(st.lists(actions, min_size=3, max_size=8))
    meeting: dict[str, Any] = draw(
        st.sampled_from(
            [
                {},
                {},
                {"order": 7},
                {"payer": "ada-phone", "mode": "nfc_app"},
                {"payer": "ada-phone", "mode": "nfc_app", "counter": 7},
                {"nonce": 7, "till": "tea-1"},
                {"payer": "bob-card", "mode": "nfc_sdm"},
                {"payer": "ada-phone", "mode": "code_numeric", "code": 0},
                {"till": "tea-1", "amount": 100},
            ]
        )
    )
    met = tuple(replace(one, **meeting) if isinstance(one, Pay) else one for one in found)
    one_door = draw(st.booleans())
    doors = tuple(0 if one_door else draw(st.integers(0, 1)) for _ in met)
    return Crowd(met, doors)


steps: st.SearchStrategy[Step] = st.one_of(
    crowds(), crowds(), crowds(), lone, lone, st.integers(1, 3).map(Wait), st.just(Reopen())
)
histories = st.lists(steps, min_size=4, max_size=12)


@dataclass(frozen=True)
class Asked:
    """An action, ready for both sides: what the store was asked, and what the model must be asked."""

    what: object
    ask_store: Callable[[Any], Awaitable[object]]
    ask_model: Callable[[PaymentModel], object]


@dataclass
class Player:
    """Plays one history in a world of its own, against the store and against the model."""

    world: World
    database: Database
    doors: list[Any]
    """The open stores; shared with the histories before and after."""
    now_ms: int
    attempts: list[Attempt] = field(default_factory=list)
    holds: list[Leg] = field(default_factory=list)
    fresh: int = 100
    """The last number that was given to something without one."""

    async def play(self, history: Sequence[Step]) -> None:
        await self.furnish(self.doors[0])
        for step in history:
            match step:
                case Crowd():
                    await self._crowd(step)
                case Wait():
                    self.now_ms += step.ticks * TICK_MS
                case Reopen():
                    await self.doors[0].close()
                    self.doors[0] = await self.database.open_store()
            assert await self.world.differences(self.doors[1], self.now_ms) == []

    async def furnish(self, store: Any) -> None:
        world = self.world
        await world.add_merchant(store, "tea", "EUR", fee_basis_points=140)
        await world.add_merchant(store, "books", "EUR", fee_basis_points=0)
        await world.add_merchant(store, "closed", "EUR", fee_basis_points=140, active=False)
        await world.add_merchant(store, "diner", "USD", fee_basis_points=1_000)
        for till in TILLS:
            await world.add_till(store, till, till.split("-")[0])
        for wallet, currency in WALLETS.items():
            await world.add_wallet(store, wallet, currency, 300)
        await world.add_instrument(store, "ada-phone", "ada", limits=(100, 250))
        await world.add_instrument(store, "ada-watch", "ada", limits=(500, 5_000), weakest="qr_consumer")
        await world.add_instrument(store, "ada-card", "ada", limits=(100, 150), is_card=True)
        await world.add_instrument(store, "bob-phone", "bob", limits=(150, 5_000), weakest="nfc_app")
        await world.add_instrument(store, "bob-card", "bob", limits=(100, 5_000), is_card=True)
        await world.add_instrument(store, "eve-phone", "eve", limits=(500, 5_000))
        for number, phone in enumerate(PHONES[:2]):
            issued = self._ask_change(Change("issue", phone, number))
            assert await issued.ask_store(store)
            assert issued.ask_model(world.model)

    async def _crowd(self, crowd: Crowd) -> None:
        asked = [self._ask(action) for action in crowd.actions]
        answers = await asyncio.gather(
            *(one.ask_store(self.doors[door]) for one, door in zip(asked, crowd.doors, strict=True))
        )

        def step(before: PaymentModel, index: int) -> PaymentModel | None:
            after = before.fork()
            return after if asked[index].ask_model(after) == answers[index] else None

        # Freezing and thawing at once are both answered with nothing, and a decline may hide a second use:
        # what stands afterwards tells in which order they came.
        stands = await self.world.standing_in(self.database, self.doors[1], self.now_ms)
        found = find_serial_order(
            self.world.model,
            len(asked),
            step,
            lambda after: self.world.standing_of(after, self.now_ms) == stands,
        )
        if found is None:
            answered = find_serial_order(self.world.model, len(asked), step)
            raise AssertionError(self._explain(asked, crowd.doors, answers, stands, answered))
        self.world.model = found[1]

    def _explain(
        self,
        asked: list[Asked],
        doors: Sequence[int],
        answers: Sequence[object],
        stands: Standing,
        answered: tuple[list[int], PaymentModel] | None,
    ) -> str:
        """Say what the model would have answered, in the best order there is."""
        order, model = answered[0] if answered else range(len(asked)), self.world.model.fork()
        lines = ["no order explains what stands" if answered else "no order explains these answers"]
        for index in order:
            given, expected = answers[index], asked[index].ask_model(model)
            mark = "   " if given == expected else ">>>"
            lines.append(f"{mark} door {doors[index]}: {asked[index].what}: {given}, the model: {expected}")
        return "\n".join(
            [*lines, f"stands: {stands}", f"model:  {self.world.standing_of(model, self.now_ms)}"]
        )

    def _ask(self, action: Action) -> Asked:
        if isinstance(action, Change):
            return self._ask_change(action)
        attempt = self._again(action) if isinstance(action, Again) else self.attempt(action)
        self.attempts.append(attempt)
        return Asked(action, lambda store: self.world.pay(store, attempt), lambda model: model.pay(attempt))

    def attempt(self, pay: Pay) -> Attempt:
        number = self._next()
        is_nobody = pay.payer == "nobody"
        return Attempt(
            payment_id=self.world.ulid("payment", number),
            attempt_id=self.world.ulid("attempt", number),
            request_digest=self.world.hash_of("request", number),
            terminal_id=self.world.text(pay.till),
            order_id=f"order-{number if pay.order is None else pay.order}",
            amount_minor=pay.amount,
            currency=pay.currency,
            entry_mode=pay.mode,
            instrument_id=None if is_nobody and pay.refused else self.world.text(pay.payer),
            use=self._use(pay, number),
            refused=pay.refused,
            now_ms=self.now_ms + pay.later_ms,
        )

    def _use(self, pay: Pay, number: int) -> Token | CardTap | Code:
        counter = number if pay.counter is None else pay.counter
        if pay.payer in CARDS:
            return CardTap(counter)
        if pay.mode == "code_numeric":
            return Code(self._code_hash(pay.code))
        nonce = number if pay.nonce is None else pay.nonce
        return Token(
            key_id=self.world.key(pay.payer),
            counter=counter,
            claims_digest=self.world.hash_of("claims", (counter, pay.forged)),
            nonce=self.world.hash_of("nonce", nonce)[:8] if pay.mode == "nfc_app" else None,
        )

    def _again(self, again: Again) -> Attempt:
        if not self.attempts:
            return self.attempt(Pay("tea-1", "ada-phone", "nfc_app", 20))
        earlier = self.attempts[-1 - again.back % len(self.attempts)]
        number = self._next()
        payment_id, attempt_id = self.world.ulid("payment", number), self.world.ulid("attempt", number)
        digest = self.world.hash_of("request", number)
        again_ms = max(earlier.now_ms, self.now_ms + again.later_ms)
        changes: dict[str, dict[str, Any]] = {
            "": {"payment_id": payment_id},
            "digest": {"payment_id": payment_id, "request_digest": digest},
            "use": {"payment_id": payment_id, "attempt_id": attempt_id, "order_id": f"order-{number}"},
            "order": {"payment_id": payment_id, "attempt_id": attempt_id, "use": None},
            "payment_id": {"attempt_id": attempt_id, "use": None},
            "till": {"payment_id": payment_id, "terminal_id": self.world.text("tea-1")},
        }
        changed = replace(earlier, now_ms=again_ms, **changes[again.change])
        if changed.use is None:
            # The order is met again, but not the token.
            fresh = Token(self.world.key("ada-phone"), number, digest)
            return replace(changed, use=fresh, instrument_id=self.world.text("ada-phone"))
        return changed

    def _ask_change(self, change: Change) -> Asked:
        world, name, now_ms = self.world, change.name, self.now_ms
        match change.what:
            case "freeze" | "thaw":
                frozen, account_id = change.what == "freeze", world.account(name)
                return Asked(
                    change,
                    lambda store: world.freeze(store, name, frozen),
                    lambda model: model.ledger.set_frozen(account_id, frozen),
                )
            case "suspend" | "reactivate":
                active, instrument_id = change.what == "reactivate", world.text(name)
                return Asked(
                    change,
                    lambda store: world.set_active(store, name, active),
                    lambda model: model.set_instrument_active(instrument_id, active),
                )
            case "withdraw":
                terminal_id = world.text("tea-2")
                return Asked(
                    change,
                    lambda store: store.revoke_terminal(terminal_id),
                    lambda model: model.set_terminal_active(terminal_id, False),
                )
            case "fund":
                funding = (name, WALLETS[name], 50, f"funding {self._next()}", now_ms)
                return Asked(
                    change,
                    lambda store: world.fund(store, *funding),
                    lambda model: world.model_fund(model, *funding),
                )
            case "issue":
                code_hash, until = self._code_hash(change.number), now_ms + 3 * TICK_MS
                return Asked(
                    change,
                    lambda store: world.add_code(store, code_hash, name, until, now_ms),
                    lambda model: model.add_code(code_hash, world.text(name), until, now_ms),
                )
        return self._ask_group(Group((self._hold_leg(change),)))

    def _ask_group(self, group: Group) -> Asked:
        now_ms = self.now_ms
        return Asked(
            group,
            lambda store: self.world.book(store, group, now_ms),
            lambda model: model.ledger.book([group], now_ms)[0].legs,
        )

    def _hold_leg(self, change: Change) -> Leg:
        transfer_id = self.world.hash_of("transfer", self._next())[:16]
        if change.what == "hold" or not self.holds:
            wallet = change.name or "ada"
            hold = Leg(
                transfer_id=transfer_id,
                kind="pending",
                debit_account_id=self.world.account(wallet),
                credit_account_id=self.world.account("tea"),
                amount_minor=90,
                currency="EUR",
                # Only at a tick, so that within one crowd it is over for all or for none.
                expires_ms=self.now_ms + max(change.number, 1) * TICK_MS,
            )
            self.holds.append(hold)
            return hold
        held = self.holds[change.number % len(self.holds)]
        return replace(
            held, transfer_id=transfer_id, kind=change.what, pending_id=held.transfer_id, expires_ms=None
        )

    def _code_hash(self, number: int) -> bytes:
        return self.world.hash_of("code", number)

    def _next(self) -> int:
        self.fresh += 1
        return self.fresh


def make_player(number: int, database: Database, doors: list[Any]) -> Player:
    """Return the player of the number's own two days, a little before the midnight between them."""
    now_ms = (FIRST_DAY + 2 * number) * DAY_MS - BEFORE_MIDNIGHT_MS
    return Player(World(number, now_ms), database, doors, now_ms)


def test_payments_and_model_agree_on_every_decision(database: Database) -> None:
    with asyncio.Runner() as runner:
        doors = [runner.run(database.open_store()), runner.run(database.open_store())]
        runner.run(add_card_keys(doors[0], 0))
        run_count = 0

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(histories)
        def agree(history: list[Step]) -> None:
            nonlocal run_count
            run_count += 1
            runner.run(make_player(run_count, database, doors).play(history))

        try:
            agree()
        finally:
            for door in doors:
                runner.run(door.close())
        assert check_books(runner.run(database.read_books())) == []


@pytest.mark.parametrize("seed", range(3))
async def test_many_at_once_keep_every_promise(database: Database, seed: int) -> None:
    """More than any order can be found for: here only what must hold in every order is asked."""
    doors = [await database.open_store(), await database.open_store()]
    await add_card_keys(doors[0], 0)
    player, rng = make_player(seed, database, doors), random.Random(seed)
    await player.furnish(doors[0])
    world = player.world
    attempts = [player.attempt(draw_payment(rng)) for _ in range(MANY)]
    sends = [
        (rng.choice(doors), replace(attempt, payment_id=world.ulid("send", (attempt.attempt_id, send))))
        for attempt in attempts
        for send in range(rng.choice((1, 1, 1, 3)))
    ]
    rng.shuffle(sends)
    answers = await asyncio.gather(*(world.pay(door, attempt) for door, attempt in sends))
    for door in doors:
        await door.close()
    told: dict[str, set[object]] = defaultdict(set)
    for (_, attempt), answer in zip(sends, answers, strict=True):
        told[attempt.attempt_id].add(answer)
    assert all(len(heard) == 1 for heard in told.values()), "one attempt, one answer"
    promises = [promise_of(attempt, *told[attempt.attempt_id]) for attempt in attempts]
    books = await database.read_books()
    limits = {
        name: (one.per_payment_minor, one.per_day_minor) for name, one in world.model.instruments.items()
    }
    assert check_books(books) + check_promises(promises, books) + check_limits(books, limits) == []
    assert sum(payment.approved for payment in books.payments) > len(WALLETS)


def draw_payment(rng: random.Random) -> Pay:
    """Draw a payment that meets many others: at a wallet, an order, a token, a nonce, a code."""
    payer = rng.choice((*PHONES[:3], *CARDS))
    mode = "nfc_sdm" if payer in CARDS else rng.choice(("nfc_app", "nfc_app", "qr_consumer", "code_numeric"))
    return Pay(
        till=rng.choice(TILLS[:3]),
        payer=payer,
        mode=mode,
        amount=rng.choice((1, 20, 30, 50, 99, 100)),
        order=rng.randrange(MANY // 2),
        counter=rng.randrange(MANY // 4),
        nonce=rng.randrange(MANY // 2),
        code=rng.randrange(2),
        later_ms=rng.randrange(BEFORE_MIDNIGHT_MS + 20),
    )


def promise_of(attempt: Attempt, answer: object) -> Promise:
    """Say what the sender of an attempt was told."""
    card = attempt.instrument_id if isinstance(attempt.use, CardTap) else None
    use = (attempt.use.key_id, attempt.use.counter) if isinstance(attempt.use, Token) else (card, attempt.use)
    assert isinstance(answer, Decision), answer
    told = Told(answer.payment_id, answer.approved, answer.decline_code)
    return Promise(attempt.terminal_id, attempt.attempt_id, attempt.amount_minor, told, use=use)
