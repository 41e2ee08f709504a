"""What the HTTP interfaces of simulators share: on loopback only, JSON in and out, problems as documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from simulators.errors import DeviceOff, GatewaySilent, NoSuchThing, ProcessFailed, SimulatorError
from wire.errors import WireError
from wire.messages.base import BODY_BYTES_MAX, dump_message
from wire.messages.problem import PROBLEM_CONTENT_TYPE, Problem

LOOPBACK: Final = "127.0.0.1"
JSON_TYPE: Final = "application/json"

_STATUS: Final[dict[type[Exception], int]] = {
    NoSuchThing: 404,
    DeviceOff: 409,
    GatewaySilent: 502,
    ProcessFailed: 502,
    SimulatorError: 422,
    WireError: 400,
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_control_app(routes: list[web.RouteDef]) -> web.Application:
    """Return an application with these routes; the errors they raise are answered with their codes."""
    app = web.Application(middlewares=[_answer_problems], client_max_size=BODY_BYTES_MAX)
    app.add_routes(routes)
    return app


def json_answer(message: object) -> web.Response:
    """Return a message as an answer."""
    return web.Response(body=dump_message(message), content_type=JSON_TYPE)


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
