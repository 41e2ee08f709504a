"""Random payments and their lives, in the real store and in a model that shares no code with it.

A history is a list of steps: one action, or a crowd of actions at once over one or two open stores. Every
answer of a crowd must be the model's in some order, and after every step every counter, instrument, code and
payment must be the model's as well. In the end both audits read the books.
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
from structlog.testing import capture_logs

from gateway.audit import audit
from simulators.auditor.books.books import check_books, check_limits
from simulators.auditor.model import changes
from simulators.auditor.model.attempts import (
    ATTEMPT_REVERSED,
    Attempt,
    CardTap,
    Code,
    Payment,
    Terms,
    Tier,
    Token,
    TurnedAway,
)
from simulators.auditor.model.ledger import Group, Leg
from simulators.auditor.model.orders import find_serial_order
from simulators.auditor.model.payments import DAY_MS, PaymentModel
from simulators.auditor.promises import Promise, Told, check_promises
from tests.gateway.payments.payment_histories import (
    CARDS,
    PHONES,
    TILLS,
    WALLETS,
    Action,
    Again,
    Ask,
    Change,
    Crowd,
    DayLater,
    GiveUp,
    Pay,
    Reopen,
    Step,
    Wait,
    histories,
)
from tests.gateway.payments.payment_world import Standing, World, add_card_keys

if TYPE_CHECKING:
    from tests.databases import Database

EXAMPLES = {"sqlite": 40, "postgres": 20}
"""How many histories are tried on each; MODEL_EXAMPLES sets more for a long campaign."""
FIRST_DAY = 20_000
"""The day of UTC on which the first world lives."""
DAYS_PER_WORLD = 20
BEFORE_MIDNIGHT_MS = 40
"""Worlds begin this long before midnight, and time passes in tens."""
TICK_MS = 10
NOBODY = "0NEVERSEEN0000000000000000"
DECIDED_AGAIN = {"batch_booked_one_by_one", "batch_decided_anew"}
MANY = 120
"""Attempts of a crowd that is too large to look for its order."""


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
                case GiveUp():
                    await self._give_up(step)
                case Wait():
                    self.now_ms += step.ticks * TICK_MS
                case DayLater():
                    self.now_ms += DAY_MS + 6 * TICK_MS
                case Reopen():
                    await self.doors[0].close()
                    self.doors[0] = await self.database.open_store()
            assert await self.world.differences(self.doors[1], self.now_ms) == []

    async def furnish(self, store: Any) -> None:
        world = self.world
        await world.add_merchant(store, "tea", "EUR", fee_basis_points=140)
        await world.add_merchant(store, "books", "EUR", fee_basis_points=50)
        await world.add_merchant(store, "closed", "EUR", fee_basis_points=140, active=False)
        await world.add_merchant(store, "diner", "USD", fee_basis_points=1_000)
        for till in TILLS:
            await world.add_till(store, till, till.split("-")[0])
        for wallet, currency in WALLETS.items():
            await world.add_wallet(store, wallet, currency, 300)
        await world.add_instrument(store, "ada-phone", "ada", limits=(150, 190))
        await world.add_instrument(store, "ada-watch", "ada", limits=(5_000, 5_000), weakest="qr_consumer")
        await world.add_instrument(store, "ada-card", "ada", limits=(120, 150), is_card=True)
        await world.add_instrument(store, "bob-phone", "bob", limits=(150, 200), weakest="nfc_app")
        await world.add_instrument(store, "bob-card", "bob", limits=(100, 5_000), is_card=True)
        await world.add_instrument(store, "eve-phone", "eve", limits=(500, 5_000))
        # Nobody pays with them, and nobody suspends them: so a holder has a device to agree with.
        for wallet in ("ada", "bob"):
            await world.add_instrument(store, f"{wallet}-tablet", wallet, limits=(1, 1))
        await self._set_terms(store)
        for number, phone in enumerate(PHONES[:2]):
            issued = self._ask_change(Change("issue", phone, number))
            assert await issued.ask_store(store)
            assert issued.ask_model(world.model)

    async def _set_terms(self, store: Any) -> None:
        world = self.world
        await world.set_tips(store, "tea", 2_000)
        for till, limit_minor in (("tea-1", 150), ("tea-2", 60), ("books-1", 1_000)):
            await world.set_refunds(store, till, limit_minor)
        await world.set_pin(store, "ada")
        await world.set_confirm_above(store, "ada-watch", 60)
        await world.set_level(store, "bob", "basic")
        await world.set_tier(store, "ada", "EUR", "verified", Tier(130, 140, 1_000, 230))

    async def _crowd(self, crowd: Crowd) -> None:
        self.now_ms += crowd.ticks * TICK_MS
        asked = [self._ask(action) for action in crowd.actions]
        only_pays = not any(isinstance(action, Change | Ask) for action in crowd.actions)
        # An id used twice spoils its batch, even if a till that is withdrawn before the second try hides it.
        is_spoilt = any(isinstance(one, Again) and one.change == "payment_id" for one in crowd.actions)
        await self._meet(asked, crowd.doors, only_pays=only_pays, is_spoilt=is_spoilt)

    async def _give_up(self, step: GiveUp) -> None:
        """Reverse an attempt that was never seen, before, while or after it arrives."""
        attempt = self.attempt(step.pay)
        stone = replace(
            attempt,
            payment_id=self.world.ulid("payment", self._next()),
            request_digest=self.world.hash_of("reversal", attempt.attempt_id),
            use=None,
            refused=ATTEMPT_REVERSED,
        )
        self.attempts += [attempt, stone]
        both = [self._ask_attempt(one) for one in ((stone, attempt) if step.late else (attempt, stone))]
        await self._meet(both, (0, 1))
        payment_id = self.world.model.decided.get((attempt.terminal_id, attempt.attempt_id))
        if payment_id is not None:
            reverse = self._ask_life(changes.Reverse(payment_id, attempt.terminal_id), self.now_ms)
            await self._meet([reverse], (1,))
            state = self.world.model.payments[payment_id].payment.state
            may_ask = self.world.model.terminals[attempt.terminal_id][1]
            assert state in ("declined", "voided", "reversed") or not may_ask

    async def _meet(
        self,
        asked: Sequence[Asked],
        doors: Sequence[int],
        *,
        only_pays: bool = False,
        is_spoilt: bool = False,
    ) -> None:
        with capture_logs() as logs:
            answers = await asyncio.gather(
                *(one.ask_store(self.doors[door]) for one, door in zip(asked, doors, strict=True))
            )
        # A guard that refuses what was decided would hide a wrong decision behind a slow, right one.
        is_alone = self.database.kind == "sqlite" or (only_pays and len(set(doors)) == 1)
        if is_alone and not is_spoilt and TurnedAway("internal") not in answers:
            assert [log for log in logs if log["event"] in DECIDED_AGAIN] == []

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
            raise AssertionError(self._explain(asked, doors, answers, stands, answered))
        self.world.model = found[1]

    def _explain(
        self,
        asked: Sequence[Asked],
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
        if isinstance(action, Ask):
            return self._ask_life(self._change_of(action), self.now_ms + action.later_ms)
        attempt = self._again(action) if isinstance(action, Again) else self.attempt(action)
        self.attempts.append(attempt)
        return self._ask_attempt(attempt)

    def _ask_attempt(self, attempt: Attempt) -> Asked:
        return Asked(attempt, lambda store: self.world.pay(store, attempt), lambda model: model.pay(attempt))

    def _ask_life(self, change: changes.Change, now_ms: int) -> Asked:
        return Asked(
            change,
            lambda store: self.world.change(store, change, now_ms),
            lambda model: self.world.model_change(model, change, now_ms),
        )

    def _change_of(self, ask: Ask) -> changes.Change:
        attempt = self._pick(ask.back)
        if attempt is None:
            return changes.Expire(NOBODY)
        payment_id = attempt.payment_id
        till = self.world.text(ask.till) if ask.till else attempt.terminal_id
        match ask.what:
            case "capture":
                tip_minor = attempt.terms.tip_minor if ask.amount == "tip" else 0
                capture_id = self.world.ulid("capture", (payment_id, ask.number))
                return changes.Capture(
                    payment_id, till, capture_id, self._part(ask, attempt.goods_minor), tip_minor
                )
            case "void":
                return changes.Void(payment_id, till)
            case "reverse":
                return changes.Reverse(payment_id, till)
            case "confirm":
                return changes.Confirm(payment_id, ask.way, self.now_ms + 4 * TICK_MS)
            case "refuse":
                return changes.Refuse(payment_id, "pin_locked" if ask.number == 2 else "confirmation_refused")
            case "refund":
                # The last of them is used for several payments, by mistake.
                refund_id = self.world.ulid("refund", (ask.number != 2 and payment_id, ask.number))
                return changes.Refund(payment_id, till, refund_id, self._part(ask, attempt.amount_minor))
        return changes.Expire(payment_id)

    def _part(self, ask: Ask, amount_minor: int) -> int:
        return {"half": (amount_minor + 1) // 2, "more": amount_minor + 1}.get(ask.amount, amount_minor)

    def _pick(self, back: int) -> Attempt | None:
        """Return an attempt that was decided: the newest of those that are open first, declined ones last."""
        kept = [*self.world.model.payments.values()][::-1]
        places = {"declined": 2, "requires_confirmation": 0, "authorised": 0}
        kept.sort(key=lambda one: places.get(one.payment.state, 1))
        return kept[back % len(kept)].attempt if kept else None

    def attempt(self, pay: Pay) -> Attempt:
        number = self._next()
        is_nobody, amount_minor = pay.payer == "nobody", self._amount(pay)
        return Attempt(
            payment_id=self.world.ulid("payment", number),
            attempt_id=self.world.ulid("attempt", number),
            request_digest=self.world.hash_of("request", number),
            terminal_id=self.world.text(pay.till),
            order_id=f"order-{number if pay.order is None else pay.order}",
            amount_minor=amount_minor,
            currency=pay.currency,
            entry_mode=pay.mode,
            instrument_id=None if is_nobody and pay.refused else self.world.text(pay.payer),
            use=self._use(pay, number),
            refused=pay.refused,
            now_ms=self.now_ms + pay.later_ms,
            terms=self._terms(pay, amount_minor),
        )

    def _terms(self, pay: Pay, amount_minor: int) -> Terms:
        # Over only at a tick, so that within one crowd it is over for all or for none.
        due_ms = self.now_ms + pay.due_ticks * TICK_MS
        return Terms(
            manual=pay.manual,
            tip_minor=min(pay.tip, amount_minor - 1),
            order_minor=pay.order_amount,
            confirmed=pay.confirmed,
            confirm_for=pay.confirm_for,
            window_max=pay.window_max,
            confirm_by_ms=due_ms,
            capture_by_ms=due_ms + TICK_MS if pay.manual else 0,
        )

    def _amount(self, pay: Pay) -> int:
        if isinstance(pay.amount, int):
            return pay.amount
        state = self.world.model
        instrument_id = self.world.text(pay.payer)
        instrument = state.instruments.get(instrument_id)
        if instrument is None:
            return 1
        what, _, more = pay.amount.partition("+")
        left = {
            "day": instrument.per_day_minor - state.spent.get((instrument_id, self.now_ms // DAY_MS), 0),
            "wallet": state.ledger.accounts[instrument.account_id].available_minor,
            "limit": instrument.per_payment_minor,
        }
        return max(left[what] + int(more or 0), 1)

    def _use(self, pay: Pay, number: int) -> Token | CardTap | Code:
        counter = number if pay.counter is None else pay.counter
        # A card that comes another way than by its link presents what that way has; the audit asks for it.
        if pay.payer in CARDS and pay.mode == "nfc_sdm":
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
            "forge": {
                "payment_id": payment_id,
                "attempt_id": attempt_id,
                "use": forgery_of(earlier.use, digest),
            },
            "order": {"payment_id": payment_id, "attempt_id": attempt_id, "use": None},
            "payment_id": {"attempt_id": attempt_id, "use": None},
            "till": {"payment_id": payment_id, "terminal_id": self.world.text("tea-1")},
        }
        # Deadlines are counted from when an attempt comes; of a repeat, nobody reads them.
        by_ms = self.now_ms + 3 * TICK_MS
        terms = replace(earlier.terms, confirm_by_ms=by_ms, capture_by_ms=by_ms)
        changed = replace(earlier, now_ms=again_ms, terms=terms, **changes[again.change])
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
            case "issue" | "brief":
                ticks = 3 if change.what == "issue" else 1
                code_hash, until = self._code_hash(change.number), now_ms + ticks * TICK_MS
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


def forgery_of(use: Token | CardTap | Code | None, digest: bytes) -> Token | CardTap | Code | None:
    """Return what somebody presents who has a copy of the key, but not of the claims."""
    return replace(use, claims_digest=digest, nonce=digest[:8]) if isinstance(use, Token) else use


def make_player(number: int, database: Database, doors: list[Any]) -> Player:
    """Return the player of the number's own days, a little before the first midnight between them."""
    now_ms = (FIRST_DAY + DAYS_PER_WORLD * number) * DAY_MS - BEFORE_MIDNIGHT_MS
    return Player(World(number, now_ms), database, doors, now_ms)


def test_payments_and_model_agree_on_every_decision(database: Database) -> None:
    with asyncio.Runner() as runner:
        doors = [runner.run(database.open_store()), runner.run(database.open_store())]
        runner.run(add_card_keys(doors[0], 0))
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
            runner.run(make_player(run_count, database, doors).play(history))

        try:
            agree()
        finally:
            for door in doors:
                runner.run(door.close())
        assert check_books(runner.run(database.read_books())) == []
        assert audit(database.place).first_break is None


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
    heard = await change_many(player, doors, rng, [one for one in answers if isinstance(one, Payment)])
    for door in doors:
        await door.close()
    told: dict[str, set[object]] = defaultdict(set)
    for (_, attempt), answer in zip(sends, answers, strict=True):
        told[attempt.attempt_id].add(answer)
    assert all(len(one) == 1 for one in told.values()), "one attempt, one answer"
    promises = [promise_of(attempt, *told[attempt.attempt_id]) for attempt in attempts]
    for promise in promises:
        assert promise.told is not None
        promise.given_back = "reversed" in heard[promise.told.payment_id]
    books = await database.read_books()
    limits = {
        name: (one.per_payment_minor, one.per_day_minor) for name, one in world.model.instruments.items()
    }
    assert check_books(books) + check_promises(promises, books) + check_limits(books, limits) == []
    assert sum(payment.approved for payment in books.payments) > len(WALLETS)
    assert books.steps
    assert books.refunds
    assert (await asyncio.to_thread(audit, database.place)).first_break is None


async def change_many(
    player: Player, doors: list[Any], rng: random.Random, payments: Sequence[Payment]
) -> dict[str, set[str]]:
    """Ask for changes of all payments at once, several of each; return whose reversals were heard of."""
    world, now_ms = player.world, player.now_ms + BEFORE_MIDNIGHT_MS + 20
    asked: list[changes.Change] = []
    for payment in {one.payment_id: one for one in payments if one.decline_code is None}.values():
        payment_id, till = payment.payment_id, world.text(rng.choice(TILLS[:3]))
        choices: list[changes.Change] = [
            changes.Capture(payment_id, till, world.ulid("capture", payment_id), rng.choice((1, 20)), 0),
            changes.Confirm(payment_id, rng.choice(("pin", "device")), now_ms + TICK_MS),
            changes.Void(payment_id, till),
            changes.Expire(payment_id),
            changes.Refuse(payment_id, "confirmation_refused"),
            *(
                changes.Refund(
                    payment_id, till, world.ulid("refund", (payment_id, n)), rng.choice((1, 10, 20))
                )
                for n in range(3)
            ),
            changes.Reverse(payment_id, till),
        ]
        asked += rng.sample(choices, 4)
    rng.shuffle(asked)
    answers = await asyncio.gather(*(world.change(rng.choice(doors), change, now_ms) for change in asked))
    heard: dict[str, set[str]] = defaultdict(set)
    for change, answer in zip(asked, answers, strict=True):
        if isinstance(change, changes.Reverse) and isinstance(answer, Payment):
            heard[change.payment_id].add("reversed")
    return heard


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
        manual=rng.randrange(4) == 0,
        confirm_for=rng.choice((None, None, None, "confirm_new_terminal")),
        due_ticks=rng.randrange(4, 10),
    )


def promise_of(attempt: Attempt, answer: object) -> Promise:
    """Say what the sender of an attempt was told."""
    card = attempt.instrument_id if isinstance(attempt.use, CardTap) else None
    use = (attempt.use.key_id, attempt.use.counter) if isinstance(attempt.use, Token) else (card, attempt.use)
    assert isinstance(answer, Payment), answer
    told = Told(answer.payment_id, answer.approved, answer.decline_code)
    return Promise(attempt.terminal_id, attempt.attempt_id, attempt.amount_minor, told, use=use)
