"""What a holder does in the wallet's application, by hand: what `tapscan-sim wallet` does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulators.errors import SimulatorError
from simulators.world.belongings import PHONE_KEY, draw_key_of, draw_token_pan

if TYPE_CHECKING:
    from simulators.phones.phone import Phone
    from simulators.phones.wallet_app import WalletApp
    from wire.es256 import PrivateKey
    from wire.messages.wallet import WalletPayment
    from wire.money import Money

WriteLine = Callable[[str], object]
Ask = Callable[[str], bool]
"""Puts a question that is answered by yes or no."""


@dataclass(frozen=True, slots=True)
class WalletSetup:
    """Whose wallet, at which gateway."""

    gateway: str
    name: str
    seed: int
    counter: int
    now_ms: Callable[[], int]
    entropy: Callable[[int], bytes]


async def pay_code(
    setup: WalletSetup, code: str, amount: str | None, ask: Ask, write_line: WriteLine
) -> bool:
    """Show what a till's code or a counter's sticker asks for, pay it on a yes, and say whether it is paid.

    Args:
        amount: in major units, for a sticker that leaves it to the payer.

    Raises:
        GatewaySilent, PaymentCodeError, MoneyError: nothing was sent, or send it again.
        SimulatorError: the code is another gateway's, or asks for an amount that was not given.
    """
    from wire.messages.intents import IntentView
    from wire.money import Money, find_currency, parse_money

    async with _open(setup, draw_key_of(setup.seed, PHONE_KEY, setup.name)) as app:
        view = await app.scan(code)
        intent = view if isinstance(view, IntentView) else view.intent
        currency = find_currency(view.currency)
        if intent is not None:
            asked = Money(intent.amount_minor, currency)
        elif amount is not None:
            asked = parse_money(amount, currency)
        else:
            raise SimulatorError("this sticker leaves the amount to the payer: say it with --amount")
        if not ask(f"Pay {_text_of(asked)} to {view.merchant_name}, {view.location_name}?"):
            return False
        phone = _make_phone(setup)
        if intent is not None:
            return _show(await app.pay_intent(intent, phone), write_line)
        assert not isinstance(view, IntentView), "what has no intent is a counter"
        return _show(await app.pay_counter(view, phone, asked), write_line)


async def confirm(setup: WalletSetup, ask: Ask, write_line: WriteLine) -> int:
    """Put every payment that waits for its holder, send the answers, and return how many there were.

    Raises:
        GatewaySilent: no answer; ask again.
    """
    from wire.money import Money, find_currency

    async with _open(setup, draw_key_of(setup.seed, PHONE_KEY, setup.name)) as app:
        waiting = await app.list_waiting()
        for one in waiting:
            amount = _text_of(Money(one.amount_minor, find_currency(one.currency)))
            is_agreed = ask(f"{amount} at {one.merchant_name}, {one.location_name} ({one.code}): pay it?")
            _show(await app.decide(one, agreed=is_agreed), write_line)
        return len(waiting)


async def ask_credential(setup: WalletSetup, key: PrivateKey, allowance: Money) -> bytes:
    """Have the gateway set money aside for taps without a connection, and return the credential.

    Raises:
        GatewaySilent: no answer, or none is offered.
    """
    from wire.messages.offline import CredentialRequest

    async with _open(setup, key) as app:
        request = CredentialRequest(credential_id=app.new_id(), allowance_minor=allowance.minor)
        return (await app.ask_credential(request)).credential


@asynccontextmanager
async def _open(setup: WalletSetup, key: PrivateKey) -> AsyncIterator[WalletApp]:
    import aiohttp

    from simulators.phones.wallet_app import WalletApp, exchange_over

    async with aiohttp.ClientSession() as session:
        yield WalletApp(
            exchange_over(session),
            setup.gateway.rstrip("/"),
            key,
            now_ms=setup.now_ms,
            entropy=setup.entropy,
        )


def _make_phone(setup: WalletSetup) -> Phone:
    from simulators.phones.phone import Phone
    from simulators.seeds import make_rng

    return Phone(
        draw_key_of(setup.seed, PHONE_KEY, setup.name),
        rng=make_rng(setup.seed, PHONE_KEY, setup.name, str(setup.counter)),
        counter=setup.counter,
        token_pan=draw_token_pan(setup.seed, setup.name),
    )


def _text_of(amount: Money) -> str:
    from wire.money import format_minor

    return f"{format_minor(amount.minor, amount.currency)} {amount.currency}"


def _show(payment: WalletPayment, write_line: WriteLine) -> bool:
    from wire.messages.payments import PaymentState

    reason = payment.holder_text.get("en", "")
    write_line(f"{payment.state.value} {reason}".rstrip())
    return payment.state is PaymentState.SUCCEEDED
