"""The shifts of this till on disk: the open one, the last one, and what the gateway was not told yet.

One small file, put in place whole: who opened a shift in an outage finds it open after a power loss too.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
import structlog

from terminal.disk import Disk
from terminal.errors import JournalUnwritable, SaleRefused
from wire.messages.shifts import ShiftAnswer, StaffName

SHIFTS_FILE: Final = "shifts.json"
ORDERS_MAX: Final = 32
"""Openings and closings that wait for the gateway: a fortnight of a till with two shifts a day."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class LocalShift(msgspec.Struct, frozen=True):
    """A shift as this till knows it."""

    shift_id: str
    opened_ms: int
    opened_by: StaffName | None = None
    closed_ms: int | None = None
    closed_by: StaffName | None = None
    answer: ShiftAnswer | None = None
    """What the gateway last said of it."""


class ShiftOrder(msgspec.Struct, frozen=True):
    """Something that the gateway is to be told."""

    what: Literal["open", "close"]
    shift_id: str
    at_ms: int
    """By this till's clock; the gateway is told how long ago that was."""
    staff_id: str | None = None


class _Content(msgspec.Struct, frozen=True):
    current: LocalShift | None = None
    last: LocalShift | None = None
    orders: tuple[ShiftOrder, ...] = ()


class ShiftBook:
    """The file; its calls block for a moment."""

    def __init__(self, disk: Disk) -> None:
        """Read what an earlier run left.

        Raises:
            JournalUnwritable: it can't be read; nothing is thrown away.
        """
        self._disk = disk
        try:
            raw = disk.read(SHIFTS_FILE)
            self._content = msgspec.json.decode(raw, type=_Content) if raw else _Content()
        except (OSError, msgspec.MsgspecError) as error:
            raise JournalUnwritable(f"{SHIFTS_FILE} can't be read: {type(error).__name__}") from None

    @property
    def current(self) -> LocalShift | None:
        """The shift that is open."""
        return self._content.current

    @property
    def last(self) -> LocalShift | None:
        """The last one that was closed."""
        return self._content.last

    @property
    def orders(self) -> tuple[ShiftOrder, ...]:
        """What the gateway was not told yet, the oldest first."""
        return self._content.orders

    def is_queued(self, shift_id: str) -> bool:
        """Say whether the gateway was not told all of a shift."""
        return any(order.shift_id == shift_id for order in self.orders)

    def find(self, shift_id: str) -> LocalShift | None:
        """Return a shift that this till still knows."""
        known = (self.current, self.last)
        return next((one for one in known if one is not None and one.shift_id == shift_id), None)

    def open(self, shift: LocalShift) -> None:
        """Store an opening; it survives power loss when this returns.

        Raises:
            SaleRefused: `shift_orders_full`. JournalUnwritable: it is not on disk, so it is not open.
        """
        order = ShiftOrder("open", shift.shift_id, shift.opened_ms, _id_of(shift.opened_by))
        self._write(_Content(shift, self.last, self._with(order)))

    def close(self, shift: LocalShift) -> None:
        """Store the closing of the open shift; as `open`."""
        assert shift.closed_ms is not None, "it is closed at some time"
        order = ShiftOrder("close", shift.shift_id, shift.closed_ms, _id_of(shift.closed_by))
        self._write(_Content(None, shift, self._with(order)))

    def adopt(self, answer: ShiftAnswer) -> None:
        """Take a shift for the open one that the gateway says is open, with nothing left to tell."""
        self._write(_Content(_of_answer(answer), self.last, ()))

    def settle(self, order: ShiftOrder, answer: ShiftAnswer | None) -> None:
        """Forget the first order, since the gateway has it, and keep what it answered."""
        assert self.orders[:1] == (order,), "orders are told in their order"
        self._write(msgspec.structs.replace(self._noting(answer), orders=self.orders[1:]))

    def note(self, answer: ShiftAnswer) -> None:
        """Keep what the gateway says of a shift that this till knows."""
        self._write(self._noting(answer))

    def _noting(self, answer: ShiftAnswer | None) -> _Content:
        content = self._content
        if answer is None:
            return content
        if content.current is not None and content.current.shift_id == answer.shift_id:
            current = msgspec.structs.replace(content.current, answer=answer)
            return msgspec.structs.replace(content, current=current)
        if content.last is not None and content.last.shift_id == answer.shift_id:
            last = msgspec.structs.replace(content.last, answer=answer)
            return msgspec.structs.replace(content, last=last)
        return content

    def _with(self, order: ShiftOrder) -> tuple[ShiftOrder, ...]:
        if len(self.orders) >= ORDERS_MAX:
            raise SaleRefused(code="shift_orders_full")
        return (*self.orders, order)

    def _write(self, content: _Content) -> None:
        try:
            self._disk.write(SHIFTS_FILE, msgspec.json.encode(content))
        except OSError as error:
            raise JournalUnwritable(f"{SHIFTS_FILE} can't be written: {type(error).__name__}") from None
        self._content = content


def _of_answer(answer: ShiftAnswer) -> LocalShift:
    return LocalShift(
        answer.shift_id, answer.opened_ms, answer.opened_by, answer.closed_ms, answer.closed_by, answer
    )


def _id_of(who: StaffName | None) -> str | None:
    return None if who is None else who.staff_id
