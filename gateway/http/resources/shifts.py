"""`/v1/shifts`: from when to when a terminal was worked at, and what it took."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_request, read_terminal
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from wire.errors import WireError
from wire.ids import check_ulid
from wire.messages.shifts import ShiftClosing, ShiftOpening


class ShiftResource:
    """Shifts of the terminal that asks; each request may be sent again."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def open(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Begin a shift."""
        request, terminal, now_ms = await read_request(self._desk, call, noted, ShiftOpening, "shift_id")
        return answer_with(await self._desk.shifts.open(request, terminal, now_ms=now_ms), status=201)

    async def close(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """End a shift."""
        request, terminal, now_ms = await read_request(self._desk, call, noted, ShiftClosing, "shift_id")
        if parameters["shift_id"] != request.shift_id:
            raise WireError("the address names another shift than the body")
        return answer_with(await self._desk.shifts.close(request, terminal, now_ms=now_ms))

    async def find_open(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Tell how the open shift stands."""
        terminal, now_ms = await read_terminal(self._desk, call, noted)
        return answer_with(await self._desk.shifts.find_open(terminal, now_ms=now_ms))

    async def find(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Tell how a shift stands, or what came of it."""
        terminal, now_ms = await read_terminal(self._desk, call, noted)
        shift_id = check_ulid(parameters["shift_id"])
        return answer_with(await self._desk.shifts.find(shift_id, terminal, now_ms=now_ms))
