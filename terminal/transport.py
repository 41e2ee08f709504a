"""What carries a terminal's requests: bytes out, one reply back or none, and nothing about payments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


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
