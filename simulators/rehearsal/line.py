"""The line between a rehearsal's tills and its gateway: it carries, loses answers, or is cut.

Whole answers are lost, never half requests changed: the gateway has then done what it was asked, and no till
can know.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit

LOOPBACK: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536
CONNECTIONS_MAX: Final = 256
"""At once; one more is turned away. A till has a handful."""

LineState = Literal["carries", "loses_answers", "cut"]


class GatewayLine:
    """A listening port that leads to a gateway, for as long as the block runs."""

    def __init__(self) -> None:
        self._state: LineState = "carries"
        self._target = (LOOPBACK, 0)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, LOOPBACK, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._break_all()

    @property
    def url(self) -> str:
        """Where tills and phones reach the gateway, without a trailing slash."""
        assert self._server is not None, "the block has begun"
        return f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    def lead_to(self, gateway_url: str) -> None:
        """Carry to this gateway from now on."""
        parts = urlsplit(gateway_url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)

    def set(self, state: LineState) -> None:
        """Do something else from now on; what is cut breaks at once."""
        self._state = state
        if state == "cut":
            self._break_all()

    def _is_cut(self) -> bool:
        return self._state == "cut"

    def _break_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut() or len(self._open) >= 2 * CONNECTIONS_MAX:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        if self._is_cut():
            # Cut while it was being connected.
            self._break_all()
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump_back(far_reader, writer))
        finally:
            self._open -= {writer, far_writer}
            for one in (writer, far_writer):
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()

    async def _pump_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self._state == "loses_answers":
                    break
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
