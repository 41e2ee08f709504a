"""Payments signed before the clock starts: real tokens of simulated phones in really signed requests.

Every request is another attempt, order, token and nonce. A batch is signed on all cores just before its
cells, because the gateway takes neither a signature nor terms older than five minutes.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from tests.benchmarks.ledger.town import CURRENCY, Town, TownSize, phone_key, till_key
from wire import es256
from wire.cards.payment_terms import NONCE_BYTES, PaymentTerms
from wire.http_signatures import SignatureTag, sign_request
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.base import dump_message
from wire.messages.payments import NfcAppPresentation, PaymentRequest
from wire.money import Money, find_currency
from wire.tokens.nfc_token import COUNTER_MAX, RANDOMNESS_BYTES, mint_nfc_token

PUBLIC_URL: Final = "http://127.0.0.1:8470"
"""What every till signs, whichever process on whichever port answers: as behind a load balancer."""
PATH: Final = "/v1/payments"
COUNTER_MIN: Final = 2_000
"""Counters below it are those of the payments a ledger was preloaded with."""
AMOUNT_MINOR_MIN: Final = 100
AMOUNT_MINOR_MAX: Final = 5_000
CHUNK_REQUESTS: Final = 250
AGE_S_MAX: Final = 240
"""How old a batch may become before its last request is sent; a minute below what the gateway takes."""


class Mix(StrEnum):
    """Who pays whom."""

    UNIFORM = "uniform"
    """Many wallets, terminals and merchants, drawn evenly."""
    HOT_WALLET = "hot_wallet"
    """Everything from one wallet, by several phones of it, at tills of many merchants."""
    HOT_MERCHANT = "hot_merchant"
    """Many wallets, at the many tills of one merchant."""
    STRANGERS = "strangers"
    """As uniform, but nobody who pays has paid here since the gateway was started."""
    EVERY_REGULAR = "every_regular"
    """Every regular once, so that gateways know them; not measured."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Signed requests on disk, in the order in which they will be sent."""

    files: tuple[Path, ...]
    count: int
    signed_s: float
    """Monotonic seconds at which signing began."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    payments: tuple[tuple[int, int, int, int], ...]
    """Phone, till, counter and amount of each."""
    first_ms: int
    spacing_ms: float
    size: TownSize
    seed: int
    path: Path


class Customers:
    """Decides who pays what, and never gives a phone the same counter twice."""

    def __init__(self, town: Town, seed: int) -> None:
        self.town = town
        self._rng = random.Random(seed)
        self._used: Counter[int] = Counter()
        self._stranger = 0

    def plan(self, mix: Mix, count: int) -> list[tuple[int, int, int, int]]:
        """Return phone, till, counter and amount of `count` payments."""
        size = self.town.size
        tills = range(size.till_count)
        if mix is Mix.HOT_MERCHANT:
            tills = range(size.till_count, size.till_count + size.hot_terminal_count)
        return [
            (
                phone,
                self._rng.choice(tills),
                self._next_counter(phone),
                self._rng.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX),
            )
            for phone in self._phones(mix, count)
        ]

    def _phones(self, mix: Mix, count: int) -> list[int]:
        size = self.town.size
        if mix is Mix.STRANGERS:
            first, self._stranger = self._stranger, self._stranger + count
            return [
                size.regular_count + number % size.stranger_count for number in range(first, first + count)
            ]
        if mix is Mix.EVERY_REGULAR:
            return [number % size.regular_count for number in range(count)]
        if mix is Mix.HOT_WALLET:
            return self._rng.choices(range(size.wallet_count, size.phone_count), k=count)
        return self._rng.choices(range(size.regular_count), k=count)

    def _next_counter(self, phone: int) -> int:
        counter = COUNTER_MIN + self._used[phone]
        assert counter <= COUNTER_MAX, "a key signs no more often than it can count"
        self._used[phone] += 1
        return counter


class Signers:
    """One signing process a core; they rest while the clock runs."""

    def __init__(self, customers: Customers, folder: Path, seed: int) -> None:
        self._customers = customers
        self._folder = folder
        self._seed = seed
        self._batch_count = 0
        self._pool = ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn"))

    def __enter__(self) -> Signers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def sign(
        self, mix: Mix, count: int, duration_s: float, advance: Callable[[int], None] = lambda _: None
    ) -> Batch:
        """Sign a batch whose attempts rise in time over `duration_s`, as those of real tills do."""
        started_s = time.monotonic()
        self._batch_count += 1
        folder = self._folder / f"batch-{self._batch_count}"
        folder.mkdir(parents=True)
        chunks = list(self._chunks(self._customers.plan(mix, count), duration_s, folder))
        for chunk, signed_count in zip(chunks, self._pool.map(_sign_chunk, chunks), strict=True):
            assert signed_count == len(chunk.payments)
            advance(signed_count)
        return Batch(tuple(chunk.path for chunk in chunks), count, started_s)

    def discard(self, batch: Batch) -> None:
        """Delete a batch that has been sent."""
        for path in batch.files:
            path.unlink()

    def _chunks(
        self, payments: list[tuple[int, int, int, int]], duration_s: float, folder: Path
    ) -> Iterator[_Chunk]:
        now_ms, spacing_ms = time.time_ns() // 1_000_000, 1000 * duration_s / max(1, len(payments))
        for number, start in enumerate(range(0, len(payments), CHUNK_REQUESTS)):
            yield _Chunk(
                payments=tuple(payments[start : start + CHUNK_REQUESTS]),
                first_ms=now_ms + int(start * spacing_ms),
                spacing_ms=spacing_ms,
                size=self._customers.town.size,
                seed=self._seed * 1_000_003 + self._batch_count * 10_007 + number,
                path=folder / f"{number:05d}",
            )


def check_is_fresh(batch: Batch) -> None:
    """Return if every request of a batch that is sent now will still be taken."""
    assert time.monotonic() - batch.signed_s < AGE_S_MAX, "a batch is sent while it is fresh"


def read_requests(files: tuple[Path, ...]) -> list[bytes]:
    """Return the requests in some files."""
    return [
        request for path in files for request in msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
    ]


def _sign_chunk(chunk: _Chunk) -> int:
    rng, town = random.Random(chunk.seed), Town(chunk.size)
    requests = [
        _make_request(payment, town, int(chunk.first_ms + index * chunk.spacing_ms), rng)
        for index, payment in enumerate(chunk.payments)
    ]
    chunk.path.write_bytes(msgspec.msgpack.encode(requests))
    return len(requests)


def _make_request(payment: tuple[int, int, int, int], town: Town, at_ms: int, rng: random.Random) -> bytes:
    phone, till_number, counter, amount_minor = payment
    till = town.till(till_number)
    terms = PaymentTerms(
        amount=Money(amount_minor, find_currency(CURRENCY)),
        nonce=rng.randbytes(NONCE_BYTES),
        merchant_id=till.merchant_id,
        terminal_id=till.terminal_id,
        at_s=at_ms // 1000,
    )
    token = mint_nfc_token(terms.encode(), counter, rng.randbytes(RANDOMNESS_BYTES), _phone_key(phone))
    request = PaymentRequest(
        attempt_id=make_ulid(at_ms, rng.randbytes(ENTROPY_BYTES)),
        order_id=make_ulid(at_ms, rng.randbytes(ENTROPY_BYTES)),
        amount_minor=amount_minor,
        currency=CURRENCY,
        presentation=NfcAppPresentation(token=token),
        presented_ms=at_ms,
        card_exchange_ms=rng.randint(30, 60),
    )
    body = dump_message(request)
    headers = sign_request(
        method="POST",
        target_uri=PUBLIC_URL + PATH,
        private_key=_till_key(till_number),
        created_s=at_ms // 1000,
        nonce=rng.randbytes(16).hex(),
        tag=SignatureTag.TERMINAL,
        body=body,
        idempotency_key=request.attempt_id,
    )
    return _write_http(headers, body)


def _write_http(headers: dict[str, str], body: bytes) -> bytes:
    """Write a request as the terminal daemon's HTTP client does: the same fields, in the same order."""
    lines = [
        f"POST {PATH} HTTP/1.1",
        f"Host: {PUBLIC_URL.removeprefix('http://')}",
        "Accept-Encoding: identity",
        *(f"{name}: {value}" for name, value in headers.items()),
        "Accept: */*",
        "User-Agent: Python/3.11 aiohttp/3.13.0",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


@cache
def _phone_key(number: int) -> es256.PrivateKey:
    return phone_key(number)


@cache
def _till_key(number: int) -> es256.PrivateKey:
    return till_key(number)
