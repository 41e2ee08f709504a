"""The town every simulated world begins as: shops, tills, wallets and what pays, made once by the real
services and copied for each world, so that making a world costs a millisecond."""

from __future__ import annotations

import asyncio
import functools
import random
import sqlite3
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gateway.config import GatewayConfig, StorageSettings
from gateway.holders.model import ENTRY_MODES_OF, IdentityLevel, Instrument, InstrumentKind, LimitTier
from gateway.holders.service import NewInstrument
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from gateway.merchants.model import StaffRole
from gateway.merchants.staff import StaffService
from gateway.office import Office, open_office, prepare_storage
from gateway.payments.card_keys import CardKeyRing
from gateway.pins import PinHasher
from gateway.vault import load_vault_key
from simulators.auditor.model.attempts import Merchant
from simulators.auditor.witness.dealings import Tier
from simulators.auditor.witness.evidence import Payer
from simulators.seeds import make_rng
from simulators.world.belongings import (
    APPLET_CARD,
    PHONE_KEY,
    CardKeys,
    draw_card_keys,
    draw_key_of,
    draw_uid_of,
)
from wire import es256
from wire.messages.enrolment import EnrolmentAnswer
from wire.messages.payments import EntryMode
from wire.money import Money, find_currency

TOWN_SEED = 7
START_MS = 1_800_014_400_000
"""2027-01-15 12:00:00 UTC; worlds begin within a day of it."""
EURO = find_currency("EUR")
GATEWAY_URL = "http://gateway.test"

SHOPS = (("Tea House", 140, 2), ("Mill Bakery", 25, 1))
"""Name, fee in basis points, tills."""
TIP_MARGIN_BASIS_POINTS = 2_000
REFUND_LIMIT_MINOR = 1_500
STAFF_PIN = "7391"
CHEAP_PINS = {"entry_key": bytes(32), "memory_kib": 64, "iterations": 1}
"""What a PIN's hash costs here: what is tried out in these worlds is not its strength."""
TIERS = {
    IdentityLevel.BASIC: Tier(1_000, 2_500, 4_000, 7_000),
    IdentityLevel.ANONYMOUS: Tier(500, 800, 1_500, 3_000),
}
"""Holders of the other level have no limits beside their instruments'."""
WALLETS = (
    ("ada", 12_000, IdentityLevel.VERIFIED, None),
    ("ben", 4_000, IdentityLevel.VERIFIED, None),
    ("cho", 900, IdentityLevel.VERIFIED, None),
    ("dee", 60_000, IdentityLevel.VERIFIED, None),
    ("eve", 40_000, IdentityLevel.VERIFIED, "1234"),
    ("fay", 15_000, IdentityLevel.BASIC, "2345"),
    ("gil", 6_000, IdentityLevel.ANONYMOUS, None),
    ("hal", 30_000, IdentityLevel.VERIFIED, None),
)
"""Name, funds, identity level, PIN; some are soon empty."""
COUNTER_WALLETS = ("eve", "fay", "gil", "hal")
"""They pay at counters, whose clerks know what to do with a payment that needs its holder."""
CONFIRM_ABOVE_MINOR = {"eve-phone": 1_500}
THINGS = (
    ("ada-phone", "ada", InstrumentKind.PHONE_KEY, 3_000, 4_000),
    ("ben-phone", "ben", InstrumentKind.PHONE_KEY, 1_500, 2_000),
    ("cho-phone", "cho", InstrumentKind.PHONE_KEY, 3_000, 4_500),
    ("dee-phone", "dee", InstrumentKind.PHONE_KEY, 2_500, 3_000),
    ("ada-card", "ada", InstrumentKind.APPLET_CARD, 2_500, 3_500),
    ("dee-card", "dee", InstrumentKind.APPLET_CARD, 5_000, 9_000),
    ("ben-link", "ben", InstrumentKind.NTAG424_CARD, 1_000, 1_500),
    ("dee-link", "dee", InstrumentKind.NTAG424_CARD, 1_500, 2_500),
    ("eve-phone", "eve", InstrumentKind.PHONE_KEY, 6_000, 12_000),
    ("fay-phone", "fay", InstrumentKind.PHONE_KEY, 5_000, 6_000),
    ("fay-watch", "fay", InstrumentKind.PHONE_KEY, 3_000, 5_000),
    ("gil-phone", "gil", InstrumentKind.PHONE_KEY, 4_000, 4_000),
    ("hal-phone", "hal", InstrumentKind.PHONE_KEY, 5_000, 9_000),
)
"""Name, wallet, kind, limits per payment and per day."""


@dataclass(frozen=True)
class TillFacts:
    """One enrolled terminal."""

    enrolment: EnrolmentAnswer
    private_key: es256.PrivateKey
    merchant: Merchant
    """The shop it stands in, as the auditor knows one."""
    manager_id: str
    cashier_id: str
    """Who works there; the PIN of both is STAFF_PIN."""


@dataclass(frozen=True)
class ThingFacts:
    """One thing that pays."""

    name: str
    kind: InstrumentKind
    payer: Payer
    private_key: es256.PrivateKey | None
    """None of a link card."""
    uid: bytes | None
    """Of a link card only."""
    owner: str = ""
    pin: str | None = None
    """Of its wallet."""


@dataclass(frozen=True)
class Town:
    """What was made, and the database that says so."""

    image: bytes
    vault_key: bytes
    tills: tuple[TillFacts, ...]
    things: tuple[ThingFacts, ...]
    card_keys: CardKeys


@functools.cache
def make_town() -> Town:
    """Return the town, the same in every process."""
    with tempfile.TemporaryDirectory(prefix="tapscan-town-") as folder:
        return asyncio.run(_build(Path(folder)))


async def _build(folder: Path) -> Town:
    rng = make_rng(TOWN_SEED, "town")
    database = folder / "town.sqlite3"
    config = GatewayConfig(
        storage=StorageSettings(database=str(database), vault_key_file=str(folder / "vault.key"))
    )
    prepare_storage(config, {}, entropy=rng.randbytes)
    card_keys = draw_card_keys(TOWN_SEED)
    async with open_office(config, {}, rng.randbytes) as office:
        now_ms = START_MS - 86_400_000
        tills = await _open_shops(office, rng, now_ms)
        await office.holders.add_card_key_batch(
            card_keys.batch, card_keys.meta_key, card_keys.file_master, now_ms=now_ms
        )
        things = await _equip_holders(office, now_ms)
    vault_key = load_vault_key(config.vault_key_path, {})
    return Town(_copy(database), vault_key, tuple(tills), tuple(things), card_keys)


async def _open_shops(office: Office, rng: random.Random, now_ms: int) -> list[TillFacts]:
    tills = []
    staff = StaffService(
        office.store, PinHasher(**CHEAP_PINS), CardKeyRing(office.store, office.vault), rng.randbytes
    )
    for name, fee, till_count in SHOPS:
        merchant = await office.merchants.add_merchant(name, "EUR", fee, now_ms=now_ms)
        location = await office.merchants.add_location(merchant.merchant_id, "Square", now_ms=now_ms)
        await office.store.set_tip_margin(merchant.merchant_id, TIP_MARGIN_BASIS_POINTS)
        members = [
            await staff.add_staff(merchant.merchant_id, role.value, role, STAFF_PIN, now_ms=now_ms)
            for role in (StaffRole.MANAGER, StaffRole.CASHIER)
        ]
        for number in range(till_count):
            pending = await office.merchants.add_terminal(
                merchant.merchant_id, location.location_id, now_ms=now_ms
            )
            key = draw_key_of(TOWN_SEED, "till", f"{name} {number}")
            enrolled = await office.merchants.enrol_terminal(
                pending.enrolment_code, key.public_key(), "simulation", now_ms=now_ms
            )
            answer = EnrolmentAnswer(
                terminal_id=enrolled.terminal.terminal_id,
                merchant_id=merchant.merchant_id,
                merchant_name=merchant.name,
                location_name=location.name,
                currency="EUR",
                gateway_time_ms=now_ms,
            )
            await office.store.set_refund_limit(answer.terminal_id, REFUND_LIMIT_MINOR)
            shop = Merchant(merchant.account_id, operator_account_id(AccountKind.FEES, "EUR"), fee)
            tills.append(TillFacts(answer, key, shop, *(one.staff_id for one in members)))
    return tills


async def _equip_holders(office: Office, now_ms: int) -> list[ThingFacts]:
    wallets = {}
    for level, tier in TIERS.items():
        await office.store.set_limit_tier(LimitTier("EUR", level, *asdict(tier).values()))
    for name, funds, level, pin in WALLETS:
        wallet = wallets[name] = await office.holders.add_wallet(name.title(), "EUR", now_ms=now_ms)
        await office.holders.fund_wallet(wallet.wallet_id, Money(funds, EURO), now_ms=now_ms)
        await office.store.set_identity_level(wallet.wallet_id, level)
        if pin is not None:
            await office.holders.set_pin(wallet.wallet_id, pin, PinHasher(**CHEAP_PINS))
    levels = {name: (level, pin) for name, _, level, pin in WALLETS}
    things = []
    for name, owner, kind, per_payment, per_day in THINGS:
        is_link = kind is InstrumentKind.NTAG424_CARD
        own = {InstrumentKind.PHONE_KEY: PHONE_KEY, InstrumentKind.APPLET_CARD: APPLET_CARD}.get(kind, "")
        key = None if is_link else draw_key_of(TOWN_SEED, own, name)
        uid = draw_uid_of(TOWN_SEED, name) if is_link else None
        instrument = await office.holders.add_instrument(
            NewInstrument(
                wallets[owner].wallet_id,
                kind,
                public_key=None if key is None else es256.dump_public_key(key.public_key()),
                uid=uid,
                batch_number=1 if is_link else None,
                per_payment_minor=per_payment,
                per_day_minor=per_day,
            ),
            now_ms=now_ms,
        )
        level, pin = levels[owner]
        confirm_above_minor = CONFIRM_ABOVE_MINOR.get(name)
        if confirm_above_minor is not None:
            await office.store.set_confirm_above(instrument.instrument_id, confirm_above_minor)
        payer = replace(
            _payer(instrument, wallets[owner].account_id),
            confirm_above_minor=confirm_above_minor,
            tier=TIERS.get(level),
            has_pin=pin is not None,
        )
        things.append(ThingFacts(name, kind, payer, key, uid, owner, pin))
    return things


def _payer(instrument: Instrument, account_id: bytes) -> Payer:
    strongest_first = list(EntryMode)
    weakest = strongest_first.index(instrument.weakest_entry_mode)
    modes = [mode for mode in ENTRY_MODES_OF[instrument.kind] if strongest_first.index(mode) <= weakest]
    return Payer(
        instrument.instrument_id,
        instrument.wallet_id,
        account_id,
        instrument.limits.per_payment_minor,
        instrument.limits.per_day_minor,
        frozenset(str(mode) for mode in modes),
    )


def _copy(database: Path) -> bytes:
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        # A file in WAL mode can't be opened in memory.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
        return connection.serialize()
    finally:
        connection.close()
