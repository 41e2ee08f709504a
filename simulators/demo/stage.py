"""The demo's stage: every process started and known to every other, and all of them ended again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from simulators.demo.board import Board
from simulators.demo.checkout import Checkout
from simulators.demo.office import Office
from simulators.demo.processes import Processes
from simulators.demo.product import enrol_till, start_gateway, start_till, start_world
from simulators.demo.till_client import TillClient
from simulators.errors import ProcessFailed
from simulators.fields.private_pcscd import PcscdUnavailable, PrivatePcscd
from simulators.world.client import WorldClient
from simulators.world.file import FieldKind, WorldFile
from simulators.world.messages import Inventory
from wire.messages.till import ReaderState

DATABASE_NAME: Final = "tapscan.sqlite3"
READERS_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.1
CATALOGUE: Final = Path(__file__).with_name("catalogue.toml")
"""Quick items of the tills' pages."""


@dataclass(frozen=True, slots=True)
class Casting:
    """What the stage is set from."""

    file: WorldFile
    world_path: Path
    folder: Path


@dataclass(slots=True)
class Stage:
    """Everything running."""

    file: WorldFile
    world: WorldClient
    office: Office
    checkouts: dict[str, Checkout]
    """By till."""
    wallet_ids: dict[str, str]
    """By the wallet's name in the world file."""
    devices_off: dict[str, str]
    """Why a device is not there, by its name."""


@contextlib.asynccontextmanager
async def open_stage(casting: Casting, processes: Processes, board: Board) -> AsyncIterator[Stage]:
    """Start everything, yield it, and end what is not a child process; those are the caller's to end.

    Raises:
        ProcessFailed: something indispensable did not start; the text says what and where its log is.
    """
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        pcscd = await stack.enter_async_context(_private_pcscd(casting.file, board))
        office = Office(_write_gateway_config(casting.folder), casting.file, processes)
        await office.migrate()
        gateway_url = await start_gateway(casting.folder / "gateway.toml", processes, session)
        board.say(f"gateway: {gateway_url}")
        # Every virtual reader brings two slots; a card lies in the first of each.
        slots = pcscd.slots[::2] if pcscd is not None else ()
        control_url = await start_world(casting.world_path, casting.file.seed, gateway_url, processes, slots)
        world = WorldClient(control_url, session)
        inventory = await world.list_everything()
        wallet_ids, codes = await _register(casting, office, inventory)
        tills = await _start_tills(casting, processes, session, _Doors(gateway_url, codes, inventory, pcscd))
        stack.enter_context(_watching(tills))
        devices_off = await _find_devices_off(inventory, tills)
        for name, reason in sorted(devices_off.items()):
            board.say(f"{name} is OFF: {reason}")
        checkouts = {name: Checkout(till, world, casting.file) for name, till in tills.items()}
        yield Stage(casting.file, world, office, checkouts, wallet_ids, devices_off)


@dataclass(frozen=True, slots=True)
class _Doors:
    """What a till must know to start."""

    gateway_url: str
    enrolment_codes: dict[str, str]
    inventory: Inventory
    pcscd: PrivatePcscd | None

    def reader_paths(self, devices: list[str]) -> list[str]:
        """Return the paths of those devices that are on, in their order."""
        paths = {device.name: device.reader_path for device in self.inventory.devices}
        return [paths[name] for name in devices if paths.get(name)]

    @property
    def environment(self) -> dict[str, str]:
        """What leads a daemon to the private pcscd."""
        return dict(self.pcscd.environment) if self.pcscd is not None else {}


@contextlib.asynccontextmanager
async def _private_pcscd(file: WorldFile, board: Board) -> AsyncIterator[PrivatePcscd | None]:
    """Run a pcscd with a virtual reader for each field of that kind, where this machine allows it."""
    names = [f"Tapscan {entry.name}" for entry in file.fields if entry.kind is FieldKind.VPCD]
    if not names:
        yield None
        return
    pcscd: PrivatePcscd | None = PrivatePcscd(names)
    try:
        assert pcscd is not None
        await asyncio.to_thread(pcscd.start)
    except PcscdUnavailable as error:
        board.say(f"PC/SC is OFF: {error}")
        pcscd = None
    try:
        yield pcscd
    finally:
        if pcscd is not None:
            await asyncio.to_thread(pcscd.stop)


def _write_gateway_config(folder: Path) -> Path:
    path = folder / "gateway.toml"
    path.write_text(
        '[listen]\nhost = "127.0.0.1"\nport = 0\n\n'
        f'[storage]\ndatabase = "{DATABASE_NAME}"\nvault_key_file = "vault.key"\n\n'
        # A handful of people pay again and again, as nobody does in a shop.
        "[risk]\npayments_per_window_max = 0\n\n"
        '[logging]\nformat = "json"\n',
        encoding="utf-8",
    )
    return path


async def _register(
    casting: Casting, office: Office, inventory: Inventory
) -> tuple[dict[str, str], dict[str, str]]:
    """Register shop, people and things; return wallet ids by wallet and enrolment codes by till."""
    file = casting.file
    merchant_id = await office.add_merchant(file.shop)
    location_id = await office.add_location(merchant_id, file.shop)
    codes = {
        till.name: (await office.add_terminal(merchant_id, location_id)).enrolment_code for till in file.tills
    }
    if file.ntag_cards:
        await office.add_card_keys(inventory.card_keys, casting.folder)
    wallet_ids = {wallet.name: await office.add_wallet(wallet) for wallet in file.wallets}
    await register_instruments(office, file, inventory, wallet_ids)
    return wallet_ids, codes


async def register_instruments(
    office: Office, file: WorldFile, inventory: Inventory, wallet_ids: dict[str, str]
) -> dict[str, str]:
    """Register everything that can pay, and return the instruments' ids by name; none is suspended yet."""
    things = {thing.name: thing for thing in inventory.things}
    return {
        entry.name: await office.add_instrument(entry, things[entry.name], wallet_ids[entry.wallet])
        for entry in file.instruments
        if entry.registered
    }


async def _start_tills(
    casting: Casting, processes: Processes, session: aiohttp.ClientSession, doors: _Doors
) -> dict[str, TillClient]:
    async def start(name: str, devices: list[str]) -> TillClient:
        config = _write_till_config(casting.folder, name, doors.reader_paths(devices))
        await enrol_till(name, config, doors.gateway_url, doors.enrolment_codes[name], processes)
        return await start_till(name, config, processes, session, doors.environment)

    tills = await asyncio.gather(*(start(till.name, till.devices) for till in casting.file.tills))
    return {till.name: till for till in tills}


def _write_till_config(folder: Path, name: str, reader_paths: list[str]) -> Path:
    path = folder / f"{name}.toml"
    devices = "".join(f"    {msgspec.json.encode(reader).decode()},\n" for reader in reader_paths)
    path.write_text(
        f'data_folder = "{name}"\ndevices = [\n{devices}]\n\n'
        "[till_api]\nport = 0\n\n"
        f"[till_page]\ncatalogue = {msgspec.json.encode(str(CATALOGUE)).decode()}\n\n"
        '[logging]\nformat = "json"\n',
        encoding="utf-8",
    )
    return path


@contextlib.contextmanager
def _watching(tills: dict[str, TillClient]) -> Iterator[None]:
    """Keep reading every till's events."""
    tasks = [asyncio.create_task(till.watch()) for till in tills.values()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def _find_devices_off(inventory: Inventory, tills: dict[str, TillClient]) -> dict[str, str]:
    """Wait until every reader has made up its mind, and return the devices that are off, with reasons."""
    off = {device.name: device.off_reason for device in inventory.devices if device.off_reason}
    for till in tills.values():
        for path, reason in (await await_readers(till)).items():
            name = next((device.name for device in inventory.devices if device.reader_path == path), path)
            off[name] = reason
    return off


async def await_readers(till: TillClient) -> dict[str, str]:
    """Return the paths of a till's readers that are off on this machine.

    Raises:
        ProcessFailed: a reader that should work does not.
    """
    undecided: list[str] = []
    deadline = asyncio.get_running_loop().time() + READERS_TIMEOUT_S
    while asyncio.get_running_loop().time() < deadline:
        readers = (await till.find_daemon()).readers
        undecided = [
            f"{reader.path} {reader.state}: {reader.reason}"
            for reader in readers
            if reader.state in (ReaderState.STARTING, ReaderState.FAULTY)
        ]
        if not undecided:
            return {reader.path: reader.reason for reader in readers if reader.state is ReaderState.OFF}
        await asyncio.sleep(POLL_S)
    raise ProcessFailed(f"{till.name}: readers did not come up: {'; '.join(undecided)}")
