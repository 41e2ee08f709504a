"""Shifts and their totals: one statement each, the same for every store.

A store says how a statement of its queries/shifts.sql is run; what it means is here, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from gateway.merchants.model import EntryModeSum, Shift, ShiftSums, StaffRef
from gateway.storage.records import Row
from gateway.storage.statements import StatementRunner
from wire.messages.payments import EntryMode
from wire.messages.shifts import SHIFT_MS_MAX


class ShiftQueries(StatementRunner):
    """The methods of ShiftStore."""

    async def open_shift(
        self, shift_id: str, terminal_id: str, opened_ms: int, opened_by: str | None, now_ms: int
    ) -> Shift | None:
        await self._take(
            "end_overdue_shift", terminal_id=terminal_id, shift_ms_max=SHIFT_MS_MAX, now_ms=now_ms
        )
        values = {
            "shift_id": shift_id,
            "terminal_id": terminal_id,
            "opened_ms": opened_ms,
            "opened_by": opened_by,
        }
        await self._add("open_shift", values)
        return await self.find_shift(terminal_id, shift_id)

    async def close_shift(
        self, shift_id: str, terminal_id: str, closed_ms: int, closed_by: str | None
    ) -> Shift | None:
        await self._take(
            "close_shift",
            shift_id=shift_id,
            terminal_id=terminal_id,
            closed_ms=closed_ms,
            closed_by=closed_by,
            shift_ms_max=SHIFT_MS_MAX,
        )
        return await self.find_shift(terminal_id, shift_id)

    async def find_shift(self, terminal_id: str, shift_id: str) -> Shift | None:
        rows = await self._list("find_shift", shift_id=shift_id, terminal_id=terminal_id)
        return _read_shift(rows[0]) if rows else None

    async def find_open_shift(self, terminal_id: str) -> Shift | None:
        rows = await self._list("find_open_shift", terminal_id=terminal_id)
        return _read_shift(rows[0]) if rows else None

    async def reckon_shift(self, terminal_id: str, from_ms: int, to_ms: int) -> ShiftSums:
        assert to_ms - from_ms <= SHIFT_MS_MAX, "totals are reckoned over a bounded time"
        values = {"terminal_id": terminal_id, "from_ms": from_ms, "to_ms": max(to_ms, from_ms + 1)}
        decided = await self._list("sum_decided", **values)
        steps = await self._list("sum_steps", **values)
        (refunds,) = await self._list("sum_refunds", **values)
        return _add_up(decided, steps, refunds)


def _read_shift(row: Row) -> Shift:
    return Shift(
        shift_id=row["shift_id"],
        terminal_id=row["terminal_id"],
        opened_ms=row["opened_ms"],
        opened_by=_read_name(row["opened_by"], row["opened_by_name"]),
        closed_ms=row["closed_ms"],
        closed_by=_read_name(row["closed_by"], row["closed_by_name"]),
    )


def _read_name(staff_id: str | None, name: str | None) -> StaffRef | None:
    return None if staff_id is None or name is None else StaffRef(staff_id, name)


def _add_up(decided: Sequence[Row], steps: Sequence[Row], refunds: Row) -> ShiftSums:
    """Put sums together; a payment is charged once, when it was decided or by one later step."""
    approved = [row for row in decided if row["outcome"] == "approved"]
    succeeded = [row for row in steps if row["state"] == "succeeded"]
    reversals = [row for row in steps if row["state"] == "reversed"]
    by_mode: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in approved:
        by_mode[row["entry_mode"]][0] += row["payment_count"]
        by_mode[row["entry_mode"]][1] += row["amount_minor"]
    for row in succeeded:
        by_mode[row["entry_mode"]][0] += row["step_count"]
        by_mode[row["entry_mode"]][1] += row["charged_minor"]
    return ShiftSums(
        payment_count=sum(count for count, _ in by_mode.values()),
        charged_minor=sum(charged_minor for _, charged_minor in by_mode.values()),
        tip_minor=sum(row["tip_minor"] for row in succeeded),
        fee_minor=sum(row["fee_minor"] for row in (*approved, *succeeded)),
        refund_count=refunds["refund_count"],
        refunded_minor=refunds["refunded_minor"],
        reversed_count=sum(row["step_count"] for row in reversals),
        # What was refunded before is given back already.
        reversed_minor=sum(row["charged_minor"] - row["refunded_minor"] for row in reversals),
        voided_count=sum(row["step_count"] for row in steps if row["state"] == "voided"),
        declined_count=sum(row["payment_count"] for row in decided if row["outcome"] == "declined")
        + sum(row["step_count"] for row in steps if row["state"] == "declined"),
        offline_count=sum(row["offline_count"] for row in approved),
        offline_minor=sum(row["offline_minor"] for row in approved),
        by_entry_mode=tuple(EntryModeSum(mode, *by_mode[mode]) for mode in EntryMode if mode in by_mode),
    )
