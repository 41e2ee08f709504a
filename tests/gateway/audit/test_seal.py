"""The auditor's hash of a group is the one it was sealed with, and no two groups of columns share it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.seal import seal
from gateway.ledger.chain import GENESIS, hash_group
from gateway.ledger.model import LEGS_MAX, GroupPurpose, Transfer, TransferGroup, TransferKind

IDS = st.binary(min_size=16, max_size=16)
TIMES = st.integers(0, 2**48)


@st.composite
def transfers(draw: st.DrawFn) -> Transfer:
    kind = draw(st.sampled_from(TransferKind))
    ends = kind in (TransferKind.POST, TransferKind.VOID, TransferKind.EXPIRE)
    return Transfer(
        transfer_id=draw(IDS),
        kind=kind,
        debit_account_id=draw(IDS),
        credit_account_id=draw(IDS),
        amount_minor=draw(st.integers(0, 2**63 - 1)),
        currency=draw(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3)),
        pending_id=draw(IDS) if ends else None,
        expires_ms=draw(TIMES) if kind is TransferKind.PENDING else None,
    )


def columns_of(leg: Transfer, leg_index: int) -> tuple[object, ...]:
    return (
        *(7, leg_index, leg.transfer_id, str(leg.kind), leg.debit_account_id, leg.credit_account_id),
        *(leg.amount_minor, leg.currency, leg.pending_id, leg.expires_ms, None, None),
    )


@given(
    previous=st.binary(min_size=32, max_size=32),
    sequence=st.integers(1, 2**62),
    booked_ms=TIMES,
    purpose=st.sampled_from(GroupPurpose),
    legs=st.lists(transfers(), min_size=1, max_size=LEGS_MAX),
)
def test_a_group_has_the_hash_it_was_booked_with(
    previous: bytes, sequence: int, booked_ms: int, purpose: GroupPurpose, legs: list[Transfer]
) -> None:
    booked = hash_group(previous, sequence, booked_ms, TransferGroup(tuple(legs), purpose))
    row = (sequence, str(purpose), booked_ms, len(legs), booked)
    assert seal(previous, row, [columns_of(leg, index) for index, leg in enumerate(legs)]) == booked


SINGLE = (1, 0, b"t" * 16, "single", b"d" * 16, b"c" * 16, 5, "EUR", None, None, None, None)
END = (1, 0, b"t" * 16, "post", b"d" * 16, b"c" * 16, 5, "EUR", b"p" * 16, None, None, None)
HOLD = (1, 0, b"t" * 16, "pending", b"d" * 16, b"c" * 16, 5, "EUR", None, 9, "open", 9)


@pytest.mark.parametrize(
    ("leg", "column", "value"),
    [
        # Bytes that struct would fill up or cut off to the same 16.
        (SINGLE, 2, b"t" * 15),
        (SINGLE, 2, b"t" * 17),
        (SINGLE, 4, b"d" * 15),
        (SINGLE, 5, b"c" * 17),
        (SINGLE, 7, "EU"),
        (SINGLE, 7, "EURO"),
        (END, 8, b"p" * 15),
        # Zeros stand for what does not apply.
        (SINGLE, 8, bytes(16)),
        (SINGLE, 9, 0),
        (END, 8, None),
        (END, 9, 0),
        (HOLD, 9, None),
        (HOLD, 8, bytes(16)),
        # What no column holds.
        (SINGLE, 3, "gift"),
        (SINGLE, 6, -1),
        (SINGLE, 6, 1.5),
        (SINGLE, 7, "€€€"),
        (SINGLE, 2, "text of 16 chars"),
    ],
)
def test_columns_that_could_not_have_been_sealed_are_refused(
    leg: tuple[object, ...], column: int, value: object
) -> None:
    group = (1, "transfer", 8, 1, bytes(32))
    assert len(seal(GENESIS, group, [leg])) == 32
    changed = (*leg[:column], value, *leg[column + 1 :])
    with pytest.raises((ValueError, TypeError, KeyError, struct.error)):
        seal(GENESIS, group, [changed])
