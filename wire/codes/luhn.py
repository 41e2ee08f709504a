"""The check digit of card numbers and of our numeric codes (ISO/IEC 7812-1, annex B).

It catches a mistyped digit and most swapped neighbours; against an attacker it proves nothing.
"""

from __future__ import annotations

import re
from typing import Final

from wire.errors import PaymentCodeError

_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)


def luhn_digit(digits: str) -> str:
    """Return the check digit to append to these ASCII digits.

    Raises:
        PaymentCodeError: empty, or not all digits.

    >>> luhn_digit("7992739871")
    '3'
    """
    if _DIGITS.fullmatch(digits) is None:
        raise PaymentCodeError("a number with a check digit is all digits")
    # Counted from the check digit leftwards, every second digit is doubled and its digits are summed.
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[::-2])
    plain = sum(int(digit) for digit in digits[-2::-2])
    return str(-(doubled + plain) % 10)


def check_luhn(number: str) -> str:
    """Return the number unchanged if its last digit is the check digit of those before it.

    Raises:
        PaymentCodeError: it is not, or the number is shorter than two digits.

    >>> check_luhn("4111111111111111")
    '4111111111111111'
    """
    if luhn_digit(number[:-1]) != number[-1:]:
        raise PaymentCodeError("the check digit is wrong")
    return number
