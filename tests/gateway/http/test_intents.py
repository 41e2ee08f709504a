"""A till's own code: what a wallet is shown, what it pays, and what the till hears of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import CodeSettings
from gateway.holders.model import InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.payments.till_codes import TillCodeWriter
from simulators.errors import GatewaySilent, SimulatorError
from simulators.phones.phone import Phone
from simulators.phones.wallet_app import WalletApp, exchange_over
from wire import es256
from wire.codes.merchant_qr.profile import parse_merchant_qr
from wire.messages.base import dump_message
from wire.messages.intents import CounterView, IntentPayment, IntentRequest, IntentView
from wire.messages.payments import EntryMode, OrderDetails, PaymentState, ReversalRequest
from wire.money import Money, find_currency

EUR = find_currency("EUR")
OTHER_KEY = 57


@dataclass
class Scene:
    """A till that asks by code, and a holder with a wallet that reads codes."""

    shop: Any
    phone: Phone
    wallet: WalletApp
    asked: list[str] = field(default_factory=list)

    async def ask(self, **changes: Any) -> Any:
        till = self.shop.till
        fields = {
            "intent_id": till.new_id(),
            "order_id": f"order-{len(self.asked)}",
            "amount_minor": 1_250,
            "currency": "EUR",
        } | changes
        request = IntentRequest(**fields)
        self.asked.append(request.intent_id)
        return await till.call(
            "POST", "/v1/intents", dump_message(request), idempotency_key=request.intent_id
        )

    async def code(self, **changes: Any) -> str:
        answer = await self.ask(**changes)
        assert answer.status == 201, answer.body
        return str(answer.json["code_text"])

    async def events(self) -> list[dict[str, Any]]:
        answer = await self.shop.till.call("GET", "/v1/terminals/events?after=0")
        return [event["payment"] for event in answer.json["events"]]

    async def reverse(self, intent_id: str) -> Any:
        request = ReversalRequest(
            attempt_id=intent_id,
            order_id="order-0",
            amount_minor=1_250,
            currency="EUR",
            entry_mode=EntryMode.QR_MERCHANT,
        )
        return await self.shop.till.call(
            "POST", "/v1/reversals", dump_message(request), idempotency_key=intent_id
        )


@pytest.fixture
async def scene(shop: Any) -> Scene:
    await shop.enrol()
    phone = Phone(shop.phone_key, rng=random.Random(5), token_pan="4111111111111111")
    return Scene(shop, phone, _open_wallet(shop, shop.phone_key))


def _open_wallet(shop: Any, key: es256.PrivateKey) -> WalletApp:
    return WalletApp(
        exchange_over(shop.http),
        shop.gateway.url,
        key,
        now_ms=lambda: shop.till.now_ms,
        entropy=shop.rng.randbytes,
    )


async def _second_wallet(shop: Any) -> tuple[WalletApp, Phone]:
    """Somebody else with 100 euros."""
    key = ec.derive_private_key(OTHER_KEY, ec.SECP256R1())
    wallet = await shop.office.holders.add_wallet("Ben", "EUR", now_ms=shop.till.now_ms)
    await shop.office.holders.fund_wallet(wallet.wallet_id, Money(10_000, EUR), now_ms=shop.till.now_ms)
    new = NewInstrument(wallet.wallet_id, InstrumentKind.PHONE_KEY, es256.dump_public_key(key.public_key()))
    await shop.office.holders.add_instrument(new, now_ms=shop.till.now_ms)
    return _open_wallet(shop, key), Phone(key, rng=random.Random(6), token_pan="4111111111111111")


async def test_a_wallet_is_shown_the_registered_name_and_the_exact_amount_and_pays_it(scene: Scene) -> None:
    code = await scene.code(order=OrderDetails(amount_minor=1_250, tax_minor=200))
    view = await scene.wallet.scan(code)
    assert isinstance(view, IntentView)
    assert (view.merchant_name, view.location_name) == ("Mill Lane Bakery", "Mill Lane 12")
    assert (view.amount_minor, view.currency, view.order.tax_minor) == (1_250, "EUR", 200)
    paid = await scene.wallet.pay_intent(view, scene.phone)
    assert (paid.state, paid.amount_minor) == (PaymentState.SUCCEEDED, 1_250)
    (told,) = await scene.events()
    assert (told["attempt_id"], told["outcome"]) == (view.intent_id, "approved")
    assert told["entry_mode"] == "qr_merchant"
    assert told["receipt"]["receipt_number"] == "000001"
    found = await scene.shop.till.call("GET", f"/v1/payments?attempt_id={view.intent_id}")
    assert found.json["payment_id"] == paid.payment_id
    assert await scene.shop.balance_minor() == 8_750


async def test_the_same_request_returns_the_same_code_and_another_under_its_id_is_refused(
    scene: Scene,
) -> None:
    first = await scene.ask()
    again = await scene.ask(intent_id=scene.asked[0], order_id="order-0")
    assert again.json == first.json
    other = await scene.ask(intent_id=scene.asked[0], order_id="order-0", amount_minor=1_251)
    assert (other.status, other.code) == (409, "idempotency_conflict")


async def test_a_code_is_paid_once_whoever_scans_it_first(scene: Scene) -> None:
    view = await scene.wallet.scan(await scene.code())
    other_wallet, other_phone = await _second_wallet(scene.shop)
    assert isinstance(view, IntentView)
    await scene.wallet.pay_intent(view, scene.phone)
    with pytest.raises(GatewaySilent, match="idempotency_conflict"):
        await other_wallet.pay_intent(view, other_phone)
    with pytest.raises(GatewaySilent, match="intent_expired"):
        await other_wallet.scan(await scene.code(intent_id=scene.asked[0], order_id="order-0"))


async def test_a_payment_whose_answer_was_lost_is_sent_again_and_charged_once(scene: Scene) -> None:
    view = await scene.wallet.scan(await scene.code())
    assert isinstance(view, IntentView)
    amount = Money(view.amount_minor, EUR)
    token = scene.phone.sign_bound(view.merchant_id, view.intent_id, amount, scene.shop.till.now_ms)
    payment = IntentPayment(attempt_id=view.intent_id, token=token)
    first = await scene.wallet.send_intent_payment(payment)
    assert await scene.wallet.send_intent_payment(payment) == first
    assert await scene.shop.balance_minor() == 8_750


async def test_a_code_that_its_till_gave_up_can_be_paid_by_nobody(scene: Scene) -> None:
    view = await scene.wallet.scan(await scene.code())
    assert isinstance(view, IntentView)
    assert (await scene.reverse(view.intent_id)).json["decline"]["code"] == "attempt_reversed"
    answer = await scene.wallet.pay_intent(view, scene.phone)
    assert answer.state is PaymentState.DECLINED
    assert await scene.shop.balance_minor() == 10_000


async def test_a_paid_code_that_its_till_gives_up_is_given_back(scene: Scene) -> None:
    view = await scene.wallet.scan(await scene.code())
    assert isinstance(view, IntentView)
    await scene.wallet.pay_intent(view, scene.phone)
    assert (await scene.reverse(view.intent_id)).json["state"] == "reversed"
    assert await scene.shop.balance_minor() == 10_000


async def test_a_code_asks_until_its_time_is_over(scene: Scene, clock: Any) -> None:
    code = await scene.code(life_ms=10_000)
    view = await scene.wallet.scan(code)
    assert isinstance(view, IntentView)
    clock.ms = scene.shop.till.now_ms = view.expires_ms
    with pytest.raises(GatewaySilent, match="intent_expired"):
        await scene.wallet.scan(code)
    with pytest.raises(GatewaySilent, match="intent_expired"):
        await scene.wallet.pay_intent(view, scene.phone)


@pytest.mark.parametrize(
    ("change", "state_text"),
    [
        ({"amount_minor": 1_249}, "amount"),
        ({"merchant_id": "MERCHANT0000009"}, "other"),
        ({"intent_id": None}, "other"),
    ],
)
async def test_a_token_bound_to_anything_else_pays_nothing(
    scene: Scene, change: dict[str, Any], state_text: str
) -> None:
    view = await scene.wallet.scan(await scene.code())
    assert isinstance(view, IntentView)
    if "intent_id" in change:
        change = {"intent_id": scene.shop.till.new_id()}
    lie = msgspec.structs.replace(view, **change)
    amount = Money(lie.amount_minor, EUR)
    token = scene.phone.sign_bound(lie.merchant_id, lie.intent_id, amount, scene.shop.till.now_ms)
    answer = await scene.wallet.send_intent_payment(IntentPayment(attempt_id=view.intent_id, token=token))
    assert answer.state is PaymentState.DECLINED
    assert await scene.shop.balance_minor() == 10_000
    assert [told["outcome"] for told in await scene.events()] == ["declined"]


async def test_a_token_of_another_phone_than_the_one_that_sends_it_is_refused(scene: Scene) -> None:
    view = await scene.wallet.scan(await scene.code())
    other_wallet, _ = await _second_wallet(scene.shop)
    assert isinstance(view, IntentView)
    answer = await other_wallet.pay_intent(view, scene.phone)
    assert answer.state is PaymentState.DECLINED
    assert await scene.shop.balance_minor() == 10_000


async def test_a_code_of_another_gateway_is_not_followed(scene: Scene) -> None:
    code = parse_merchant_qr(await scene.code())
    elsewhere = WalletApp(
        exchange_over(scene.shop.http),
        "http://127.0.0.1:9",
        scene.shop.phone_key,
        now_ms=lambda: scene.shop.till.now_ms,
        entropy=scene.shop.rng.randbytes,
    )
    assert code.url.startswith(scene.shop.gateway.url.removeprefix("http://") + "/i/")
    with pytest.raises(SimulatorError, match="another gateway"):
        await elsewhere.scan(await scene.code())


class TestCounters:
    async def sticker(self, scene: Scene) -> str:
        """What is printed on the counter, for ever."""
        store = scene.shop.office.store
        terminal = await store.find_terminal(scene.shop.pending.terminal.terminal_id)
        assert terminal is not None
        return TillCodeWriter(scene.shop.gateway.public_url, CodeSettings()).write_sticker(terminal)

    async def test_a_sticker_leads_to_what_its_till_asks_for(self, scene: Scene) -> None:
        sticker = await self.sticker(scene)
        before = await scene.wallet.scan(sticker)
        assert isinstance(before, CounterView)
        assert (before.intent, before.merchant_name) == (None, "Mill Lane Bakery")
        await scene.code()
        view = await scene.wallet.scan(sticker)
        assert isinstance(view, CounterView)
        assert view.intent is not None
        assert view.intent.amount_minor == 1_250
        paid = await scene.wallet.pay_intent(view.intent, scene.phone)
        assert paid.state is PaymentState.SUCCEEDED
        after = await scene.wallet.scan(sticker)
        assert isinstance(after, CounterView)
        assert after.intent is None

    async def test_a_free_amount_is_paid_up_to_a_cap_and_the_till_is_told(self, scene: Scene) -> None:
        view = await scene.wallet.scan(await self.sticker(scene))
        assert isinstance(view, CounterView)
        assert view.open_amount_max_minor == 5_000
        with pytest.raises(GatewaySilent, match="counter_closed"):
            await scene.wallet.pay_counter(view, scene.phone, Money(5_001, EUR))
        paid = await scene.wallet.pay_counter(view, scene.phone, Money(420, EUR))
        assert paid.state is PaymentState.SUCCEEDED
        (told,) = await scene.events()
        assert (told["amount_minor"], told["outcome"]) == (420, "approved")
        assert await scene.shop.balance_minor() == 9_580

    async def test_a_sticker_of_a_withdrawn_till_leads_nowhere(self, scene: Scene) -> None:
        sticker = await self.sticker(scene)
        await scene.shop.office.store.revoke_terminal(scene.shop.pending.terminal.terminal_id)
        with pytest.raises(GatewaySilent, match="not_found"):
            await scene.wallet.scan(sticker)
