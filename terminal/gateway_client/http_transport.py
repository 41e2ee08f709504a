"""Requests over HTTP: aiohttp's client, within bounds of time and size, following nobody anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from terminal.errors import GatewayUnreachable
from terminal.gateway_client.transport import Reply
from wire.messages.base import BODY_BYTES_MAX

ANSWER_BYTES_MAX: Final = BODY_BYTES_MAX
"""Longest answer read; the longest of the gateway's is under 4 KiB."""
CONNECTIONS_MAX: Final = 4
SILENCE_S_MAX: Final = 30.0
"""Longest silence of a stream of events; the gateway sends a heartbeat every ten seconds."""
EVENT_CONTENT_TYPE: Final = "text/event-stream"


class HttpTransport:
    """Keeps `Transport`; belongs to the event loop of its first exchange."""

    def __init__(self, *, connect_timeout_ms: int, try_timeout_ms: int) -> None:
        """Prepare a transport; no connection is made yet.

        Args:
            try_timeout_ms: one exchange in all, from connecting to the reply's last byte.
        """
        self._timeout = aiohttp.ClientTimeout(
            total=try_timeout_ms / 1000, sock_connect=connect_timeout_ms / 1000
        )
        self._http: aiohttp.ClientSession | None = None

    async def exchange(self, method: str, uri: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """As `Transport.exchange`."""
        http = self._http or self._open()
        try:
            async with http.request(
                method, URL(uri, encoded=True), data=body or None, headers=headers, allow_redirects=False
            ) as response:
                return await _read_reply(response)
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError) as error:
            # The library's text may quote what was received; its type says enough.
            raise GatewayUnreachable(f"no answer from the gateway ({type(error).__name__})") from None

    @asynccontextmanager
    async def listen(self, uri: str, headers: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """As `EventTransport.listen`."""
        http = self._http or self._open()
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeout.sock_connect, sock_read=SILENCE_S_MAX
        )
        try:
            async with http.get(
                URL(uri, encoded=True), headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                if response.status != 200 or response.content_type != EVENT_CONTENT_TYPE:
                    raise GatewayUnreachable(f"HTTP status {response.status} instead of events")
                yield aiter(response.content)
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError, ValueError) as error:
            # ValueError: a line longer than the reader's bound, which no event of ours is.
            raise GatewayUnreachable(f"the gateway's events broke off ({type(error).__name__})") from None

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        if self._http is not None:
            await self._http.close()

    def _open(self) -> aiohttp.ClientSession:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            # Answers are small; a compressed one could unfold beyond every bound.
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        return self._http


async def _read_reply(response: aiohttp.ClientResponse) -> Reply:
    body = bytearray()
    while chunk := await response.content.read(ANSWER_BYTES_MAX + 1 - len(body)):
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            response.close()
            raise GatewayUnreachable("the gateway's answer is too long to be one")
    return Reply(
        status=response.status,
        content_type=response.content_type,
        body=bytes(body),
        headers={name.lower(): value for name, value in response.headers.items()},
    )
