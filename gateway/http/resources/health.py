"""`/health`: for whoever restarts the process, and for whoever sends it requests."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import GatewayError
from gateway.http.answers import Answer, answer_with
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange


class HealthResource:
    """Whether this process lives, and whether it works."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def live(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Answer as long as the event loop turns."""
        return answer_with({"status": "live"})

    async def ready(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Answer if a payment would be decided now."""
        if self._desk.intake.is_draining:
            raise GatewayError("the gateway is stopping", code="not_ready")
        await self._desk.store.check_health()
        return answer_with({"status": "ready"})
