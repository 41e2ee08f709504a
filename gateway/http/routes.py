"""The table of addresses as an aiohttp application: bodies are read, answers become responses."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.http.answers import make_response
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.event_stream import STREAM_PATH, EventStream
from gateway.http.exchange import EXCHANGE, make_exchange
from gateway.http.table import Route, make_table


def make_application(desk: Desk, *, body_bytes_max: int) -> web.Application:
    """Return the gateway's HTTP application around what the composition root made."""
    exchange = make_exchange(desk.request_ids, desk.request_log)
    application = web.Application(middlewares=[exchange], client_max_size=body_bytes_max)
    for route in make_table(desk):
        handler = _adapt(desk, route)
        if route.method == "GET":
            application.router.add_get(route.pattern, handler, allow_head=route.answers_head)
        else:
            application.router.add_route(route.method, route.pattern, handler)
    application.router.add_get(STREAM_PATH, EventStream(desk).answer, allow_head=False)
    return application


def _adapt(desk: Desk, route: Route) -> Handler:
    """Return a handler as aiohttp calls it."""

    async def answer(request: web.Request, body: bytes = b"") -> web.StreamResponse:
        call = SignedCall(request.method, request.raw_path, request.headers, body)
        return make_response(await route.handle(call, request.match_info, request[EXCHANGE]))

    async def answer_body(request: web.Request) -> web.StreamResponse:
        return await answer(request, await desk.intake.read_body(request))

    async def answer_admitted(request: web.Request) -> web.StreamResponse:
        # Looked at before the body is waited for, counted once it is there.
        desk.admission.check()
        body = await desk.intake.read_body(request)
        desk.admission.enter()
        try:
            return await answer(request, body)
        finally:
            desk.admission.leave()

    if route.is_admitted:
        return answer_admitted
    return answer_body if route.has_body else answer
