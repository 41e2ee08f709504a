"""The canonical bytes under the hash chain: fixed for ever, and no two groups share them."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from gateway.ledger.chain import GENESIS, encode_group, hash_group
from gateway.ledger.model import GroupPurpose, Transfer, TransferGroup, TransferKind

SINGLE = Transfer(b"t" * 16, TransferKind.SINGLE, b"d" * 16, b"c" * 16, 1_250, "EUR")
PENDING = replace(SINGLE, transfer_id=b"p" * 16, kind=TransferKind.PENDING, expires_ms=9)
POST = replace(SINGLE, transfer_id=b"q" * 16, kind=TransferKind.POST, pending_id=b"p" * 16)
GROUP = TransferGroup((SINGLE, POST), GroupPurpose.PAYMENT)


def test_canonical_bytes_are_as_documented() -> None:
    # Spelt out by hand from the table in gateway/ledger/chain.py.
    expected = (
        "0000000000000007" "0000000000000400" "01" "02"
        "01" + "74" * 16 + "64" * 16 + "63" * 16 + "00000000000004e2" "455552" + "00" * 16 + "00" * 8
        + "03" + "71" * 16 + "64" * 16 + "63" * 16 + "00000000000004e2" "455552" + "70" * 16 + "00" * 8
    )  # fmt: skip
    assert encode_group(7, 1_024, GROUP).hex() == expected


def test_hash_covers_what_came_before() -> None:
    first = hash_group(GENESIS, 1, 5, GROUP)
    assert first == hashlib.sha256(bytes(32) + encode_group(1, 5, GROUP)).digest()
    assert hash_group(first, 2, 5, GROUP) != hash_group(GENESIS, 2, 5, GROUP)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SINGLE, transfer_id=b"x" * 16),
        replace(SINGLE, debit_account_id=b"x" * 16),
        replace(SINGLE, credit_account_id=b"x" * 16),
        replace(SINGLE, amount_minor=1_251),
        replace(SINGLE, currency="USD"),
        replace(PENDING, transfer_id=SINGLE.transfer_id),
        replace(POST, transfer_id=SINGLE.transfer_id),
    ],
)
def test_every_field_of_a_leg_is_sealed(changed: Transfer) -> None:
    assert encode_group(1, 5, TransferGroup((changed,))) != encode_group(1, 5, TransferGroup((SINGLE,)))


def test_place_time_purpose_and_order_of_legs_are_sealed() -> None:
    versions = [
        encode_group(1, 5, GROUP),
        encode_group(2, 5, GROUP),
        encode_group(1, 6, GROUP),
        encode_group(1, 5, replace(GROUP, purpose=GroupPurpose.TRANSFER)),
        encode_group(1, 5, replace(GROUP, legs=GROUP.legs[::-1])),
        encode_group(1, 5, replace(GROUP, legs=GROUP.legs[:1])),
    ]
    assert len(set(versions)) == len(versions)
