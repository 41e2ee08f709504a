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
from wire.messages.payments import EntryMode

PROGRESS_EVERY: Final = 5_000
"""Rows between two calls of `progress`."""
TOKEN_MODES: Final = frozenset({EntryMode.NFC_APP.value, EntryMode.QR_CONSUMER.value})
"""Entry modes that present a signed token; a card's link and a numeric code are spent elsewhere."""

T = TypeVar("T")


def check_orders(source: AuditSource, progress: Progress) -> None:
    """See that orders say what was approved for them, and that this is no more than they are for.

    Raises:
        Broken: one does not, is missing, or is there without a payment.
    """
    stored_and_paid = zip_longest(source.orders(), source.order_sums())
    for stored, paid in _watched(stored_and_paid, "orders", progress):
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
    for stored, spent in _watched(stored_and_spent, "days", progress):
        if stored != spent:
            raise Broken(BreakCode.DAY_TOTAL_DIFFERS, _place_of_day(stored, spent))


def check_token_uses(source: AuditSource, booked_count: int, progress: Progress) -> None:
    """See that every token that paid is stored as used, and every use stored is a payment's.

    Reading all payments once more, by id, it also finds those approved without a group, and those that name
    what does not exist: no foreign key looks after that, which every payment would have to pay for.

    Args:
        booked_count: how many approved payments the walk of the groups met.

    Raises:
        Broken: one of these is not so.
    """
    uses = source.token_payment_ids()
    (used_by,) = next(uses, (None,))
    approved_count = 0
    for row in _watched(source.payments(), "tokens", progress):
        payment_id, outcome, entry_mode, group_sequence, names_what_exists = row
        if not names_what_exists:
            raise Broken(BreakCode.PAYMENT_REFERS_TO_NOTHING, f"payment {payment_id}")
        if used_by is not None and used_by < payment_id:
            break
        is_used = used_by == payment_id
        if is_used:
            (used_by,) = next(uses, (None,))
        if outcome != "approved":
            continue
        approved_count += 1
        if group_sequence is None:
            raise Broken(BreakCode.PAYMENT_WITHOUT_GROUP, f"payment {payment_id}")
        if not is_used and entry_mode in TOKEN_MODES:
            raise Broken(BreakCode.TOKEN_USE_MISSING, f"payment {payment_id}")
    if used_by is not None:
        raise Broken(BreakCode.TOKEN_USE_WITHOUT_PAYMENT, f"payment {used_by}")
    if approved_count != booked_count:
        raise Broken(BreakCode.PAYMENT_WITHOUT_GROUP, f"{approved_count} approved, {booked_count} booked")


def _place_of_order(stored: OrderRow | None, paid: OrderSumRow | None) -> str:
    # Where one of the streams skipped an order, it is ahead: the smaller one names what differs.
    order_id, merchant_id = min(row[:2] for row in (stored, paid) if row is not None)
    return f"order {order_id} of merchant {merchant_id}"


def _place_of_day(stored: DayRow | None, spent: DayRow | None) -> str:
    day, instrument_id = min(row[:2] for row in (stored, spent) if row is not None)
    return f"instrument {instrument_id} on day {day}"


def _watched(rows: Iterable[T], reading: str, progress: Progress) -> Iterator[T]:
    done_count = 0
    progress(reading, done_count, None)
    for done_count, row in enumerate(rows, start=1):
        if done_count % PROGRESS_EVERY == 0:
            progress(reading, done_count, None)
        yield row
    progress(reading, done_count, done_count)
