"""One shop with real processes: a gateway, a till's daemon, the line between them, and a card in a hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from gateway.audit import audit
from gateway.holders.model import InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.office import Office, open_office
from gateway.payments.till_codes import TillCodeWriter
from simulators.auditor.books.books import Books, check_books
from simulators.auditor.findings import Finding
from simulators.cards.payment_card import PaymentCard
from simulators.networks.gateway_line import GatewayLine
from simulators.phones.phone import Phone
from simulators.seeds import draw_private_key
from tests.acceptance.crash.serving import Gateway
from tests.acceptance.faults.till_process import Till, until
from tests.databases import sqlite_database
from wire import es256
from wire.money import Money, find_currency

EUR: Final = find_currency("EUR")
FUNDS_MINOR: Final = 100_000


@dataclass
class Shopfront:
    """What a scenario works with."""

    folder: Path
    rng: random.Random
    line: GatewayLine
    gateway: Gateway
    till: Till
    phone: Phone
    phone_key: es256.PrivateKey
    wallet_id: str
    instrument_id: str
    http: aiohttp.ClientSession
    notes: dict[str, Any] = field(default_factory=dict)

    def now_ms(self) -> int:
        """Unix milliseconds, as every process here has them."""
        return _now_ms()

    async def start_gateway(self) -> None:
        """Start the gateway, and lead the line to it."""
        self.line.lead_to(await self.gateway.start())

    async def wait_for_readers(self) -> None:
        """Return once every reader of the till is ready."""
        await until(
            self.till.find_daemon, lambda seen: all(reader.state == "ready" for reader in seen.readers)
        )

    async def read_books(self) -> Books:
        """Return the books as they stand."""
        return await sqlite_database(self.gateway.config.database_path).read_books()

    async def findings(self) -> list[Finding]:
        """Return everything that is wrong with the books, by the product's audit and by the model's."""
        report = await asyncio.to_thread(audit, self.gateway.config.database_path)
        broken = report.first_break
        own = [] if broken is None else [Finding(broken.code, broken.where)]
        return own + check_books(await self.read_books())

    async def balance_minor(self) -> int:
        """Return what the wallet may spend."""
        async with open_office(self.gateway.config, {}, os.urandom) as office:
            return (await office.holders.find_wallet(self.wallet_id)).available_minor

    async def ask_above(self, amount_minor: int) -> None:
        """Have the holder asked above an amount."""
        async with open_office(self.gateway.config, {}, os.urandom) as office:
            await office.store.set_confirm_above(self.instrument_id, amount_minor)

    async def sticker_text(self) -> str:
        """Return what the sticker at this till's counter says."""
        terminal_id = (await self.till.find_daemon()).terminal_id
        async with open_office(self.gateway.config, {}, os.urandom) as office:
            terminal = await office.store.find_terminal(terminal_id)
        assert terminal is not None
        return TillCodeWriter(self.line.url, self.gateway.config.codes).write_sticker(terminal)


@contextlib.asynccontextmanager
async def open_shopfront(
    folder: Path,
    seed: int,
    devices: list[str],
    *,
    gateway_settings: str = "",
    till_settings: str = "",
    till_port: int = 0,
    merchant_name: str = "Fault Lane Bakery",
    environment: Mapping[str, str] | None = None,
    phone_key: es256.PrivateKey | None = None,
) -> AsyncIterator[Shopfront]:
    """Furnish a shop, start its gateway and its till, and end every process at the end of the block."""
    rng = random.Random(seed)
    phone_key = phone_key or draw_private_key(rng)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        line = await stack.enter_async_context(GatewayLine())
        gateway = await asyncio.to_thread(
            lambda: Gateway(folder, "books.sqlite3", 1, public_url=line.url, settings=gateway_settings)
        )
        stack.push_async_callback(gateway.end)
        till = Till(
            folder / "till",
            line.url,
            devices,
            http,
            port=till_port,
            settings=till_settings,
            environment=environment,
        )
        async with open_office(gateway.config, {}, os.urandom) as office:
            code, wallet_id, instrument_id = await _furnish(office, phone_key, merchant_name)
        phone = Phone(phone_key, rng=rng, token_pan="4111111111111111")
        shopfront = Shopfront(
            folder, rng, line, gateway, till, phone, phone_key, wallet_id, instrument_id, http
        )
        await shopfront.start_gateway()
        await till.enrol(code)
        await till.start()
        stack.push_async_callback(till.kill)
        await shopfront.wait_for_readers()
        yield shopfront


async def _furnish(office: Office, phone_key: es256.PrivateKey, merchant_name: str) -> tuple[str, str, str]:
    """Register a shop with one till and a holder with one phone.

    Returns:
        Enrolment code, wallet id, instrument id.
    """
    now_ms = _now_ms()
    merchant = await office.merchants.add_merchant(merchant_name, "EUR", 25, now_ms=now_ms)
    place = await office.merchants.add_location(merchant.merchant_id, "No 12", now_ms=now_ms)
    pending = await office.merchants.add_terminal(merchant.merchant_id, place.location_id, now_ms=now_ms)
    wallet = await office.holders.add_wallet("Ana Lima", "EUR", now_ms=now_ms)
    await office.holders.fund_wallet(wallet.wallet_id, Money(FUNDS_MINOR, EUR), now_ms=now_ms)
    new = NewInstrument(
        wallet.wallet_id, InstrumentKind.PHONE_KEY, es256.dump_public_key(phone_key.public_key())
    )
    instrument = await office.holders.add_instrument(new, now_ms=now_ms)
    return pending.enrolment_code, wallet.wallet_id, instrument.instrument_id


class HookedCard:
    """A card that does something of the test's own when it is asked its nth command."""

    def __init__(self, card: PaymentCard, at_apdu: int, hook: Any) -> None:
        self._card = card
        self._at_apdu = at_apdu
        self._hook = hook
        self._count = 0

    @property
    def uid(self) -> bytes:
        """As the card's."""
        return self._card.uid

    @property
    def historical_bytes(self) -> bytes:
        """As the card's."""
        return self._card.historical_bytes

    def power_on(self) -> None:
        """Enter a field."""
        self._card.power_on()

    def power_off(self) -> None:
        """Leave the field."""
        self._card.power_off()

    def transmit(self, command: bytes) -> bytes:
        """Answer a command, after the hook if it is the one; the hook runs once."""
        self._count += 1
        if self._count == self._at_apdu:
            self._hook()
        return self._card.transmit(command)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
