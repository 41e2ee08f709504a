"""Cards made at a till: a real gateway, real readers' drivers, and a card that is lifted at every command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from gateway.app import start_gateway
from gateway.config import GatewayConfig, ListenSettings, StorageSettings
from gateway.holders.model import InstrumentKind, InstrumentStatus
from gateway.holders.service import NewInstrument
from gateway.office import Office, open_office, prepare_storage
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import personalise_chip
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.pn532 import Pn532Device
from simulators.fields.private_pcscd import PrivatePcscd, find_missing
from simulators.fields.vpcd import VpcdSlot
from terminal import daemon
from terminal.cards.bench import BenchTimings, CardBench, open_bench
from terminal.cards.opening import open_card_gateway
from terminal.config import TerminalConfig, parse_config
from terminal.console.till_client import TillClient, client_of
from terminal.devices.paths import make_card_reader
from terminal.errors import CardRemoved, ConfigurationError
from tests.acceptance.programs import run_program
from tests.card_bench import LINK_BASE, keys_of_batch, make_chip
from tests.patient_nfcpy import patient_drivers
from wire.cards.ntag424.card_profile import derive_card_keys
from wire.messages.cards import CardPurpose, CardStage
from wire.messages.till import SaleRequest, SaleState, SaleView
from wire.money import Money, find_currency

pytestmark = pytest.mark.timeout(600)
SEED: Final = 2026
WAIT_S: Final = 30
LOOK_S: Final = 0.02
TRAITS: Final = IsoDepTraits(fwi=6)
PERSONALISE, RECOVER = CardPurpose.PERSONALISE, CardPurpose.RECOVER
VERIFY, WIPE = CardPurpose.VERIFY, CardPurpose.WIPE
Field = VpcdSlot | Pn532Device


@pytest.fixture(params=["pn532", pytest.param("pcsc", marks=pytest.mark.pcsc)])
def reader_field(request: pytest.FixtureRequest) -> Iterator[Field]:
    """What carries a card to nfcpy's own PN532 driver, or to pyscard through pcscd."""
    if request.param != "pcsc":
        carrier = Pn532Device(traits=TRAITS)
        carrier.start()
        with patient_drivers():
            yield carrier
        carrier.stop()
        return
    missing = find_missing(fast_poll=True)
    if missing:
        pytest.skip("; ".join(missing))
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed")
    # libpcsclite reads the variable once per process: every test here gives the same folder.
    folder = Path(tempfile.gettempdir()) / f"tapscan-test-pcsc-{os.getpid()}"
    with PrivatePcscd(("Cards",), fast_poll=True, socket_folder=folder) as pcscd:
        os.environ.update(pcscd.environment)
        slot = VpcdSlot(pcscd.slots[0].port, reader_name=pcscd.slots[0].reader_name)
        slot.start()
        yield slot
        slot.stop()
    folder.rmdir()


@dataclass
class Hand:
    """Whoever holds the card, and reads what the screen says: puts it back when told so."""

    field: Field
    card: Ntag424Card | None = None
    told: list[str] = field(default_factory=list)

    def take(self, card: Ntag424Card) -> None:
        self.card = card
        self.field.present(card)

    def show_waiting(self) -> None:
        self.told.append("waiting")

    def show_stage(self, stage: CardStage, number: int, count: int) -> None:
        assert 1 <= number <= count
        self.told.append(stage)

    def show_lifted(self) -> None:
        self.told.append("lifted")
        assert self.card is not None
        self.field.remove()
        self.field.present(self.card)

    def show_refused(self, code: str) -> None:
        self.told.append(code)


@dataclass
class Workshop:
    """A gateway, an enrolled till that holds a reader, and a hand with cards."""

    office: Office
    wallet_id: str
    bench: CardBench
    hand: Hand
    now_ms: int

    async def order(self) -> str:
        return (await self.office.cards.order(self.wallet_id, None, None, now_ms=self.now_ms)).code

    async def hold(self, card: Ntag424Card, purpose: CardPurpose, code: str | None = None) -> str | None:
        """Hold a card until it is done; return why it was refused, if it was."""
        self.hand.take(card)
        try:
            ended = await self.bench.work(purpose, code)
        finally:
            self.hand.field.remove()
        assert (ended.state == "refused") == (ended.code is not None)
        return ended.code

    async def tear(self, card: Ntag424Card, purpose: CardPurpose, code: str | None) -> bool:
        """Hold a card that will be torn until it is; say whether it was."""
        for _ in range(3):
            with contextlib.suppress(CardRemoved):
                assert await self.hold(card, purpose, code) is None
            if card.tear_at_apdu is None:
                return True
        return False

    async def recover(self, card: Ntag424Card) -> str | None:
        """Recover a card; pcscd may take one that is put back within its poll for gone once more."""
        for _ in range(3):
            with contextlib.suppress(CardRemoved):
                return await self.hold(card, CardPurpose.RECOVER)
        raise AssertionError("the card is always gone")

    async def add_card(self, uid: bytes) -> Ntag424Card:
        """Return a suspended card of key version 1 that was used a few times."""
        new = NewInstrument(self.wallet_id, InstrumentKind.NTAG424_CARD, uid=uid, batch_number=1)
        card = await self.office.holders.add_instrument(new, now_ms=self.now_ms)
        await self.office.store.renew_card(card.instrument_id, card.key_id, card.key_id, 1, 5)
        await self.office.store.set_instrument_status(card.instrument_id, InstrumentStatus.SUSPENDED)
        keys = derive_card_keys(*keys_of_batch(1, 1), uid)
        return Ntag424Card(personalise_chip(uid, keys, LINK_BASE, counter=6), rng=random.Random(SEED))


def terminal_toml(tmp_path: Path, reader_path: str) -> str:
    return f'data_folder = "{tmp_path / "till"}"\ndevices = ["{reader_path}"]\n[till_api]\nport = 0\n'


def terminal_config(tmp_path: Path, reader_path: str) -> TerminalConfig:
    return parse_config(terminal_toml(tmp_path, reader_path).encode(), source="test")


async def add_keys(office: Office, key_version: int, now_ms: int) -> None:
    meta, master = keys_of_batch(1, key_version)
    await office.holders.add_card_key_batch(1, meta, master, key_version=key_version, now_ms=now_ms)


@asynccontextmanager
async def open_shop(tmp_path: Path, carrier: Field) -> AsyncIterator[tuple[Office, str, TerminalConfig]]:
    """Run a gateway with one batch of keys; yield its operator, a wallet with 50 euros, an enrolled till."""
    entropy, now_ms = random.Random(SEED).randbytes, daemon.SURROUNDINGS.now_ms
    storage = StorageSettings(
        database=str(tmp_path / "g" / "g.sqlite3"), vault_key_file=str(tmp_path / "g" / "vault.key")
    )
    config = GatewayConfig(listen=ListenSettings(port=0), storage=storage)
    prepare_storage(config, {}, entropy=entropy)
    settings = terminal_config(tmp_path, carrier.reader_path)
    async with (
        start_gateway(config, {}, now_ms=now_ms, entropy=entropy) as gateway,
        open_office(config, {}, entropy) as office,
    ):
        at = now_ms()
        merchant = await office.merchants.add_merchant("Mill Lane", "EUR", 25, now_ms=at)
        location = await office.merchants.add_location(merchant.merchant_id, "12", now_ms=at)
        pending = await office.merchants.add_terminal(merchant.merchant_id, location.location_id, now_ms=at)
        wallet = await office.holders.add_wallet("Ada", "EUR", now_ms=at)
        await add_keys(office, 1, at)
        await daemon.enrol(settings, gateway.url, pending.enrolment_code, again=False)
        await office.holders.fund_wallet(wallet.wallet_id, Money(5_000, find_currency("EUR")), now_ms=at)
        yield office, wallet.wallet_id, settings


@asynccontextmanager
async def open_workshop(tmp_path: Path, carrier: Field, timings: BenchTimings) -> AsyncIterator[Workshop]:
    async with open_shop(tmp_path, carrier) as (office, wallet_id, settings):
        hand = Hand(carrier)
        reader = make_card_reader(None, settings.devices)
        async with (
            open_card_gateway(settings) as cards,
            open_bench(reader, cards, hand, timings) as bench,
        ):
            yield Workshop(office, wallet_id, bench, hand, daemon.SURROUNDINGS.now_ms())


def assert_whole(card: Ntag424Card, key_version: int = 1) -> None:
    """Look into the chip's memory, behind everybody's back."""
    keys = derive_card_keys(*keys_of_batch(1, key_version), card.real_uid)
    whole = personalise_chip(card.real_uid, keys, LINK_BASE, key_version=key_version, counter=card.counter)
    assert card.memory == whole


def step_of(carrier: Field) -> int:
    """Every command through pcscd; through nfcpy's driver, which a tear holds up for seconds, every third.

    CARD_TEARS_STEP=1 takes every one there too, in three minutes.
    """
    return 1 if isinstance(carrier, VpcdSlot) else int(os.environ.get("CARD_TEARS_STEP", "3"))


def uid_of(number: int) -> bytes:
    return b"\x04" + number.to_bytes(6, "big")


async def test_a_card_lifted_at_every_command_of_its_making_ends_whole(
    tmp_path: Path, reader_field: Field
) -> None:
    """Torn before the chip did it or after, in turn; put back at once, or recovered by another command."""
    async with open_workshop(tmp_path, reader_field, BenchTimings()) as shop:
        for number in range(1, 200, step_of(reader_field)):
            card = make_chip(number, uid_of(number))
            card.tear_at_apdu, card.tear_after_processing = number, number % 4 < 2
            assert await shop.hold(card, PERSONALISE, await shop.order()) is None, number
            assert_whole(card)
            if card.tear_at_apdu is not None:
                break
            assert "lifted" in shop.hand.told
            shop.hand.told.clear()
        assert number > 45
        assert await shop.hold(card, VERIFY) is None


@pytest.mark.parametrize("purpose", [PERSONALISE, RECOVER, WIPE])
async def test_what_broke_off_with_the_till_is_recovered(
    tmp_path: Path, reader_field: Field, purpose: CardPurpose
) -> None:
    """The till gives up at the first lift, as if its power had gone; `recover` has nothing but the card."""
    async with open_workshop(tmp_path, reader_field, BenchTimings(lifts_max=1)) as shop:
        await add_keys(shop.office, 2, shop.now_ms)
        for number in range(13, 43, 3):
            code = await shop.order() if purpose is PERSONALISE else None
            is_new = purpose is PERSONALISE
            card = make_chip(number, uid_of(number)) if is_new else await shop.add_card(uid_of(number))
            card.tear_at_apdu, card.tear_after_processing = number, number % 2 == 0
            assert await shop.tear(card, purpose, code)
            assert await shop.recover(card) is None, number
            assert_whole(card, 2)


async def test_cards_are_not_worked_on_behind_a_running_daemon(tmp_path: Path, reader_field: Field) -> None:
    async with open_workshop(tmp_path, reader_field, BenchTimings()):
        settings = terminal_config(tmp_path, reader_field.reader_path)
        with pytest.raises(ConfigurationError, match="stop it first"):
            async with open_card_gateway(settings):
                pass


async def test_a_plain_tag_is_refused_and_the_card_after_it_is_made(
    tmp_path: Path, reader_field: Field
) -> None:
    async with open_workshop(tmp_path, reader_field, BenchTimings()) as shop:
        assert await shop.hold(make_chip(1, uid_of(1)), VERIFY) == "card_not_ordered"
        assert await shop.hold(make_chip(1, uid_of(1)), PERSONALISE, await shop.order()) is None


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if condition():
                return
            await asyncio.sleep(LOOK_S)


@dataclass
class Counter:
    """A running daemon, and a wallet whose cards are asked themselves above ten euros."""

    office: Office
    wallet_id: str
    field: Field
    till: TillClient

    async def add_card(self, number: int) -> Ntag424Card:
        uid, now_ms = uid_of(number), daemon.SURROUNDINGS.now_ms()
        new = NewInstrument(self.wallet_id, InstrumentKind.NTAG424_CARD, uid=uid, batch_number=1)
        instrument = await self.office.holders.add_instrument(new, now_ms=now_ms)
        await self.office.store.set_confirm_above(instrument.instrument_id, 1_000)
        keys = derive_card_keys(*keys_of_batch(1, 1), uid)
        return Ntag424Card(personalise_chip(uid, keys, LINK_BASE), rng=random.Random(number))

    async def sell(self, amount_minor: int) -> str:
        request = SaleRequest(amount_minor=amount_minor, currency="EUR")
        return (await self.till.start_sale(request)).sale_id

    async def until(self, sale_id: str, state: SaleState) -> SaleView:
        async with asyncio.timeout(WAIT_S):
            while True:
                view = await self.till.find_sale(sale_id)
                if view.state is state:
                    return view
                await asyncio.sleep(LOOK_S)

    async def left_minor(self) -> tuple[int, int]:
        held = await self.office.holders.find_wallet(self.wallet_id)
        return held.available_minor, held.pending_minor


@pytest.fixture
async def counter(tmp_path: Path, reader_field: Field) -> AsyncIterator[Counter]:
    async with (
        open_shop(tmp_path, reader_field) as (office, wallet_id, settings),
        daemon.run_daemon(settings),
        client_of(settings) as till,
    ):
        yield Counter(office, wallet_id, reader_field, till)


async def test_a_card_left_on_the_reader_confirms_what_is_above_its_limit(counter: Counter) -> None:
    card = await counter.add_card(1)
    sale_id = await counter.sell(1_500)
    counter.field.present(card)
    sold = await counter.until(sale_id, SaleState.APPROVED)
    assert sold.answer is not None
    assert sold.answer.charged_minor == 1_500
    assert await counter.left_minor() == (3_500, 0)
    # It was challenged: commands of class 90 reached it after its link was read.
    assert any(command[:2] == b"\x90\x71" for command in card.received)
    counter.field.remove()


async def test_a_card_lifted_too_early_confirms_when_it_is_held_there_again(counter: Counter) -> None:
    card, other = await counter.add_card(1), await counter.add_card(2)
    # The challenge comes after the six or seven commands of a tap.
    card.tear_at_apdu = 9
    sale_id = await counter.sell(1_500)
    counter.field.present(card)
    await counter.until(sale_id, SaleState.CONFIRMING)
    await until(lambda: card.tear_at_apdu is None)
    counter.field.remove()
    assert await counter.left_minor() == (3_500, 1_500)
    # Another card of the same wallet is not the one, and pays nothing.
    counter.field.present(other)
    await until(lambda: any(command[:2] == b"\x90\x51" for command in other.received))
    counter.field.remove()
    assert (await counter.till.find_sale(sale_id)).state is SaleState.CONFIRMING
    counter.field.present(card)
    await counter.until(sale_id, SaleState.APPROVED)
    counter.field.remove()
    assert await counter.left_minor() == (3_500, 0)


async def card_command(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Run `tapscan-terminal card`, and return its status and what it printed."""
    config = ("--config", str(tmp_path / "terminal.toml"))
    return await run_program("tapscan-terminal", "card", *arguments, *config, wait_s=WAIT_S)


@pytest.mark.processes
async def test_the_command_makes_proves_and_refuses_with_a_status_of_its_own(
    tmp_path: Path, reader_field: Field
) -> None:
    (tmp_path / "terminal.toml").write_text(terminal_toml(tmp_path, reader_field.reader_path))
    async with open_shop(tmp_path, reader_field) as (office, wallet_id, settings):
        now_ms = daemon.SURROUNDINGS.now_ms()
        code = (await office.cards.order(wallet_id, None, "Blue", now_ms=now_ms)).code
        card = make_chip(1, uid_of(1))
        reader_field.present(card)
        status, out = await card_command(tmp_path, "personalise", "--code", code)
        assert (status, "READY  Blue can pay" in out, "Step 6 of 6" in out) == (0, True, True), out
        assert_whole(card)
        status, out = await card_command(tmp_path, "personalise", "--code", code)
        assert (status, "(card_code_invalid)" in out) == (1, True), out
        status, out = await card_command(tmp_path, "wipe")
        assert (status, "NOT DONE" in out, "Suspend it" in out) == (1, True, True), out
        async with open_card_gateway(settings):
            status, out = await card_command(tmp_path, "verify")
        assert (status, "stop it first" in out) == (1, True), out
        status, out = await card_command(tmp_path, "verify", "--reader", reader_field.reader_path)
        assert (status, "GENUINE  Blue, can pay" in out) == (0, True), out
        reader_field.remove()
