"""Shifts of this till: opened and closed here, told to the gateway once it answers, shown either way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
import structlog

from terminal.blocking import RunBlocking
from terminal.errors import GatewayRefused, GatewayUnreachable, JournalUnwritable, SaleRefused
from terminal.journal.journal import Journal
from terminal.people.gateway import StaffGateway
from terminal.people.shift_book import LocalShift, ShiftBook, ShiftOrder
from terminal.people.shift_totals import reckon_provisionally
from wire.ids import ENTROPY_BYTES, check_ulid, make_ulid
from wire.messages.shifts import ShiftAnswer, ShiftMark, ShiftView, StaffName
from wire.messages.till import DaemonEvent, DaemonEventKind, OfflineView

RETRY_MS_MIN: Final = 2_000
RETRY_MS_MAX: Final = 60_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ShiftPorts:
    """What shifts need of the till around them."""

    gateway: StaffGateway
    journal: Journal
    currency: str
    publish: Callable[[DaemonEvent], object]
    """Takes events whose sequence is still 0."""
    describe_offline: Callable[[], OfflineView | None]
    now_ms: Callable[[], int]
    entropy: Callable[[int], bytes]
    run_blocking: RunBlocking = asyncio.to_thread


class ShiftDesk:
    """Opens and closes shifts; all methods run in the daemon's event loop."""

    def __init__(self, book: ShiftBook, ports: ShiftPorts) -> None:
        self._book = book
        self._ports = ports
        self._wake = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._telling = asyncio.Lock()
        self._storing = asyncio.Lock()

    @property
    def mark(self) -> ShiftMark | None:
        """The shift that is open, in short."""
        current = self._book.current
        return None if current is None else _mark_of(current)

    async def open(self, by: StaffName | None) -> ShiftView:
        """Begin a shift; it is on disk when this returns, and the gateway was told if it answers.

        Raises:
            SaleRefused: `shift_is_open`, `shift_orders_full`. JournalUnwritable: nothing has changed.
        """
        async with self._one_at_a_time:
            if self._book.current is not None:
                raise SaleRefused(code="shift_is_open")
            now_ms = self._ports.now_ms()
            shift = LocalShift(make_ulid(now_ms, self._ports.entropy(ENTROPY_BYTES)), now_ms, by)
            await self._store(partial(self._book.open, shift))
            await self._tell_or_wake()
        opened = self._book.find(shift.shift_id)
        if opened is None:
            # The gateway knew of another one, which this till had lost; it is the open one now.
            raise SaleRefused(code="shift_is_open")
        self._publish(DaemonEventKind.SHIFT_OPENED, opened)
        return await self._view(opened, fresh=False)

    async def close(self, by: StaffName | None) -> ShiftView:
        """End the open shift; as `open`.

        Raises:
            SaleRefused: `shift_not_open`, `shift_orders_full`. JournalUnwritable: nothing has changed.
        """
        async with self._one_at_a_time:
            current = self._book.current
            if current is None:
                raise SaleRefused(code="shift_not_open")
            closed = msgspec.structs.replace(
                current, closed_ms=self._ports.now_ms(), closed_by=by, answer=None
            )
            await self._store(partial(self._book.close, closed))
            await self._tell_or_wake()
        self._publish(DaemonEventKind.SHIFT_CLOSED, closed)
        return await self._view(self._book.find(closed.shift_id) or closed, fresh=False)

    async def show_current(self) -> ShiftView:
        """Return the open shift with its totals so far; SaleRefused: `not_found`."""
        return await self._show(self._book.current)

    async def show_last(self) -> ShiftView:
        """Return the last shift that was closed; SaleRefused: `not_found`."""
        return await self._show(self._book.last)

    async def show(self, shift_id: str) -> ShiftView:
        """Return a shift that this till knows, or that the gateway has of it.

        Raises:
            SaleRefused: `not_found`. GatewayUnreachable: only the gateway could know it.
        """
        known = self._book.find(check_ulid(shift_id))
        if known is not None:
            return await self._view(known)
        try:
            answer = await self._ports.gateway.find_shift(shift_id)
        except GatewayRefused as refusal:
            if refusal.code == "not_found":
                raise SaleRefused(code="not_found") from None
            raise
        return self._view_of(answer)

    async def run(self) -> None:
        """Tell the gateway what it was not told yet, for as long as this runs."""
        retry_ms = RETRY_MS_MIN
        while True:
            self._wake.clear()
            with suppress(JournalUnwritable):
                await self._tell()
            retry_ms = min(2 * retry_ms, RETRY_MS_MAX) if self._book.orders else RETRY_MS_MIN
            with suppress(TimeoutError):
                async with asyncio.timeout(retry_ms / 1000 if self._book.orders else None):
                    await self._wake.wait()

    async def _tell_or_wake(self) -> None:
        await self._tell()
        if self._book.orders:
            self._wake.set()

    async def _tell(self) -> None:
        """Tell the gateway each order, until one is not answered."""
        async with self._telling:
            while self._book.orders:
                order = self._book.orders[0]
                try:
                    answer = await self._send(order)
                except (GatewayUnreachable, GatewayRefused) as error:
                    log.info("shift_not_told", shift_id=order.shift_id, what=order.what, reason=error.code)
                    return
                if answer is not None and order.what == "open" and answer.shift_id != order.shift_id:
                    await self._store(partial(self._book.adopt, answer))
                    return
                await self._store(partial(self._book.settle, order, answer))

    async def _send(self, order: ShiftOrder) -> ShiftAnswer | None:
        """Return what the gateway says of an order; None where it is past all telling."""
        age_ms = max(0, self._ports.now_ms() - order.at_ms)
        try:
            return await self._ports.gateway.tell_shift(order, order.staff_id, age_ms)
        except GatewayRefused as refusal:
            if refusal.code == "staff_not_allowed" and order.staff_id is not None:
                # Whoever it was is unknown there by now; the shift itself is not to be lost for that.
                return await self._ports.gateway.tell_shift(order, None, age_ms)
            if refusal.code == "shift_is_open":
                return await self._ports.gateway.find_shift("open")
            if refusal.code == "not_found":
                log.error("shift_unknown", shift_id=order.shift_id, what=order.what)
                return None
            raise

    async def _store(self, change: Callable[[], None]) -> None:
        # One after another, and each from all that holds by then: the book is put in place whole.
        async with self._storing:
            await self._ports.run_blocking(change)

    async def _show(self, shift: LocalShift | None) -> ShiftView:
        if shift is None:
            raise SaleRefused(code="not_found")
        return await self._view(shift)

    async def _view(self, shift: LocalShift, *, fresh: bool = True) -> ShiftView:
        """Return a shift as the gateway has it; or as it stands here, where it does not answer."""
        if self._book.is_queued(shift.shift_id):
            return self._view_alone(shift)
        is_final = shift.answer is not None and shift.answer.closed_ms is not None
        if shift.answer is not None and (is_final or not fresh):
            return self._view_of(shift.answer)
        try:
            answer = await self._ports.gateway.find_shift(shift.shift_id)
        except (GatewayUnreachable, GatewayRefused):
            return self._view_alone(shift)
        if answer.closed_ms is not None:
            with suppress(JournalUnwritable):
                await self._store(partial(self._book.note, answer))
        return self._view_of(answer)

    def _view_of(self, answer: ShiftAnswer) -> ShiftView:
        waiting_count, waiting_minor = self._waiting()
        return ShiftView(
            shift_id=answer.shift_id,
            currency=answer.currency,
            opened_ms=answer.opened_ms,
            totals=answer.totals,
            is_provisional=False,
            opened_by=answer.opened_by,
            closed_ms=answer.closed_ms,
            closed_by=answer.closed_by,
            waiting_count=waiting_count,
            waiting_minor=waiting_minor,
        )

    def _view_alone(self, shift: LocalShift) -> ShiftView:
        answers = [one.answer for one in self._ports.journal.settled() if one.answer is not None]
        end_ms = self._ports.now_ms() + 1 if shift.closed_ms is None else shift.closed_ms
        waiting_count, waiting_minor = self._waiting()
        return ShiftView(
            shift_id=shift.shift_id,
            currency=self._ports.currency,
            opened_ms=shift.opened_ms,
            totals=reckon_provisionally(answers, shift.opened_ms, end_ms),
            is_provisional=True,
            is_queued=self._book.is_queued(shift.shift_id),
            opened_by=shift.opened_by,
            closed_ms=shift.closed_ms,
            closed_by=shift.closed_by,
            waiting_count=waiting_count,
            waiting_minor=waiting_minor,
        )

    def _waiting(self) -> tuple[int, int]:
        offline = self._ports.describe_offline()
        return (0, 0) if offline is None else (offline.waiting_count, offline.waiting_minor)

    def _publish(self, kind: DaemonEventKind, shift: LocalShift) -> None:
        log.info("shift", what=kind.value, shift_id=shift.shift_id)
        event = DaemonEvent(sequence=0, at_ms=self._ports.now_ms(), kind=kind, shift=_mark_of(shift))
        self._ports.publish(event)


def _mark_of(shift: LocalShift) -> ShiftMark:
    return ShiftMark(shift_id=shift.shift_id, opened_ms=shift.opened_ms)
