"""What the legs of a group must say: ids, order, who pays whom; said here again, apart from booking."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from typing import Final

from gateway.audit.accounts import AccountTable
from gateway.ledger.model import ID_BYTES, AccountKind
from gateway.storage.audit_source import TransferRow

_ANY: Final = b""
"""The operator's account of fees, or of losses: there is one in each currency."""
_LEG_ID: Final = b"tapscan %b\0%b%d"
_HALF_ID_BYTES: Final = ID_BYTES // 2


class LegReader:
    """Compares legs with what a row asks for, by what the accounts have before the group."""

    def __init__(self, accounts: AccountTable) -> None:
        self._accounts = accounts

    def is_paid_offline(
        self,
        legs: Sequence[TransferRow],
        payment: bytes,
        parties: tuple[bytes | None, bytes | None, bytes],
        currency: str,
        amount_minor: int,
        loss_minor: int,
        fee_minor: int,
    ) -> bool:
        """Say whether allowance, wallet and operator paid in this order, each as far as what it had went.

        Args:
            parties: the accounts of allowance, wallet and merchant.
        """
        allowance_id, wallet_id, merchant_id = parties
        allowance_minor = min(amount_minor, self._accounts.available_minor(allowance_id))
        rest_minor = amount_minor - allowance_minor
        wallet_minor = min(rest_minor, self._accounts.available_minor(wallet_id))
        parts = (
            (allowance_id, allowance_minor),
            (wallet_id, wallet_minor),
            (_ANY, rest_minor - wallet_minor),
        )
        wanted = [
            (id_of_leg(b"payment", payment, index), "single", payer_id, merchant_id, minor, currency)
            for index, (payer_id, minor) in enumerate(part for part in parts if part[1])
        ]
        count = len(wanted)
        moved = [
            (*leg[2:4], _ANY if self._bears_losses(leg[4]) else leg[4], *leg[5:8]) for leg in legs[:count]
        ]
        return (
            moved == wanted
            and loss_minor == rest_minor - wallet_minor
            and self.is_fee_of(
                legs[count:], fee_minor, b"payment", payment, merchant_id, amount_minor, leg_index=count
            )
        )

    def is_given_back(
        self,
        legs: Sequence[TransferRow],
        use: bytes,
        of: bytes,
        parties: tuple[bytes | None, bytes],
        currency: str | None,
        back: tuple[int, int, int],
    ) -> bool:
        """Say whether the legs give back: the fee's part to the merchant, then to operator and payer.

        Args:
            back: of the fee, of what the operator lost, and of what the payer paid, in minor units.
        """
        wallet_id, merchant_id = parties
        fee_minor, lost_minor, payers_minor = back
        wanted: list[tuple[bytes, bytes | None, bytes | None, int]] = []
        if fee_minor:
            wanted.append((id_of_leg(use, of, 1), _ANY, merchant_id, fee_minor))
        if lost_minor:
            wanted.append((id_of_leg(use, of, 2), merchant_id, _ANY, lost_minor))
        if payers_minor:
            wanted.append((id_of_leg(use, of, 0), merchant_id, wallet_id, payers_minor))
        moved = []
        for leg in legs:
            transfer_id, kind, debit_id, credit_id, amount_minor, leg_currency = leg[2:8]
            if kind != "single" or leg_currency != currency:
                return False
            moved.append(
                (
                    transfer_id,
                    _ANY if self._earns_fees(debit_id) else debit_id,
                    _ANY if self._bears_losses(credit_id) else credit_id,
                    amount_minor,
                )
            )
        return moved == wanted

    def is_fee_of(
        self,
        legs: Sequence[TransferRow],
        fee_minor: int,
        use: bytes,
        payment: bytes,
        merchant_account_id: bytes,
        charged_minor: int,
        leg_index: int = 1,
    ) -> bool:
        """Say whether what follows a charge is its fee: one leg from the merchant, or none where it is 0."""
        if not legs:
            return fee_minor == 0
        fee_id, kind, debit_id, credit_id, taken_minor = legs[0][2:7]
        return (
            len(legs) == 1
            and kind == "single"
            and taken_minor == fee_minor <= charged_minor
            and debit_id == merchant_account_id
            and self._earns_fees(credit_id)
            and fee_id == id_of_leg(use, payment, leg_index)
        )

    def _earns_fees(self, account_id: bytes) -> bool:
        return self._is_of_kind(account_id, AccountKind.FEES)

    def _bears_losses(self, account_id: bytes) -> bool:
        return self._is_of_kind(account_id, AccountKind.LOSSES)

    def _is_of_kind(self, account_id: bytes, kind: AccountKind) -> bool:
        index = self._accounts.index_of.get(account_id)
        return index is not None and self._accounts.kinds[index] == kind


def id_of_leg(use: bytes, of: bytes, leg_index: int) -> bytes:
    """Return the id of a leg that follows from a payment or refund: half its ULID, half a SHA-256."""
    # As gateway.payments.settlement has it, which reads the text of the payment's id for each leg.
    return of[:_HALF_ID_BYTES] + sha256(_LEG_ID % (use, of, leg_index)).digest()[:_HALF_ID_BYTES]


def fee_of_part(charged_minor: int, fee_minor: int, part_minor: int) -> int:
    """Return how much of a fee falls to a part of what was charged, rounded half to even.

    >>> fee_of_part(1000, 25, 500)
    12
    """
    return round(Fraction(fee_minor * part_minor, charged_minor)) if charged_minor else 0


def lost_part(lost_minor: int, refunded_minor: int, amount_minor: int) -> int:
    """Return how much of what is given back is the operator's: what it lost comes first."""
    return min(amount_minor, max(0, lost_minor - refunded_minor))
