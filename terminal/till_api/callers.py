"""Who sends a request: till software, or a person at a screen.

Till software has the access key and does what it did before there was staff. A person at a screen may do what
the person who is signed in may do. Software says so by a header where it lets a person decide; the till's own
pages are a person's whatever they say, which their guard notes before this one looks.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

CALLER_HEADER: Final = "Tapscan-Caller"
PERSON: Final = "person"


class Caller(Enum):
    """Whose request it is."""

    SOFTWARE = "software"
    PERSON = PERSON


CALLER: Final = web.RequestKey("caller", Caller)
"""Set it to PERSON in a guard to bind a request to the rights of who is signed in."""


def note_caller() -> Middleware:
    """Make the middleware that notes whose request it is, unless a guard before it has."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if CALLER not in request:
            is_person = request.headers.get(CALLER_HEADER, "").lower() == PERSON
            request[CALLER] = Caller.PERSON if is_person else Caller.SOFTWARE
        return await handler(request)

    return middleware


def is_person(request: web.Request) -> bool:
    """Say whether a person at a screen sent a request."""
    return request.get(CALLER, Caller.SOFTWARE) is Caller.PERSON
