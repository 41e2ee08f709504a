"""The walk over all groups in the order of booking: chain, transfers, holds, payments, receipts.

Ten million rows pass here, so what every row goes through stays short and makes no objects.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Generic, TypeVar

from gateway.audit.accounts import AccountTable
from gateway.audit.codes import BreakCode
from gateway.audit.report import Broken, Progress
from gateway.audit.seal import seal
from gateway.ledger.chain import GENESIS
from gateway.ledger.model import AMOUNT_MINOR_MAX, ID_BYTES, LEGS_MAX, AccountKind, PendingState
from gateway.storage.audit_source import AuditSource, BookedPaymentRow, GroupRow, TransferRow
from wire.errors import IdError
from wire.ids import ulid_to_bytes

PROGRESS_EVERY: Final = 5_000
"""Groups between two calls of `progress`."""

_UNREADABLE: Final = (struct.error, ValueError, TypeError, LookupError, AttributeError, IdError)
"""What becomes of a column that holds another type, width or word than any booking writes."""
_LEG_ID: Final = b"tapscan payment\0%b%d"
_HALF_ID_BYTES: Final = ID_BYTES // 2
_STATE_AFTER: Final = {
    "post": PendingState.POSTED.value,
    "void": PendingState.VOIDED.value,
    "expire": PendingState.EXPIRED.value,
}

_Row = TypeVar("_Row", TransferRow, BookedPaymentRow)


@dataclass(slots=True)
class _Merchant:
    """A merchant as the walk knows it."""

    account_id: bytes
    receipt_count: int = 0


@dataclass(frozen=True, slots=True)
class _Hold:
    """A pending transfer that has not ended yet."""

    debit_account_id: bytes
    credit_account_id: bytes
    currency: str
    amount_minor: int
    expires_ms: int
    stored_state: str


class GroupWalk:
    """Walks once; what it counted and where the chain stands can be read at any time."""

    def __init__(self, source: AuditSource, accounts: AccountTable, progress: Progress) -> None:
        self.group_count = 0
        self.transfer_count = 0
        self.payment_count = 0
        self.chain_head = GENESIS
        self._source = source
        self._accounts = accounts
        self._progress = progress
        self._merchants: dict[str, _Merchant] = {}
        self._open_holds: dict[bytes, _Hold] = {}
        self._hold_count = 0

    def run(self) -> None:
        """Walk all groups.

        Raises:
            Broken: the first thing that is not so.
        """
        total = self._source.count_groups()
        self._merchants = {row[0]: _Merchant(row[1]) for row in self._source.merchants()}
        transfers = _Feed(self._source.transfers(), _stray_transfer)
        payments = _Feed(self._source.booked_payments(), _stray_payment)
        for group in self._source.groups():
            if self.group_count % PROGRESS_EVERY == 0:
                self._progress("groups", self.group_count, total)
            try:
                self._walk_group(group, transfers, payments)
            except _UNREADABLE as error:
                raise Broken(BreakCode.ROW_UNREADABLE, f"group {group[0]}") from error
            except OverflowError as error:
                raise Broken(BreakCode.COUNTER_OUT_OF_RANGE, f"group {group[0]}") from error
        self._progress("groups", self.group_count, total)
        transfers.check_all_taken()
        payments.check_all_taken()

    def check_holds(self) -> None:
        """See that what is stored of the holds is what the walk left of them.

        Raises:
            Broken: it is not.
        """
        for transfer_id, hold in self._open_holds.items():
            if hold.stored_state != PendingState.OPEN:
                raise _broken_hold(BreakCode.PENDING_STATE_DIFFERS, transfer_id)
        stored_count = self._source.count_pendings()
        if stored_count != self._hold_count:
            where = f"{stored_count} pending transfers stored, {self._hold_count} booked"
            raise Broken(BreakCode.PENDING_WITHOUT_TRANSFER, where)

    def check_receipts(self) -> None:
        """See that each merchant's count of receipts is the number of the last.

        Raises:
            Broken: one's is not.
        """
        for merchant_id, _, receipt_count in self._source.merchants():
            if receipt_count != self._merchants[merchant_id].receipt_count:
                raise Broken(BreakCode.RECEIPT_COUNT_DIFFERS, f"merchant {merchant_id}")

    def _walk_group(
        self, group: GroupRow, transfers: _Feed[TransferRow], payments: _Feed[BookedPaymentRow]
    ) -> None:
        sequence, purpose, booked_ms, leg_count, stored_hash = group
        legs = transfers.take(sequence)
        paid = payments.take(sequence)
        if sequence != self.group_count + 1:
            raise Broken(BreakCode.SEQUENCE_GAP, f"group {sequence}")
        _check_legs(sequence, leg_count, legs)
        head = seal(self.chain_head, group, legs)
        if head != stored_hash:
            raise Broken(BreakCode.HASH_MISMATCH, f"group {sequence}")
        if paid or purpose == "payment":
            self._check_payment(group, legs, paid)
        for leg in legs:
            self._walk_leg(leg, booked_ms)
        self.chain_head = head
        self.group_count = sequence
        self.transfer_count += leg_count

    def _walk_leg(self, leg: TransferRow, booked_ms: int) -> None:
        kind, debit_id, credit_id, amount_minor, currency = leg[3:8]
        accounts = self._accounts
        debit, credit = accounts.index_of.get(debit_id), accounts.index_of.get(credit_id)
        if debit is None or credit is None:
            raise _broken_leg(BreakCode.ACCOUNT_MISSING, leg)
        if not accounts.currencies[debit] == accounts.currencies[credit] == currency:
            raise _broken_leg(BreakCode.CURRENCY_MISMATCH, leg)
        if debit == credit:
            raise _broken_leg(BreakCode.ACCOUNTS_EQUAL, leg)
        if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
            is_positive = amount_minor > 0
            raise _broken_leg(
                BreakCode.AMOUNT_TOO_LARGE if is_positive else BreakCode.AMOUNT_NOT_POSITIVE, leg
            )
        pending_minor, posted_minor = 0, amount_minor
        if kind != "single":
            pending_minor = self._follow_hold(leg, booked_ms)
            posted_minor = amount_minor if kind == "post" else 0
        if not accounts.move(debit, credit, pending_minor, posted_minor):
            raise Broken(BreakCode.BALANCE_NEGATIVE, f"account {debit_id.hex()} at {_place_of(leg)}")

    def _follow_hold(self, leg: TransferRow, booked_ms: int) -> int:
        """Open or end the hold that a leg is about; return by how much more is held then."""
        if leg[3] != "pending":
            return -self._end_hold(leg, booked_ms)
        self._open_hold(leg)
        return leg[6]

    def _open_hold(self, leg: TransferRow) -> None:
        transfer_id, expires_ms, stored_state, stored_expires_ms = leg[2], leg[9], leg[10], leg[11]
        if stored_state is None:
            raise _broken_hold(BreakCode.PENDING_MISSING, transfer_id)
        if expires_ms is None or expires_ms != stored_expires_ms:
            raise _broken_hold(BreakCode.PENDING_EXPIRY_DIFFERS, transfer_id)
        self._hold_count += 1
        self._open_holds[transfer_id] = _Hold(leg[4], leg[5], leg[7], leg[6], expires_ms, stored_state)

    def _end_hold(self, leg: TransferRow, booked_ms: int) -> int:
        """Take the hold a leg ends out of the open ones, and return its amount."""
        kind, debit_id, credit_id, amount_minor, currency, pending_id = leg[3:9]
        assert pending_id is not None, "what was sealed ends a hold"
        hold = self._open_holds.pop(pending_id, None)
        if hold is None:
            raise _broken_leg(BreakCode.PENDING_NOT_OPEN, leg)
        same = (hold.debit_account_id, hold.credit_account_id, hold.currency)
        fits = amount_minor <= hold.amount_minor
        if kind != "post":
            fits = amount_minor == hold.amount_minor
        is_over = hold.expires_ms <= booked_ms
        if same != (debit_id, credit_id, currency) or not fits or is_over != (kind == "expire"):
            raise _broken_leg(BreakCode.PENDING_DIFFERS, leg)
        if hold.stored_state != _STATE_AFTER[kind]:
            raise _broken_hold(BreakCode.PENDING_STATE_DIFFERS, pending_id)
        return hold.amount_minor

    def _check_payment(self, group: GroupRow, legs: list[TransferRow], paid: list[BookedPaymentRow]) -> None:
        sequence, purpose = group[:2]
        if not paid:
            raise Broken(BreakCode.GROUP_WITHOUT_PAYMENT, f"group {sequence}")
        if len(paid) != 1 or purpose != "payment":
            raise Broken(BreakCode.PAYMENT_OF_OTHER_GROUP, f"group {sequence}")
        (payment,) = paid
        payment_id, merchant_id, receipt_number = payment[1], payment[6], payment[7]
        merchant = self._merchants.get(merchant_id)
        if merchant is None or not self._is_settlement_of(payment, legs, merchant.account_id):
            where = f"group {sequence}, payment {payment_id}"
            raise Broken(BreakCode.PAYMENT_DIFFERS_FROM_GROUP, where)
        merchant.receipt_count += 1
        if receipt_number != merchant.receipt_count:
            where = f"payment {payment_id} of merchant {merchant_id}"
            raise Broken(BreakCode.RECEIPT_NUMBER_DIFFERS, where)
        self.payment_count += 1

    def _is_settlement_of(
        self, row: BookedPaymentRow, legs: list[TransferRow], merchant_account_id: bytes
    ) -> bool:
        """Say whether the legs are this payment: the amount to the merchant, then perhaps a fee from it."""
        payment_id, outcome, paid_minor, paid_currency, wallet_account_id = row[1:6]
        payment = ulid_to_bytes(payment_id)
        transfer_id, kind, debit_id, credit_id, amount_minor, currency = legs[0][2:8]
        is_payment = (
            outcome == "approved"
            and kind == "single"
            and amount_minor == paid_minor
            and currency == paid_currency
            and debit_id == wallet_account_id
            and credit_id == merchant_account_id
            and transfer_id == _id_of_leg(payment, 0)
        )
        if not is_payment or len(legs) == 1:
            return is_payment
        fee_id, kind, debit_id, credit_id, fee_minor = legs[1][2:7]
        return (
            len(legs) == 2
            and kind == "single"
            and fee_minor <= paid_minor
            and debit_id == merchant_account_id
            and self._earns_fees(credit_id)
            and fee_id == _id_of_leg(payment, 1)
        )

    def _earns_fees(self, account_id: bytes) -> bool:
        index = self._accounts.index_of.get(account_id)
        return index is not None and self._accounts.kinds[index] == AccountKind.FEES


class _Feed(Generic[_Row]):
    """Rows that begin with a group's sequence and come in its order, handed out group by group."""

    def __init__(self, rows: Iterator[_Row], describe_stray: Callable[[_Row], Broken]) -> None:
        self._rows: Iterator[_Row] = rows
        self._head: _Row | None = next(rows, None)
        self._describe_stray: Callable[[_Row], Broken] = describe_stray

    def take(self, sequence: int) -> list[_Row]:
        """Return the rows of a group: none, or some, but no more than could ever be right.

        Raises:
            Broken: a row before it belongs to no group.
        """
        head = self._head
        taken: list[_Row] = []
        if head is not None and head[0] < sequence:
            raise self._describe_stray(head)
        while head is not None and head[0] == sequence and len(taken) <= LEGS_MAX:
            taken.append(head)
            head = next(self._rows, None)
        self._head = head
        return taken

    def check_all_taken(self) -> None:
        """See that no row is left.

        Raises:
            Broken: one is, and belongs to no group.
        """
        if self._head is not None:
            raise self._describe_stray(self._head)


def _stray_transfer(leg: TransferRow) -> Broken:
    return Broken(BreakCode.TRANSFER_WITHOUT_GROUP, f"group {leg[0]}")


def _stray_payment(payment: BookedPaymentRow) -> Broken:
    return Broken(BreakCode.PAYMENT_WITHOUT_GROUP, f"payment {payment[1]}")


def _check_legs(sequence: int, leg_count: int, legs: list[TransferRow]) -> None:
    if len(legs) > leg_count:
        raise Broken(BreakCode.LEGS_ADDED, f"group {sequence}")
    # They come in the order of their indexes, and no two legs of a group can have the same.
    if len(legs) < leg_count or legs[-1][1] != leg_count - 1:
        raise Broken(BreakCode.LEGS_MISSING, f"group {sequence}")


def _id_of_leg(payment: bytes, leg_index: int) -> bytes:
    # As gateway.payments.settlement.transfer_id_of, which reads the text of the payment's id for each leg.
    return payment[:_HALF_ID_BYTES] + sha256(_LEG_ID % (payment, leg_index)).digest()[:_HALF_ID_BYTES]


def _place_of(leg: TransferRow) -> str:
    return f"group {leg[0]}, leg {leg[1]}"


def _broken_leg(code: BreakCode, leg: TransferRow) -> Broken:
    return Broken(code, _place_of(leg))


def _broken_hold(code: BreakCode, transfer_id: bytes) -> Broken:
    return Broken(code, f"pending transfer {transfer_id.hex()}")
