"""The pages' own files, read once from the package; and the headers that keep a browser to them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from aiohttp import web

from terminal.errors import SaleRefused

FOLDER: Final = "static"
CONTENT_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from anywhere else, nothing inline, in nobody's frame."""

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it is sent."""

    body: bytes
    content_type: str
    etag: str


class StaticFiles:
    """Every file of the pages, in memory: what is not among them can't be asked for."""

    def __init__(self) -> None:
        """Read them from the installed package."""
        folder = resources.files("terminal.till_page").joinpath(FOLDER)
        self._files = {entry.name: _load(entry.name, entry.read_bytes()) for entry in folder.iterdir()}

    def answer(self, name: str, request: web.Request) -> web.Response:
        """Return a file, or that the browser's copy of it is still good.

        Raises:
            SaleRefused: `not_found`.
        """
        file = self._files.get(name)
        if file is None:
            raise SaleRefused("there is no such file", code="not_found")
        # Asked for every time, so that a new version of the daemon is never seen in parts.
        headers = {"Cache-Control": "no-cache", "ETag": f'"{file.etag}"'}
        if any(tag.value == file.etag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)


async def add_security_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Put the headers on every answer, also on streams and refusals."""
    response.headers.update(SECURITY_HEADERS)


def _load(name: str, body: bytes) -> StaticFile:
    suffix = name[name.rindex(".") :]
    return StaticFile(body, CONTENT_TYPES[suffix], hashlib.sha256(body).hexdigest()[:32])
