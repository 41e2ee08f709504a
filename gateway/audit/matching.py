"""Every group of a payment has its one row, and moves what that row says: payments, steps and refunds.

What a plain sale goes through stays short: ten million of them pass here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.audit.accounts import AccountTable
from gateway.audit.allowances import Allowances
from gateway.audit.codes import BreakCode
from gateway.audit.feeds import Feed, first_of
from gateway.audit.legs import LegReader, fee_of_part, id_of_leg, lost_part
from gateway.audit.report import Broken
from gateway.storage.audit_source import (
    AuditSource,
    BookedPaymentRow,
    BookedRecordRow,
    BookedRefundRow,
    BookedStepRow,
    TransferRow,
)
from wire.ids import ulid_to_bytes

ROWS_PER_GROUP_MAX: Final = 1

_OFFLINE: Final = "offline"
_HELD: Final = frozenset({"authorised", "requires_confirmation"})
_OF_PAYMENTS: Final = frozenset({"payment", "hold"})
_OF_STEPS: Final = frozenset({"capture", "release", "refund"})
_STEPS_OF: Final = {
    "capture": frozenset({"captured", "confirmed"}),
    "release": frozenset({"voided", "expired", "refused"}),
    "refund": frozenset({"reversed"}),
}


@dataclass(slots=True)
class _Merchant:
    """A merchant as the walk knows it."""

    account_id: bytes
    receipt_count: int = 0


class Matching:
    """Holds the rows that name groups against the groups, in the order of booking."""

    def __init__(self, source: AuditSource, accounts: AccountTable) -> None:
        self.payment_count = 0
        """Payments that were charged or held, met so far."""
        self._source = source
        self._legs = LegReader(accounts)
        self._merchants = {row[0]: _Merchant(row[1]) for row in source.merchants()}
        self._payments: Feed[int, BookedPaymentRow] = Feed(
            source.booked_payments(), _stray_payment, ROWS_PER_GROUP_MAX
        )
        self._steps: Feed[int, BookedStepRow] = Feed(source.booked_steps(), _stray_step, ROWS_PER_GROUP_MAX)
        self._refunds: Feed[int, BookedRefundRow] = Feed(
            source.booked_refunds(), _stray_refund, ROWS_PER_GROUP_MAX
        )
        self._records: Feed[int, BookedRecordRow] = Feed(
            source.booked_records(), _stray_record, ROWS_PER_GROUP_MAX
        )
        self.allowances = Allowances(source, accounts)
        self._later_at = self._find_later()

    def check_group(self, sequence: int, purpose: str, legs: list[TransferRow]) -> None:
        """See that a group has the one row that it should have, and moves what that says.

        Raises:
            Broken: it has none, another, several, or moves something else.
        """
        payments = self._payments.take(sequence)
        later_at = self._later_at
        if later_at is not None and later_at <= sequence:
            self._check_later(sequence, purpose, legs, payments)
        elif payments:
            if len(payments) > 1 or purpose not in _OF_PAYMENTS:
                is_offline = purpose == _OFFLINE
                code = BreakCode.GROUP_WITHOUT_RECORD if is_offline else BreakCode.PAYMENT_OF_OTHER_GROUP
                raise Broken(code, f"group {sequence}")
            self._check_payment(sequence, purpose, legs, payments[0])
        elif purpose in _OF_PAYMENTS or purpose == _OFFLINE:
            raise Broken(BreakCode.GROUP_WITHOUT_PAYMENT, f"group {sequence}")
        elif purpose in _OF_STEPS:
            raise _without_row(sequence, purpose)
        elif purpose == "allowance":
            self.allowances.check_group(sequence, legs)

    def check_all_taken(self) -> None:
        """See that no row names a group beyond the last.

        Raises:
            Broken: one does.
        """
        self._payments.check_all_taken()
        self._steps.check_all_taken()
        self._refunds.check_all_taken()
        self._records.check_all_taken()

    def check_receipts(self) -> None:
        """See that each merchant's count of receipts is the number of the last.

        Raises:
            Broken: one's is not.
        """
        for merchant_id, _, receipt_count in self._source.merchants():
            if receipt_count != self._merchants[merchant_id].receipt_count:
                raise Broken(BreakCode.RECEIPT_COUNT_DIFFERS, f"merchant {merchant_id}")

    def _check_later(
        self, sequence: int, purpose: str, legs: list[TransferRow], payments: list[BookedPaymentRow]
    ) -> None:
        steps, refunds = self._steps.take(sequence), self._refunds.take(sequence)
        records = self._records.take(sequence)
        self._later_at = self._find_later()
        count = len(payments) + len(steps) + len(refunds)
        if payments and (count > 1 or purpose != _OFFLINE or len(records) != 1):
            raise Broken(BreakCode.PAYMENT_OF_OTHER_GROUP, f"group {sequence}")
        if steps and (count > 1 or steps[0][2] not in _STEPS_OF.get(purpose, ())):
            raise Broken(BreakCode.STEP_OF_OTHER_GROUP, f"group {sequence}")
        if refunds and (count > 1 or purpose != "refund"):
            raise Broken(BreakCode.REFUND_OF_OTHER_GROUP, f"group {sequence}")
        for record in records:
            self._check_offline(sequence, legs, payments[0], record)
        for step in steps:
            self._check_step(purpose, legs, step)
        for refund in refunds:
            self._check_refund(legs, refund)

    def _check_payment(
        self, sequence: int, purpose: str, legs: list[TransferRow], row: BookedPaymentRow
    ) -> None:
        _, payment_id, outcome, paid_minor, paid_currency, wallet_account_id, merchant_id, number, fee = row
        merchant = self._merchants.get(merchant_id)
        payment = ulid_to_bytes(payment_id)
        transfer_id, kind, debit_id, credit_id, amount_minor, currency = legs[0][2:8]
        is_sale = purpose == "payment"
        if not (
            merchant is not None
            and (
                kind == "single" and outcome == "approved"
                if is_sale
                else kind == "pending" and outcome in _HELD
            )
            and amount_minor == paid_minor
            and currency == paid_currency
            and debit_id == wallet_account_id
            and credit_id == merchant.account_id
            and transfer_id == id_of_leg(b"payment", payment, 0)
            and self._legs.is_fee_of(legs[1:], fee, b"payment", payment, merchant.account_id, paid_minor)
        ):
            where = f"group {sequence}, payment {payment_id}"
            raise Broken(BreakCode.PAYMENT_DIFFERS_FROM_GROUP, where)
        if is_sale:
            self._give_receipt(merchant, merchant_id, payment_id, number)
        self.payment_count += 1

    def _check_offline(
        self, sequence: int, legs: list[TransferRow], row: BookedPaymentRow, record: BookedRecordRow
    ) -> None:
        """See that allowance, wallet and operator paid in this order, each as far as what it had went."""
        _, payment_id, outcome, amount_minor, currency, wallet_account_id, merchant_id, number, fee = row
        _, record_payment_id, allowance_account_id, loss_minor = record
        merchant = self._merchants.get(merchant_id)
        if not (
            merchant is not None
            and outcome == "approved"
            and record_payment_id == payment_id
            and self._legs.is_paid_offline(
                legs,
                ulid_to_bytes(payment_id),
                (allowance_account_id, wallet_account_id, merchant.account_id),
                currency,
                amount_minor,
                loss_minor,
                fee,
            )
        ):
            where = f"group {sequence}, payment {payment_id}"
            raise Broken(BreakCode.PAYMENT_DIFFERS_FROM_GROUP, where)
        self._give_receipt(merchant, merchant_id, payment_id, number)
        self.payment_count += 1

    def _check_step(self, purpose: str, legs: list[TransferRow], row: BookedStepRow) -> None:
        sequence, payment_id, merchant_id, number = row[0], row[1], row[8], row[9]
        merchant = self._merchants.get(merchant_id or "")
        if merchant is None or not self._is_step(purpose, legs, row, merchant.account_id):
            raise Broken(BreakCode.STEP_DIFFERS_FROM_GROUP, f"group {sequence}, payment {payment_id}")
        if purpose == "capture":
            self._give_receipt(merchant, merchant_id or "", payment_id, number)

    def _is_step(
        self, purpose: str, legs: list[TransferRow], row: BookedStepRow, merchant_account_id: bytes
    ) -> bool:
        """Say whether the legs are this step: a charge with its fee, a release, or all that is left."""
        _, payment_id, _, charged_minor, fee_minor, amount_minor, currency, wallet_account_id = row[:8]
        payment, refunded_minor, lost_minor = ulid_to_bytes(payment_id), row[10], row[11]
        hold_id = id_of_leg(b"payment", payment, 0)
        parties = (wallet_account_id, merchant_account_id)
        if purpose == "release":
            void = (id_of_leg(b"release", payment, 0), "void", *parties, amount_minor, currency, hold_id)
            return len(legs) == 1 and legs[0][2:9] == void
        if purpose == "capture":
            post = (id_of_leg(b"capture", payment, 0), "post", *parties, charged_minor, currency, hold_id)
            return legs[0][2:9] == post and self._legs.is_fee_of(
                legs[1:], fee_minor, b"capture", payment, merchant_account_id, charged_minor
            )
        rest_minor = charged_minor - refunded_minor
        rest_of_fee = fee_minor - fee_of_part(charged_minor, fee_minor, refunded_minor)
        rest_lost_minor = lost_part(lost_minor, refunded_minor, rest_minor)
        back = (rest_of_fee, rest_lost_minor, rest_minor - rest_lost_minor)
        return self._legs.is_given_back(legs, b"reversal", payment, parties, currency, back)

    def _check_refund(self, legs: list[TransferRow], row: BookedRefundRow) -> None:
        sequence, payment_id, refund_id, amount_minor, fee_minor, currency, wallet_account_id = row[:7]
        merchant_id, total_minor, lost_minor = row[7:]
        merchant = self._merchants.get(merchant_id or "")
        lost_part_minor = lost_part(lost_minor, total_minor - amount_minor, amount_minor)
        back = (fee_minor, lost_part_minor, amount_minor - lost_part_minor)
        if merchant is None or not self._legs.is_given_back(
            legs,
            b"refund",
            ulid_to_bytes(refund_id),
            (wallet_account_id, merchant.account_id),
            currency,
            back,
        ):
            where = f"group {sequence}, refund {refund_id} of payment {payment_id}"
            raise Broken(BreakCode.REFUND_DIFFERS_FROM_GROUP, where)

    def _give_receipt(
        self, merchant: _Merchant, merchant_id: str, payment_id: str, number: int | None
    ) -> None:
        merchant.receipt_count += 1
        if number != merchant.receipt_count:
            where = f"payment {payment_id} of merchant {merchant_id}"
            raise Broken(BreakCode.RECEIPT_NUMBER_DIFFERS, where)

    def _find_later(self) -> int | None:
        return first_of(first_of(self._steps.next_key, self._refunds.next_key), self._records.next_key)


def _without_row(sequence: int, purpose: str) -> Broken:
    is_refund = purpose == "refund"
    code = BreakCode.GROUP_WITHOUT_REFUND if is_refund else BreakCode.GROUP_WITHOUT_STEP
    return Broken(code, f"group {sequence}")


def _stray_payment(payment: BookedPaymentRow) -> Broken:
    return Broken(BreakCode.PAYMENT_WITHOUT_GROUP, f"payment {payment[1]}")


def _stray_step(step: BookedStepRow) -> Broken:
    return Broken(BreakCode.STEP_WITHOUT_GROUP, f"payment {step[1]}")


def _stray_refund(refund: BookedRefundRow) -> Broken:
    return Broken(BreakCode.REFUND_WITHOUT_GROUP, f"refund {refund[2]} of payment {refund[1]}")


def _stray_record(record: BookedRecordRow) -> Broken:
    return Broken(BreakCode.PAYMENT_WITHOUT_GROUP, f"payment {record[1]}")
