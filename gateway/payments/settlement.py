"""What a payment moves, from its hold to its refund: pure arithmetic and ids.

The same for every store and for the audit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from gateway.ledger.model import ID_BYTES, GroupPurpose, Transfer, TransferGroup, TransferKind
from gateway.payments.model import PaymentBooking
from wire.ids import ulid_to_bytes

BASIS_POINTS: Final = 10_000
HALF_ID_BYTES: Final = ID_BYTES // 2
DAY_MS: Final = 86_400_000
HOLD_GRACE_MS: Final = DAY_MS
"""How much longer than its payment's deadline a hold stands in the ledger (docs/adr/0007, decision 8)."""
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
    fee_minor: int,
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


def hold(
    booking: PaymentBooking, *, wallet_account_id: bytes, merchant_account_id: bytes, due_ms: int
) -> TransferGroup:
    """Return the transfer that holds a payment's amount until its deadline, and a day longer.

    The day is the sweep's, which gives back money, order and limits together; the ledger's own expiry is the
    net below it.
    """
    leg = Transfer(
        _leg_id(ulid_to_bytes(booking.payment_id), 0),
        TransferKind.PENDING,
        wallet_account_id,
        merchant_account_id,
        booking.amount_minor,
        booking.currency,
        expires_ms=due_ms + HOLD_GRACE_MS,
    )
    return TransferGroup((leg,), GroupPurpose.HOLD)


@dataclass(frozen=True, slots=True)
class Parties:
    """Whose money a payment moves, by their accounts."""

    wallet_account_id: bytes
    merchant_account_id: bytes
    fees_account_id: bytes
    losses_account_id: bytes = b""
    """The operator's, of a payment that it paid a part of."""
    lost_minor: int = 0
    """That part; it is given back before the payer gets anything (docs/adr/0008)."""

    @property
    def account_ids(self) -> set[bytes]:
        """All of them, each once."""
        ids = {self.wallet_account_id, self.merchant_account_id, self.fees_account_id}
        return ids | {self.losses_account_id} if self.lost_minor else ids


def capture(
    payment_id: str, parties: Parties, currency: str, *, charged_minor: int, fee_minor: int
) -> TransferGroup:
    """Return the transfers that charge a hold, whole or in part, and the fee from it."""
    payment = ulid_to_bytes(payment_id)
    post = Transfer(
        _derived_id(b"capture", payment, 0),
        TransferKind.POST,
        parties.wallet_account_id,
        parties.merchant_account_id,
        charged_minor,
        currency,
        pending_id=_leg_id(payment, 0),
    )
    if fee_minor == 0:
        return TransferGroup((post,), GroupPurpose.CAPTURE)
    fee = Transfer(
        _derived_id(b"capture", payment, 1),
        _SINGLE,
        parties.merchant_account_id,
        parties.fees_account_id,
        fee_minor,
        currency,
    )
    return TransferGroup((post, fee), GroupPurpose.CAPTURE)


def release(payment_id: str, parties: Parties, currency: str, *, held_minor: int) -> TransferGroup:
    """Return the transfer that lets go of all that a payment holds."""
    payment = ulid_to_bytes(payment_id)
    void = Transfer(
        _derived_id(b"release", payment, 0),
        TransferKind.VOID,
        parties.wallet_account_id,
        parties.merchant_account_id,
        held_minor,
        currency,
        pending_id=_leg_id(payment, 0),
    )
    return TransferGroup((void,), GroupPurpose.RELEASE)


def refund(
    refund_id: str,
    parties: Parties,
    currency: str,
    *,
    amount_minor: int,
    fee_minor: int,
    refunded_minor: int = 0,
) -> TransferGroup:
    """Return the transfers that give money back: the fee's part to the merchant, then all to the payer.

    In that order, so that a merchant's balance need not lend what the operator gives back anyway. Of a
    payment that the operator paid a part of, that part is the first that is given back, and to the operator.

    Args:
        refunded_minor: of the payment before this.
    """
    return _give_back(b"refund", refund_id, parties, currency, amount_minor, fee_minor, refunded_minor)


def reversal(
    payment_id: str,
    parties: Parties,
    currency: str,
    *,
    amount_minor: int,
    fee_minor: int,
    refunded_minor: int = 0,
) -> TransferGroup:
    """Return the transfers that give back the rest of a payment; as `refund`, under the payment's own id.

    Its ids are no refund's: whoever calls a refund as a payment is called must not keep that one from being
    reversed.
    """
    return _give_back(b"reversal", payment_id, parties, currency, amount_minor, fee_minor, refunded_minor)


def _give_back(
    use: bytes,
    ulid: str,
    parties: Parties,
    currency: str,
    amount_minor: int,
    fee_minor: int,
    refunded_minor: int,
) -> TransferGroup:
    of = ulid_to_bytes(ulid)
    lost_minor = min(amount_minor, max(0, parties.lost_minor - refunded_minor))
    moves = (
        (1, parties.fees_account_id, parties.merchant_account_id, fee_minor),
        (2, parties.merchant_account_id, parties.losses_account_id, lost_minor),
        (0, parties.merchant_account_id, parties.wallet_account_id, amount_minor - lost_minor),
    )
    legs = tuple(
        Transfer(_derived_id(use, of, index), _SINGLE, debit, credit, minor, currency)
        for index, debit, credit, minor in moves
        if minor
    )
    return TransferGroup(legs, GroupPurpose.REFUND)


def fee_returned(charged_minor: int, fee_minor: int, refunded_minor: int) -> int:
    """Return how much of a payment's fee is given back once this much of it is refunded in all.

    Rounded half to even from the whole, never added up from parts, so that a full refund returns it all.

    >>> fee_returned(1000, 25, 500), fee_returned(1000, 25, 1000), fee_returned(1000, 25, 0)
    (12, 25, 0)
    """
    whole, rest = divmod(fee_minor * refunded_minor, charged_minor)
    return whole + (2 * rest > charged_minor or (2 * rest == charged_minor and whole % 2 == 1))


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


def _derived_id(use: bytes, of: bytes, leg_index: int) -> bytes:
    digest = hashlib.sha256(b"tapscan %b\0%b%d" % (use, of, leg_index)).digest()
    return of[:HALF_ID_BYTES] + digest[:HALF_ID_BYTES]


def _leg_id(payment: bytes, leg_index: int) -> bytes:
    return _derived_id(b"payment", payment, leg_index)
