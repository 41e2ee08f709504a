"""The hash chain over booked groups: what an auditor recomputes to see that history was not edited.

The hash of group n is SHA-256(hash of group n-1 ‖ canonical bytes of group n); the first group follows
32 zero bytes. The canonical bytes have fixed widths, integers big-endian, so no two groups share them:

    sequence 8 · booked_ms 8 · purpose 1 · leg count 1 · for each leg:
    kind 1 · transfer id 16 · debit 16 · credit 16 · amount 8 · currency 3 · pending id 16 · expires 8

A field that does not apply is zeros; neither an id nor a time is all zeros otherwise.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from gateway.ledger.model import GroupPurpose, Transfer, TransferGroup, TransferKind

HASH_BYTES: Final = 32
GENESIS: Final = bytes(HASH_BYTES)
"""What the first group follows."""

# Part of the sealed bytes: never renumber.
_PURPOSES: Final = {
    GroupPurpose.PAYMENT: 1,
    GroupPurpose.FUNDING: 2,
    GroupPurpose.EXPIRY: 3,
    GroupPurpose.TRANSFER: 4,
    GroupPurpose.HOLD: 5,
    GroupPurpose.CAPTURE: 6,
    GroupPurpose.RELEASE: 7,
    GroupPurpose.REFUND: 8,
    GroupPurpose.ALLOWANCE: 9,
    GroupPurpose.OFFLINE: 10,
}
_KINDS: Final = {
    TransferKind.SINGLE: 1,
    TransferKind.PENDING: 2,
    TransferKind.POST: 3,
    TransferKind.VOID: 4,
    TransferKind.EXPIRE: 5,
}
_HEAD: Final = struct.Struct(">QQBB")
_LEG: Final = struct.Struct(">B16s16s16sQ3s16sQ")


def hash_group(previous_hash: bytes, sequence: int, booked_ms: int, group: TransferGroup) -> bytes:
    """Return the 32-byte hash that seals a group to everything booked before it."""
    return hashlib.sha256(previous_hash + encode_group(sequence, booked_ms, group)).digest()


def encode_group(sequence: int, booked_ms: int, group: TransferGroup) -> bytes:
    """Return the canonical bytes of a group at its place."""
    head = _HEAD.pack(sequence, booked_ms, _PURPOSES[group.purpose], len(group.legs))
    return head + b"".join(map(_encode_leg, group.legs))


def _encode_leg(leg: Transfer) -> bytes:
    return _LEG.pack(
        _KINDS[leg.kind],
        leg.transfer_id,
        leg.debit_account_id,
        leg.credit_account_id,
        leg.amount_minor,
        leg.currency.encode("ascii"),
        leg.pending_id or bytes(16),
        leg.expires_ms or 0,
    )
