"""The application on a phone: what it asks of the gateway, each request signed with the phone's own key.

It knows one gateway and talks to no other: a code's link only says what to ask there (protocol section 4).
What it shows its holder, and what it signs, is what the gateway says; the name and the amount that are
printed in a code are for other people's wallets.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp

from simulators.errors import GatewaySilent, SimulatorError
from simulators.phones.phone import Phone
from wire import es256
from wire.codes.merchant_qr.profile import parse_merchant_qr
from wire.errors import WireError
from wire.http_signatures import SignatureTag, sign_request
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.intents import (
    COUNTER_LINK,
    COUNTERS_TARGET,
    INTENT_LINK,
    INTENTS_TARGET,
    CounterPayment,
    CounterView,
    IntentPayment,
    IntentView,
)
from wire.messages.offline import CREDENTIALS_TARGET, CredentialAnswer, CredentialRequest
from wire.messages.wallet import (
    HolderDecision,
    PaymentCodeAnswer,
    PaymentCodeRequest,
    WaitingPayment,
    WaitingPayments,
    WalletPayment,
)
from wire.money import Money, find_currency

CODES_TARGET: Final = "/v1/wallet/payment-codes"
CONFIRMATIONS_TARGET: Final = "/v1/wallet/confirmations"
NONCE_BYTES: Final = 16
REPLY_TIMEOUT_S: Final = 10.0

T = TypeVar("T")
Exchange = Callable[[str, str, bytes, dict[str, str]], Awaitable[tuple[int, bytes]]]
"""Sends method, address, body and headers; returns status and body, or raises GatewaySilent."""


class WalletApp:
    """One phone's way to its gateway; every call may be repeated with the same arguments."""

    def __init__(
        self,
        exchange: Exchange,
        gateway_url: str,
        private_key: es256.PrivateKey,
        *,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        """Prepare the application; nothing is sent yet.

        Args:
            gateway_url: the gateway's public address, without a trailing slash, spelt as it spells it.
            now_ms: unix milliseconds, as the phone believes them.
            entropy: that many bytes never given before.
        """
        self._exchange = exchange
        self._url = gateway_url
        self._private_key = private_key
        self._now_ms = now_ms
        self._entropy = entropy

    def new_id(self) -> str:
        """Make an id for a request, an attempt or a decision."""
        return make_ulid(self._now_ms(), self._entropy(ENTROPY_BYTES))

    async def ask_payment_code(self) -> PaymentCodeAnswer:
        """Ask for a numeric code for the wallet behind this key.

        Raises:
            GatewaySilent: no answer, or a refusal; the text has its code. So does every method here.
        """
        return await self._post(CODES_TARGET, PaymentCodeRequest(), self.new_id(), PaymentCodeAnswer)

    async def ask_credential(self, request: CredentialRequest) -> CredentialAnswer:
        """Ask the gateway to set an allowance aside and vouch for this key; `Phone.hold_credential` takes it.

        Its credential id is the request's id, so money is set aside once, however often it is asked.
        """
        return await self._post(CREDENTIALS_TARGET, request, request.credential_id, CredentialAnswer)

    async def scan(self, code_text: str) -> IntentView | CounterView:
        """Ask what a till's code, or a counter's sticker, asks for.

        Raises:
            PaymentCodeError: it is no code of ours. SimulatorError: it leads to another gateway.
        """
        link = parse_merchant_qr(code_text).url
        host, _, rest = link.partition("/")
        if host != urlsplit(self._url).netloc:
            raise SimulatorError("this code leads to another gateway than this wallet's")
        path = f"/{rest}"
        if path.startswith(INTENT_LINK):
            return await self._get(f"{INTENTS_TARGET}/{path.removeprefix(INTENT_LINK)}", IntentView)
        return await self._get(f"{COUNTERS_TARGET}/{path.removeprefix(COUNTER_LINK)}", CounterView)

    async def pay_intent(self, view: IntentView, phone: Phone) -> WalletPayment:
        """Pay what a code asks for; the phone signs merchant, attempt and amount as they were shown."""
        amount = Money(view.amount_minor, find_currency(view.currency))
        token = phone.sign_bound(view.merchant_id, view.intent_id, amount, self._now_ms())
        payment = IntentPayment(attempt_id=view.intent_id, token=token)
        return await self.send_intent_payment(payment)

    async def send_intent_payment(self, payment: IntentPayment) -> WalletPayment:
        """Send a payment that was signed before, as after an answer that was lost."""
        target = f"{INTENTS_TARGET}/{payment.attempt_id}/payments"
        return await self._post(target, payment, payment.attempt_id, WalletPayment)

    async def pay_counter(self, view: CounterView, phone: Phone, amount: Money) -> WalletPayment:
        """Pay an amount that the holder entered at a counter's sticker."""
        attempt_id = self.new_id()
        token = phone.sign_bound(view.merchant_id, attempt_id, amount, self._now_ms())
        payment = CounterPayment(
            attempt_id=attempt_id, amount_minor=amount.minor, currency=amount.currency.code, token=token
        )
        target = f"{COUNTERS_TARGET}/{view.terminal_id}/payments"
        return await self._post(target, payment, attempt_id, WalletPayment)

    async def list_waiting(self) -> list[WaitingPayment]:
        """Ask what waits for this wallet's holder."""
        return (await self._get(CONFIRMATIONS_TARGET, WaitingPayments)).payments

    async def decide(self, waiting: WaitingPayment, *, agreed: bool) -> WalletPayment:
        """Say the holder's yes or no to just this payment, amount and merchant."""
        decision = HolderDecision(
            decision_id=self.new_id(),
            payment_id=waiting.payment_id,
            merchant_id=waiting.merchant_id,
            amount_minor=waiting.amount_minor,
            currency=waiting.currency,
            agreed=agreed,
        )
        return await self._post(CONFIRMATIONS_TARGET, decision, decision.decision_id, WalletPayment)

    async def _post(self, target: str, message: object, request_id: str, kind: type[T]) -> T:
        return await self._ask("POST", target, dump_message(message), request_id, kind)

    async def _get(self, target: str, kind: type[T]) -> T:
        return await self._ask("GET", target, b"", None, kind)

    async def _ask(self, method: str, target: str, body: bytes, request_id: str | None, kind: type[T]) -> T:
        uri = self._url + target
        headers = sign_request(
            method=method,
            target_uri=uri,
            private_key=self._private_key,
            created_s=self._now_ms() // 1000,
            nonce=base64.urlsafe_b64encode(self._entropy(NONCE_BYTES)).rstrip(b"=").decode("ascii"),
            tag=SignatureTag.DEVICE,
            body=body,
            idempotency_key=request_id,
        )
        status, content = await self._exchange(method, uri, body, headers)
        if status >= 400:
            raise GatewaySilent(f"the gateway answered {status}: {content[:300]!r}")
        try:
            return parse_message(content, kind)
        except WireError:
            raise GatewaySilent("the gateway's answer is not of the agreed form") from None


def exchange_over(session: aiohttp.ClientSession) -> Exchange:
    """Return what sends an application's requests over HTTP; the session stays the caller's to close."""
    timeout = aiohttp.ClientTimeout(total=REPLY_TIMEOUT_S)

    async def exchange(method: str, uri: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            async with session.request(
                method, uri, data=body or None, headers=headers, timeout=timeout
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise GatewaySilent(f"no answer from the gateway: {type(error).__name__}") from None

    return exchange
