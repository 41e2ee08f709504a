"""A rehearsal's processes and registrations: a gateway, its tills, a world, and everybody in their state."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from simulators.demo.office import NewTerminal, Office
from simulators.demo.processes import Processes
from simulators.demo.product import enrol_till, start_gateway, start_till, start_world
from simulators.demo.stage import await_readers, register_instruments
from simulators.demo.till_client import TillClient
from simulators.errors import ProcessFailed
from simulators.networks.gateway_line import LOOPBACK, GatewayLine
from simulators.rehearsal.ears import TillEars
from simulators.rehearsal.values import WORLD_PATH
from simulators.world.client import WorldClient
from simulators.world.file import WorldFile
from simulators.world.messages import AllowanceOrder, Inventory

DATABASE_NAME: Final = "rehearsal.sqlite3"
ACCESS_KEY: Final = "rehearsal-till-2-key"
"""Of till-2, which asks for one; it opens nothing but a throw-away till."""
MANAGER_PIN: Final = "246810"
CASHIER_PIN: Final = "135790"
REFUND_LIMIT_MINOR: Final = {"till-1": 1_000_000, "till-2": 100}
TIP_MARGIN_BASIS_POINTS: Final = 2_000
AWAY: Final = "till-away"
"""Its gateway is nowhere to be found since the day it was enrolled."""
WITHDRAWN: Final = "till-withdrawn"
MISSING_CAMERA: Final = "camera:file:/nowhere/tapscan"
"""Configured at the till that is away, and not there."""

_WITH_KEY: Final = "till-2"
_SHOWS_CODES: Final = "till-2"
_OFFLINE: Final = frozenset({"till-offline", AWAY})
_TIERS: Final = (
    # Identity level, most of one payment, most of a day: each level is stopped by another of the two.
    ("anonymous", "30.00", "1000.00"),
    ("basic", "1000.00", "10.00"),
)


@dataclass(frozen=True, slots=True)
class Casting:
    """What a rehearsal is made from."""

    file: WorldFile
    folder: Path
    deadline_s: int
    """How long a holder may take to confirm, and how long a hold stands."""
    till_port: int = 0
    """Of the first till's interface, the next till having the next one; 0: any free ones."""


@dataclass(frozen=True, slots=True)
class Registered:
    """Ids the gateway gave, by the names of the world file."""

    merchant_id: str
    terminals: dict[str, NewTerminal]
    wallets: dict[str, str]
    instruments: dict[str, str]
    staff: dict[str, str]


@dataclass(slots=True)
class Stage:
    """Everything running."""

    casting: Casting
    line: GatewayLine
    world: WorldClient
    office: Office
    ids: Registered
    tills: dict[str, TillClient]
    ears: dict[str, TillEars]
    gateway_url: str
    pids: dict[str, int]
    """Of the tills' daemons."""
    devices_of: dict[str, list[str]] = field(default_factory=dict)
    """Fields and guns by till, as the world file has them."""

    def fill_disk(self, till: str, *, full: bool) -> None:
        """Let a till's daemon write to no file from now on, as on a full disk, or let it write again.

        The system refuses every byte that it adds to a file (RLIMIT_FSIZE, setrlimit(2)); pipes and sockets
        are no files.
        """
        _, most = resource.prlimit(self.pids[till], resource.RLIMIT_FSIZE)
        resource.prlimit(self.pids[till], resource.RLIMIT_FSIZE, (0 if full else most, most))

    @property
    def database_path(self) -> Path:
        """The gateway's SQLite file."""
        return self.casting.folder / DATABASE_NAME


@contextlib.asynccontextmanager
async def open_stage(casting: Casting, processes: Processes) -> AsyncIterator[Stage]:
    """Start everything, yield it, and end what is not a child process; those are the caller's to end.

    Raises:
        ProcessFailed: something did not start; the text says what and where its log is.
    """
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        line = await stack.enter_async_context(GatewayLine())
        office = Office(_write_gateway_config(casting, line.url), casting.file, processes)
        await office.migrate()
        gateway_url = await start_gateway(casting.folder / "gateway.toml", processes, http)
        line.lead_to(gateway_url)
        world = WorldClient(await start_world(WORLD_PATH, casting.file.seed, line.url, processes), http)
        inventory = await world.list_everything()
        ids = await _register(casting, office, inventory)
        await _enrol(casting, processes, line.url, ids)
        await _take_away(office, casting.file, world, ids)
        paths = {device.name: device.reader_path for device in inventory.devices}
        odd = [f"serial:{stack.enter_context(_scanner_in_use())}", MISSING_CAMERA]
        tills = await _start_tills(casting, processes, http, paths, {AWAY: odd})
        ears = {name: TillEars(till) for name, till in tills.items()}
        for one in ears.values():
            listening = asyncio.create_task(one.listen())
            stack.callback(listening.cancel)
        devices = {till.name: list(till.devices) for till in casting.file.tills}
        pids = {child.name: child.process.pid for child in processes.children if child.name in tills}
        yield Stage(casting, line, world, office, ids, tills, ears, gateway_url, pids, devices)


def _write_gateway_config(casting: Casting, public_url: str) -> Path:
    path = casting.folder / "gateway.toml"
    deadline_ms = casting.deadline_s * 1000
    path.write_text(
        f'[listen]\nhost = "{LOOPBACK}"\nport = 0\npublic_url = "{public_url}"\n\n'
        f'[storage]\ndatabase = "{DATABASE_NAME}"\nvault_key_file = "vault.key"\n\n'
        f"[deadlines]\nconfirm_ms = {deadline_ms}\ncapture_ms = {deadline_ms}\nsweep_ms = 200\n\n"
        # Above 100.00 every till is new here, so its holder is asked.
        "[risk]\nnew_terminal_hours = 720\npayments_per_window_max = 40\n\n"
        "[offline]\nenabled = true\nallowance_units_max = 1000\nfloor_units = 20\ndevice_total_units = 25\n"
        "stored_sum_units = 30\nlist_refresh_ms = 1000\n\n"
        '[logging]\nformat = "json"\n',
        encoding="utf-8",
    )
    return path


async def _register(casting: Casting, office: Office, inventory: Inventory) -> Registered:
    """Register the shop, its people, and everybody who pays; each in the state the world file says."""
    file = casting.file
    merchant_id = await office.add_merchant(file.shop)
    location_id = await office.add_location(merchant_id, file.shop)
    terminals = {till.name: await office.add_terminal(merchant_id, location_id) for till in file.tills}
    for name, minor in REFUND_LIMIT_MINOR.items():
        await office.run("limit", "refunds", terminals[name].terminal_id, str(minor))
    await office.run("limit", "tips", merchant_id, str(TIP_MARGIN_BASIS_POINTS))
    for level, per_payment, per_day in _TIERS:
        await office.run(
            *("tier", "set", file.currency, level, "--confirm-above", "500.00", "--pin-max", "500.00"),
            *("--per-payment", per_payment, "--per-day", per_day),
        )
    staff = {
        "manager": await _add_staff(office, merchant_id, "Mira Manager", "manager", MANAGER_PIN),
        "cashier": await _add_staff(office, merchant_id, "Carl Cashier", "cashier", CASHIER_PIN),
    }
    if file.ntag_cards:
        await office.add_card_keys(inventory.card_keys, casting.folder)
    wallets = {wallet.name: await office.add_wallet(wallet) for wallet in file.wallets}
    instruments = await register_instruments(office, file, inventory, wallets)
    return Registered(merchant_id, terminals, wallets, instruments, staff)


async def _add_staff(office: Office, merchant_id: str, name: str, role: str, pin: str) -> str:
    output = await office.run(
        *("staff", "add", "--merchant", merchant_id, "--name", name),
        *("--role", role, "--pin", pin, "--json"),
    )
    return str(msgspec.json.decode(output)["staff_id"])


async def _enrol(casting: Casting, processes: Processes, gateway_url: str, ids: Registered) -> None:
    async def enrol(name: str) -> None:
        config = _write_till_config(casting, name, [], 0)
        await enrol_till(name, config, gateway_url, ids.terminals[name].enrolment_code, processes)

    await asyncio.gather(*(enrol(till.name) for till in casting.file.tills))


async def _take_away(office: Office, file: WorldFile, world: WorldClient, ids: Registered) -> None:
    """Set allowances aside, then suspend and withdraw what the world file and this rehearsal say is."""
    for entry in file.instruments:
        if entry.allowance is not None:
            minor = file.money(entry.allowance).minor
            await world.set_allowance(entry.name, AllowanceOrder(amount_minor=minor))
    for entry in file.instruments:
        if entry.suspended:
            await office.suspend_instrument(ids.instruments[entry.name])
    await office.run("terminal", "revoke", ids.terminals[WITHDRAWN].terminal_id)


async def _start_tills(
    casting: Casting,
    processes: Processes,
    http: aiohttp.ClientSession,
    paths: dict[str, str],
    odd_paths: dict[str, list[str]],
) -> dict[str, TillClient]:
    off = [name for name, path in paths.items() if not path]
    if off:
        raise ProcessFailed(f"devices of the world are off: {', '.join(off)}; see the world's log")

    async def start(number: int, name: str, devices: list[str]) -> TillClient:
        port = casting.till_port + number if casting.till_port else 0
        own = [paths[device] for device in devices]
        config = _write_till_config(casting, name, own + odd_paths.get(name, []), port)
        key = ACCESS_KEY if name == _WITH_KEY else None
        till = await start_till(name, config, processes, http, access_key=key, merged=True)
        if name not in odd_paths:
            await await_readers(till)
        return till

    starting = (start(number, till.name, till.devices) for number, till in enumerate(casting.file.tills))
    return {till.name: till for till in await asyncio.gather(*starting)}


def _write_till_config(casting: Casting, name: str, reader_paths: list[str], port: int) -> Path:
    path = casting.folder / f"{name}.toml"
    devices = "".join(f"    {msgspec.json.encode(reader).decode()},\n" for reader in reader_paths)
    away = f'url = "http://{LOOPBACK}:{_dead_port()}"\n' if name == AWAY and reader_paths else ""
    key = f'access_key = "{ACCESS_KEY}"\n' if name == _WITH_KEY else ""
    path.write_text(
        f'data_folder = "{name}"\ndevices = [\n{devices}]\n\n'
        f"[gateway]\n{away}connect_timeout_ms = 1000\ntry_timeout_ms = 1000\nretry_delay_ms = 100\n"
        "retry_delay_ms_max = 500\nevent_poll_ms = 500\nevent_poll_ms_max = 1000\n\n"
        f"[till_api]\nport = {port}\n{key}\n"
        # A gateway that is silent is called so after two seconds: nobody rehearses for twenty.
        "[sale]\nanswer_deadline_ms = 2000\n\n"
        "[resolver]\nretry_delay_ms = 200\nretry_delay_ms_max = 1000\n\n"
        f"[codes]\nenabled = {str(name == _SHOWS_CODES).lower()}\n\n"
        f"[offline]\nenabled = {str(name in _OFFLINE).lower()}\nbad_exchanges_to_leave = 1\n"
        "good_exchanges_to_return = 1\nprobe_interval_ms = 100\nsync_interval_ms = 500\n"
        "upload_retry_delay_ms = 100\nupload_retry_delay_ms_max = 500\n\n"
        '[logging]\nformat = "json"\n',
        encoding="utf-8",
    )
    return path


@contextlib.contextmanager
def _scanner_in_use() -> Iterator[str]:
    """Yield the path of a serial line that another program, this one, holds for itself."""
    far, near = os.openpty()
    try:
        # As pyserial does with `exclusive`: whoever comes second is refused.
        fcntl.flock(near, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield os.ttyname(near)
    finally:
        os.close(near)
        os.close(far)


def _dead_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])
