"""What payments without a connection move: pure arithmetic and ids, the same for every store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gateway.ledger.model import ID_BYTES, GroupPurpose, Transfer, TransferGroup, TransferKind
from gateway.payments.settlement import transfer_id_of


@dataclass(frozen=True, slots=True)
class OfflineParts:
    """Who pays how much of one payment, in minor units; together its amount."""

    allowance_minor: int
    wallet_minor: int
    losses_minor: int


def split_amount(amount_minor: int, *, in_allowance_minor: int, in_wallet_minor: int) -> OfflineParts:
    """Return who pays an amount: the allowance as far as it goes, then the wallet, then the operator.

    >>> split_amount(1000, in_allowance_minor=300, in_wallet_minor=500)
    OfflineParts(allowance_minor=300, wallet_minor=500, losses_minor=200)
    """
    allowance_minor = min(amount_minor, in_allowance_minor)
    wallet_minor = min(amount_minor - allowance_minor, in_wallet_minor)
    return OfflineParts(allowance_minor, wallet_minor, amount_minor - allowance_minor - wallet_minor)


def reserve(
    credential_id: str, *, wallet_account_id: bytes, account_id: bytes, amount_minor: int, currency: str
) -> TransferGroup:
    """Return the transfer that sets an allowance aside; its id follows from the credential's."""
    return _move(b"reserve", credential_id, wallet_account_id, account_id, amount_minor, currency)


def give_back(
    credential_id: str, *, wallet_account_id: bytes, account_id: bytes, amount_minor: int, currency: str
) -> TransferGroup:
    """Return the transfer that returns what is left of an allowance."""
    return _move(b"give back", credential_id, account_id, wallet_account_id, amount_minor, currency)


def settle_offline(
    payment_id: str,
    parts: OfflineParts,
    currency: str,
    *,
    allowance_account_id: bytes,
    wallet_account_id: bytes,
    losses_account_id: bytes,
    merchant_account_id: bytes,
    fees_account_id: bytes,
    fee_minor: int,
) -> TransferGroup:
    """Return the transfers of a payment: from whoever pays a part of it to the merchant, then the fee.

    Legs stand in this order, what is nothing being left out; their ids are those of a payment's legs.
    """
    moves = (
        (allowance_account_id, merchant_account_id, parts.allowance_minor),
        (wallet_account_id, merchant_account_id, parts.wallet_minor),
        (losses_account_id, merchant_account_id, parts.losses_minor),
        (merchant_account_id, fees_account_id, fee_minor),
    )
    legs = tuple(
        Transfer(
            transfer_id_of(payment_id, index), TransferKind.SINGLE, debit, credit, amount_minor, currency
        )
        for index, (debit, credit, amount_minor) in enumerate(move for move in moves if move[2])
    )
    return TransferGroup(legs, GroupPurpose.OFFLINE)


def _move(
    use: bytes, credential_id: str, debit: bytes, credit: bytes, amount_minor: int, currency: str
) -> TransferGroup:
    # A device chooses the id, so all of it goes through the hash: no two credentials share a transfer.
    digest = hashlib.sha256(b"tapscan allowance %b\0%b" % (use, credential_id.encode("ascii"))).digest()
    leg = Transfer(digest[:ID_BYTES], TransferKind.SINGLE, debit, credit, amount_minor, currency)
    return TransferGroup((leg,), GroupPurpose.ALLOWANCE)
