"""Around every request: an id, a log line, and no exception that gets out.

A log line carries method, route, status, code, ids and a duration. It never carries a path as sent, a
header, a body, or the text of an unexpected exception, since any of these may hold a token.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.entropy import Entropy
from gateway.http.answers import REQUEST_ID_HEADER, SERVER, Answer, make_response
from gateway.http.problems import INTERNAL, answer_problem, code_of
from gateway.logs import RequestLine, RequestLog, locate

REQUEST_ID_BYTES: Final = 8
QUIET_ROUTES: Final = frozenset({"/health/live", "/health/ready"})
"""Logged at level debug: monitors ask every few seconds."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Exchange(msgspec.Struct):
    """What is noted of one request until its line is logged."""

    request_id: str
    started_s: float
    code: str = "ok"
    """What the answer stands for, such as `approved` or `insufficient_funds`; set by the handler."""
    caller: str | None = None
    """A terminal or instrument id, once the caller is authenticated; set by the handler."""


EXCHANGE: Final = web.RequestKey("exchange", Exchange)


class RequestIds:
    """Ids of requests: a random beginning, then one after the other."""

    __slots__ = ("_next",)

    def __init__(self, entropy: Entropy) -> None:
        self._next = int.from_bytes(entropy(REQUEST_ID_BYTES), "big")

    def draw(self) -> str:
        """Return an id that this process has not used yet, as 16 hexadecimal digits."""
        number = self._next
        self._next = (number + 1) % (1 << 8 * REQUEST_ID_BYTES)
        return f"{number:016x}"


def make_exchange(request_ids: RequestIds, request_log: RequestLog) -> Middleware:
    """Return the outermost middleware."""

    @web.middleware
    async def exchange(request: web.Request, handler: Handler) -> web.StreamResponse:
        noted = Exchange(request_ids.draw(), time.perf_counter())
        request[EXCHANGE] = noted
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001  the one place where none may get out
            response = make_response(answer_failure(error, noted))
        response.headers[REQUEST_ID_HEADER] = noted.request_id
        response.headers["Server"] = SERVER
        resource = request.match_info.route.resource
        if resource is None:
            # Without a route there is only the path as sent, which may be anything.
            log_exchange(request_log, noted, method="-", route="-", status=response.status)
        else:
            log_exchange(
                request_log, noted, method=request.method, route=resource.canonical, status=response.status
            )
        return response

    return exchange


def answer_failure(error: Exception, noted: Exchange) -> Answer:
    """Return the problem an exception is answered with, and note its code."""
    noted.code = code_of(error)
    if noted.code == INTERNAL:
        log.error(
            "request_failed", request_id=noted.request_id, error=type(error).__name__, where=locate(error)
        )
    return answer_problem(error, request_id=noted.request_id)


def log_exchange(request_log: RequestLog, noted: Exchange, *, method: str, route: str, status: int) -> None:
    """Write the one line of a request that was answered."""
    request_log.write(
        RequestLine(
            request_id=noted.request_id,
            method=method,
            route=route,
            status=status,
            code=noted.code,
            caller=noted.caller,
            duration_ms=round((time.perf_counter() - noted.started_s) * 1000, 2),
        ),
        is_quiet=route in QUIET_ROUTES,
    )
