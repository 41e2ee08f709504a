"""The operator's own accounts, and ids that follow from what they are for."""

from __future__ import annotations

import functools
import hashlib
from typing import Final

from gateway.ledger.model import (
    ID_BYTES,
    AccountKind,
    GroupPurpose,
    Transfer,
    TransferGroup,
    TransferKind,
)

OPERATOR_ACCOUNTS_CACHED_MAX: Final = 512
"""There are three kinds, and ISO 4217 lists fewer than 200 currencies."""


@functools.lru_cache(maxsize=OPERATOR_ACCOUNTS_CACHED_MAX)
def operator_account_id(kind: AccountKind, currency: str) -> bytes:
    """Return the id of the operator's own account of this kind and currency; always the same."""
    return _derive_id("account", f"{kind} {currency}".encode("ascii"))


def expiry_of(pending: Transfer) -> TransferGroup:
    """Return the group that lets go of a hold that is over; always the same."""
    expiry = Transfer(
        transfer_id=_derive_id("expiry", pending.transfer_id),
        kind=TransferKind.EXPIRE,
        debit_account_id=pending.debit_account_id,
        credit_account_id=pending.credit_account_id,
        amount_minor=pending.amount_minor,
        currency=pending.currency,
        pending_id=pending.transfer_id,
    )
    return TransferGroup((expiry,), GroupPurpose.EXPIRY)


def allowance_account_id(credential_id: str) -> bytes:
    """Return the id of the account that holds a credential's allowance; always the same.

    Derived and not the id's own bytes: a device chooses the id, and must not be able to name another account.
    """
    return _derive_id("allowance", credential_id.encode("ascii"))


def _derive_id(use: str, of: bytes) -> bytes:
    return hashlib.sha256(f"tapscan {use}\0".encode("ascii") + of).digest()[:ID_BYTES]
