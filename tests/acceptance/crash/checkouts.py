"""Tills that sell while the gateway dies under them, and write down all they ask and all they hear.

A sale is written down before it is sent. Its till keeps at it until it knows: what got no answer is asked
for by its attempt id, or sent again as it was, once or twice at a time. What was refused is sometimes sent
again and sometimes given up: then it must never be booked.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.holders.model import InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.office import Office
from simulators.auditor.promises import Promise, Told
from simulators.seeds import draw_private_key
from tests.acceptance.crash.serving import PUBLIC_URL, WAIT_S
from wire import es256
from wire.cards.payment_terms import PaymentTerms
from wire.http_signatures import SignatureTag, sign_request
from wire.ids import make_ulid
from wire.messages.base import dump_message
from wire.messages.payments import NfcAppPresentation, PaymentRequest
from wire.money import Money, find_currency
from wire.tokens.nfc_token import mint_nfc_token

EURO = find_currency("EUR")
MERCHANTS = 2
TILLS_PER_MERCHANT = 2
PHONES = 4
SALES_AT_ONCE_PER_TILL = 3
FUNDS = Money(100_000_000, EURO)
PAYMENTS = "/v1/payments"
ANSWER_TIMEOUT_S = 20
UNAVAILABLE = "store_unavailable"
UNCERTAIN = frozenset({UNAVAILABLE})
"""Refusals that may hide a booking: a gateway that loses its store, or the process that holds it, can't know
what became of the batch that was on its way. They are counted, and not held against the books."""
NO_ANSWERS = (500, 502, 504)
"""What tells nothing about a payment, and is asked about like silence."""
GIVEN_UP = 0.3
"""How many of those that are told to come back do not."""
RETRY_S = 0.05
"""How long a till waits after a refusal; shorter than a real one's, for there is much to see."""


@dataclass(frozen=True)
class Heard:
    """An answer, read whole."""

    status: int
    body: dict[str, Any]


@dataclass
class Sale:
    """One attempt, with everything its till heard about it."""

    request: PaymentRequest
    promise: Promise
    is_strangers: bool = False
    """Signed by a key that no till has."""
    is_unanswered: bool = False
    """At least once it was sent and nothing came back."""
    refusals: list[str] = field(default_factory=list)
    is_given_up: bool = False
    is_contradicted: bool = False
    """Two answers to it were not the same."""

    @property
    def is_known(self) -> bool:
        """Say whether its till has nothing more to find out."""
        return self.promise.told is not None or self.is_given_up

    def give_up(self) -> None:
        """Never ask again, in the belief that nothing was booked."""
        self.is_given_up = True
        self.promise.refused = not UNCERTAIN.intersection(self.refusals)

    def hear(self, heard: Heard) -> None:
        """Take a decision in."""
        decline = heard.body.get("decline")
        told = Told(
            payment_id=heard.body["payment_id"],
            approved=heard.body["outcome"] == "approved",
            decline_code=None if decline is None else decline["code"],
        )
        self.is_contradicted |= self.promise.told not in (None, told)
        self.promise.told = told


@dataclass(frozen=True)
class _Watch:
    """What is done as soon as something was counted so often."""

    name: str
    count: int
    act: Callable[[], None]


class Street:
    """All tills and phones, and the door of the gateway when there is one."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.phone_keys = [draw_private_key(self.rng) for _ in range(PHONES)]
        self.stranger = draw_private_key(self.rng)
        self.tills: list[Till] = []
        self.counts: Counter[str] = Counter()
        self._url = ""
        self._is_open = asyncio.Event()
        self._watches: list[_Watch] = []
        self.is_closing = False
        self._counters = Counter[int]()

    @property
    def sales(self) -> list[Sale]:
        """Return every sale of every till."""
        return [sale for till in self.tills for sale in till.sales]

    async def furnish(self, office: Office) -> None:
        """Make the merchants, their tills, and the holders of the phones."""
        now_ms = _now_ms()
        for number in range(MERCHANTS):
            merchant = await office.merchants.add_merchant(f"Shop {number}", "EUR", 140, now_ms=now_ms)
            location = await office.merchants.add_location(merchant.merchant_id, "Street", now_ms=now_ms)
            for _ in range(TILLS_PER_MERCHANT):
                pending = await office.merchants.add_terminal(
                    merchant.merchant_id, location.location_id, now_ms=now_ms
                )
                key = draw_private_key(self.rng)
                enrolled = await office.merchants.enrol_terminal(
                    pending.enrolment_code, key.public_key(), "crash", now_ms=now_ms
                )
                till = Till(self, enrolled.terminal.terminal_id, merchant.merchant_id, key)
                self.tills.append(till)
        for key in self.phone_keys:
            wallet = await office.holders.add_wallet("Holder", "EUR", now_ms=now_ms)
            await office.holders.fund_wallet(wallet.wallet_id, FUNDS, now_ms=now_ms)
            phone = NewInstrument(
                wallet.wallet_id,
                InstrumentKind.PHONE_KEY,
                es256.dump_public_key(key.public_key()),
                per_payment_minor=FUNDS.minor,
                per_day_minor=FUNDS.minor,
            )
            await office.holders.add_instrument(phone, now_ms=now_ms)

    @asynccontextmanager
    async def selling(self) -> AsyncIterator[None]:
        """Sell at all tills while the block runs; on the way out every sale is brought to its end."""
        timeout = aiohttp.ClientTimeout(ANSWER_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as tasks:
            for till in self.tills:
                for _ in range(SALES_AT_ONCE_PER_TILL):
                    tasks.create_task(till.sell(http))
            yield
            self.is_closing = True

    def open(self, url: str) -> None:
        """Tell the tills where the gateway is."""
        self._url = url
        self._is_open.set()

    def shut(self) -> None:
        """Tell the tills that it is of no use to send anything."""
        self._is_open.clear()

    async def door(self) -> str:
        """Return where the gateway is, as soon as there is one."""
        await self._is_open.wait()
        return self._url

    def count(self, *names: str) -> None:
        """Count what happened, and wake whoever waits for it."""
        self.counts.update(names)
        due = [watch for watch in self._watches if self.counts[watch.name] >= watch.count]
        for watch in due:
            self._watches.remove(watch)
            watch.act()

    async def until(self, name: str, more: int, act: Callable[[], None] = lambda: None) -> None:
        """Return when something has happened so many times more.

        Args:
            act: called at that very moment, before anybody else gets to do anything.
        """
        happened = asyncio.Event()

        def seize() -> None:
            act()
            happened.set()

        self._watches.append(_Watch(name, self.counts[name] + more, seize))
        async with asyncio.timeout(WAIT_S):
            await happened.wait()

    def next_counter(self, phone: int) -> int:
        """Return a counter that the phone has not used."""
        self._counters[phone] += 1
        return self._counters[phone]


class Till:
    """One till, which sells several things at a time."""

    def __init__(
        self, street: Street, terminal_id: str, merchant_id: str, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self._street = street
        self._rng = street.rng
        self._terminal_id = terminal_id
        self._merchant_id = merchant_id
        self._key = key
        self.sales: list[Sale] = []

    async def sell(self, http: aiohttp.ClientSession) -> None:
        """Sell until the street closes, each sale to its end."""
        while not self._street.is_closing:
            await self._street.door()
            sale = self._new_sale()
            # Written down before it is sent, as a real till's journal has it.
            self.sales.append(sale)
            await self._settle(http, sale)

    async def _settle(self, http: aiohttp.ClientSession, sale: Sale) -> None:
        while True:
            heard = await self._send(http, sale)
            if heard is None or heard.status in NO_ANSWERS:
                await self._learn(http, sale)
                return
            if heard.status < 300:
                sale.hear(heard)
                self._street.count("answered")
                return
            sale.refusals.append(heard.body["code"])
            self._street.count("refused")
            if heard.status != 503 or self._rng.random() < GIVEN_UP:
                sale.give_up()
                return
            await asyncio.sleep(RETRY_S)

    async def _learn(self, http: aiohttp.ClientSession, sale: Sale) -> None:
        """Find out what became of a sale that got no answer."""
        if not sale.is_unanswered:
            self._street.count("unanswered")
        sale.is_unanswered = True
        asks_first = self._rng.random() < 0.7
        while not sale.is_known:
            heard = await self._ask(http, sale) if asks_first else None
            if heard is not None and heard.status == 200:
                sale.hear(heard)
                self._street.count("found")
            elif not asks_first or (heard is not None and heard.status == 404):
                await self._resend(http, sale)
            if not sale.is_known:
                await asyncio.sleep(RETRY_S)

    async def _resend(self, http: aiohttp.ClientSession, sale: Sale) -> None:
        """Send it again, perhaps twice at once, as somebody does who pressed twice."""
        sends = self._rng.choice((1, 1, 2))
        answers = await asyncio.gather(*(self._send(http, sale) for _ in range(sends)))
        decisions = [heard for heard in answers if heard is not None and heard.status < 300]
        for heard in decisions:
            sale.hear(heard)
        if decisions:
            self._street.count("resent")
        elif any(heard is not None and heard.status < 500 for heard in answers):
            # It was never one that could be decided.
            sale.give_up()
            self._street.count("refused")

    async def _send(self, http: aiohttp.ClientSession, sale: Sale) -> Heard | None:
        body = dump_message(sale.request)
        key = self._street.stranger if sale.is_strangers else self._key
        headers = self._sign("POST", PAYMENTS, key, body, sale.request.attempt_id)
        return await self._exchange(http, "POST", PAYMENTS, body, headers)

    async def _ask(self, http: aiohttp.ClientSession, sale: Sale) -> Heard | None:
        target = f"{PAYMENTS}?attempt_id={sale.request.attempt_id}"
        headers = self._sign("GET", target, self._key)
        return await self._exchange(http, "GET", target, b"", headers)

    async def _exchange(
        self, http: aiohttp.ClientSession, method: str, target: str, body: bytes, headers: dict[str, str]
    ) -> Heard | None:
        """Send a request and return its answer; None if there was none, or not a whole one."""
        url = await self._street.door()
        try:
            async with http.request(method, url + target, data=body or None, headers=headers) as response:
                heard = Heard(response.status, json.loads(await response.read()))
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        if heard.status >= 400:
            self._street.count(heard.body["code"])
        return heard

    def _sign(
        self,
        method: str,
        target: str,
        key: ec.EllipticCurvePrivateKey,
        body: bytes = b"",
        idempotency_key: str | None = None,
    ) -> dict[str, str]:
        return sign_request(
            method=method,
            target_uri=PUBLIC_URL + target,
            private_key=key,
            created_s=_now_ms() // 1_000,
            nonce=self._rng.randbytes(16).hex(),
            tag=SignatureTag.TERMINAL,
            body=body,
            idempotency_key=idempotency_key,
        )

    def _new_sale(self) -> Sale:
        kind = self._rng.random()
        settled = [sale for sale in self.sales[-50:] if sale.promise.told is not None]
        if kind < 0.08 and settled:
            return self._replay(self._rng.choice(settled))
        order_id = self._rng.choice(settled).request.order_id if kind < 0.14 and settled else None
        return self._tap(order_id, is_strangers=kind > 0.95)

    def _replay(self, earlier: Sale) -> Sale:
        """Present a token again, for the same amount, under a new attempt."""
        request = _renamed(earlier.request, self._draw_id())
        promise = replace(earlier.promise, attempt_id=request.attempt_id, told=None, refused=False)
        return Sale(request, promise)

    def _tap(self, order_id: str | None, *, is_strangers: bool) -> Sale:
        phone = self._rng.randrange(PHONES)
        counter, amount = self._street.next_counter(phone), self._rng.randrange(1, 300)
        terms = PaymentTerms(
            amount=Money(amount, EURO),
            nonce=self._rng.randbytes(8),
            merchant_id=self._merchant_id,
            terminal_id=self._terminal_id,
            at_s=_now_ms() // 1_000,
        )
        key = self._street.phone_keys[phone]
        token = mint_nfc_token(terms.encode(), counter, self._rng.randbytes(4), key)
        attempt_id = self._draw_id()
        request = PaymentRequest(
            attempt_id=attempt_id,
            order_id=order_id or f"order-{attempt_id}",
            amount_minor=amount,
            currency="EUR",
            presentation=NfcAppPresentation(token=token),
            presented_ms=_now_ms(),
            card_exchange_ms=40,
        )
        promise = Promise(self._terminal_id, attempt_id, amount, use=(phone, counter))
        return Sale(request, promise, is_strangers)

    def _draw_id(self) -> str:
        return make_ulid(_now_ms(), self._rng.randbytes(10))


def _renamed(request: PaymentRequest, attempt_id: str) -> PaymentRequest:
    return PaymentRequest(
        attempt_id=attempt_id,
        order_id=f"order-{attempt_id}",
        amount_minor=request.amount_minor,
        currency=request.currency,
        presentation=request.presentation,
        presented_ms=request.presented_ms,
        card_exchange_ms=request.card_exchange_ms,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
