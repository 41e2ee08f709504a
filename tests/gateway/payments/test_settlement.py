"""What an approved payment moves."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.model import GroupPurpose, TransferGroup
from gateway.payments.settlement import fee_of, receipt_number_text, settle, transfer_id_of, utc_day_of
from wire.money import AMOUNT_MINOR_MAX

if TYPE_CHECKING:
    from tests.conftest import Shop

WALLET, MERCHANT, FEES = b"w" * 16, b"m" * 16, b"f" * 16


def settle_at(shop: Shop, fee_basis_points: int, **changes: object) -> TransferGroup:
    booking = shop.booking(1, **changes)
    return settle(
        booking,
        wallet_account_id=WALLET,
        merchant_account_id=MERCHANT,
        fees_account_id=FEES,
        fee_minor=fee_of(booking.amount_minor, fee_basis_points),
    )


@given(st.integers(1, AMOUNT_MINOR_MAX), st.integers(0, 1_000))
def test_fee_is_the_exact_share_rounded_half_to_even(amount_minor: int, fee_basis_points: int) -> None:
    assert fee_of(amount_minor, fee_basis_points) == round(Fraction(amount_minor * fee_basis_points, 10_000))


@pytest.mark.parametrize(("amount_minor", "fee"), [(50, 0), (51, 1), (150, 2), (250, 2), (350, 4)])
def test_half_a_cent_goes_to_the_even_neighbour(amount_minor: int, fee: int) -> None:
    assert fee_of(amount_minor, 100) == fee


def test_payment_and_fee_are_linked_legs(shop: Shop) -> None:
    group = settle_at(shop, 140)
    moves = [(leg.debit_account_id, leg.credit_account_id, leg.amount_minor) for leg in group.legs]
    assert moves == [(WALLET, MERCHANT, 1_250), (MERCHANT, FEES, 18)]
    assert group.purpose is GroupPurpose.PAYMENT


@pytest.mark.parametrize(("amount_minor", "fee_basis_points"), [(1_250, 0), (1, 140)])
def test_fee_of_nothing_is_left_out(shop: Shop, amount_minor: int, fee_basis_points: int) -> None:
    assert len(settle_at(shop, fee_basis_points, amount_minor=amount_minor).legs) == 1


def test_legs_have_ids_that_follow_from_the_payment_and_never_meet(shop: Shop) -> None:
    group = settle_at(shop, 140)
    assert [leg.transfer_id for leg in group.legs] == [
        transfer_id_of(shop.booking(1).payment_id, index) for index in (0, 1)
    ]
    ids = {
        transfer_id_of(payment_id, index)
        for payment_id in ("0" * 26, "0" * 25 + "1", "7" + "Z" * 25)
        for index in (0, 1, 10)
    }
    assert len(ids) == 9


def test_day_changes_at_midnight_utc() -> None:
    assert utc_day_of(1_800_057_599_999) + 1 == utc_day_of(1_800_057_600_000) == 20_834


def test_receipt_number_grows_beyond_its_padding() -> None:
    assert [receipt_number_text(number) for number in (1, 999_999, 1_000_000)] == [
        "000001",
        "999999",
        "1000000",
    ]
