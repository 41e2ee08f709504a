"""What every request to the till's interface must pass before it is looked at.

A browser on this machine can send requests to loopback on behalf of any page it shows. Three checks keep
such pages out: the Host header must name this machine (a rebound DNS name does not), a body must be
application/json (which a page can't send across origins without asking first, and we answer no such
question), and, where one is configured, the access key must be there.
"""

from __future__ import annotations

import hmac
import re
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from terminal.errors import TerminalError
from terminal.till_api.problems import STATUS_OF, make_problem, make_problem_of_http
from wire.errors import WireError

JSON_CONTENT_TYPE: Final = "application/json"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def translate_errors() -> Middleware:
    """Make the outermost middleware: whatever is raised becomes a problem, and never stops the daemon."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except TerminalError as error:
            return make_problem(error.code)
        except WireError as error:
            return make_problem(error.code if error.code in STATUS_OF else "malformed", str(error))
        except web.HTTPException as error:
            return make_problem_of_http(error)
        except Exception:
            # Our bug: the till is told so, and the log has the trace.
            log.exception("till_request_failed", method=request.method)
            return make_problem("internal")

    return middleware


def require_own_host(host: str) -> Middleware:
    """Make the middleware that refuses a Host header naming anything but this machine's loopback."""
    names = "|".join(map(re.escape, sorted({"127.0.0.1", "localhost", "[::1]", _bracketed(host)})))
    form = re.compile(rf"(?:{names})(?::[0-9]{{1,5}})?", re.IGNORECASE)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if form.fullmatch(request.headers.get("Host", "")) is None:
            return make_problem("host_not_allowed")
        return await handler(request)

    return middleware


def require_access_key(access_key: str | None) -> Middleware:
    """Make the middleware that asks for `Authorization: Bearer KEY`, if there is a key."""
    expected = f"Bearer {access_key}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if access_key is not None and not hmac.compare_digest(given, expected):
            return make_problem("unauthorised")
        return await handler(request)

    return middleware


def require_json() -> Middleware:
    """Make the middleware that refuses any other body than JSON."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        # Orders without a body too: a page can't send this header across origins without asking first.
        if request.method == "POST" and request.content_type != JSON_CONTENT_TYPE:
            return make_problem("unsupported_media_type")
        return await handler(request)

    return middleware


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
