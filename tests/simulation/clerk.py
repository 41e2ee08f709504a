"""What clerks do at counters: hold, confirm, capture, void, refund, reverse and take codes, often at once."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulators.seeds import make_rng
from tests.simulation.counter import Counter, Refusal
from tests.simulation.people import Hands, Thing
from wire.codes.scanned import recognise
from wire.messages.intents import IntentRequest
from wire.messages.payments import (
    CaptureMode,
    EntryMode,
    OrderDetails,
    PaymentAnswer,
    PaymentRequest,
    PaymentState,
    QrConsumerPresentation,
)

if TYPE_CHECKING:
    from tests.simulation.world import World

JOBS_MIN, JOBS_MAX = 1, 3
BUSY_JOBS_MAX = 6
"""Where no cashier sells, clerks have more to do."""
POLL_S_MIN, POLL_S_MAX = 15.0, 40.0
WRONG_PIN = "0000"
WRONG_PINS_MAX = 4


@dataclass(frozen=True)
class Offer:
    """What a shopper is asked for, and what with it was paid."""

    request: PaymentRequest
    thing: Thing

    @property
    def goods_minor(self) -> int:
        """Without the tip's part."""
        return self.request.amount_minor - self.request.tip_max_minor


class Clerk:
    """Works at one counter, job by job."""

    def __init__(self, world: World, counter: Counter, shoppers: list[Thing], hands: Hands) -> None:
        self._world = world
        self.counter = counter
        self._shoppers = shoppers
        self._hands = hands
        self._rng = make_rng(world.seed, "clerk", counter.name)
        self._number = 0
        self._merchant_id = counter.till.facts.enrolment.merchant_id

    async def work(self) -> None:
        """Do a few jobs; what was begun is brought to its end also while everything heals."""
        rng = self._rng
        jobs = (
            *[self._sell] * 9,
            *[self._ask_by_code] * 4,
            self._take_sticker,
            self._refund_a_sale,
            self._give_up,
        )
        jobs_max = JOBS_MAX if self._world.has_cashiers else BUSY_JOBS_MAX
        for _ in range(rng.randint(JOBS_MIN, jobs_max)):
            await asyncio.sleep(rng.uniform(0.2, 8))
            if self._world.dice.is_healed:
                return
            self._world.check()
            await rng.choice(jobs)()

    async def listen(self) -> None:
        """Read what happens without asking, for as long as this runs."""
        while True:
            await asyncio.sleep(self._rng.uniform(POLL_S_MIN, POLL_S_MAX))
            await self.counter.poll_events()

    # Jobs

    async def _sell(self) -> None:
        """Take a payment, and do something with it."""
        rng, offer = self._rng, self._make_offer()
        counter, request = self.counter, offer.request
        if rng.random() < 0.15:
            await self._send_and_reverse(offer)
            return
        answer = await counter.pay(request)
        if not isinstance(answer, PaymentAnswer):
            return
        if answer.state is PaymentState.REQUIRES_CONFIRMATION:
            await self._have_confirmed(answer, offer)
            answer = await counter.find(request.attempt_id)
        if not isinstance(answer, PaymentAnswer):
            return
        if answer.state is PaymentState.AUTHORISED:
            await self._end_hold(answer, offer)
            answer = await counter.find(request.attempt_id)
        if isinstance(answer, PaymentAnswer) and answer.state is PaymentState.SUCCEEDED:
            await self._follow_up(answer)

    async def _give_up(self) -> None:
        """Reverse an attempt that the gateway may never have seen, and let it arrive afterwards."""
        offer = self._make_offer()
        await self._reverse(offer.request)
        await self.counter.pay(offer.request)

    async def _ask_by_code(self) -> None:
        """Show a till's code; people pay it, or not, or too late, or after it was given up."""
        rng, counter = self._rng, self.counter
        order_id, total_minor, goods_minor = self._draw_order()
        is_part = goods_minor != total_minor
        request = IntentRequest(
            intent_id=counter.new_id(),
            order_id=order_id,
            amount_minor=goods_minor,
            currency="EUR",
            life_ms=rng.choice((10_000, 30_000)),
            order=OrderDetails(amount_minor=total_minor) if is_part else None,
        )
        code = await counter.make_code(request)
        if isinstance(code, Refusal):
            return
        payers = rng.sample(self._shoppers, 1 if rng.random() < 0.6 else 2)
        gives_up = rng.random() < 0.35
        acts = [self._pay_code(code.code_text, payer) for payer in payers if rng.random() < 0.9]
        if gives_up:
            acts.append(self._reverse_later(request))
        await asyncio.gather(*acts)
        answer = await counter.find(request.intent_id)
        if isinstance(answer, PaymentAnswer) and answer.state is PaymentState.SUCCEEDED:
            await self._follow_up(answer)

    async def _take_sticker(self) -> None:
        """Let somebody pay at this counter's sticker."""
        await self._world.holders.pay_sticker(
            self.counter.till.facts.enrolment.terminal_id, self._rng.choice(self._shoppers)
        )

    async def _refund_a_sale(self) -> None:
        """Give back what somebody paid at a till of this shop."""
        sold = [
            asked.promise
            for asked in self._world.evidence.asked.values()
            if asked.merchant_id == self._merchant_id
            and asked.promise.told is not None
            and asked.promise.told.approved
        ]
        if sold:
            promise = self._rng.choice(sold)
            assert promise.told is not None
            await self._refund(promise.told.payment_id, promise.amount_minor)

    # What is done with a payment

    async def _send_and_reverse(self, offer: Offer) -> None:
        """Send once, or hardly, and have it reversed: before, after or while it is decided."""
        rng = self._rng
        sending = self.counter.pay(offer.request, tries_max=1 if rng.random() < 0.6 else None)
        if rng.random() < 0.5:
            await asyncio.gather(sending, self._reverse(offer.request))
        else:
            await sending
            await self._reverse(offer.request)
        if rng.random() < 0.4:
            await self.counter.pay(offer.request, tries_max=3)

    async def _have_confirmed(self, answer: PaymentAnswer, offer: Offer) -> None:
        """Let a holder agree or not, by phone or PIN, both at once, too late, or never."""
        rng, holders = self._rng, self._world.holders
        assert answer.confirmation is not None
        roll = rng.random()
        if roll < 0.4:
            await holders.decide(answer.payment_id, offer.thing)
        elif roll < 0.65:
            await self._enter_pins(answer, offer.thing)
        elif roll < 0.75:
            await asyncio.gather(
                holders.decide(answer.payment_id, offer.thing), self._enter_pins(answer, offer.thing)
            )
        elif roll < 0.82:
            await asyncio.gather(
                holders.decide(answer.payment_id, offer.thing), self.counter.void(answer.payment_id)
            )
        elif roll < 0.9:
            # About when it is over: either may win.
            await asyncio.sleep(rng.uniform(18, 23))
            await holders.decide(answer.payment_id, offer.thing)
        elif roll < 0.94:
            await self._reverse(offer.request)
        else:
            owner = offer.thing.facts and offer.thing.facts.owner
            others = [one for one in self._shoppers if one.facts is not None and one.facts.owner != owner]
            await holders.decide_for_another(answer, self._merchant_id, rng.choice(others))

    async def _enter_pins(self, answer: PaymentAnswer, thing: Thing) -> None:
        assert thing.facts is not None
        right = thing.facts.pin or "1111"
        wrong_count = self._rng.choice((0, 0, 1, 2, WRONG_PINS_MAX, WRONG_PINS_MAX))
        for pin in (*[WRONG_PIN] * wrong_count, right):
            said = await self.counter.enter_pin(answer, thing, pin)
            if isinstance(said, PaymentAnswer) and said.state is not PaymentState.REQUIRES_CONFIRMATION:
                return

    async def _end_hold(self, answer: PaymentAnswer, offer: Offer) -> None:
        """Charge a hold in whole or in part, let it go, let it expire, or try several of these at once."""
        rng, counter, payment_id = self._rng, self.counter, answer.payment_id
        goods, tip_max = offer.goods_minor, offer.request.tip_max_minor
        tip = rng.randint(0, tip_max)
        part = rng.randint(1, goods)
        roll = rng.random()
        if roll < 0.25:
            await counter.capture(payment_id, goods, tip)
        elif roll < 0.4:
            await counter.capture(payment_id, part, tip)
        elif roll < 0.5:
            more = (goods + rng.randint(1, 50), tip) if rng.random() < 0.5 else (part, tip_max + 1)
            await counter.capture(payment_id, *more)
            await counter.void(payment_id)
        elif roll < 0.6:
            await counter.void(payment_id)
        elif roll < 0.72:
            await asyncio.gather(
                counter.capture(payment_id, goods, tip), counter.capture(payment_id, part, 0)
            )
        elif roll < 0.8:
            await asyncio.gather(counter.capture(payment_id, goods, tip), counter.void(payment_id))
        elif roll < 0.86:
            await asyncio.gather(counter.capture(payment_id, part, tip), self._reverse(offer.request))
        elif roll < 0.92:
            await asyncio.sleep(rng.uniform(56, 61))
            await counter.capture(payment_id, part, tip)

    async def _follow_up(self, answer: PaymentAnswer) -> None:
        """Give something back, or all of it, or leave it."""
        roll = self._rng.random()
        if roll < 0.45:
            await self._refund(answer.payment_id, answer.charged_minor)
        elif roll < 0.6:
            await self._reverse_answered(answer)
        elif roll < 0.7:
            await asyncio.gather(
                self.counter.refund(answer.payment_id, answer.charged_minor), self._reverse_answered(answer)
            )

    async def _refund(self, payment_id: str, charged_minor: int) -> None:
        rng, counter = self._rng, self.counter
        part = rng.randint(1, charged_minor)
        roll = rng.random()
        if roll < 0.1:
            await counter.refund(payment_id, part, is_manager=False)
        elif roll < 0.15:
            await counter.refund(payment_id, part, pin=WRONG_PIN)
        elif roll < 0.25:
            await counter.refund(payment_id, charged_minor + rng.randint(1, 100))
        elif roll < 0.55:
            # Two who don't know of each other mean the same refund.
            await asyncio.gather(counter.refund(payment_id, part), counter.refund(payment_id, part))
        else:
            refund_id = counter.new_id()
            await counter.refund(payment_id, part, refund_id=refund_id)
            await counter.refund(payment_id, part, refund_id=refund_id)
        if rng.random() < 0.5:
            await asyncio.gather(
                counter.refund(payment_id, charged_minor), counter.refund(payment_id, max(1, part // 2))
            )

    async def _pay_code(self, code_text: str, payer: Thing) -> None:
        rng = self._rng
        await asyncio.sleep(rng.choice((rng.uniform(0.1, 3), rng.uniform(5, 14))))
        await self._world.holders.pay_code(code_text, payer, rng.choice((1, 1, 1, 2)))

    async def _reverse_later(self, request: IntentRequest) -> None:
        await asyncio.sleep(self._rng.uniform(0, 6))
        await self.counter.reverse(
            request.intent_id, request.order_id, request.amount_minor, EntryMode.QR_MERCHANT
        )

    async def _reverse(self, request: PaymentRequest) -> None:
        mode = EntryMode.QR_CONSUMER
        await self.counter.reverse(request.attempt_id, request.order_id, request.amount_minor, mode)

    async def _reverse_answered(self, answer: PaymentAnswer) -> None:
        await self.counter.reverse(answer.attempt_id, answer.order_id, answer.amount_minor, answer.entry_mode)

    # What is offered

    def _make_offer(self) -> Offer:
        """Let somebody show a code for an order or a part of one."""
        rng, world = self._rng, self._world
        thing = rng.choice(self._shoppers)
        order_id, total_minor, goods_minor = self._draw_order()
        is_manual = rng.random() < 0.6
        tip_max = rng.randint(1, max(1, goods_minor // 6)) if is_manual and rng.random() < 0.5 else 0
        if tip_max and rng.random() < 0.1:
            tip_max = goods_minor // 4 + 1
        amount_minor = goods_minor + tip_max
        cap_minor = amount_minor + 300 if rng.random() < 0.95 else max(1, amount_minor - 1)
        text = self._hands.draw_code(thing, cap_minor, "base45", world.holders.skew_of(thing))
        presentation = recognise(text)
        assert isinstance(presentation, QrConsumerPresentation)
        # Seldom another amount than the order was begun with, or less than what is paid of it.
        named_minor = rng.choice((*[total_minor] * 18, total_minor + 1, max(1, goods_minor - 1)))
        is_named = goods_minor != total_minor or rng.random() < 0.3
        request = PaymentRequest(
            attempt_id=self.counter.new_id(),
            order_id=order_id,
            amount_minor=amount_minor,
            currency="EUR",
            presentation=presentation,
            presented_ms=self.counter.till.now_ms(),
            capture=CaptureMode.MANUAL if is_manual else CaptureMode.AUTOMATIC,
            tip_max_minor=tip_max,
            order=OrderDetails(amount_minor=named_minor, tax_minor=named_minor // 10) if is_named else None,
        )
        return Offer(request, thing)

    def _draw_order(self) -> tuple[str, int, int]:
        """Return an order, what it is for, and the part of it that somebody pays now."""
        rng = self._rng
        orders = self._world.counter_orders.setdefault(self._merchant_id, [])
        if orders and rng.random() < 0.4:
            order_id, total_minor = rng.choice(orders[-3:])
        else:
            self._number += 1
            order_id, total_minor = f"{self.counter.name}-{self._number}", _draw_amount(rng)
            orders.append((order_id, total_minor))
        part = total_minor if rng.random() < 0.6 else rng.randint(1, total_minor)
        return order_id, total_minor, part


def _draw_amount(rng: random.Random) -> int:
    return rng.choice(
        (*[rng.randint(50, 900)] * 4, *[rng.randint(900, 2_600)] * 3, rng.randint(2_600, 5_500))
    )
