"""Payments signed before the clock starts: who pays whom, and the processes that sign it.

Every request is another attempt, order, token and nonce. A batch is signed on all cores just before its
cells, because the gateway takes neither a signature nor terms older than five minutes.
"""

from __future__ import annotations

import os
import queue
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from tests.benchmarks.ledger.processes import Child
from tests.benchmarks.ledger.signer import Chunk
from tests.benchmarks.ledger.town import Town
from wire.tokens.nfc_token import COUNTER_MAX

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
    OWN_KEY = "own_key"
    """As uniform, but every request is signed by its till's own key instead of under a session."""
    EVERY_REGULAR = "every_regular"
    """Every regular once, so that gateways know them; not measured."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Signed requests on disk, in the order in which they will be sent."""

    files: tuple[Path, ...]
    count: int
    signed_s: float
    """Monotonic seconds at which signing began."""


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
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.benchmarks.ledger.signer"]
        self._children = [
            Child(f"signer {number}", command, folder / f"signer-{number}.log")
            for number in range(os.cpu_count() or 1)
        ]
        self._free = queue.SimpleQueue[Child]()
        for child in self._children:
            self._free.put(child)

    def __enter__(self) -> Signers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.kill()

    def sign(
        self, mix: Mix, count: int, duration_s: float, advance: Callable[[int], None] = lambda _: None
    ) -> Batch:
        """Sign a batch whose attempts rise in time over `duration_s`, as those of real tills do."""
        started_s = time.monotonic()
        self._batch_count += 1
        folder = self._folder / f"batch-{self._batch_count}"
        folder.mkdir()
        payments = self._customers.plan(mix, count)
        chunks = list(self._chunks(payments, duration_s, folder, in_sessions=mix is not Mix.OWN_KEY))
        with ThreadPoolExecutor(len(self._children)) as threads:
            for signed_count in threads.map(self._sign_chunk, chunks):
                advance(signed_count)
        return Batch(tuple(Path(chunk.path) for chunk in chunks), count, started_s)

    def discard(self, batch: Batch) -> None:
        """Delete a batch that has been sent."""
        for path in batch.files:
            path.unlink()

    def _sign_chunk(self, chunk: Chunk) -> int:
        child = self._free.get()
        try:
            child.input.write(msgspec.json.encode(chunk) + b"\n")
            child.input.flush()
            return int(child.read_line())
        finally:
            self._free.put(child)

    def _chunks(
        self,
        payments: list[tuple[int, int, int, int]],
        duration_s: float,
        folder: Path,
        *,
        in_sessions: bool,
    ) -> Iterator[Chunk]:
        now_ms, spacing_ms = time.time_ns() // 1_000_000, 1000 * duration_s / max(1, len(payments))
        for number, start in enumerate(range(0, len(payments), CHUNK_REQUESTS)):
            yield Chunk(
                payments=payments[start : start + CHUNK_REQUESTS],
                first_ms=now_ms + int(start * spacing_ms),
                spacing_ms=spacing_ms,
                town=self._customers.town.size,
                seed=self._seed * 1_000_003 + self._batch_count * 10_007 + number,
                path=str(folder / f"{number:05d}"),
                in_sessions=in_sessions,
            )


def check_is_fresh(batch: Batch) -> None:
    """Return if every request of a batch that is sent now will still be taken."""
    assert time.monotonic() - batch.signed_s < AGE_S_MAX, "a batch is sent while it is fresh"
