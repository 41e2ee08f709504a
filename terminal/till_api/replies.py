"""Messages as answers of the till's interface."""

from __future__ import annotations

from aiohttp import web

from terminal.till_api.guards import JSON_CONTENT_TYPE
from wire.messages.base import dump_message


def json_reply(message: object, status: int = 200) -> web.Response:
    """Return a message as the answer to a request."""
    return web.Response(status=status, body=dump_message(message), content_type=JSON_CONTENT_TYPE)
