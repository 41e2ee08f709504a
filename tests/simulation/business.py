"""What people do in a world: cashiers sell, holders pay in every way there is, an operator steps in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from gateway.errors import GatewayError
from gateway.holders.model import InstrumentStatus, WalletStatus
from simulators.auditor.witness.dealings import PIN, Agreement, WrongPin
from simulators.cards.payment_card import PaymentCard
from simulators.disks.disk import PowerLost
from simulators.errors import GatewaySilent
from simulators.faults.plan import FaultKind, FaultPlan
from simulators.seeds import make_rng
from terminal.errors import SaleRefused, TerminalError
from tests.simulation.holders import CODE_WAIT_S
from tests.simulation.people import Hands, Thing
from tests.simulation.till_node import Life, TillNode
from wire.messages.till import SaleRequest, SaleState

if TYPE_CHECKING:
    from tests.simulation.world import World

SALES_MIN, SALES_MAX = 3, 8
OFFLINE_SALES_MAX = 18
"""Where a till may go offline and come back, there has to be something to sell meanwhile."""
TRIES_MAX = 3
"""How often somebody presents something in one sale."""
OPERATOR_ACTS_MAX = 2
CLERKS_S_MAX = 60.0
"""How long clerks may work before everything heals."""
OVER = (
    SaleState.APPROVED,
    SaleState.DECLINED,
    SaleState.UNKNOWN,
    SaleState.REVERSING,
    SaleState.CLOSED,
    SaleState.CANCELLED,
    SaleState.TIMED_OUT,
    SaleState.ACCEPTED_OFFLINE,
)
ORDER_S_MAX = 20.0
"""How long a cashier waits for the daemon to take an order; a machine that is off never answers."""


class Business:
    """All that is done before the world heals."""

    def __init__(self, world: World, plan: FaultPlan, hands: Hands, things: list[Thing]) -> None:
        self._world = world
        self._plan = plan
        self._hands = hands
        *own, self._stranger = things
        self._things = own
        self._orders: dict[str, list[tuple[str, int]]] = {}

    async def run(self) -> None:
        """Return when every cashier has finished, or somebody objects."""
        world = self._world
        workers = [asyncio.create_task(self._see_clerks_work())]
        if world.has_cashiers:
            workers += [asyncio.create_task(_Cashier(world, self, till).work()) for till in world.tills]
        workers.append(asyncio.create_task(self._operate()))
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    async def _see_clerks_work(self) -> None:
        """Return when the clerks have finished, or have had their time: they go on while everything heals."""
        await asyncio.wait(self._world.clerks_at_work, timeout=CLERKS_S_MAX)
        for task in self._world.clerks_at_work:
            if task.done():
                task.result()

    def draw_order(self, till: TillNode, rng: random.Random, number: int) -> tuple[str, int]:
        """Return an order and its amount: a new one, or now and then one that was tried before."""
        orders = self._orders.setdefault(till.enrolment.merchant_id, [])
        if orders and rng.random() < 0.2:
            return rng.choice(orders[-4:])
        captured = self._hands.captured_offline.get(till.name)
        if captured is not None and rng.random() < 0.1:
            amount = captured[0]
        elif self._world.offline is not None:
            # What tills accept without a connection is small.
            amount = rng.choice((*[rng.randint(50, 500)] * 7, *[rng.randint(500, 2_600)] * 3))
        else:
            amount = rng.choice((*[rng.randint(50, 900)] * 5, *[rng.randint(900, 2_600)] * 4, 5_500))
        orders.append((f"{till.name}-{number}", amount))
        return orders[-1]

    async def present(self, life: Life, amount_minor: int, rng: random.Random) -> None:
        """Let somebody present something at a till."""
        if self._world.offline is not None and await self._present_offline(life, amount_minor, rng):
            return
        thing = self._stranger if rng.random() < 0.03 else rng.choice(self._things)
        roll = rng.random()
        if roll < 0.12 and self._hands.captured:
            self._hands.replay(life, rng.choice(self._hands.captured))
        elif roll < 0.17 and thing.codes:
            self._hands.show(life, rng.choice(thing.codes))
        elif roll < 0.20:
            self._hands.show(life, "no code of ours")
        elif roll < 0.24 and thing.facts is not None:
            await self._tap(life, self._clone(thing))
        elif thing.phone is not None and roll < 0.50:
            cap = amount_minor + 500 if rng.random() < 0.85 else max(1, amount_minor - 1)
            form = rng.choice(("cpm", "base45", "base32"))
            self._hands.show(
                life, self._hands.draw_code(thing, cap, form, self._world.holders.skew_of(thing))
            )
        elif thing.phone is not None and roll < 0.68:
            code = await self._ask_code(thing)
            if code is not None:
                self._hands.show(life, code)
        else:
            await self._tap(life, thing)

    async def _present_offline(self, life: Life, amount_minor: int, rng: random.Random) -> bool:
        """Present what has to do with payments without a connection; False if somebody else's turn it is."""
        offline, captured = self._world.offline, self._hands.captured_offline.get(life.till.name)
        assert offline is not None
        if captured is not None and captured[0] == amount_minor and rng.random() < 0.5:
            # What was signed for an offline till, shown to it once more.
            self._hands.replay(life, captured[1])
            return True
        if offline.twins and rng.random() < 0.03:
            await self._tap(life, rng.choice(offline.twins))
            return True
        # The cashier of an offline till says that only phones can pay now.
        thing = (
            offline.draw_thing(life.till.name, amount_minor, rng)
            if life.is_offline and rng.random() < 0.85
            else None
        )
        if thing is not None:
            await self._tap(life, thing)
        return thing is not None

    async def _tap(self, life: Life, thing: Thing) -> None:
        self._hands.tap(life, thing)
        if self._world.dice.happens(FaultKind.DOUBLE_TAP, self._plan.cards.double_tap, life.till.name):
            await asyncio.sleep(self._world.dice.below("double tap", 300) / 1000)
            self._hands.tap(life, thing)

    def _clone(self, thing: Thing) -> Thing:
        """Copy what is tapped, as it is now; the copy is used once and its owner learns of it later.

        It holds no credential: who copies that has more use for it (offline_people.py).
        """
        card = thing.card.clone()
        if isinstance(card, PaymentCard):
            card.allowance = None
        return Thing(f"{thing.name} copy", thing.facts, card)

    async def _ask_code(self, thing: Thing) -> str | None:
        """Let a holder ask for a numeric code; None if none came."""
        world, facts = self._world, thing.facts
        assert facts is not None
        asked_ms = world.true_ms()
        world.evidence.codes_asked_ms.setdefault(facts.payer.instrument_id, []).append(asked_ms)
        app = world.holders.app_of(thing)
        try:
            issued = await app.ask_payment_code()
        except GatewaySilent:
            return None
        self._hands.note_numeric_code(thing, issued.code, asked_ms, issued.expires_ms)
        return issued.code

    async def _operate(self) -> None:
        """Suspend an instrument or freeze a wallet now and then."""
        world, evidence = self._world, self._world.evidence
        rng = make_rng(world.seed, "operator")
        for _ in range(rng.randint(0, OPERATOR_ACTS_MAX)):
            await asyncio.sleep(rng.uniform(2, 40))
            payer = rng.choice(world.town.things).payer
            holders = world.gateway.office.holders
            is_freezing = rng.random() < 0.4
            key = payer.wallet_id if is_freezing else payer.instrument_id
            begun, done = (
                (evidence.freezing, evidence.frozen)
                if is_freezing
                else (evidence.suspending, evidence.suspended)
            )
            begun.setdefault(key, world.true_ms())
            try:
                async with asyncio.timeout(CODE_WAIT_S):
                    if is_freezing:
                        await holders.set_wallet_status(key, WalletStatus.FROZEN)
                    else:
                        await holders.set_instrument_status(key, InstrumentStatus.SUSPENDED)
            except (GatewayError, TimeoutError):
                continue
            world.trace.note("operator", "freezes" if is_freezing else "suspends")
            done.setdefault(key, world.true_ms())


class _Cashier:
    """Sells at one till, sale by sale, whatever happens to it."""

    def __init__(self, world: World, business: Business, till: TillNode) -> None:
        self._world = world
        self._business = business
        self._till = till
        self._rng = make_rng(world.seed, "cashier", till.name)

    async def work(self) -> None:
        """Sell some things."""
        is_long = self._world.offline is not None
        for number in range(self._rng.randint(SALES_MIN, OFFLINE_SALES_MAX if is_long else SALES_MAX)):
            await asyncio.sleep(self._rng.uniform(0.1, 6))
            self._world.check()
            life = self._till.life
            if life is not None:
                await self._sell(life, number)

    async def _sell(self, life: Life, number: int) -> None:
        order_id, amount_minor = self._business.draw_order(self._till, self._rng, number)
        try:
            sale_id = life.desk.start_sale(SaleRequest(amount_minor=amount_minor, order_id=order_id)).sale_id
        except SaleRefused:
            return
        for _ in range(self._rng.randint(0 if self._rng.random() < 0.1 else 1, TRIES_MAX)):
            await asyncio.sleep(self._rng.uniform(0.2, 3))
            if not life.is_on or self._state(life, sale_id) in OVER:
                return
            await self._business.present(life, amount_minor, self._rng)
            self._world.check()
            await self._till.until(lambda: not self._is_busy(life, sale_id), 20)
            if life.is_on and self._state(life, sale_id) is SaleState.CONFIRMING:
                await self._have_confirmed(life, sale_id)
            if life.is_on and self._state(life, sale_id) is SaleState.UNKNOWN:
                await self._decide_unknown(life, sale_id)
        await self._end(life, sale_id)

    async def _have_confirmed(self, life: Life, sale_id: str) -> None:
        """Let the holder agree or not, by phone or PIN, or let the cashier give up, or nobody do anything."""
        world, view, rng = self._world, life.desk.find_sale(sale_id), self._rng
        assert view.answer is not None
        payment_id = view.answer.payment_id
        presented = world.evidence.asked[self._till.terminal_id, view.answer.attempt_id].presented
        thing = next(
            one for one in world.things if presented and one.instrument_id == presented.instrument_id
        )
        roll = rng.random()
        if roll < 0.45 and (phones := world.holders.phones_of(thing)):
            await world.holders.decide(payment_id, rng.choice(phones))
        elif roll < 0.75:
            for pin in rng.choice((("",), ("",), ("0000", ""), ("0000", "0000", "0000", ""))):
                await self._enter_pin(life, sale_id, thing, pin)
        elif roll < 0.85:
            await self._order(life.desk.give_up_sale(sale_id))
        await self._till.until(lambda: self._is_over(life, sale_id), 40)

    async def _enter_pin(self, life: Life, sale_id: str, thing: Thing, pin: str) -> None:
        """Let a holder type a PIN; an empty one stands for the right one."""
        world, dealings = self._world, self._world.evidence.dealings
        if not life.is_on or self._state(life, sale_id) is not SaleState.CONFIRMING:
            return
        answer = life.desk.find_sale(sale_id).answer
        assert answer is not None
        assert thing.facts is not None
        sent_ms = world.true_ms()
        world.pin_wallets[answer.payment_id] = thing.facts.payer.wallet_id
        if not pin and thing.facts.pin is not None:
            dealings.agreements[answer.payment_id].append(
                Agreement(PIN, True, answer.amount_minor, self._till.enrolment.merchant_id, sent_ms)
            )
        code = await self._order(life.desk.enter_pin(sale_id, pin or thing.facts.pin or "1111"))
        if code in ("pin_wrong", "pin_is_locked"):
            wallet_id = thing.facts.payer.wallet_id
            dealings.wrong_pins.append(WrongPin(wallet_id, sent_ms, code == "pin_is_locked"))

    async def _decide_unknown(self, life: Life, sale_id: str) -> None:
        """Have what is unknown taken back, or kept, or leave it to the daemon."""
        roll = self._rng.random()
        if roll < 0.25:
            await self._order(life.desk.reverse_sale(sale_id))
        elif roll < 0.5:
            await self._order(life.desk.keep_sale(sale_id))

    async def _order(self, order: Awaitable[object]) -> str | None:
        """Give the daemon an order; return the code of what came in its way."""
        try:
            async with asyncio.timeout(ORDER_S_MAX):
                await order
        except TerminalError as error:
            return error.code
        except (TimeoutError, PowerLost):
            return "no_answer"
        return None

    def _is_over(self, life: Life, sale_id: str) -> bool:
        return not life.is_on or self._state(life, sale_id) in OVER

    async def _end(self, life: Life, sale_id: str) -> None:
        """Cancel what nobody paid, or leave it to its deadline."""
        if not life.is_on or self._state(life, sale_id) in OVER:
            return
        if self._rng.random() < 0.7:
            try:
                life.desk.cancel_sale(sale_id)
            except SaleRefused:
                self._world.trace.note(self._till.name, "can't be cancelled")
            return
        await self._till.until(lambda: not life.is_on or self._state(life, sale_id) in OVER, 60)

    def _is_busy(self, life: Life, sale_id: str) -> bool:
        return life.is_on and self._state(life, sale_id) in (SaleState.READING, SaleState.SUBMITTING)

    def _state(self, life: Life, sale_id: str) -> SaleState:
        return life.desk.find_sale(sale_id).state
