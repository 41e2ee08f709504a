"""What every request to the till's interface must pass before it is looked at.

A browser on this machine can send requests to loopback on behalf of any page it shows. Four checks keep
such pages out: the Host header must name this till (a rebound DNS name does not), the Origin header must
be the till's own, a body must be application/json (which a page can't send across origins without asking
first, and we answer no such question), and whoever asks must be let in: till software by the access key
where one is configured, a browser always by the cookie that a link gave it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from terminal.errors import TerminalError
from terminal.till_api.callers import CALLER, Caller
from terminal.till_api.problems import STATUS_OF, make_problem, make_problem_of_http
from terminal.till_page.door import PageDoor
from wire.errors import WireError
from wire.messages.till_page import PageKind

JSON_CONTENT_TYPE: Final = "application/json"
ENTRY_PATH: Final = "/v1/page-sessions"
DISPLAY_PREFIX: Final = "/v1/display"
"""All that a customer's display may ask for."""

_PAGES: Final = re.compile(r"/|/customer|/enter|/static/[a-z0-9_.-]+")
"""The same bytes for everybody, with nothing of the till's in them."""
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?")

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Entrance:
    """Who gets in at one of the till's addresses."""

    names: frozenset[str]
    """What a Host header may call it, in lower case; IPv6 addresses in brackets."""
    door: PageDoor
    lets_programs_in: bool = True
    """Whether till software is served, or pages only."""
    any_address: bool = False
    """Whether a Host header may also be any IP address: a rebound name never is one."""
    access_key: str | None = None
    """If given, till software must show it."""


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


def require_own_host(entrance: Entrance) -> Middleware:
    """Make the middleware that refuses a Host header naming anything but this till."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        form = _HOST.fullmatch(request.headers.get("Host", ""))
        if form is None or not _is_own(form.group(1).lower(), entrance):
            return make_problem("host_not_allowed")
        return await handler(request)

    return middleware


def require_own_origin() -> Middleware:
    """Make the middleware that refuses what another web page asked for; programs send neither header."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        own = f"{request.scheme}://{request.host}"
        is_own = request.headers.get("Origin", own) == own
        # `none` is a person who typed the address; another port of this machine is `same-site`.
        is_near = request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
        if not (is_own and is_near) and not _is_page(request):
            return make_problem("origin_not_allowed")
        return await handler(request)

    return middleware


def require_entry(entrance: Entrance) -> Middleware:
    """Make the middleware that lets in till software and browsers that came with a link."""
    expected = f"Bearer {entrance.access_key}".encode()

    def is_program(request: web.Request) -> bool:
        if not entrance.lets_programs_in or "Sec-Fetch-Site" in request.headers:
            return False
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return entrance.access_key is None or hmac.compare_digest(given, expected)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        page = entrance.door.find(request.cookies.get(entrance.door.cookie_name))
        if page is not None:
            # Whatever it says of itself: at a screen stands a person, with the rights of who is signed in.
            request[CALLER] = Caller.PERSON
        is_display = request.method == "GET" and request.path.startswith(DISPLAY_PREFIX)
        if (
            page is PageKind.TILL
            or (page is PageKind.CUSTOMER and is_display)
            or is_program(request)
            or _is_page(request)
            or (request.method, request.path) == ("POST", ENTRY_PATH)
        ):
            return await handler(request)
        is_key_asked = entrance.lets_programs_in and "Sec-Fetch-Site" not in request.headers
        return make_problem("unauthorised" if is_key_asked else "page_link_needed")

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


def _is_page(request: web.Request) -> bool:
    return request.method in ("GET", "HEAD") and _PAGES.fullmatch(request.path) is not None


def _is_own(name: str, entrance: Entrance) -> bool:
    if name in entrance.names:
        return True
    if not entrance.any_address:
        return False
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
