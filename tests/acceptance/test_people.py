"""A day at a counter, with the real gateway and the real daemon: a cashier, a manager, a shift, receipts.

Both run in this process, over HTTP between them. Readers are driven by hand, with simulated cards in them.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.app import start_gateway
from gateway.config import GatewayConfig, ListenSettings, StorageSettings
from gateway.holders.model import InstrumentKind
from gateway.holders.service import NewInstrument
from gateway.office import Office, open_office, prepare_storage
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import personalise_chip
from simulators.cards.payment_card import PaymentCard
from terminal.config import StaffSettings, TerminalConfig, TillApiSettings
from terminal.daemon import enrol, run_daemon
from terminal.till_api.callers import CALLER_HEADER, PERSON
from tests.terminal.conftest import HandReaders
from wire import es256
from wire.cards.ntag424.card_profile import CardKeys
from wire.cards.ntag424.keys import diversify_file_key
from wire.ids import make_ulid
from wire.messages.staff import StaffRole
from wire.money import Money, find_currency

PIN = "258036"
META_KEY, FILE_MASTER = bytes(range(16)), bytes(range(16, 32))
CASHIERS_TAG = bytes.fromhex("04A1B2C3D4E5F6")
SEED = 20_261_129
PATIENCE_S = 20.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Counter:
    """Everything at hand at one till."""

    office: Office
    merchant_id: str
    terminal_id: str
    gateway_url: str
    http: aiohttp.ClientSession
    """A person's at the till's screen."""
    readers: HandReaders
    card: PaymentCard
    cashier_id: str
    manager_id: str

    async def ask(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        async with self.http.request(method, path, json=body if body is not None else {}) as response:
            text = await response.text()
            assert response.status == status, (path, text)
            return msgspec.json.decode(text) if text else None

    async def refusal(self, method: str, path: str, body: object = None) -> str:
        async with self.http.request(method, path, json=body if body is not None else {}) as response:
            problem = await response.json(content_type=None)
            assert response.status >= 400, problem
            return str(problem["code"])

    async def read_tag(self, tag: Ntag424Card) -> str:
        read = await self.ask("POST", "/v1/staff/tag-reads", status=201)
        self.readers.tap(tag)
        await self.until(f"/v1/staff/tag-reads/{read['tag_read_id']}", lambda now: now["state"] != "waiting")
        return str(read["tag_read_id"])

    async def sell(self, amount_minor: int) -> Any:
        sale = await self.ask("POST", "/v1/sales", {"amount_minor": amount_minor}, status=201)
        self.readers.tap(self.card)
        under_way = ("armed", "reading", "submitting")
        sale = await self.until(f"/v1/sales/{sale['sale_id']}", lambda now: now["state"] not in under_way)
        assert sale["state"] == "approved", sale
        return sale

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:
        """Ask again and again until what is asked is so, for a bounded time."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(found := await self.ask("GET", path)):  # noqa: ASYNC110 -- no event tells
                await asyncio.sleep(0.01)
        return found


def make_tag() -> Ntag424Card:
    """The cashier's tag, as the chip would be after it was set up."""
    file_key = diversify_file_key(FILE_MASTER, CASHIERS_TAG)
    keys = CardKeys(bytes(16), META_KEY, file_key, bytes(16), bytes(16))
    memory = personalise_chip(CASHIERS_TAG, keys, "https://pay.example.com/t")
    return Ntag424Card(memory, rng=random.Random(SEED))


async def furnish(office: Office) -> dict[str, str]:
    """Make a shop with staff, and a customer with a card; return the ids and the enrolment code."""
    merchant = await office.merchants.add_merchant("Tea House 茶馆", "EUR", 140, now_ms=now_ms())
    location = await office.merchants.add_location(merchant.merchant_id, "Old Town", now_ms=now_ms())
    pending = await office.merchants.add_terminal(merchant.merchant_id, location.location_id, now_ms=now_ms())
    await office.store.set_refund_limit(pending.terminal.terminal_id, 10_000)
    await office.holders.add_card_key_batch(1, META_KEY, FILE_MASTER, now_ms=now_ms())
    cashier, manager = [
        await office.staff.add_staff(merchant.merchant_id, name, role, PIN, now_ms=now_ms())
        for name, role in (("Mira", StaffRole.CASHIER), ("Bo", StaffRole.MANAGER))
    ]
    await office.staff.add_tag(cashier.staff_id, 1, CASHIERS_TAG, now_ms=now_ms())
    return {
        "code": pending.enrolment_code,
        "merchant_id": merchant.merchant_id,
        "terminal_id": pending.terminal.terminal_id,
        "cashier_id": cashier.staff_id,
        "manager_id": manager.staff_id,
    }


async def add_customer(office: Office) -> PaymentCard:
    wallet = await office.holders.add_wallet("Ada", "EUR", now_ms=now_ms())
    await office.holders.fund_wallet(wallet.wallet_id, Money(20_000, find_currency("EUR")), now_ms=now_ms())
    key = ec.derive_private_key(0xADA, ec.SECP256R1())
    public_key = es256.dump_public_key(key.public_key())
    card = NewInstrument(wallet.wallet_id, InstrumentKind.APPLET_CARD, public_key)
    await office.holders.add_instrument(card, now_ms=now_ms())
    return PaymentCard(key, rng=random.Random(SEED))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
async def counter(tmp_path: Path) -> AsyncIterator[Counter]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = GatewayConfig(
        listen=ListenSettings(port=port, public_url=url),
        storage=StorageSettings(
            database=str(tmp_path / "tapscan.sqlite3"), vault_key_file=str(tmp_path / "vault.key")
        ),
    )
    prepare_storage(config, {}, entropy=os.urandom)
    till = TerminalConfig(
        data_folder=str(tmp_path / "till"),
        till_api=TillApiSettings(port=0),
        staff=StaffSettings(idle_ms=60_000),
    )
    made: list[HandReaders] = []

    def make_readers(deliver: Any) -> HandReaders:
        made.append(HandReaders(deliver))
        return made[0]

    async with AsyncExitStack() as stack:
        office = await stack.enter_async_context(open_office(config, {}, os.urandom))
        await stack.enter_async_context(start_gateway(config, {}, now_ms=now_ms, entropy=os.urandom))
        shop, card = await furnish(office), await add_customer(office)
        await enrol(till, url, shop.pop("code"), again=False)
        daemon = await stack.enter_async_context(run_daemon(till, make_readers=make_readers))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(daemon.url, headers={CALLER_HEADER: PERSON})
        )
        counter = Counter(office=office, gateway_url=url, http=http, readers=made[0], card=card, **shop)
        await counter.until("/v1/staff", lambda now: len(now["members"]) == 2)
        yield counter


async def test_a_day_at_the_counter(counter: Counter) -> None:
    tag = make_tag()
    assert await counter.refusal("POST", "/v1/sales", {"amount_minor": 100}) == "staff_sign_in_needed"
    signed_in = await counter.ask("POST", "/v1/staff/session", {"tag_read_id": await counter.read_tag(tag)})
    assert (signed_in["name"], signed_in["rights"]) == ("Mira", ["sell", "shift"])
    shift = await counter.ask("POST", "/v1/shifts", status=201)
    assert shift["opened_by"]["name"] == "Mira"

    first, second = await counter.sell(1_250), await counter.sell(800)
    page_url = first["answer"]["receipt"]["page_url"]
    assert page_url.startswith(f"{counter.gateway_url}/r/")
    async with aiohttp.ClientSession() as stranger, stranger.get(page_url) as response:
        assert "Paid" in await response.text()

    # The cashier may not give money back, by tag or PIN; the manager steps in, at the cashier's till.
    path = f"/v1/payments/{first['answer']['payment_id']}/refund"
    refund = {"refund_id": make_ulid(now_ms(), os.urandom(10)), "total_minor": 250}
    by_tag = refund | {"staff": {"tag_read_id": await counter.read_tag(tag)}}
    assert await counter.refusal("POST", path, by_tag) == "staff_not_allowed"
    by_manager = refund | {"staff": {"staff_id": counter.manager_id, "pin": PIN}}
    refunded = await counter.ask("POST", path, by_manager)
    assert refunded["payment"]["refunded_minor"] == 250
    listed = await counter.ask("GET", "/v1/payments")
    assert {one["payment_id"]: one.get("refunded_minor", 0) for one in listed} == {
        first["answer"]["payment_id"]: 250,
        second["answer"]["payment_id"]: 0,
    }
    async with aiohttp.ClientSession() as stranger, stranger.get(page_url) as response:
        assert "refunded in part" in await response.text()

    closed = await counter.ask("POST", "/v1/shifts/close")
    totals = closed["totals"]
    assert not closed["is_provisional"]
    assert (totals["payment_count"], totals["charged_minor"]) == (2, 2_050)
    assert (totals["refund_count"], totals["refunded_minor"]) == (1, 250)
    assert totals["by_entry_mode"] == [{"entry_mode": "nfc_app", "payment_count": 2, "charged_minor": 2_050}]
    assert (await counter.office.store.find_open_shift(counter.terminal_id)) is None


async def test_a_staff_tag_pays_nothing(counter: Counter) -> None:
    await counter.ask("POST", "/v1/staff/session", {"staff_id": counter.cashier_id, "pin": PIN})
    sale = await counter.ask("POST", "/v1/sales", {"amount_minor": 100}, status=201)
    counter.readers.tap(make_tag())
    # A decline leaves the sale open for another card, so what it was is in the till's list.
    await counter.until("/v1/payments", lambda now: len(now) == 1)
    (declined,) = await counter.ask("GET", "/v1/payments")
    assert (declined["state"], declined["code"]) == ("declined", "instrument_unknown")
    await counter.ask("DELETE", f"/v1/sales/{sale['sale_id']}")
