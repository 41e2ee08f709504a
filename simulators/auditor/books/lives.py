"""What could not have become of payments: steps, refunds, deadlines, and the totals of orders and days.

A payment is followed from its decision through its steps; whatever it took of its order, of its instrument's
day and of the payer's money must be what it charged or holds, and everything else must have been given back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from simulators.auditor.books.histories import History, StoredRefund, StoredStep
from simulators.auditor.findings import Finding
from simulators.auditor.model.payments import DAY_MS
from simulators.auditor.states import CHARGES, LEADS, OPEN, STATE_OF_OUTCOME


def check_lives(
    histories: Iterable[History], steps: Iterable[StoredStep], refunds: Iterable[StoredRefund]
) -> Iterator[Finding]:
    """Yield what could not have become of a payment, and what belongs to none."""
    known = set()
    for history in histories:
        known.add(history.payment.payment_id)
        yield from _check_decision(history)
        yield from _check_steps(history)
        yield from _check_refunds(history)
    for payment_id in (*(step.payment_id for step in steps), *(refund.payment_id for refund in refunds)):
        if payment_id not in known:
            yield Finding("nobodys_payment", payment_id)


def check_open(histories: Iterable[History], open_until: Mapping[str, tuple[str, int]]) -> Iterator[Finding]:
    """Yield what is stored as open and is not, or the other way round, or with another deadline."""
    left = dict(open_until)
    for history in histories:
        payment_id, found = history.payment.payment_id, left.pop(history.payment.payment_id, None)
        due_ms = history.steps[-1].due_ms if history.steps else None
        is_open = history.state in OPEN
        differs = found is not None and (found[0] != history.state or due_ms not in (None, found[1]))
        if differs or (found is not None) != is_open:
            yield Finding("open_differs", payment_id)
    yield from (Finding("open_differs", payment_id) for payment_id in left)


def check_totals(
    histories: Iterable[History],
    orders: Mapping[tuple[str, str], tuple[int, int]],
    spent: Mapping[tuple[str, int], int],
) -> Iterator[Finding]:
    """Yield orders and days that don't say what their payments are of them, and orders that are overpaid."""
    ordered: Counter[tuple[str, str]] = Counter()
    of_day: Counter[tuple[str, int]] = Counter()
    for history in histories:
        payment = history.payment
        if payment.taken:
            ordered[payment.merchant_id, payment.order_id] += history.ordered_minor
            of_day[payment.instrument_id or "", payment.decided_ms // DAY_MS] += history.spent_minor
    for order in {*ordered, *orders}:
        amount_minor, taken_minor = orders.get(order, (0, -1))
        if order not in ordered or taken_minor != ordered[order]:
            yield Finding("order_differs", "/".join(order))
        elif taken_minor > amount_minor:
            yield Finding("order_overpaid", "/".join(order))
    for day in {*of_day, *spent}:
        if day not in of_day or spent.get(day) != of_day[day]:
            yield Finding("day_differs", f"{day[0]} on day {day[1]}")


def _check_decision(history: History) -> Iterator[Finding]:
    payment = history.payment
    if payment.taken == (payment.decline_code is not None):
        yield Finding("outcome_differs", payment.payment_id)
    if payment.taken != (payment.group_sequence is not None):
        yield Finding("payment_without_group" if payment.taken else "decline_moved_money", payment.payment_id)
    if payment.approved != (payment.receipt_number is not None):
        yield Finding("receipt_misplaced", payment.payment_id)


def _check_steps(history: History) -> Iterator[Finding]:
    where, state = history.payment.payment_id, STATE_OF_OUTCOME[history.payment.outcome]
    for index, step in enumerate(history.steps, start=1):
        if step.step_index != index or LEADS.get((state, step.step)) != step.state:
            yield Finding("step_impossible", where)
        said = (step.charged_minor, step.tip_minor, step.order_released_minor, step.day_released_minor)
        if said != _amounts_of(step.step, history):
            yield Finding("step_amounts_differ", where)
        if (step.receipt_number is not None) != (step.step in CHARGES):
            yield Finding("receipt_misplaced", where)
        if step.group_sequence is None and step.step in CHARGES:
            yield Finding("charged_nothing", where)
        state = step.state
    charged_minor, tip_minor, _ = history.charge
    goods_minor = history.payment.amount_minor - history.payment.tip_max_minor
    # What is charged at once has no tip's part.
    if tip_minor > history.payment.tip_max_minor or charged_minor - tip_minor > goods_minor:
        yield Finding("more_charged_than_held", where)


def _amounts_of(step: str, history: History) -> tuple[int, int, int, int]:
    """Return what a step must say: charged, the tip in it, and what it gave back of order and day."""
    charged_minor, tip_minor, _ = history.charge
    held_minor = history.payment.amount_minor
    goods_minor, ordered_minor = held_minor - history.payment.tip_max_minor, charged_minor - tip_minor
    if step in CHARGES:
        return charged_minor, tip_minor, goods_minor - ordered_minor, held_minor - charged_minor
    if step == "reversed":
        return charged_minor, tip_minor, ordered_minor, charged_minor
    return (0, 0, 0, 0) if step == "confirmed_hold" else (0, 0, goods_minor, held_minor)


def _check_refunds(history: History) -> Iterator[Finding]:
    charged_minor, _, fee_minor = history.charge
    total_minor = fees_minor = 0
    for refund in history.refunds:
        total_minor += refund.amount_minor
        fees_minor += refund.fee_minor
        if refund.total_minor != total_minor:
            yield Finding("refund_gap", refund.refund_id)
        if total_minor > charged_minor:
            yield Finding("refunded_too_much", refund.refund_id)
        elif fees_minor != round(Fraction(fee_minor * total_minor, charged_minor)):
            yield Finding("refund_fee_differs", refund.refund_id)
    if history.state == "reversed":
        gave_rest = history.steps[-1].group_sequence is not None
        if gave_rest == (total_minor == charged_minor):
            yield Finding("reversal_differs", history.payment.payment_id)
