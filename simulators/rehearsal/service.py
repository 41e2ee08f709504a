"""The interface of a rehearsal, on loopback: where the tills are, what can be rehearsed, and one value of it.

GET  /v1/rehearsal                      Programme
POST /v1/values/{name}                  RehearsalOrder, answered by Report
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import web

from simulators.control_http import LOOPBACK, json_answer, make_control_app
from simulators.demo.processes import Processes
from simulators.errors import NoSuchThing, ProcessFailed, SimulatorError
from simulators.rehearsal.player import Player
from simulators.rehearsal.stage import ACCESS_KEY, CASHIER_PIN, MANAGER_PIN, Casting, Stage, open_stage
from simulators.rehearsal.values import TestValues, load_values
from simulators.rehearsal.wording import say_steps
from wire.messages.base import Message, parse_message


@dataclass(frozen=True, slots=True)
class RehearsalSetup:
    """Options of `tapscan-sim rehearsal`."""

    port: int
    till_port: int
    deadline_s: int
    folder: Path | None
    """None is a temporary one, which goes at the end."""


class RehearsalOrder(Message, frozen=True, kw_only=True):
    """Rehearse a value."""

    hands_only: bool = False
    """Your own till software starts the sale; only what happens before the readers is done."""


class TillDoor(Message, frozen=True, kw_only=True):
    """Where till software reaches a till."""

    name: str
    url: str
    access_key: str = ""


class ValueLine(Message, frozen=True, kw_only=True):
    """A value in short."""

    name: str
    till: str
    steps: str
    event: str = ""
    status: int | None = None
    code: str = ""


class Programme(Message, frozen=True, kw_only=True):
    """What can be rehearsed, and where."""

    gateway_url: str
    manager_id: str
    manager_pin: str
    cashier_id: str
    cashier_pin: str
    tills: list[TillDoor]
    values: list[ValueLine]


async def run_rehearsal(
    setup: RehearsalSetup, write_line: Callable[[str], object], new_id: Callable[[], str]
) -> None:
    """Set the stage and serve until SIGTERM or SIGINT; no process is left behind.

    The first line written is one JSON object with the addresses; then come lines for a person.

    Args:
        new_id: makes a ULID never made before.

    Raises:
        SimulatorError: a process did not start, or the port is taken.
    """
    values, world = load_values()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    deaths: list[str] = []

    def report_death(text: str) -> None:
        deaths.append(text)
        stop.set()

    # The port first: that it is taken is said at once, and not after everything has started.
    with _listener(setup.port) as listener, _folder(setup.folder) as folder:
        processes = Processes(folder / "logs", report_death)
        casting = Casting(world, folder, setup.deadline_s, setup.till_port)
        try:
            async with (
                open_stage(casting, processes) as stage,
                serve(values, Player(stage, new_id), listener) as url,
            ):
                for line in _opening_lines(url, describe(stage, values)):
                    write_line(line)
                await stop.wait()
        finally:
            await processes.stop_all()
    if deaths:
        raise ProcessFailed("; ".join(deaths))


@contextlib.asynccontextmanager
async def serve(values: TestValues, player: Player, listener: socket.socket) -> AsyncIterator[str]:
    """Serve the interface on a bound socket, and yield the address it is reached at."""
    # A developer who loses patience ends the value with the request: the till is free for the next one.
    runner = web.AppRunner(_make_app(_Routes(values, player)), access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def _listener(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            raise SimulatorError(
                f"port {port} is taken, perhaps by another rehearsal: --port 0 takes any"
            ) from None
        yield listener


def describe(stage: Stage, values: TestValues) -> Programme:
    """Return what can be rehearsed on a stage."""
    staff = stage.ids.staff
    return Programme(
        gateway_url=stage.line.url,
        manager_id=staff["manager"],
        manager_pin=MANAGER_PIN,
        cashier_id=staff["cashier"],
        cashier_pin=CASHIER_PIN,
        tills=[
            TillDoor(name=till.name, url=till.url, access_key=ACCESS_KEY if till.has_key else "")
            for till in stage.tills.values()
        ],
        values=[
            ValueLine(
                name=value.name,
                till=value.till,
                steps=say_steps(value.steps),
                event=value.event or "",
                status=value.status,
                code=value.code,
            )
            for value in values.values
        ],
    )


def _opening_lines(url: str, programme: Programme) -> list[str]:
    tills = {till.name: till.url for till in programme.tills}
    addresses = {"rehearsal_url": url, "gateway_url": programme.gateway_url, "tills": tills}
    lines = [msgspec.json.encode(addresses).decode("ascii"), ""]
    for till in programme.tills:
        key = f", Authorization: Bearer {till.access_key}" if till.access_key else ""
        lines.append(f"{till.name:<15} {till.url}{key}")
    lines += [
        f"manager         {programme.manager_id}, PIN {programme.manager_pin}",
        f"cashier         {programme.cashier_id}, PIN {programme.cashier_pin}",
        "",
        f"{len(programme.values)} test values: tapscan-sim rehearse --list --at {url}",
        f"one of them:     tapscan-sim rehearse frozen-wallet --at {url}",
        "Ctrl-C ends it all.",
    ]
    return lines


class _Routes:
    def __init__(self, values: TestValues, player: Player) -> None:
        self._values = values
        self._player = player

    async def describe(self, _: web.Request) -> web.Response:
        return json_answer(describe(self._player.stage, self._values))

    async def rehearse(self, request: web.Request) -> web.Response:
        order = parse_message(await request.read() or b"{}", RehearsalOrder)
        name = request.match_info["name"]
        value = self._values.find(name)
        if value is None:
            raise NoSuchThing(f"there is no test value named {name}: tapscan-sim rehearse --list shows them")
        return json_answer(await self._player.rehearse(value, hands_only=order.hands_only))


def _make_app(routes: _Routes) -> web.Application:
    return make_control_app(
        [web.get("/v1/rehearsal", routes.describe), web.post("/v1/values/{name}", routes.rehearse)]
    )


@contextlib.contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    """Make the folder for database and logs; a temporary one goes again."""
    path = wanted.absolute() if wanted is not None else Path(tempfile.mkdtemp(prefix="tapscan-rehearsal-"))
    if wanted is not None and path.exists() and any(path.iterdir()):
        raise SimulatorError(f"{path} is not empty: name a new folder")
    (path / "logs").mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        if wanted is None:
            shutil.rmtree(path, ignore_errors=True)
