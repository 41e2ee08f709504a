"""Eighteen digits of ours, and no other wallet's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.codes.numeric import check_numeric_code, make_numeric_code
from wire.errors import PaymentCodeError


@given(st.text("0123456789", min_size=15, max_size=15))
def test_a_made_code_has_our_form_and_passes(random_digits: str) -> None:
    code = make_numeric_code(random_digits)
    assert re.fullmatch(r"47[0-9]{16}", code)
    assert code[2:17] == random_digits
    assert check_numeric_code(code) == code


@pytest.mark.parametrize(
    "random_digits", ["", "1" * 14, "1" * 16, "1" * 14 + "x", "1" * 14 + "１", "1" * 15 + "\n"]
)
def test_a_code_is_made_of_fifteen_ascii_digits_only(random_digits: str) -> None:
    with pytest.raises(PaymentCodeError):
        make_numeric_code(random_digits)


@pytest.mark.parametrize(
    "code",
    [
        "470000000000000006",
        "47000000000000000",
        "4700000000000000050",
        "480000000000000004",
        "470000000000000005\n",
    ],
)
def test_a_wrong_digit_length_or_prefix_is_refused(code: str) -> None:
    with pytest.raises(PaymentCodeError):
        check_numeric_code(code)


@given(st.text(max_size=24))
def test_any_text_is_a_code_or_a_typed_error(text: str) -> None:
    try:
        assert check_numeric_code(text) == text
    except PaymentCodeError:
        return


def test_other_wallets_codes_are_not_ours(vectors: Path) -> None:
    stored = json.loads((vectors / "numeric_payment_codes.json").read_text(encoding="utf-8"))
    for code in (*stored["wechat"]["samples"], *stored["alipay"]["samples"], *stored["not_codes"]):
        with pytest.raises(PaymentCodeError):
            check_numeric_code(code)


def test_our_codes_are_not_other_wallets(vectors: Path) -> None:
    stored = json.loads((vectors / "numeric_payment_codes.json").read_text(encoding="utf-8"))
    ours = make_numeric_code("123456789012345")
    assert re.fullmatch(stored["wechat"]["regex"], ours) is None
    assert re.fullmatch(stored["alipay"]["regex"], ours) is None
