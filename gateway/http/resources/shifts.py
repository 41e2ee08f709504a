"""`/v1/shifts`: from when to when a terminal was worked at, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from gateway.http.answers import Answer, answer_with
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.merchants.model import EnrolledTerminal
from wire.errors import WireError
from wire.ids import check_ulid
from wire.messages.base import parse_message
from wire.messages.shifts import ShiftClosing, ShiftOpening

T = TypeVar("T", ShiftOpening, ShiftClosing)


class ShiftResource:
    """Shifts of the terminal that asks; each request may be sent again."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def open(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Begin a shift."""
        request, terminal, now_ms = await self._read(call, noted, ShiftOpening)
        return answer_with(await self._desk.shifts.open(request, terminal, now_ms=now_ms), status=201)

    async def close(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """End a shift."""
        request, terminal, now_ms = await self._read(call, noted, ShiftClosing)
        if parameters["shift_id"] != request.shift_id:
            raise WireError("the address names another shift than the body")
        return answer_with(await self._desk.shifts.close(request, terminal, now_ms=now_ms))

    async def find_open(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Tell how the open shift stands."""
        terminal, now_ms = await self._authenticate(call, noted)
        return answer_with(await self._desk.shifts.find_open(terminal, now_ms=now_ms))

    async def find(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Tell how a shift stands, or what came of it."""
        terminal, now_ms = await self._authenticate(call, noted)
        shift_id = check_ulid(parameters["shift_id"])
        return answer_with(await self._desk.shifts.find(shift_id, terminal, now_ms=now_ms))

    async def _authenticate(self, call: SignedCall, noted: Exchange) -> tuple[EnrolledTerminal, int]:
        now_ms = self._desk.now_ms()
        terminal, _ = await self._desk.authenticator.authenticate_terminal(call, now_ms=now_ms)
        noted.caller = terminal.terminal.terminal_id
        return terminal, now_ms

    async def _read(
        self, call: SignedCall, noted: Exchange, kind: type[T]
    ) -> tuple[T, EnrolledTerminal, int]:
        now_ms = self._desk.now_ms()
        terminal, signed = await self._desk.authenticator.authenticate_terminal(call, now_ms=now_ms)
        noted.caller = terminal.terminal.terminal_id
        message = parse_message(call.body, kind)
        if signed.idempotency_key != message.shift_id:
            raise WireError("Idempotency-Key must be the shift_id")
        return message, terminal, now_ms
