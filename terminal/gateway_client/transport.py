"""What carries a terminal's requests: bytes out, one reply back or none, and nothing about payments."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one send, read whole."""

    status: int
    content_type: str
    """In lower case and without parameters."""
    body: bytes
    headers: Mapping[str, str]
    """By name in lower case."""


class Transport(Protocol):
    """A way to the gateway; how long it waits and how much it reads is bounded by itself."""

    async def exchange(self, method: str, uri: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send a request once and return what came back, whatever its status.

        A cancelled exchange may have arrived all the same.

        Args:
            uri: absolute, already encoded, sent as it is.
            body: empty for none.

        Raises:
            GatewayUnreachable: no whole reply within the bounds; the request may have arrived.
        """

    async def close(self) -> None:
        """Give up what is open; may be called twice."""


@runtime_checkable
class EventTransport(Protocol):
    """What a way to the gateway has that can also listen; one without it is asked again and again instead."""

    def listen(
        self, uri: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a stream of server-sent events and yield its lines, each with its line break.

        The stream ends, or raises, when the gateway falls silent for longer than its heartbeats allow.

        Raises:
            GatewayUnreachable: on entering: no stream was opened; while reading: it broke.
        """
