"""Every fault that can be ordered, as the terminal's own drivers meet it, and what can't be ordered."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import pytest
from typer.testing import CliRunner

from simulators import errors
from simulators.cli import app
from simulators.errors import FaultImpossible, NoSuchThing, ProcessFailed
from simulators.fault_commands import order_fault
from simulators.faults.catalogue import CATALOGUE, DeviceFault, dump_catalogue, faults_of, find_entry
from simulators.fields.private_pcscd import PrivatePcscd, find_missing
from simulators.world.client import WorldClient
from simulators.world.control import serve_control
from simulators.world.file import WorldFile, check_world
from simulators.world.messages import CodeOrder, FaultOrder, PresentOrder, ShowOrder
from simulators.world.world import Surroundings, World
from terminal.devices.paths import make_device
from terminal.errors import CardRemoved, PresentationRefused, ReaderUnavailable
from terminal.readers.card_reader import CardConnection, CardReader
from terminal.scanners.code_scanner import CodeScanner
from tests.simulators.world.bench import NOW_MS, make_terms, path_of
from wire import es256
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_application import SELECT_APPLICATION
from wire.cards.presentation_dialogue import OfflineTap, read_presentation
from wire.codes.scanned import recognise
from wire.errors import CardError, TokenError
from wire.messages.payments import NfcAppPresentation, Presentation
from wire.tokens.nfc_token import verify_nfc_token
from wire.tokens.sign1 import parse_sign1

ROOT = Path(__file__).parents[3]
NOTICE_S_MAX = 6.0
"""Far more than any driver needs to notice a fault."""
T = TypeVar("T")
KINDS = {"radio": "udp", "chip": "pn532", "slot": "vpcd", "camera": "screen", "gun": "gun"}
DEVICE_OF = {kind: name for name, kind in KINDS.items()}
needs_pcscd = pytest.mark.skipif(bool(find_missing()), reason="no private pcscd on this machine")
FIELDS = ["radio", "chip", pytest.param("slot", marks=[pytest.mark.pcsc, needs_pcscd])]


def make_file() -> WorldFile:
    owned = [{"name": name, "wallet": "w"} for name in ("one", "two")]
    text: dict[str, Any] = {
        "seed": 11,
        "currency": "EUR",
        "shop": {"name": "Shop", "location": "Here"},
        "tills": [{"name": "till", "devices": list(KINDS)}],
        "fields": [{"name": name, "kind": KINDS[name]} for name in ("radio", "chip", "slot")],
        "screens": [{"name": "camera"}],
        "guns": [{"name": "gun"}],
        "wallets": [{"name": "w", "holder": "Ana", "funds": "1"}],
        "applet_cards": owned,
        "phones": [{"name": name, "wallet": "w"} for name in ("phone", "other-phone")],
        "uid_tags": [{"name": "tag"}],
    }
    return check_world(msgspec.convert(text, WorldFile))


@pytest.fixture(scope="module")
def pcscd() -> Iterator[PrivatePcscd | None]:
    if find_missing():
        yield None
        return
    # libpcsclite reads the variable once per process: every module here gives the same folder.
    folder = Path(tempfile.gettempdir()) / f"tapscan-test-pcsc-{os.getpid()}"
    with PrivatePcscd(("Faults",), socket_folder=folder) as started:
        os.environ.update(started.environment)
        yield started


@pytest.fixture
async def world(pcscd: PrivatePcscd | None) -> AsyncIterator[World]:
    slots = () if pcscd is None else pcscd.slots
    made = World(make_file(), Surroundings(lambda: NOW_MS, bytes, slots, None, pcscd))
    await made.start()
    yield made
    await made.stop()


class Bench:
    """One open driver, asked from a thread as its owner would."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.device: Any = make_device(path_of(world, name))

    async def __aenter__(self) -> Bench:
        await self.reopened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.device.close)

    async def fault(self, fault: DeviceFault, **options: Any) -> None:
        await self.world.fault(self.name, FaultOrder(fault=fault, **options))

    async def mend(self) -> None:
        await self.world.mend(self.name)

    async def ask(self, use: Callable[[], T]) -> T:
        return await asyncio.to_thread(use)

    async def failure(self) -> ReaderUnavailable:
        return await self.ask(lambda: _await_failure(self.device))

    async def reopened(self) -> None:
        await self.ask(lambda: _open_again(self.device))

    async def tap(self, thing: str) -> str:
        """Tap a sound card, and return whose key signed."""
        await asyncio.to_thread(self.world.present, self.name, PresentOrder(thing=thing))
        signer = await self.ask(lambda: _signer(self.world, self.device))
        await asyncio.to_thread(self.world.remove, self.name)
        return signer


def _await_failure(device: CardReader | CodeScanner) -> ReaderUnavailable:
    deadline = time.monotonic() + NOTICE_S_MAX
    while time.monotonic() < deadline:
        try:
            if hasattr(device, "wait_for_card"):
                device.wait_for_card(100)
            else:
                device.wait_for_code(100)
        except ReaderUnavailable as failure:
            return failure
        except PresentationRefused:
            continue
    pytest.fail("the driver never noticed")


def _open_again(device: CardReader | CodeScanner) -> None:
    deadline = time.monotonic() + NOTICE_S_MAX
    while True:
        try:
            device.open()
            return
        except ReaderUnavailable:
            assert time.monotonic() < deadline, "it never opened again"


def _meet(device: CardReader) -> CardConnection:
    deadline = time.monotonic() + NOTICE_S_MAX
    while time.monotonic() < deadline:
        connection = device.wait_for_card(200)
        if connection is not None:
            return connection
    pytest.fail("no card came")


def _signer(world: World, device: CardReader) -> str:
    """Hold the dialogue with the card that is there, and return the thing whose key signed."""
    read = _read(device)
    assert isinstance(read, NfcAppPresentation)
    for view in world.list_everything().things:
        if not view.public_key_hex:
            continue
        try:
            verify_nfc_token(
                parse_sign1(read.token), es256.load_public_key(bytes.fromhex(view.public_key_hex))
            )
        except TokenError:
            continue
        return view.name
    pytest.fail("nobody of this world signed")


def _read(device: CardReader) -> Presentation:
    """Read the card that lies there; pcscd may notice only at the first command that it is another one."""
    for _ in range(3):
        try:
            connection = _meet(device)
        except ReaderUnavailable:
            # A PN532 has 100 ms to acknowledge, which a loaded machine's simulator may miss.
            _open_again(device)
            continue
        try:
            read = hold_dialogue(read_presentation(make_terms), connection.transmit)
            assert not isinstance(read, OfflineTap)
            return read
        except CardRemoved:
            continue
        finally:
            connection.close()
    pytest.fail("it was never read")


def _read_in_vain(device: CardReader) -> str:
    """Hold the dialogue with a faulty card, and return the code of what came of it."""
    connection = _meet(device)
    try:
        hold_dialogue(read_presentation(make_terms), connection.transmit)
    except (CardRemoved, PresentationRefused, CardError) as refusal:
        return refusal.code
    finally:
        connection.close()
    pytest.fail("it was read")


# --- devices -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault", "code"),
    [
        ("chip", DeviceFault.UNPLUG, "reader_unplugged"),
        ("camera", DeviceFault.UNPLUG, "reader_unplugged"),
        ("gun", DeviceFault.UNPLUG, "reader_unplugged"),
        ("chip", DeviceFault.HANG, "reader_unplugged"),
        ("camera", DeviceFault.STALL, "camera_no_pictures"),
        pytest.param(
            "slot", DeviceFault.SERVICE_DOWN, "reader_service_down", marks=[pytest.mark.pcsc, needs_pcscd]
        ),
    ],
)
async def test_broken_device_is_noticed_with_its_condition_and_opens_again_under_its_name(
    world: World, name: str, fault: DeviceFault, code: str
) -> None:
    async with Bench(world, name) as bench:
        await bench.fault(fault, ms=0)
        assert (await bench.failure()).code == code
        await bench.mend()
        await bench.reopened()
        if name in ("chip", "slot"):
            assert await bench.tap("one") == "one"


async def test_fault_with_a_time_ends_by_itself(world: World) -> None:
    async with Bench(world, "chip") as bench:
        await bench.fault(DeviceFault.UNPLUG, ms=300)
        await bench.failure()
        await bench.reopened()
        assert await bench.tap("one") == "one"


@pytest.mark.pcsc
@needs_pcscd
async def test_restarted_service_is_noticed_and_the_reader_opens_again(world: World) -> None:
    async with Bench(world, "slot") as bench:
        await bench.fault(DeviceFault.SERVICE_RESTART)
        assert (await bench.failure()).code == "reader_service_down"
        await bench.reopened()
        assert await bench.tap("one") == "one"


async def test_noise_costs_an_opening_at_most(world: World) -> None:
    async with Bench(world, "chip") as bench:
        await bench.fault(DeviceFault.NOISE, count=64)
        try:
            await bench.ask(lambda: bench.device.wait_for_card(200))
        except ReaderUnavailable:
            await bench.reopened()
        assert await bench.tap("one") == "one"


# --- cards ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(
    ("fault", "options", "codes"),
    [
        (DeviceFault.TEAR, {"at": 2}, {"card_removed"}),
        (DeviceFault.GARBAGE, {"at": 1}, {"card_answer_invalid", "card_removed", "card_not_supported"}),
        (DeviceFault.MUTE, {"at": 1, "ms": 1_000}, {"card_removed", "card_answer_invalid"}),
    ],
)
async def test_faulty_card_is_read_in_vain_and_the_next_one_pays(
    world: World, name: str, fault: DeviceFault, options: dict[str, int], codes: set[str]
) -> None:
    async with Bench(world, name) as bench:
        await bench.fault(fault, thing="one", **options)
        assert await bench.ask(lambda: _read_in_vain(bench.device)) in codes
        await bench.mend()
        assert await bench.tap("two") == "two"


@pytest.mark.parametrize("name", FIELDS)
async def test_slow_card_is_waited_for(world: World, name: str) -> None:
    async with Bench(world, name) as bench:
        await bench.fault(DeviceFault.SLOW, thing="one", ms=400)
        assert await bench.ask(lambda: _signer(world, bench.device)) == "one"
        await bench.mend()


@pytest.mark.parametrize("name", FIELDS)
async def test_card_swapped_inside_a_look_never_answers_for_the_first(world: World, name: str) -> None:
    async with Bench(world, name) as bench:
        await bench.fault(DeviceFault.SWAP, thing="one", other="two", at=2)
        connection = await bench.ask(lambda: _meet(bench.device))
        with pytest.raises(CardRemoved):
            await bench.ask(lambda: hold_dialogue(read_presentation(make_terms), connection.transmit))
        # The other card lies there by now; over the old connection it is never reached.
        for _ in range(4):
            with pytest.raises(CardRemoved):
                await bench.ask(lambda: connection.transmit(SELECT_APPLICATION.encode()))
        await bench.ask(connection.close)
        assert await bench.ask(lambda: _signer(world, bench.device)) == "two"
        await bench.mend()


@pytest.mark.parametrize("name", FIELDS)
async def test_odd_card_is_refused_and_the_next_one_pays(world: World, name: str) -> None:
    async with Bench(world, name) as bench:
        await bench.fault(DeviceFault.ODD_CARD, thing="one")
        with pytest.raises(PresentationRefused) as refusal:
            await bench.ask(lambda: _meet(bench.device))
        assert refusal.value.code == "card_not_supported"
        await bench.mend()
        assert await bench.tap("two") == "two"


async def test_two_cards_are_refused(world: World) -> None:
    async with Bench(world, "chip") as bench:
        await bench.fault(DeviceFault.TWO_CARDS, thing="one", other="two")
        with pytest.raises(PresentationRefused) as refusal:
            await bench.ask(lambda: _meet(bench.device))
        assert refusal.value.code == "card_changed"
        await bench.mend()
        assert await bench.tap("two") == "two"


async def test_tap_shorter_than_a_look_is_nothing_a_removal_or_read_in_full(world: World) -> None:
    async with Bench(world, "radio") as bench:
        for ms in (1, 2, 4, 8):
            await bench.fault(DeviceFault.BRIEF, thing="one", ms=ms)
            connection = await bench.ask(lambda: bench.device.wait_for_card(100))
            if connection is not None:
                with contextlib.suppress(CardRemoved):
                    await bench.ask(
                        partial(hold_dialogue, read_presentation(make_terms), connection.transmit)
                    )
                await bench.ask(connection.close)
            await bench.mend()
        assert await bench.tap("two") == "two"


async def test_sound_card_takes_the_place_of_a_silent_one(world: World) -> None:
    async with Bench(world, "radio") as bench:
        await bench.fault(DeviceFault.MUTE, thing="one", at=1, ms=400)
        assert await bench.tap("two") == "two"
        await asyncio.to_thread(world.present, "radio", PresentOrder(thing="two"))
        # The silent one's time is over meanwhile; it must not take this one away.
        await asyncio.sleep(0.5)
        assert await bench.ask(lambda: _signer(world, bench.device)) == "two"


# --- codes ---------------------------------------------------------------------------------------------


async def test_flood_shows_many_codes(world: World) -> None:
    async with Bench(world, "camera") as bench:
        await bench.fault(DeviceFault.FLOOD, thing="phone", count=10)
        seen = {await bench.ask(lambda: bench.device.wait_for_code(1_000)) for _ in range(6)}
        assert len(seen - {None}) >= 3
        await bench.mend()


async def test_two_codes_are_both_seen(world: World) -> None:
    async with Bench(world, "camera") as bench:
        await bench.fault(DeviceFault.TWO_CODES, thing="phone", other="other-phone")
        seen = {await bench.ask(lambda: bench.device.wait_for_code(1_000)) for _ in range(6)}
        assert len(seen - {None}) == 2
        await bench.mend()


async def test_broken_pictures_hold_no_code_and_whole_ones_do(world: World) -> None:
    async with Bench(world, "camera") as bench:
        await bench.fault(DeviceFault.BROKEN_PICTURE, ms=0)
        await world.show("camera", ShowOrder(code=CodeOrder(phone="phone")))
        with contextlib.suppress(ReaderUnavailable):
            assert await bench.ask(lambda: bench.device.wait_for_code(500)) is None
        await bench.mend()
        await bench.reopened()
        text = await bench.ask(lambda: bench.device.wait_for_code(3_000))
        assert text is not None
        assert recognise(text)


@pytest.mark.parametrize("fault", [DeviceFault.HALF, DeviceFault.NO_SUFFIX])
async def test_scan_that_never_ends_is_refused_and_the_next_one_is_read(
    world: World, fault: DeviceFault
) -> None:
    async with Bench(world, "gun") as bench:
        await bench.fault(fault, thing="phone")
        with pytest.raises(PresentationRefused) as refusal:
            await bench.ask(lambda: bench.device.wait_for_code(2_000))
        assert refusal.value.code == "code_incomplete"
        await bench.fault(DeviceFault.BURST, thing="phone", count=1)
        text = await bench.ask(lambda: bench.device.wait_for_code(2_000))
        assert text is not None
        assert recognise(text)


async def test_burst_is_so_many_codes(world: World) -> None:
    async with Bench(world, "gun") as bench:
        await bench.fault(DeviceFault.BURST, thing="phone", count=5)
        seen = {await bench.ask(lambda: bench.device.wait_for_code(500)) for _ in range(5)}
        assert len(seen - {None}) == 5


# --- orders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "order", "kind", "complaint"),
    [
        ("nowhere", FaultOrder(fault=DeviceFault.UNPLUG), NoSuchThing, "nowhere"),
        ("radio", FaultOrder(fault=DeviceFault.UNPLUG), FaultImpossible, "a udp can't unplug: .*pn532"),
        ("radio", FaultOrder(fault=DeviceFault.TEAR), FaultImpossible, "needs --thing"),
        ("radio", FaultOrder(fault=DeviceFault.SWAP, thing="one"), FaultImpossible, "needs --other"),
        ("radio", FaultOrder(fault=DeviceFault.TEAR, thing="tag"), FaultImpossible, "plain tag"),
        ("radio", FaultOrder(fault=DeviceFault.TEAR, thing="nobody"), NoSuchThing, "nobody"),
        ("gun", FaultOrder(fault=DeviceFault.HALF, thing="phone", ms=5), FaultImpossible, "knows no --ms"),
    ],
)
async def test_order_that_makes_no_sense_is_refused_with_its_reason(
    world: World, device: str, order: FaultOrder, kind: type[errors.SimulatorError], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        await world.fault(device, order)


@pytest.mark.pcsc
@needs_pcscd
async def test_service_of_the_machine_is_left_alone(pcscd: PrivatePcscd) -> None:
    world = World(make_file(), Surroundings(lambda: NOW_MS, bytes, pcscd.slots))
    await world.start()
    with pytest.raises(FaultImpossible, match="--pcscd"):
        await world.fault("slot", FaultOrder(fault=DeviceFault.SERVICE_RESTART))
    await world.stop()


async def test_command_orders_and_mends_over_the_control_interface(world: World) -> None:
    async with serve_control(world) as url, Bench(world, "chip") as bench:
        await order_fault(url, "unplug", "chip", {"ms": 0, "thing": None})
        await bench.failure()
        await order_fault(url, "mend", "chip", {})
        await bench.reopened()
        with pytest.raises(FaultImpossible, match="no fault named explode"):
            await order_fault(url, "explode", "chip", {})
        with pytest.raises(FaultImpossible, match="at"):
            await order_fault(url, "tear", "chip", {"thing": "one", "at": 0})
        with pytest.raises(ProcessFailed, match=r"fault_impossible: .*needs --thing"):
            await order_fault(url, "tear", "chip", {})
        with pytest.raises(ProcessFailed, match="not_found"):
            await order_fault(url, "mend", "nowhere", {})
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ProcessFailed):
            await WorldClient(url, session).mend("chip")


def test_list_names_every_fault_with_a_line() -> None:
    shown = CliRunner().invoke(app, ["fault", "list"])
    assert shown.exit_code == 0
    for entry in CATALOGUE:
        assert f"{entry.fault} " in shown.stdout
        assert entry.text in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"), [(["tear"], "which device"), (["tear", "chip"], "which world")]
)
def test_command_says_what_it_lacks(arguments: list[str], complaint: str) -> None:
    with pytest.raises(errors.SimulatorError, match=complaint):
        CliRunner().invoke(app, ["fault", *arguments], catch_exceptions=False, env={"TAPSCAN_WORLD": ""})


def test_every_fault_has_an_entry_and_every_device_some_fault() -> None:
    assert [find_entry(fault).fault for fault in DeviceFault] == [entry.fault for entry in CATALOGUE]
    for kind in DEVICE_OF:
        assert faults_of(kind)


def test_page_holds_the_catalogue_as_it_is() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert dump_catalogue() in page, "put the table of simulators.faults.catalogue.dump_catalogue() there"
