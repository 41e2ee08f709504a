"""What terminal/offline asks of the gateway: one narrow interface, and it over a terminal's client."""

from __future__ import annotations

from typing import Protocol

from terminal.errors import GatewayUnreachable
from terminal.gateway_client.answers import read_reply
from terminal.gateway_client.transport import Reply
from wire.messages.base import dump_message
from wire.messages.offline import (
    BATCHES_TARGET,
    ISSUER_TARGET,
    STATUS_LIST_TARGET,
    BatchAnswer,
    BatchRequest,
    IssuerAnswer,
    StatusListAnswer,
)


class OfflineGateway(Protocol):
    """The gateway as far as payments without a connection go.

    Every method sends once and raises GatewayUnreachable (no answer that makes sense; what was sent may
    have been carried out) or GatewayRefused (its code and `retryable` are the gateway's).
    """

    async def fetch_issuer(self) -> IssuerAnswer:
        """Ask whom to believe and how far."""

    async def fetch_status_list(self, known_etag: str | None) -> StatusListAnswer:
        """Ask for the present list; the answer has none where the known one is still it."""

    async def upload(self, batch: BatchRequest) -> BatchAnswer:
        """Hand in records; the answer has one result for each, in their order."""


class SignedCaller(Protocol):
    """Sends signed requests (terminal/gateway_client/client.py)."""

    async def call(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        idempotency_key: str | None = None,
        *,
        own_key: bool = False,
    ) -> Reply:
        """Send one request and return the gateway's answer to it."""


class OfflineGatewayClient:
    """The gateway's offline interface over signed HTTP."""

    def __init__(self, caller: SignedCaller) -> None:
        """Ask through this caller; nothing is sent yet."""
        self._caller = caller

    async def fetch_issuer(self) -> IssuerAnswer:
        """See OfflineGateway."""
        return read_reply(await self._caller.call("GET", ISSUER_TARGET), IssuerAnswer)

    async def fetch_status_list(self, known_etag: str | None) -> StatusListAnswer:
        """See OfflineGateway."""
        query = "" if known_etag is None else f"?known={known_etag}"
        answer = read_reply(await self._caller.call("GET", STATUS_LIST_TARGET + query), StatusListAnswer)
        if answer.status_list is None and answer.etag != known_etag:
            raise GatewayUnreachable("the gateway says that a list is unchanged which is not known here")
        return answer

    async def upload(self, batch: BatchRequest) -> BatchAnswer:
        """See OfflineGateway."""
        # By the terminal's own key: whoever hands in records answers for them (docs/adr/0006).
        body = dump_message(batch)
        reply = await self._caller.call("POST", BATCHES_TARGET, body, batch.batch_id, own_key=True)
        answer = read_reply(reply, BatchAnswer)
        if len(answer.results) != len(batch.records):
            raise GatewayUnreachable("the gateway's answer is about other records than were sent")
        return answer
