"""Around every request: an id, a log line, and no exception that gets out.

A log line carries method, route, status, code, ids and a duration. It never carries a path as sent, a
header, a body, or the text of an unexpected exception, since any of these may hold a token.
"""

from __future__ import annotations

import time
import traceback
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.entropy import Entropy
from gateway.http.problems import INTERNAL, code_of, respond_with_problem

REQUEST_ID_BYTES: Final = 8
REQUEST_ID_HEADER: Final = "X-Request-Id"
SERVER: Final = "tapscan"
"""Instead of aiohttp's own line, which tells strangers the versions we run."""
FRAMES_LOGGED_MAX: Final = 12
QUIET_ROUTES: Final = frozenset({"/health/live", "/health/ready"})
"""Logged at level debug: monitors ask every few seconds."""

OUTCOME: Final = web.RequestKey("outcome", str)
"""Set by a handler: the code its answer stands for, such as `approved` or `insufficient_funds`."""
CALLER: Final = web.RequestKey("caller", str)
"""Set by a handler once the caller is authenticated: a terminal or instrument id."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def make_exchange(entropy: Entropy) -> Middleware:
    """Return the outermost middleware."""

    @web.middleware
    async def exchange(request: web.Request, handler: Handler) -> web.StreamResponse:
        started_s = time.perf_counter()
        request_id = entropy(REQUEST_ID_BYTES).hex()
        try:
            response = await handler(request)
            code = request.get(OUTCOME, "ok")
        except Exception as error:  # noqa: BLE001  the one place where none may get out
            response, code = _answer_failure(error, request_id), code_of(error)
        response.headers[REQUEST_ID_HEADER] = request_id
        response.headers["Server"] = SERVER
        _log_exchange(request, response, code, request_id, started_s)
        return response

    return exchange


def locate(error: BaseException) -> list[str]:
    """Return where an exception came from, innermost last, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED_MAX:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _answer_failure(error: Exception, request_id: str) -> web.Response:
    if code_of(error) == INTERNAL:
        log.error("request_failed", request_id=request_id, error=type(error).__name__, where=locate(error))
    return respond_with_problem(error, request_id=request_id)


def _log_exchange(
    request: web.Request, response: web.StreamResponse, code: str, request_id: str, started_s: float
) -> None:
    resource = request.match_info.route.resource
    # Without a route there is only the path as sent, which may be anything.
    route = resource.canonical if resource is not None else "-"
    write = log.debug if route in QUIET_ROUTES else log.info
    write(
        "request",
        request_id=request_id,
        method=request.method if resource is not None else "-",
        route=route,
        status=response.status,
        code=code,
        caller=request.get(CALLER),
        duration_ms=round((time.perf_counter() - started_s) * 1000, 2),
    )
