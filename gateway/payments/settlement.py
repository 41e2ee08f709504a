"""What an approved payment moves: pure arithmetic and ids, the same for every store and for the audit."""

from __future__ import annotations

import hashlib
from typing import Final

from gateway.ledger.model import ID_BYTES, GroupPurpose, Transfer, TransferGroup, TransferKind
from gateway.payments.model import PaymentBooking
from wire.ids import ulid_to_bytes

BASIS_POINTS: Final = 10_000
HALF_ID_BYTES: Final = ID_BYTES // 2
DAY_MS: Final = 86_400_000
RECEIPT_DIGITS: Final = 6
"""Receipt numbers are padded to this many digits and grow beyond it."""
_SINGLE: Final = TransferKind.SINGLE
_PAYMENT: Final = GroupPurpose.PAYMENT


def settle(
    booking: PaymentBooking,
    *,
    wallet_account_id: bytes,
    merchant_account_id: bytes,
    fees_account_id: bytes,
    fee_basis_points: int,
) -> TransferGroup:
    """Return the linked transfers of a payment: the amount to the merchant, then the fee from it.

    The ids of the legs follow from the payment's id, so one payment can't be booked twice, and an
    auditor can tell which payment a group belongs to.
    """
    payment = ulid_to_bytes(booking.payment_id)
    payment_leg = Transfer(
        _leg_id(payment, 0),
        _SINGLE,
        wallet_account_id,
        merchant_account_id,
        booking.amount_minor,
        booking.currency,
    )
    fee_minor = fee_of(booking.amount_minor, fee_basis_points)
    if fee_minor == 0:
        return TransferGroup((payment_leg,), _PAYMENT)
    fee_leg = Transfer(
        _leg_id(payment, 1),
        _SINGLE,
        merchant_account_id,
        fees_account_id,
        fee_minor,
        booking.currency,
    )
    return TransferGroup((payment_leg, fee_leg), _PAYMENT)


def fee_of(amount_minor: int, fee_basis_points: int) -> int:
    """Return the fee in minor units, rounded half to even, in integers throughout.

    >>> fee_of(1250, 140), fee_of(50, 100), fee_of(150, 100)
    (18, 0, 2)
    """
    whole, rest = divmod(amount_minor * fee_basis_points, BASIS_POINTS)
    half = BASIS_POINTS // 2
    return whole + (rest > half or (rest == half and whole % 2 == 1))


def transfer_id_of(payment_id: str, leg_index: int) -> bytes:
    """Return the id of a leg of a payment: half the payment's ULID, half a SHA-256 over both.

    The first half holds the time, so that ids rise with it and an index of them grows at its edge.
    """
    return _leg_id(ulid_to_bytes(payment_id), leg_index)


def utc_day_of(now_ms: int) -> int:
    """Return the day of UTC in which limits count a payment: days since 1970."""
    return now_ms // DAY_MS


def receipt_number_text(number: int) -> str:
    """Write a merchant's receipt number as its receipts show it.

    >>> receipt_number_text(41)
    '000041'
    """
    return f"{number:0{RECEIPT_DIGITS}d}"


def _leg_id(payment: bytes, leg_index: int) -> bytes:
    digest = hashlib.sha256(b"tapscan payment\0%b%d" % (payment, leg_index)).digest()
    return payment[:HALF_ID_BYTES] + digest[:HALF_ID_BYTES]
