"""A real gateway on a free port, an operator beside it on the same file, and a till that signs by hand."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from gateway.app import RunningGateway, start_gateway
from gateway.config import GatewayConfig
from gateway.holders.model import Instrument, InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.merchants.service import PendingTerminal
from gateway.office import Office
from wire import es256
from wire.http_signatures import SignatureTag, sign_request
from wire.ids import make_ulid
from wire.messages.base import dump_message
from wire.messages.enrolment import EnrolmentRequest
from wire.messages.payments import PaymentRequest, QrConsumerPresentation
from wire.money import Money, find_currency
from wire.tokens.qr_token import QrTokenClaims, mint_qr_token

NOW_MS = 1_767_225_600_000


@dataclass
class Answer:
    """What came back, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def code(self) -> str:
        """The problem's code; fails if the answer is not a well-formed problem."""
        assert self.headers["Content-Type"].startswith("application/problem+json")
        problem = self.json
        assert problem["status"] == self.status
        assert problem["type"] == f"urn:tapscan:problem:{problem['code']}"
        assert set(problem["cashier_text"]) == {"en", "zh-Hans"}
        assert self.headers["X-Request-Id"] in problem["instance"]
        return str(problem["code"])


@dataclass
class Caller:
    """Somebody with a key who signs requests, correctly unless told otherwise."""

    url: str
    http: aiohttp.ClientSession
    private_key: es256.PrivateKey
    rng: random.Random
    tag: SignatureTag = SignatureTag.TERMINAL
    now_ms: int = NOW_MS

    @property
    def public_key(self) -> bytes:
        return es256.dump_public_key(self.private_key.public_key())

    def new_id(self) -> str:
        return make_ulid(self.now_ms, self.rng.randbytes(10))

    def sign(
        self, method: str, target: str, body: bytes = b"", idempotency_key: str | None = None, **changes: Any
    ) -> dict[str, str]:
        arguments: dict[str, Any] = {
            "method": method,
            "target_uri": self.url + target,
            "private_key": self.private_key,
            "created_s": self.now_ms // 1000,
            "nonce": self.rng.randbytes(16).hex(),
            "tag": self.tag,
            "body": body,
            "idempotency_key": idempotency_key or (self.new_id() if body else None),
        }
        return sign_request(**(arguments | changes))

    async def send(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        async with self.http.request(
            method, URL(self.url + target, encoded=True), data=body or None, headers=headers
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def call(self, method: str, target: str, body: bytes = b"", **changes: Any) -> Answer:
        return await self.send(method, target, body, self.sign(method, target, body, **changes))

    async def enrol(self, code: str, **changes: Any) -> Answer:
        body = dump_message(EnrolmentRequest(code=code, public_key=self.public_key, software="test"))
        return await self.call("POST", "/v1/terminals/enrol", body, **changes)

    async def pay(self, request: PaymentRequest, **changes: Any) -> Answer:
        arguments = {"idempotency_key": request.attempt_id} | changes
        return await self.call("POST", "/v1/payments", dump_message(request), **arguments)


@dataclass
class Shop:
    """A gateway with one pending till, and one phone with 100 euros."""

    gateway: RunningGateway
    office: Office
    http: aiohttp.ClientSession
    rng: random.Random
    pending: PendingTerminal
    till: Caller
    phone_key: es256.PrivateKey
    phone: Instrument
    counter: int = 0
    requests: list[PaymentRequest] = field(default_factory=list)

    def caller(self, seed: int, tag: SignatureTag = SignatureTag.TERMINAL) -> Caller:
        key = ec.derive_private_key(seed, ec.SECP256R1())
        return Caller(self.gateway.url, self.http, key, self.rng, tag)

    async def enrol(self) -> Caller:
        answer = await self.till.enrol(self.pending.enrolment_code)
        assert answer.status == 200, answer.body
        return self.till

    def request(self, amount_minor: int = 1_250, **changes: Any) -> PaymentRequest:
        """A payment with a fresh code of the phone, good for 50 euros."""
        self.counter += 1
        claims = QrTokenClaims(
            token_id=self.rng.randbytes(8),
            issued_s=NOW_MS // 1000,
            expires_s=NOW_MS // 1000 + 60,
            cap=Money(5_000, find_currency("EUR")),
            counter=self.counter,
        )
        fields: dict[str, Any] = {
            "attempt_id": self.till.new_id(),
            "order_id": f"order-{self.counter}",
            "amount_minor": amount_minor,
            "currency": "EUR",
            "presentation": QrConsumerPresentation(token=mint_qr_token(claims, self.phone_key)),
            "presented_ms": NOW_MS,
        }
        return PaymentRequest(**(fields | changes))

    async def balance_minor(self) -> int:
        return (await self.office.holders.find_wallet(self.phone.wallet_id)).available_minor


@pytest.fixture
async def gateway(config: GatewayConfig, clock: Any, rng: random.Random) -> AsyncIterator[RunningGateway]:
    async with start_gateway(config, {}, now_ms=clock, entropy=rng.randbytes) as gateway:
        yield gateway


@pytest.fixture
async def shop(gateway: RunningGateway, office: Office, rng: random.Random) -> AsyncIterator[Shop]:
    merchant = await office.merchants.add_merchant("Mill Lane Bakery", "EUR", 25, now_ms=NOW_MS)
    location = await office.merchants.add_location(merchant.merchant_id, "Mill Lane 12", now_ms=NOW_MS)
    pending = await office.merchants.add_terminal(merchant.merchant_id, location.location_id, now_ms=NOW_MS)
    wallet = await office.holders.add_wallet("Ana Lima", "EUR", now_ms=NOW_MS)
    await office.holders.fund_wallet(wallet.wallet_id, Money(10_000, find_currency("EUR")), now_ms=NOW_MS)
    phone_key = ec.derive_private_key(31, ec.SECP256R1())
    phone = await office.holders.add_instrument(
        NewInstrument(
            wallet.wallet_id,
            InstrumentKind.PHONE_KEY,
            es256.dump_public_key(phone_key.public_key()),
        ),
        now_ms=NOW_MS,
    )
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        till = Caller(gateway.url, http, ec.derive_private_key(32, ec.SECP256R1()), rng)
        yield Shop(gateway, office, http, rng, pending, till, phone_key, phone)
