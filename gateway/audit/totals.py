"""What is stored beside the payments to guard them must be what the payments add up to.

Each check reads two streams in one order side by side, what is stored and what it should be, and stops where
they part; so nothing is kept of either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Final, TypeVar

from gateway.audit.codes import BreakCode
from gateway.audit.report import Broken, Progress
from gateway.storage.audit_source import AuditSource, DayRow, OrderRow, OrderSumRow

PROGRESS_EVERY: Final = 5_000
"""Rows between two calls of `progress`."""
T = TypeVar("T")


def check_orders(source: AuditSource, progress: Progress) -> None:
    """See that orders say what is charged and held for them, and that this is no more than they are for.

    Raises:
        Broken: one does not, is missing, or is there without a payment.
    """
    stored_and_paid = zip_longest(source.orders(), source.order_sums())
    for stored, paid in watched(stored_and_paid, "orders", progress):
        if stored is None or paid is None or stored[:3] != paid:
            raise Broken(BreakCode.ORDER_TOTAL_DIFFERS, _place_of_order(stored, paid))
        if stored[2] > stored[3]:
            raise Broken(BreakCode.ORDER_OVERPAID, _place_of_order(stored, paid))


def check_days(source: AuditSource, progress: Progress) -> None:
    """See that what each instrument spent on each day is what its payments of that day add up to.

    Raises:
        Broken: it is not.
    """
    stored_and_spent = zip_longest(source.days(), source.day_sums())
    for stored, spent in watched(stored_and_spent, "days", progress):
        if stored != spent:
            raise Broken(BreakCode.DAY_TOTAL_DIFFERS, _place_of_day(stored, spent))


def _place_of_order(stored: OrderRow | None, paid: OrderSumRow | None) -> str:
    # Where one of the streams skipped an order, it is ahead: the smaller one names what differs.
    order_id, merchant_id = min(row[:2] for row in (stored, paid) if row is not None)
    return f"order {order_id} of merchant {merchant_id}"


def _place_of_day(stored: DayRow | None, spent: DayRow | None) -> str:
    day, instrument_id = min(row[:2] for row in (stored, spent) if row is not None)
    return f"instrument {instrument_id} on day {day}"


def watched(rows: Iterable[T], reading: str, progress: Progress) -> Iterator[T]:
    """Yield rows, and tell every PROGRESS_EVERY of them how many it were."""
    done_count = 0
    progress(reading, done_count, None)
    for done_count, row in enumerate(rows, start=1):
        if done_count % PROGRESS_EVERY == 0:
            progress(reading, done_count, None)
        yield row
    progress(reading, done_count, done_count)
