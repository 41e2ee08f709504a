"""Numeric payment codes: eighteen digits for scanners that read only bars, or for fingers.

The prefix 47, fifteen random digits that the gateway drew, and a check digit. The prefix keeps clear of
WeChat Pay's 10 to 15 and Alipay's 25 to 30 (protocol section 4), which share the counter with ours.
A bearer code without a signature: online only, single use, a minute of life, the lowest cap.
"""

from __future__ import annotations

import re
from typing import Final

from wire.codes.luhn import check_luhn, luhn_digit
from wire.errors import PaymentCodeError

PREFIX: Final = "47"
RANDOM_DIGIT_COUNT: Final = 15
CODE_DIGIT_COUNT: Final = 18

_RANDOM_DIGITS: Final = re.compile(rf"[0-9]{{{RANDOM_DIGIT_COUNT}}}", re.ASCII)
_FORM: Final = re.compile(rf"{PREFIX}[0-9]{{{RANDOM_DIGIT_COUNT + 1}}}", re.ASCII)


def make_numeric_code(random_digits: str) -> str:
    """Make a payment code from fifteen random digits.

    Raises:
        PaymentCodeError: these are not fifteen ASCII digits.

    >>> make_numeric_code("000000000000000")
    '470000000000000005'
    """
    if _RANDOM_DIGITS.fullmatch(random_digits) is None:
        raise PaymentCodeError(f"a payment code is made of {RANDOM_DIGIT_COUNT} digits")
    body = PREFIX + random_digits
    return body + luhn_digit(body)


def check_numeric_code(code: str) -> str:
    """Return the code unchanged if it has our form; whether it was ever issued is the gateway's to say.

    Raises:
        PaymentCodeError: another length or prefix, or a wrong check digit.
    """
    if _FORM.fullmatch(code) is None:
        raise PaymentCodeError(f"a payment code is {CODE_DIGIT_COUNT} digits with our prefix")
    return check_luhn(code)
