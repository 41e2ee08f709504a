"""Around every request: nothing gets out, and no log line holds what a caller sent or an exception said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.typing import EventDict

from gateway.http.exchange import EXCHANGE, RequestIds, make_exchange
from gateway.logs import StructlogRequestLog

SECRET = "d28445a1-token"


async def _fail(request: web.Request) -> web.Response:
    raise RuntimeError(f"while reading {SECRET}")


async def _succeed(request: web.Request) -> web.Response:
    request[EXCHANGE].caller = "T1234567"
    request[EXCHANGE].code = "approved"
    return web.Response()


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    exchange = make_exchange(RequestIds(lambda size: bytes(range(size))), StructlogRequestLog())
    application = web.Application(middlewares=[exchange])
    application.add_routes([web.get("/fail/{id}", _fail), web.get("/succeed/{id}", _succeed)])
    async with TestServer(application) as server:
        yield server


async def _get(server: TestServer, path: str) -> tuple[int, bytes, list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        async with aiohttp.ClientSession() as http, http.get(server.make_url(path)) as response:
            body = await response.read()
    return response.status, body, lines


async def test_an_unexpected_exception_is_internal_and_its_text_stays_inside(server: TestServer) -> None:
    status, body, lines = await _get(server, f"/fail/{SECRET}")
    assert status == 500
    assert b'"code":"internal"' in body
    assert SECRET not in f"{body!r}{lines}"
    failure, request = lines
    assert failure["error"] == "RuntimeError"
    assert failure["where"][-1].endswith("_fail")
    assert failure["request_id"] == request["request_id"] == "0001020304050607"


async def test_a_log_line_has_code_route_caller_and_duration_and_not_the_path_as_sent(
    server: TestServer,
) -> None:
    _, _, (line,) = await _get(server, f"/succeed/{SECRET}")
    duration_ms: Any = line.pop("duration_ms")
    assert 0 <= duration_ms < 10_000
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": "0001020304050607",
        "method": "GET",
        "route": "/succeed/{id}",
        "status": 200,
        "code": "approved",
        "caller": "T1234567",
    }


async def test_an_answer_tells_strangers_no_versions(server: TestServer) -> None:
    async with aiohttp.ClientSession() as http, http.get(server.make_url("/succeed/1")) as response:
        assert response.headers["Server"] == "tapscan"
        assert response.headers["X-Request-Id"] == "0001020304050607"


async def test_an_unknown_path_is_not_logged_as_sent(server: TestServer) -> None:
    status, _, lines = await _get(server, f"/{SECRET}")
    assert status == 404
    assert SECRET not in str(lines)
