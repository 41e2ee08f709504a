"""Holders with their phones: they confirm or refuse what waits for them, and pay what a till's code asks."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gateway.http.answers import Answer
from gateway.http.calls import SignedCall
from simulators.auditor.promises import Promise
from simulators.auditor.witness.dealings import DEVICE, Agreement, Heard, Terms
from simulators.auditor.witness.evidence import Asked
from simulators.auditor.witness.evidence import Presented as Shown
from simulators.errors import GatewaySilent
from simulators.faults.plan import FaultKind, FaultPlan
from simulators.networks.network import ConnectionBroken
from simulators.phones.wallet_app import CODES_TARGET, WalletApp
from simulators.seeds import make_rng
from tests.simulation.people import QR_LEEWAY_MS, Thing
from tests.simulation.town import EURO, GATEWAY_URL
from wire.messages.intents import CounterPayment, CounterView, IntentPayment, IntentView
from wire.messages.payments import EntryMode, PaymentAnswer
from wire.messages.wallet import WaitingPayment, WalletPayment
from wire.money import Money

if TYPE_CHECKING:
    from tests.simulation.world import World

CODE_WAIT_S = 6.0
TOKEN_LIFE_MS = 60_000
TRIES_MAX = 4


class Holders:
    """Everybody who has a phone."""

    def __init__(self, world: World, plan: FaultPlan, things: list[Thing]) -> None:
        self._world = world
        self._plan = plan
        self._rng = make_rng(world.seed, "holders")
        self._skews = {thing.name: self._draw_skew(thing.name) for thing in things}
        self.phones = [thing for thing in things if thing.phone is not None]

    def skew_of(self, thing: Thing) -> int:
        """Return by how many milliseconds a phone's clock is ahead."""
        return self._skews[thing.name]

    def app_of(self, thing: Thing) -> WalletApp:
        """Return the application on a phone."""
        assert thing.facts is not None
        assert thing.facts.private_key is not None
        return WalletApp(
            partial(self._carry, thing.name),
            GATEWAY_URL,
            thing.facts.private_key,
            now_ms=lambda: self._believed_ms(thing),
            entropy=self._world.rng.randbytes,
        )

    def phones_of(self, thing: Thing) -> list[Thing]:
        """Return the phones of the holder of something."""
        assert thing.facts is not None
        owner = thing.facts.owner
        return [one for one in self.phones if one.facts is not None and one.facts.owner == owner]

    async def decide(self, payment_id: str, thing: Thing) -> None:
        """Let a holder look at what waits for the wallet, and say yes or no to one payment."""
        rng, app = self._rng, self.app_of(thing)
        agreed = rng.random() < 0.75
        for _ in range(TRIES_MAX):
            shown = await self._find_waiting(app, payment_id)
            if shown is not None:
                if rng.random() < 0.12:
                    # An application that shows its holder another amount than it was told.
                    shown = msgspec.structs.replace(
                        shown, amount_minor=shown.amount_minor + rng.choice((-1, 1))
                    )
                if await self._send_decision(app, shown, agreed):
                    return
            await asyncio.sleep(rng.uniform(0.5, 4))

    async def decide_for_another(self, payment: PaymentAnswer, merchant_id: str, thing: Thing) -> None:
        """Let somebody say yes to a payment of another's wallet, of which they know everything."""
        assert payment.confirmation is not None
        waiting = WaitingPayment(
            payment_id=payment.payment_id,
            merchant_id=merchant_id,
            merchant_name="",
            location_name="",
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            instrument_label="",
            code=payment.confirmation.code,
            confirm_by_ms=payment.confirmation.confirm_by_ms,
        )
        try:
            self._hear(await self.app_of(thing).decide(waiting, agreed=True))
        except GatewaySilent:
            return

    async def pay_code(self, code_text: str, thing: Thing, times: int) -> None:
        """Let a holder scan a till's code and pay what it asks, perhaps more than once."""
        app = self.app_of(thing)
        for _ in range(TRIES_MAX):
            try:
                view = await app.scan(code_text)
            except GatewaySilent:
                await asyncio.sleep(self._rng.uniform(0.5, 3))
                continue
            if isinstance(view, IntentView):
                for _ in range(times):
                    await self._pay_intent(app, view, thing)
            return

    async def pay_sticker(self, terminal_id: str, thing: Thing) -> None:
        """Let a holder scan a counter's sticker: pay what its till asks, or an amount of their own."""
        app, rng = self.app_of(thing), self._rng
        try:
            view = await app._get(f"/v1/counters/{terminal_id}", CounterView)
        except GatewaySilent:
            return
        if view.terminal_id != terminal_id:
            return
        if view.intent is not None and rng.random() < 0.7:
            await self._pay_intent(app, view.intent, thing)
        else:
            await self._pay_freely(app, view, thing, rng.randint(50, 2_100))

    async def _find_waiting(self, app: WalletApp, payment_id: str) -> WaitingPayment | None:
        try:
            waiting = await app.list_waiting()
        except GatewaySilent:
            return None
        return next((one for one in waiting if one.payment_id == payment_id), None)

    async def _send_decision(self, app: WalletApp, shown: WaitingPayment, agreed: bool) -> bool:
        dealings, sent_ms = self._world.evidence.dealings, self._world.true_ms()
        dealings.agreements[shown.payment_id].append(
            Agreement(DEVICE, agreed, shown.amount_minor, shown.merchant_id, sent_ms)
        )
        try:
            answer = await app.decide(shown, agreed=agreed)
        except GatewaySilent:
            return False
        self._hear(answer)
        return answer.payment_id == shown.payment_id

    async def _pay_intent(self, app: WalletApp, view: IntentView, thing: Thing) -> None:
        assert thing.phone is not None
        amount = Money(view.amount_minor, EURO)
        signed_ms = self._believed_ms(thing)
        token = thing.phone.sign_bound(view.merchant_id, view.intent_id, amount, signed_ms)
        shown = self._bound(thing, amount.minor, signed_ms)
        self._world.evidence.offer(view.terminal_id, view.intent_id, shown)
        await self._send_often(
            partial(app.send_intent_payment, IntentPayment(attempt_id=view.intent_id, token=token))
        )

    async def _pay_freely(self, app: WalletApp, view: CounterView, thing: Thing, minor: int) -> None:
        assert thing.phone is not None
        world = self._world
        attempt_id, signed_ms = app.new_id(), self._believed_ms(thing)
        amount = Money(minor, EURO)
        token = thing.phone.sign_bound(view.merchant_id, attempt_id, amount, signed_ms)
        shown = self._bound(thing, minor, signed_ms)
        world.evidence.show(shown)
        promise = Promise(view.terminal_id, attempt_id, minor, use=shown.use)
        asked = Asked(promise, view.merchant_id, attempt_id, world.true_ms(), shown, Terms())
        world.evidence.ask(asked)
        payment = CounterPayment(attempt_id=attempt_id, amount_minor=minor, currency="EUR", token=token)
        target = f"/v1/counters/{view.terminal_id}/payments"
        await self._send_often(partial(app._post, target, payment, attempt_id, WalletPayment))

    async def _send_often(self, send: partial) -> None:
        """Send the same payment until there is a word; sometimes once more than was needed."""
        for _ in range(TRIES_MAX):
            try:
                self._hear(await send())
            except GatewaySilent:
                await asyncio.sleep(self._rng.uniform(0.5, 4))
                continue
            if self._rng.random() < 0.7:
                return

    def _bound(self, thing: Thing, minor: int, signed_ms: int) -> Shown:
        assert thing.phone is not None
        issued_ms = signed_ms // 1000 * 1000
        use: Hashable = ("bound", thing.name, thing.phone.counter)
        return Shown(
            use=use,
            instrument_id=thing.instrument_id,
            entry_mode=EntryMode.QR_MERCHANT.value,
            counter=thing.phone.counter,
            amount_minor=minor,
            valid_from_ms=issued_ms - QR_LEEWAY_MS,
            valid_until_ms=issued_ms + TOKEN_LIFE_MS + QR_LEEWAY_MS - 1,
        )

    def _hear(self, answer: WalletPayment) -> None:
        # A repeated answer may be about another payment, and of another moment; it was true once.
        self._world.evidence.dealings.heard.append(
            Heard(answer.payment_id, answer.state.value, is_fresh=False)
        )

    def _believed_ms(self, thing: Thing) -> int:
        return self._world.true_ms() + self._skews[thing.name]

    async def _carry(
        self, phone: str, method: str, uri: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Carry what a phone asks over the world's network."""
        world = self._world
        call = SignedCall(method, uri.removeprefix(GATEWAY_URL), headers, body)
        if call.raw_path != CODES_TARGET:
            world.trace.note(phone, f"sends {method} {call.raw_path[:60]}")
        try:
            async with asyncio.timeout(CODE_WAIT_S):
                answer: Answer = await world.network.exchange(phone, call)
        except (TimeoutError, ConnectionBroken):
            raise GatewaySilent("no answer") from None
        world.trace.note(phone, f"hears {answer.status} to {method} {call.raw_path[:40]}")
        return answer.status, answer.body

    def _draw_skew(self, name: str) -> int:
        dice, clocks = self._world.dice, self._plan.clocks
        # Phones set their clocks by the network: seldom as wrong as a till's.
        if not dice.happens(FaultKind.CLOCK_SKEWED, clocks.skewed / 4, name):
            return 0
        return (dice.below(name, 2 * clocks.skew_ms_max + 1) - clocks.skew_ms_max) // 4
