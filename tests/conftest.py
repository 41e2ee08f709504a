"""What tests of several rooms share: a shop with one till, and a holder who pays there."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.holders.model import (
    Instrument,
    InstrumentKind,
    InstrumentStatus,
    Limits,
    Wallet,
    WalletStatus,
)
from gateway.merchants.model import (
    EnrolledTerminal,
    Location,
    Merchant,
    MerchantStatus,
    Terminal,
    TerminalStatus,
)
from gateway.payments.model import PaymentBooking, TokenUse, Verified
from tests.databases import KINDS, Database, postgres_database, sqlite_database
from tests.postgres_server import PostgresServer, running_server
from wire import es256
from wire.messages.payments import EntryMode

if TYPE_CHECKING:
    from gateway.storage.store import Store


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have tests that share a stage run in one worker."""
    from tests.one_stage import OneStageScheduling

    return OneStageScheduling(config, log)


# 2027-01-15 12:00:00 UTC, so that tests of days have room on both sides.
NOW_MS = 1_800_014_400_000
FUNDS_MINOR = 100_000
DATABASE_NUMBERS = itertools.count(1)
LIMITS = Limits(per_payment_minor=50_000, per_day_minor=80_000)


MERCHANT = Merchant(
    merchant_id="MERCHANT0000001",
    name="Tea House",
    currency="EUR",
    fee_basis_points=140,
    account_id=b"merchant-account",
    status=MerchantStatus.ACTIVE,
    created_ms=NOW_MS,
)
LOCATION = Location("LOCATION1", "MERCHANT0000001", "Old Town")
TERMINAL = Terminal(
    terminal_id="TERMNA01",
    merchant_id="MERCHANT0000001",
    location_id="LOCATION1",
    status=TerminalStatus.PENDING,
    key_id=None,
    public_key=None,
    software="",
    created_ms=NOW_MS,
    enrolled_ms=None,
)
TERMINAL_KEY = ec.derive_private_key(0x7E21, ec.SECP256R1())
WALLET = Wallet("WALLET1", "Ada", "EUR", b"wallet-account-1", WalletStatus.ACTIVE, NOW_MS)
PHONE_KEY = ec.derive_private_key(0x7A95CA, ec.SECP256R1())


@dataclass
class Shop:
    """Plain records, and bookings that are fine unless a test changes something about them."""

    now_ms: int = NOW_MS
    funds_minor: int = FUNDS_MINOR
    merchant: Merchant = MERCHANT
    location: Location = LOCATION
    terminal: Terminal = TERMINAL
    terminal_key: es256.PrivateKey = TERMINAL_KEY
    enrolment_code_hash: bytes = b"e" * 32
    wallet: Wallet = WALLET
    phone_key: es256.PrivateKey = PHONE_KEY

    @property
    def instrument(self) -> Instrument:
        """The holder's phone."""
        return Instrument(
            instrument_id="INSTRUMENT1",
            wallet_id=self.wallet.wallet_id,
            kind=InstrumentKind.PHONE_KEY,
            label="Phone ·· 4821",
            status=InstrumentStatus.ACTIVE,
            key_id=es256.key_id_of(self.phone_key.public_key()),
            public_key=es256.dump_public_key(self.phone_key.public_key()),
            weakest_entry_mode=EntryMode.CODE_NUMERIC,
            limits=LIMITS,
            card_counter=0,
            card_key_batch=None,
            card_key_version=None,
            created_ms=NOW_MS,
        )

    async def furnish(self, store: Store) -> EnrolledTerminal:
        """Store everything and enrol the till."""
        await store.add_merchant(self.merchant)
        await store.add_location(self.location)
        await store.add_terminal(self.terminal, self.enrolment_code_hash, self.now_ms + 60_000)
        await store.add_wallet(self.wallet)
        if self.funds_minor:
            await store.fund_wallet(self.wallet.wallet_id, b"funding-transfer", self.funds_minor, self.now_ms)
        await store.add_instrument(self.instrument)
        return await self.enrol(store)

    async def enrol(self, store: Store) -> EnrolledTerminal:
        """Enrol the till, or hear again that it is."""
        key = self.terminal_key.public_key()
        return await store.enrol_terminal(
            self.enrolment_code_hash, es256.key_id_of(key), es256.dump_public_key(key), "test", self.now_ms
        )

    def token_use(self, counter: int) -> TokenUse:
        """A tap of the phone."""
        claims_digest = hashlib.sha256(f"claims {counter}".encode()).digest()
        return TokenUse(self.instrument.key_id, counter, claims_digest, counter.to_bytes(8, "big"))

    def booking(self, number: int, **changes: object) -> PaymentBooking:
        """The number's own attempt, order and token, over 12.50."""
        booking = PaymentBooking(
            payment_id=f"0PAYMENT{number:018d}",
            attempt_id=f"0ATTEMPT{number:018d}",
            request_digest=hashlib.sha256(f"request {number}".encode()).digest(),
            terminal_id=self.terminal.terminal_id,
            merchant_id=self.merchant.merchant_id,
            order_id=f"order-{number}",
            amount_minor=1_250,
            currency="EUR",
            entry_mode=EntryMode.NFC_APP,
            presented_ms=self.now_ms,
            card_exchange_ms=21,
            verdict=Verified(self.instrument.instrument_id, self.token_use(number)),
            now_ms=self.now_ms,
        )
        return msgspec.structs.replace(booking, **changes)


@pytest.fixture(scope="session")
def make_shop() -> type[Shop]:
    """Makes shops that no store knows yet; `furnish` stores one."""
    return Shop


@pytest.fixture
def shop() -> Shop:
    """A shop that no store knows yet; `furnish` stores it."""
    return Shop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the tests of one process, started by the first that needs it; it syncs nothing."""
    from gateway.storage.postgres.migrate import migrate  # only where a test needs it

    with running_server() as server:
        server.create_database("migrated")
        migrate(server.url("migrated"))
        yield server


@pytest.fixture
def make_postgres_url(postgres_server: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes databases of the test's own, up to date and empty, gone after it; about 30 ms each."""
    names: list[str] = []

    def make() -> str:
        names.append(f"test_{next(DATABASE_NUMBERS)}")
        return postgres_server.create_database(names[-1], "migrated")

    yield make
    for name in names:
        postgres_server.drop_database(name)


@pytest.fixture
def postgres_url(make_postgres_url: Callable[[], str]) -> str:
    """A database of the test's own, up to date and empty."""
    return make_postgres_url()


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database of the test's own, empty and of either kind: every test that asks runs on both."""
    if request.param == "postgres":
        return postgres_database(request.getfixturevalue("postgres_url"))
    return sqlite_database(tmp_path / "store.sqlite3")
