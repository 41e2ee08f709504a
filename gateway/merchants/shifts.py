"""Shifts at terminals: opened and closed once, reckoned anew from what was booked whenever asked for.

Times are the gateway's. A till says how long ago something was, so a till whose clock is wrong has the right
shifts. What is booked is counted when it was booked: at the edge of two shifts it is in the later one.
"""

from __future__ import annotations

import msgspec

from gateway.errors import NotFound, PaymentRefused
from gateway.merchants.model import EnrolledTerminal, Shift, StaffRef
from gateway.storage.store import Store
from wire.messages.shifts import SHIFT_MS_MAX, ShiftAnswer, ShiftClosing, ShiftOpening, ShiftTotals, StaffName


class ShiftService:
    """What a till asks about its shifts."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, request: ShiftOpening, terminal: EnrolledTerminal, *, now_ms: int) -> ShiftAnswer:
        """Open a shift; the same again is answered as it stands.

        Raises:
            PaymentRefused: `shift_is_open`: another one; `staff_not_allowed`: nobody of this merchant's.
        """
        await self._check_staff(request.staff_id, terminal)
        shift = await self._store.open_shift(
            request.shift_id,
            terminal.terminal.terminal_id,
            now_ms - request.age_ms,
            request.staff_id,
            now_ms,
        )
        if shift is None:
            raise PaymentRefused(code="shift_is_open")
        return await self._answer(shift, terminal, now_ms)

    async def close(self, request: ShiftClosing, terminal: EnrolledTerminal, *, now_ms: int) -> ShiftAnswer:
        """Close a shift; the same again is answered as it stands.

        Raises:
            NotFound: no such shift of this terminal. PaymentRefused: `staff_not_allowed`.
        """
        await self._check_staff(request.staff_id, terminal)
        shift = await self._store.close_shift(
            request.shift_id, terminal.terminal.terminal_id, now_ms - request.age_ms, request.staff_id
        )
        if shift is None:
            raise NotFound("there is no such shift of this terminal")
        return await self._answer(shift, terminal, now_ms)

    async def find(self, shift_id: str, terminal: EnrolledTerminal, *, now_ms: int) -> ShiftAnswer:
        """Return a shift of this terminal, or raise NotFound."""
        return await self._answer_found(
            await self._store.find_shift(terminal.terminal.terminal_id, shift_id), terminal, now_ms
        )

    async def find_open(self, terminal: EnrolledTerminal, *, now_ms: int) -> ShiftAnswer:
        """Return the shift that is open at this terminal, or raise NotFound."""
        return await self._answer_found(
            await self._store.find_open_shift(terminal.terminal.terminal_id), terminal, now_ms
        )

    async def _answer_found(
        self, shift: Shift | None, terminal: EnrolledTerminal, now_ms: int
    ) -> ShiftAnswer:
        if shift is None:
            raise NotFound("there is no such shift of this terminal")
        return await self._answer(shift, terminal, now_ms)

    async def _answer(self, shift: Shift, terminal: EnrolledTerminal, now_ms: int) -> ShiftAnswer:
        # While it is open, up to now and with what is booked in this very millisecond.
        end_ms = now_ms + 1 if shift.closed_ms is None else shift.closed_ms
        sums = await self._store.reckon_shift(
            shift.terminal_id, shift.opened_ms, min(end_ms, shift.opened_ms + SHIFT_MS_MAX)
        )
        return ShiftAnswer(
            shift_id=shift.shift_id,
            currency=terminal.merchant.currency,
            opened_ms=shift.opened_ms,
            totals=msgspec.convert(sums, ShiftTotals, from_attributes=True),
            opened_by=_name_of(shift.opened_by),
            closed_ms=shift.closed_ms,
            closed_by=_name_of(shift.closed_by),
        )

    async def _check_staff(self, staff_id: str | None, terminal: EnrolledTerminal) -> None:
        if staff_id is None:
            return
        member = await self._store.find_staff(staff_id)
        if member is None or member.merchant_id != terminal.merchant.merchant_id:
            raise PaymentRefused(code="staff_not_allowed")


def _name_of(member: StaffRef | None) -> StaffName | None:
    return None if member is None else StaffName(staff_id=member.staff_id, name=member.name)
