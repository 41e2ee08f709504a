"""The check digit, against published numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.codes.luhn import check_luhn, luhn_digit
from wire.errors import PaymentCodeError


@pytest.mark.parametrize("number", ["79927398713", "4111111111111111", "378282246310005", "30569309025904"])
def test_published_numbers_pass(number: str) -> None:
    assert check_luhn(number) == number


@given(st.text("0123456789", min_size=1, max_size=30), st.data())
def test_any_single_wrong_digit_is_caught(digits: str, data: st.DataObject) -> None:
    number = digits + luhn_digit(digits)
    assert check_luhn(number) == number
    position = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != number[position]))
    with pytest.raises(PaymentCodeError):
        check_luhn(number[:position] + wrong + number[position + 1 :])


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_typed_error(text: str) -> None:
    try:
        number = check_luhn(text)
    except PaymentCodeError:
        return
    assert number.isascii()
    assert number.isdecimal()


@pytest.mark.parametrize("text", ["", "0", "4111 1111 1111 1111", "٤١١", "41111111111111１１", "-0"])
def test_what_is_not_ascii_digits_is_refused(text: str) -> None:
    with pytest.raises(PaymentCodeError):
        check_luhn(text)


def test_every_stored_vector_holds(vectors: Path) -> None:
    stored = json.loads((vectors / "luhn.json").read_text(encoding="utf-8"))
    for number in stored["valid"]:
        assert check_luhn(number) == number
    for number in stored["invalid"]:
        with pytest.raises(PaymentCodeError):
            check_luhn(number)
