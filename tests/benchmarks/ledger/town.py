"""Who sells and who pays in the ledger's benchmark: a town that is the same on every store.

Ids and keys follow from numbers alone, so one signed request is as good on one ledger as on another, and
what is measured on two of them differs in nothing but the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from gateway.holders.model import Instrument, InstrumentKind, InstrumentStatus, Limits, Wallet, WalletStatus
from gateway.merchants.model import Location, Merchant, MerchantStatus, Terminal, TerminalStatus
from gateway.storage.store import Store
from wire import es256
from wire.ids import ENTROPY_BYTES, make_merchant_id, make_terminal_id, make_ulid, ulid_to_bytes
from wire.messages.payments import EntryMode

CURRENCY: Final = "EUR"
FEE_BASIS_POINTS: Final = 140
"""So that every payment has two legs, as a merchant's usually has."""
OPENED_MS: Final = 1_735_689_600_000
"""2025-01-01, before every payment of a preloaded ledger."""
FUNDS_MINOR: Final = 900_000_000_000
"""Nobody runs out of money or reaches a limit while the clock runs: every payment must be approved."""
LIMITS: Final = Limits(per_payment_minor=FUNDS_MINOR, per_day_minor=FUNDS_MINOR)
WRITES_AT_ONCE: Final = 256
ENROLMENT_MS: Final = 600_000
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TownSize:
    """How many of everybody there are."""

    merchant_count: int
    terminals_each: int
    hot_terminal_count: int
    """Tills of the one merchant to whom everybody goes."""
    regular_count: int
    """Phones, each of a wallet of its own, that pay again and again."""
    stranger_count: int
    """As regulars, but paying so rarely that no gateway process has them in its memory."""
    hot_phone_count: int
    """Phones of the one wallet from which everything is paid."""

    @property
    def till_count(self) -> int:
        """Tills of ordinary merchants; the hot merchant's are numbered after them."""
        return self.merchant_count * self.terminals_each

    @property
    def wallet_count(self) -> int:
        """Wallets with one phone each; the hot wallet is numbered after them."""
        return self.regular_count + self.stranger_count

    @property
    def phone_count(self) -> int:
        """All phones."""
        return self.wallet_count + self.hot_phone_count


@dataclass(frozen=True, slots=True)
class Till:
    """A terminal as its requests name it."""

    number: int
    terminal_id: str
    merchant_id: str


class Town:
    """Everybody by number, from 0."""

    def __init__(self, size: TownSize) -> None:
        self.size = size

    def till(self, number: int) -> Till:
        """Return a till; those from `till_count` on are the hot merchant's."""
        merchant_number = min(number // self.size.terminals_each, self.size.merchant_count)
        return Till(number, make_terminal_id(_bytes("till", number, 8)), merchant_id_of(merchant_number))

    def merchants(self) -> Iterator[Merchant]:
        """Yield all merchants, the hot one last."""
        for number in range(self.size.merchant_count + 1):
            yield Merchant(
                merchant_id=merchant_id_of(number),
                name=f"Shop {number}",
                currency=CURRENCY,
                fee_basis_points=FEE_BASIS_POINTS,
                account_id=ulid_to_bytes(ulid_of("merchant account", number)),
                status=MerchantStatus.ACTIVE,
                created_ms=OPENED_MS,
            )

    def tills(self) -> Iterator[Till]:
        """Yield all tills, the hot merchant's last."""
        return map(self.till, range(self.size.till_count + self.size.hot_terminal_count))

    def wallets(self) -> Iterator[Wallet]:
        """Yield all wallets, the hot one last."""
        for number in range(self.size.wallet_count + 1):
            yield Wallet(
                wallet_id=ulid_of("wallet", number),
                holder_name=f"Holder {number}",
                currency=CURRENCY,
                account_id=ulid_to_bytes(ulid_of("wallet account", number)),
                status=WalletStatus.ACTIVE,
                created_ms=OPENED_MS,
            )

    def phones(self) -> Iterator[Instrument]:
        """Yield all phones, the hot wallet's last."""
        for number in range(self.size.phone_count):
            public_key = phone_key(number).public_key()
            yield Instrument(
                instrument_id=instrument_id_of(number),
                wallet_id=ulid_of("wallet", min(number, self.size.wallet_count)),
                kind=InstrumentKind.PHONE_KEY,
                label=f"Phone ·· {number % 10_000:04d}",
                status=InstrumentStatus.ACTIVE,
                key_id=es256.key_id_of(public_key),
                public_key=es256.dump_public_key(public_key),
                weakest_entry_mode=EntryMode.CODE_NUMERIC,
                limits=LIMITS,
                card_counter=0,
                card_key_batch=None,
                card_key_version=None,
                created_ms=OPENED_MS,
            )


async def furnish(store: Store, town: Town, advance: Callable[[int], None] = lambda _: None) -> None:
    """Store everybody, enrol every till and fund every wallet; `advance` is told of every write."""
    await _all(map(store.add_merchant, town.merchants()), advance)
    await _all((store.add_location(_location_of(one)) for one in town.merchants()), advance)
    await _all((_enrol(store, till) for till in town.tills()), advance)
    await _all(map(store.add_wallet, town.wallets()), advance)
    await _all(
        (
            store.fund_wallet(
                wallet.wallet_id, ulid_to_bytes(ulid_of("funding", number)), FUNDS_MINOR, OPENED_MS
            )
            for number, wallet in enumerate(town.wallets())
        ),
        advance,
    )
    await _all(map(store.add_instrument, town.phones()), advance)


def count_furnishings(size: TownSize) -> int:
    """Return how many writes `furnish` makes."""
    merchants, tills = size.merchant_count + 1, size.till_count + size.hot_terminal_count
    return 2 * merchants + tills + 2 * (size.wallet_count + 1) + size.phone_count


def till_key(number: int) -> es256.PrivateKey:
    """Return the private key of a till."""
    return ec.derive_private_key(_scalar("till key", number), ec.SECP256R1())


def vault_key() -> bytes:
    """Return the vault key of every gateway in town, so that a session is good on any ledger."""
    return _bytes("vault key", 0, 32)


def phone_key(number: int) -> es256.PrivateKey:
    """Return the private key of a phone."""
    return ec.derive_private_key(_scalar("phone key", number), ec.SECP256R1())


def merchant_id_of(number: int) -> str:
    """Return a merchant's id."""
    return make_merchant_id(_bytes("merchant", number, 15))


def instrument_id_of(number: int) -> str:
    """Return a phone's id as an instrument."""
    return ulid_of("instrument", number)


def ulid_of(kind: str, number: int) -> str:
    """Return the ULID of the numbered thing of this kind, as if made when the town was."""
    return make_ulid(OPENED_MS, _bytes(kind, number, ENTROPY_BYTES))


def _location_of(merchant: Merchant) -> Location:
    return Location(f"{merchant.merchant_id}-1", merchant.merchant_id, "High Street")


async def _enrol(store: Store, till: Till) -> None:
    terminal = Terminal(
        terminal_id=till.terminal_id,
        merchant_id=till.merchant_id,
        location_id=f"{till.merchant_id}-1",
        status=TerminalStatus.PENDING,
        key_id=None,
        public_key=None,
        software="",
        created_ms=OPENED_MS,
        enrolled_ms=None,
    )
    code_hash = _bytes("code", till.number, 32)
    key = till_key(till.number).public_key()
    await store.add_terminal(terminal, code_hash, OPENED_MS + ENROLMENT_MS)
    await store.enrol_terminal(
        code_hash, es256.key_id_of(key), es256.dump_public_key(key), "bench", OPENED_MS
    )


async def _all(writes: Iterable[Awaitable[T]], advance: Callable[[int], None]) -> None:
    waiting = iter(writes)
    while together := list(itertools.islice(waiting, WRITES_AT_ONCE)):
        await asyncio.gather(*together)
        advance(len(together))


def _bytes(kind: str, number: int, count: int) -> bytes:
    return hashlib.sha256(f"town {kind} {number}".encode("ascii")).digest()[:count]


def _scalar(kind: str, number: int) -> int:
    return int.from_bytes(_bytes(kind, number, 32), "big") % (P256_ORDER - 1) + 1
