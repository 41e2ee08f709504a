"""A request's body, within its bounds: JSON, not too long, and not too slow."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from wire.errors import WireError
from wire.messages.base import dump_message

JSON_CONTENT_TYPE: Final = "application/json"


async def read_body(request: web.Request, *, body_bytes_max: int, read_ms: int) -> bytes:
    """Return the raw bytes of a JSON body, exactly as they were sent and signed.

    Raises:
        WireError: `unsupported_media_type`, `body_too_large`, or `malformed` when it does not come in
            time.
    """
    if request.content_type != JSON_CONTENT_TYPE or "Content-Encoding" in request.headers:
        raise WireError("the body must be plain application/json", code="unsupported_media_type")
    if (request.content_length or 0) > body_bytes_max:
        raise _too_large(body_bytes_max)
    try:
        async with asyncio.timeout(read_ms / 1000):
            body = await request.read()
    except TimeoutError:
        raise WireError("the body did not come in time") from None
    if len(body) > body_bytes_max:
        raise _too_large(body_bytes_max)
    return body


def respond(message: object, *, status: int = 200) -> web.Response:
    """Return a message as the answer; it is nobody else's to keep."""
    return web.Response(
        body=dump_message(message),
        status=status,
        content_type=JSON_CONTENT_TYPE,
        headers={"Cache-Control": "no-store"},
    )


def _too_large(body_bytes_max: int) -> WireError:
    return WireError(f"the body is longer than {body_bytes_max} bytes", code="body_too_large")
