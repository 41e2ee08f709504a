"""The control interface of a world: JSON over HTTP, on loopback only.

    GET  /v1/world                      Inventory
    POST /v1/fields/{name}/present      PresentOrder
    POST /v1/fields/{name}/remove
    POST /v1/screens/{name}/show        ShowOrder
    POST /v1/screens/{name}/blank
    POST /v1/guns/{name}/scan           ScanOrder
    POST /v1/things/{name}/clone        CloneOrder
    POST /v1/devices/{name}/fault       FaultOrder
    POST /v1/devices/{name}/mend
    POST /v1/things/{name}/allowance    AllowanceOrder
    POST /v1/phones/{name}/decide       DecisionOrder, answered by Decided
    POST /v1/phones/{name}/pay          PayOrder

Orders answer `Done`; what goes wrong is a problem document with the error's code.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from simulators.control_http import LOOPBACK, json_answer, make_control_app
from simulators.world.file import WorldFile
from simulators.world.messages import (
    AllowanceOrder,
    CloneOrder,
    DecisionOrder,
    Done,
    FaultOrder,
    PayOrder,
    PresentOrder,
    ScanOrder,
    ShowOrder,
)
from simulators.world.world import Surroundings, World
from wire.messages.base import parse_message


@asynccontextmanager
async def serve_control(world: World, port: int = 0) -> AsyncIterator[str]:
    """Serve a started world and yield the address it is reached at.

    Args:
        port: 0 takes any free one.
    """
    runner = web.AppRunner(_make_app(world), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        await site.start()
        bound: int = runner.addresses[0][1]
        yield f"http://{LOOPBACK}:{bound}"
    finally:
        await runner.cleanup()


async def run_world(
    file: WorldFile, surroundings: Surroundings, port: int, write_line: Callable[[str], object]
) -> None:
    """Run a world until SIGTERM or SIGINT.

    The first line written is `{"control_url": …, "environment": {…}}`; then come the reader paths, for a
    person.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    world = World(file, surroundings)
    try:
        await world.start()
        async with serve_control(world, port) as url:
            first = {"control_url": url, "environment": world.list_everything().environment}
            write_line(msgspec.json.encode(first).decode("ascii"))
            for device in world.list_everything().devices:
                write_line(f"{device.name}: {device.reader_path or 'off, ' + device.off_reason}")
            await stop.wait()
    finally:
        await world.stop()


def _make_app(world: World) -> web.Application:
    """Return the application that carries out orders in `world`."""
    routes = _Routes(world)
    return make_control_app(
        [
            web.get("/v1/world", routes.list_everything),
            web.post("/v1/fields/{name}/present", routes.present),
            web.post("/v1/fields/{name}/remove", routes.remove),
            web.post("/v1/screens/{name}/show", routes.show),
            web.post("/v1/screens/{name}/blank", routes.blank),
            web.post("/v1/guns/{name}/scan", routes.scan),
            web.post("/v1/things/{name}/clone", routes.clone),
            web.post("/v1/devices/{name}/fault", routes.fault),
            web.post("/v1/devices/{name}/mend", routes.mend),
            web.post("/v1/things/{name}/allowance", routes.set_allowance),
            web.post("/v1/phones/{name}/decide", routes.decide),
            web.post("/v1/phones/{name}/pay", routes.pay),
        ]
    )


class _Routes:
    def __init__(self, world: World) -> None:
        self._world = world

    async def list_everything(self, request: web.Request) -> web.Response:
        return json_answer(self._world.list_everything())

    async def present(self, request: web.Request) -> web.Response:
        self._world.present(_name(request), parse_message(await request.read(), PresentOrder))
        return json_answer(Done())

    async def remove(self, request: web.Request) -> web.Response:
        self._world.remove(_name(request))
        return json_answer(Done())

    async def show(self, request: web.Request) -> web.Response:
        await self._world.show(_name(request), parse_message(await request.read(), ShowOrder))
        return json_answer(Done())

    async def blank(self, request: web.Request) -> web.Response:
        self._world.blank(_name(request))
        return json_answer(Done())

    async def scan(self, request: web.Request) -> web.Response:
        await self._world.scan(_name(request), parse_message(await request.read(), ScanOrder))
        return json_answer(Done())

    async def clone(self, request: web.Request) -> web.Response:
        self._world.clone(_name(request), parse_message(await request.read(), CloneOrder))
        return json_answer(Done())

    async def fault(self, request: web.Request) -> web.Response:
        await self._world.fault(_name(request), parse_message(await request.read(), FaultOrder))
        return json_answer(Done())

    async def mend(self, request: web.Request) -> web.Response:
        await self._world.mend(_name(request))
        return json_answer(Done())

    async def set_allowance(self, request: web.Request) -> web.Response:
        order = parse_message(await request.read(), AllowanceOrder)
        await self._world.set_allowance(_name(request), order)
        return json_answer(Done())

    async def decide(self, request: web.Request) -> web.Response:
        order = parse_message(await request.read(), DecisionOrder)
        return json_answer(await self._world.decide(_name(request), order))

    async def pay(self, request: web.Request) -> web.Response:
        await self._world.pay(_name(request), parse_message(await request.read(), PayOrder))
        return json_answer(Done())


def _name(request: web.Request) -> str:
    return request.match_info["name"]
