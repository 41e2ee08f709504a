"""What became of each payment: the steps from its decision on, its refunds, its deadline while it is open.

All payments are read once more, by id, with three streams beside them that are empty for a plain sale. What
is asked of a step is said here a second time, apart from gateway/payments/life.py; only the table of states
is the same.
"""

from __future__ import annotations

from typing import Final

from gateway.audit.codes import BreakCode
from gateway.audit.feeds import Feed, first_of
from gateway.audit.legs import fee_of_part
from gateway.audit.report import Broken, Progress
from gateway.audit.totals import watched
from gateway.payments.states import OPEN, TRANSITIONS
from gateway.storage.audit_source import AuditSource, OpenPaymentRow, PaymentRow, RefundRow, StepRow
from wire.messages.payments import EntryMode

TOKEN_MODES: Final = frozenset({EntryMode.NFC_APP.value, EntryMode.QR_CONSUMER.value})
"""Entry modes that present a signed token; a card's link and a numeric code are spent elsewhere."""
STEPS_MAX: Final = 8
"""More than any way through the table of states has."""
REFUNDS_MAX: Final = 100
DAY_MS: Final = 86_400_000
HOLD_GRACE_MS: Final = DAY_MS
"""How much longer than its payment's deadline a hold stands in the ledger."""

_STATE_OF: Final = {
    "approved": "succeeded",
    "authorised": "authorised",
    "requires_confirmation": "requires_confirmation",
    "declined": "declined",
}
_OPEN_OUTCOMES: Final = frozenset({"authorised", "requires_confirmation"})
_CHARGES: Final = frozenset({"captured", "confirmed"})
_ENDS: Final = frozenset({"voided", "expired", "refused"})
_LEADS_TO: Final = {
    (state.value, step.value): after.value
    for state, steps in TRANSITIONS.items()
    for step, after in steps.items()
}
_OPEN: Final = frozenset(state.value for state in OPEN)


def check_payments(source: AuditSource, booked_count: int, progress: Progress) -> None:
    """See that every payment became what its steps and refunds say, and paid with a token that is used up.

    Reading all payments once more, by id, it also finds those approved without a group, and those that name
    what does not exist: no foreign key looks after that, which every payment would have to pay for.

    Args:
        booked_count: how many payments that were charged or held the walk of the groups met.

    Raises:
        Broken: one of these is not so.
    """
    lives = _Lives(source)
    uses = source.token_payment_ids()
    (used_by,) = next(uses, (None,))
    copied: Feed[str, tuple[str]] = Feed(source.copied_payment_ids(), _stray_copy, 1)
    taken_count = 0
    for row in watched(source.payments(), "payments", progress):
        payment_id, outcome, names_what_exists = row[0], row[1], row[4]
        if not names_what_exists:
            raise Broken(BreakCode.PAYMENT_REFERS_TO_NOTHING, f"payment {payment_id}")
        if used_by is not None and used_by < payment_id:
            break
        is_used = used_by == payment_id
        if is_used:
            (used_by,) = next(uses, (None,))
        if outcome in _OPEN_OUTCOMES or (lives.next_id is not None and lives.next_id <= payment_id):
            lives.check(row)
        if outcome != "declined":
            # A key that signed twice under one counter pays twice, and one of the two uses is stored.
            _check_taken(row, is_used or bool(copied.take(payment_id)))
            taken_count += 1
    if used_by is not None:
        raise Broken(BreakCode.TOKEN_USE_WITHOUT_PAYMENT, f"payment {used_by}")
    lives.check_none_left()
    copied.check_all_taken()
    if taken_count != booked_count:
        raise Broken(BreakCode.PAYMENT_WITHOUT_GROUP, f"{taken_count} taken, {booked_count} booked")


def _check_taken(row: PaymentRow, is_used: bool) -> None:
    payment_id, entry_mode, group_sequence = row[0], row[2], row[3]
    if group_sequence is None:
        raise Broken(BreakCode.PAYMENT_WITHOUT_GROUP, f"payment {payment_id}")
    if not is_used and entry_mode in TOKEN_MODES:
        raise Broken(BreakCode.TOKEN_USE_MISSING, f"payment {payment_id}")


class _Lives:
    """Steps, refunds and deadlines, read beside the payments."""

    def __init__(self, source: AuditSource) -> None:
        self._steps: Feed[str, StepRow] = Feed(source.steps(), _stray_step, STEPS_MAX)
        self._refunds: Feed[str, RefundRow] = Feed(source.refunds(), _stray_refund, REFUNDS_MAX)
        self._opens: Feed[str, OpenPaymentRow] = Feed(source.open_payments(), _stray_open, 1)
        self.next_id = self._find_next()
        """The next payment that has one of these, None if none has."""

    def check(self, payment: PaymentRow) -> None:
        """See what became of one payment.

        Raises:
            Broken: something that could not.
        """
        payment_id = payment[0]
        life = _Life(payment)
        for step in self._steps.take(payment_id):
            life.follow(step)
        life.check_refunds(self._refunds.take(payment_id))
        life.check_deadline(self._opens.take(payment_id))
        self.next_id = self._find_next()

    def check_none_left(self) -> None:
        """See that nothing is left that belongs to no payment.

        Raises:
            Broken: something is.
        """
        self._steps.check_all_taken()
        self._refunds.check_all_taken()
        self._opens.check_all_taken()

    def _find_next(self) -> str | None:
        return first_of(first_of(self._steps.next_key, self._refunds.next_key), self._opens.next_key)


class _Life:
    """One payment, followed from its decision on."""

    def __init__(self, payment: PaymentRow) -> None:
        self._id, outcome, _, _, _, self._amount_minor, self._tip_max_minor, fee_minor, is_manual = payment
        self._goods_minor = self._amount_minor - self._tip_max_minor
        self._is_manual = bool(is_manual)
        self._state = _STATE_OF.get(outcome, outcome)
        self._step_count = 0
        self._due_ms: int | None = None
        self._charged_minor = self._amount_minor if outcome == "approved" else 0
        self._tip_minor = 0
        self._fee_minor = fee_minor
        self._reversed_without_money = False

    def follow(self, row: StepRow) -> None:
        """Take the next step."""
        step_index, step, state, due_ms = row[1], row[2], row[3], row[11]
        self._step_count += 1
        if step_index != self._step_count:
            raise self._broken(BreakCode.STEP_MISSING, step_index)
        is_for_later = step == "confirmed_hold"
        fits_capture = step not in ("confirmed", "confirmed_hold") or is_for_later == self._is_manual
        if _LEADS_TO.get((self._state, step)) != state or not fits_capture:
            raise self._broken(BreakCode.STEP_NOT_ALLOWED, step_index)
        if row[4:9] != self._amounts_of(step, row[4], row[5], row[6]) or not self._may_charge(row[4], row[5]):
            raise self._broken(BreakCode.STEP_AMOUNTS_DIFFER, step_index)
        if (row[9] is not None) != (step in _CHARGES):
            raise self._broken(BreakCode.RECEIPT_NUMBER_DIFFERS, step_index)
        self._check_group(row, step)
        if step != "reversed":
            self._charged_minor, self._tip_minor, self._fee_minor = row[4:7]
        self._state, self._due_ms = state, due_ms

    def check_refunds(self, rows: list[RefundRow]) -> None:
        """See that refunds rise to what they say, within what was charged, each with its part of the fee."""
        total_minor = fee_minor = 0
        for _, refund_id, day, amount_minor, stored_total_minor, stored_fee_minor, refunded_ms in rows:
            where = f"refund {refund_id} of payment {self._id}"
            total_minor += amount_minor
            if stored_total_minor != total_minor:
                raise Broken(BreakCode.REFUND_TOTAL_DIFFERS, where)
            if total_minor > self._charged_minor:
                raise Broken(BreakCode.REFUND_ABOVE_CHARGED, where)
            fee_minor += stored_fee_minor
            if fee_minor != fee_of_part(self._charged_minor, self._fee_minor, total_minor):
                raise Broken(BreakCode.REFUND_FEE_DIFFERS, where)
            if day != refunded_ms // DAY_MS:
                raise Broken(BreakCode.REFUND_DAY_DIFFERS, where)
        if self._reversed_without_money and total_minor != self._charged_minor:
            raise self._broken(BreakCode.STEP_WITHOUT_GROUP, self._step_count)

    def check_deadline(self, rows: list[OpenPaymentRow]) -> None:
        """See that it is stored as open if it is, until the deadline of its last step, within its hold."""
        is_open = self._state in _OPEN
        if is_open and not rows:
            raise Broken(BreakCode.OPEN_PAYMENT_MISSING, f"payment {self._id}")
        for _, state, due_ms, hold_over_ms in rows:
            is_last_due = self._due_ms in (None, due_ms)
            is_within_hold = hold_over_ms is not None and due_ms + HOLD_GRACE_MS <= hold_over_ms
            if not is_open or state != self._state or not is_last_due or not is_within_hold:
                raise Broken(BreakCode.OPEN_PAYMENT_DIFFERS, f"payment {self._id}")

    def _amounts_of(self, step: str, charged: int, tip: int, fee: int) -> tuple[int, int, int, int, int]:
        """Return what a step must say: charged, tip and fee, and what it gave back of order and day."""
        if step in _ENDS:
            return 0, 0, 0, self._goods_minor, self._amount_minor
        if step == "captured":
            return charged, tip, fee, self._goods_minor - (charged - tip), self._amount_minor - charged
        if step == "confirmed":
            return self._amount_minor, 0, fee, 0, 0
        if step == "reversed":
            charged, tip = self._charged_minor, self._tip_minor
            return charged, tip, self._fee_minor, charged - tip, charged
        return 0, 0, 0, 0, 0

    def _may_charge(self, charged_minor: int, tip_minor: int) -> bool:
        return tip_minor <= self._tip_max_minor and charged_minor - tip_minor <= self._goods_minor

    def _check_group(self, row: StepRow, step: str) -> None:
        """See that a step without a group is one that moved nothing: the walk has seen the others'."""
        step_index, group_sequence, at_ms, hold_over_ms = row[1], row[10], row[12], row[13]
        if group_sequence is not None:
            # With a group it would have met another purpose than its own.
            return
        if step == "reversed":
            self._reversed_without_money = True
        elif step in _ENDS:
            if hold_over_ms is None or hold_over_ms > at_ms:
                raise self._broken(BreakCode.STEP_WITHOUT_GROUP, step_index)
        elif step != "confirmed_hold":
            raise self._broken(BreakCode.STEP_WITHOUT_GROUP, step_index)

    def _broken(self, code: BreakCode, step_index: int) -> Broken:
        return Broken(code, f"step {step_index} of payment {self._id}")


def _stray_copy(row: tuple[str]) -> Broken:
    return Broken(BreakCode.RECORD_DIFFERS_FROM_PAYMENT, f"payment {row[0]}")


def _stray_step(row: StepRow) -> Broken:
    return Broken(BreakCode.STEP_WITHOUT_PAYMENT, f"payment {row[0]}")


def _stray_refund(row: RefundRow) -> Broken:
    # A walk through the groups ends there before: such a refund names nobody's money.
    return Broken(BreakCode.REFUND_DIFFERS_FROM_GROUP, f"refund {row[1]} of payment {row[0]}")


def _stray_open(row: OpenPaymentRow) -> Broken:
    return Broken(BreakCode.OPEN_PAYMENT_DIFFERS, f"payment {row[0]}")
