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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from aiohttp import web

from simulators.errors import DeviceOff, GatewaySilent, NoSuchThing, SimulatorError
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
from wire.errors import WireError
from wire.messages.base import BODY_BYTES_MAX, dump_message, parse_message
from wire.messages.problem import PROBLEM_CONTENT_TYPE, Problem

LOOPBACK: Final = "127.0.0.1"
JSON_TYPE: Final = "application/json"

_STATUS: Final[dict[type[Exception], int]] = {
    NoSuchThing: 404,
    DeviceOff: 409,
    GatewaySilent: 502,
    SimulatorError: 422,
    WireError: 400,
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve_control(world: World, port: int = 0) -> AsyncIterator[str]:
    """Serve a started world and yield the address it is reached at.

    Args:
        port: 0 takes any free one.
    """
    runner = web.AppRunner(make_control_app(world), access_log=None)
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


def make_control_app(world: World) -> web.Application:
    """Return the application that carries out orders in `world`."""
    routes = _Routes(world)
    app = web.Application(middlewares=[_answer_problems], client_max_size=BODY_BYTES_MAX)
    app.add_routes(
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
    return app


class _Routes:
    def __init__(self, world: World) -> None:
        self._world = world

    async def list_everything(self, request: web.Request) -> web.Response:
        return _json(self._world.list_everything())

    async def present(self, request: web.Request) -> web.Response:
        self._world.present(_name(request), parse_message(await request.read(), PresentOrder))
        return _json(Done())

    async def remove(self, request: web.Request) -> web.Response:
        self._world.remove(_name(request))
        return _json(Done())

    async def show(self, request: web.Request) -> web.Response:
        await self._world.show(_name(request), parse_message(await request.read(), ShowOrder))
        return _json(Done())

    async def blank(self, request: web.Request) -> web.Response:
        self._world.blank(_name(request))
        return _json(Done())

    async def scan(self, request: web.Request) -> web.Response:
        await self._world.scan(_name(request), parse_message(await request.read(), ScanOrder))
        return _json(Done())

    async def clone(self, request: web.Request) -> web.Response:
        self._world.clone(_name(request), parse_message(await request.read(), CloneOrder))
        return _json(Done())

    async def fault(self, request: web.Request) -> web.Response:
        await self._world.fault(_name(request), parse_message(await request.read(), FaultOrder))
        return _json(Done())

    async def mend(self, request: web.Request) -> web.Response:
        await self._world.mend(_name(request))
        return _json(Done())

    async def set_allowance(self, request: web.Request) -> web.Response:
        order = parse_message(await request.read(), AllowanceOrder)
        await self._world.set_allowance(_name(request), order)
        return _json(Done())

    async def decide(self, request: web.Request) -> web.Response:
        order = parse_message(await request.read(), DecisionOrder)
        return _json(await self._world.decide(_name(request), order))

    async def pay(self, request: web.Request) -> web.Response:
        await self._world.pay(_name(request), parse_message(await request.read(), PayOrder))
        return _json(Done())


@web.middleware
async def _answer_problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    # A page in the developer's browser can post plain forms to loopback, but not JSON without being asked.
    if request.method == "POST" and request.content_type != JSON_TYPE:
        return _problem(415, "unsupported_media_type", "send application/json")
    try:
        return await handler(request)
    except (SimulatorError, WireError) as error:
        status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
        return _problem(status, error.code, str(error))


def _name(request: web.Request) -> str:
    return request.match_info["name"]


def _json(message: object) -> web.Response:
    return web.Response(body=dump_message(message), content_type=JSON_TYPE)


def _problem(status: int, code: str, detail: str) -> web.Response:
    problem = Problem(
        type="about:blank",
        title=code.replace("_", " "),
        status=status,
        code=code,
        retryable=False,
        detail=detail,
    )
    return web.Response(status=status, body=dump_message(problem), content_type=PROBLEM_CONTENT_TYPE)
