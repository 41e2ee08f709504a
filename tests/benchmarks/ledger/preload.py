"""Ledgers made ready once and kept: furnished ones without a payment, and ones that hold millions.

The payments of a preloaded ledger go through the store's own booking, many at a time, so that it holds
what a gateway would have written: a valid hash chain, counters, allowances, receipts. Only their tokens
were never signed, since a store is handed verdicts. What is kept has a name that
changes with the schema, and takes the place of what had another.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from gateway.config import load_config
from gateway.office import open_office, prepare_storage
from gateway.payments.model import PaymentBooking, TokenUse, Verified
from gateway.storage.store import Store
from tests.benchmarks.ledger.presigning import AMOUNT_MINOR_MAX, AMOUNT_MINOR_MIN, COUNTER_MIN
from tests.benchmarks.ledger.scale import SEED
from tests.benchmarks.ledger.town import CURRENCY, OPENED_MS, Town, furnish, instrument_id_of, phone_key
from wire import es256
from wire.cards.payment_terms import NONCE_BYTES
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import EntryMode

SPAN_MS: Final = 300 * 86_400_000
"""Preloaded payments are spread evenly over so many days."""
AT_ONCE: Final = 2_048
"""Bookings handed to the store together; it divides them into its own batches."""

Advance = Callable[[int], None]


def furnish_ledger(config: Path, town: Town, advance: Advance) -> None:
    """Make the ledger a configuration names, and everybody in it."""
    prepare_storage(load_config(config), {}, entropy=secrets.token_bytes)
    _work_on(config, lambda store: furnish(store, town, advance))


def preload_ledger(config: Path, town: Town, count: int, advance: Advance) -> None:
    """Book `count` payments of many days into a furnished ledger."""
    _work_on(config, lambda store: _book_all(store, town, count, advance))


def cache_key(schema: Path, town: Town, count: int) -> str:
    """Return the name under which a ledger is kept: what it holds, then a digest.

    Args:
        schema: the folder of the store's migrations: another schema is another ledger.
    """
    digest = hashlib.sha256(repr((town.size, count, SEED)).encode("utf-8"))
    for path in sorted(schema.glob("*.sql")):
        digest.update(path.read_bytes())
    return f"{town.size.wallet_count}-wallets-{count}-payments-{digest.hexdigest()[:12]}"


def keep(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder kept under this name, made first if there is none."""
    folder, kind = cache / name, name.rpartition("-")[0]
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{kind}.lock").open("w") as lock:
        # Whoever else makes one of this kind now is awaited.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            # One of another schema is of no use any more, and may be large.
            for stale in cache.glob(f"{kind}-*"):
                shutil.rmtree(stale)
            partial = folder.with_name(f"{folder.name}.partial")
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder


def _work_on(config: Path, work: Callable[[Store], Awaitable[None]]) -> None:
    async def session() -> None:
        async with open_office(load_config(config), {}, secrets.token_bytes) as office:
            await work(office.store)

    asyncio.run(session())


async def _book_all(store: Store, town: Town, count: int, advance: Advance) -> None:
    bookings = _bookings(town, count)
    booked = 0
    while booked < count:
        together = [next(bookings) for _ in range(min(AT_ONCE, count - booked))]
        records = await asyncio.gather(*map(store.book_payment, together))
        assert all(record.outcome == "approved" for record in records), "everybody has money enough"
        booked += len(together)
        advance(len(together))


def _bookings(town: Town, count: int) -> Iterator[PaymentBooking]:
    rng, used = random.Random(SEED), Counter[int]()
    key_ids = [es256.key_id_of(phone_key(number).public_key()) for number in range(town.size.wallet_count)]
    tills = [town.till(number) for number in range(town.size.till_count)]
    for number in range(count):
        phone, till = rng.randrange(town.size.wallet_count), rng.choice(tills)
        used[phone] += 1
        assert used[phone] < COUNTER_MIN, "the counters above are for the payments that are measured"
        now_ms = OPENED_MS + SPAN_MS * number // count
        use = TokenUse(key_ids[phone], used[phone], rng.randbytes(32), rng.randbytes(NONCE_BYTES))
        yield PaymentBooking(
            payment_id=make_ulid(now_ms, rng.randbytes(ENTROPY_BYTES)),
            attempt_id=make_ulid(now_ms, rng.randbytes(ENTROPY_BYTES)),
            request_digest=rng.randbytes(32),
            terminal_id=till.terminal_id,
            merchant_id=till.merchant_id,
            order_id=make_ulid(now_ms, rng.randbytes(ENTROPY_BYTES)),
            amount_minor=rng.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX),
            currency=CURRENCY,
            entry_mode=EntryMode.NFC_APP,
            presented_ms=now_ms,
            card_exchange_ms=rng.randint(30, 60),
            verdict=Verified(instrument_id_of(phone), use),
            now_ms=now_ms,
        )
