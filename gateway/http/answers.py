"""An answer as a value, and the two forms it leaves in: aiohttp's response, and the bytes of HTTP/1.1."""

from __future__ import annotations

from email.utils import formatdate
from functools import cache
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from wire.messages.base import dump_message

JSON_CONTENT_TYPE: Final = "application/json"
REQUEST_ID_HEADER: Final = "X-Request-Id"
SERVER: Final = "tapscan"
"""Instead of aiohttp's own line, which tells strangers the versions we run."""

_NO_STORE: Final = (("Cache-Control", "no-store"),)


class Answer(msgspec.Struct, frozen=True):
    """What goes back to the caller, but for the fields that every answer has."""

    status: int
    content_type: str
    body: bytes
    fields: tuple[tuple[str, str], ...] = ()
    """Header fields of our own making; no caller's word is ever among them."""


def answer_with(message: object, *, status: int = 200) -> Answer:
    """Return a message as an answer; it is nobody else's to keep."""
    return Answer(status, JSON_CONTENT_TYPE, dump_message(message), _NO_STORE)


def make_response(answer: Answer) -> web.Response:
    """Return the answer as aiohttp sends it; the exchange adds request id and server."""
    headers = {"Content-Type": answer.content_type, **dict(answer.fields)}
    return web.Response(body=answer.body, status=answer.status, headers=headers)


def dump_answer(answer: Answer, *, request_id: str, date: str | None) -> bytes:
    """Return the very bytes of the answer, for a connection that is kept open.

    Args:
        date: as `HttpDate.at` writes it; None only where the status is a 5xx (RFC 9110 section 6.6.1).
    """
    head = _dump_fixed_head(answer.status, answer.content_type, answer.fields)
    dated = "" if date is None else f"Date: {date}\r\n"
    rest = f"{dated}Content-Length: {len(answer.body)}\r\n{REQUEST_ID_HEADER}: {request_id}\r\n\r\n"
    return b"".join((head, rest.encode("ascii"), answer.body))


class HttpDate:
    """The Date field (RFC 9110 section 5.6.7), written once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def at(self, now_ms: int) -> str:
        """Return the field's value for a moment, in unix milliseconds."""
        second = now_ms // 1000
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


# Few: one for each status with its fields, all of them ours.
@cache
def _dump_fixed_head(status: int, content_type: str, fields: tuple[tuple[str, str], ...]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {content_type}",
        f"Server: {SERVER}",
        *(f"{name}: {value}" for name, value in fields),
        "",
    ]
    return "\r\n".join(lines).encode("ascii")
