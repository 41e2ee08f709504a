"""Money: a whole number of minor units in one ISO 4217 currency.

No float comes near an amount, and two currencies never mix: adding them raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from wire.errors import MoneyError
from wire.iso4217 import LIST_ONE

AMOUNT_MINOR_MAX: Final = 999_999_999_999
"""Largest amount of one payment: the twelve digits of EMV tag 9F02 (EMV Book 3, annex A)."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,4}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency of ISO 4217 list one."""

    code: str
    numeric: int
    exponent: int

    def __str__(self) -> str:
        return self.code


def _read_list_one() -> dict[str, Currency]:
    fields = LIST_ONE.split()
    return {
        code: Currency(code, int(numeric), int(exponent))
        for code, numeric, exponent in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
    }


CURRENCIES: Final = _read_list_one()
_BY_NUMERIC: Final = {currency.numeric: currency for currency in CURRENCIES.values()}


def find_currency(code: str) -> Currency:
    """Return the currency with this alphabetic code.

    Raises:
        MoneyError: `currency_unknown`; the code is not in ISO 4217 list one.
    """
    try:
        return CURRENCIES[code]
    except KeyError:
        raise MoneyError("no such currency", code="currency_unknown") from None


def find_currency_by_numeric(numeric: int) -> Currency:
    """Return the currency with this ISO 4217 numeric code (978 is the euro).

    Raises:
        MoneyError: `currency_unknown`.
    """
    try:
        return _BY_NUMERIC[numeric]
    except KeyError:
        raise MoneyError("no such currency", code="currency_unknown") from None


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (cents, fen, yen); may be negative where a difference is meant."""

    minor: int
    currency: Currency

    def __post_init__(self) -> None:
        # bool is an int in Python; True cents would be a parser's mistake let through.
        if type(self.minor) is not int:
            raise MoneyError("an amount is a whole number of minor units")

    def __add__(self, other: Money) -> Money:
        self._require_same_currency(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._require_same_currency(other)
        return Money(self.minor - other.minor, self.currency)

    def __str__(self) -> str:
        return f"{format_minor(self.minor, self.currency)} {self.currency.code}"

    def _require_same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise MoneyError("two currencies do not add", code="currency_mismatch")


def format_minor(minor: int, currency: Currency) -> str:
    """Write minor units as a plain decimal with exactly the currency's exponent.

    >>> format_minor(1250, find_currency("EUR")), format_minor(-5, find_currency("EUR"))
    ('12.50', '-0.05')
    >>> format_minor(1250, find_currency("JPY"))
    '1250'
    """
    sign = "-" if minor < 0 else ""
    if currency.exponent == 0:
        return f"{sign}{abs(minor)}"
    whole, fraction = divmod(abs(minor), 10**currency.exponent)
    return f"{sign}{whole}.{fraction:0{currency.exponent}d}"


def parse_money(text: str, currency: Currency) -> Money:
    """Read a decimal a person typed, such as ``12.50``, as money.

    Accepts ASCII digits with at most as many decimals as the currency has; refuses signs, exponents,
    grouping and anything above AMOUNT_MINOR_MAX.

    Raises:
        MoneyError: `amount_invalid`.

    >>> parse_money("12.5", find_currency("EUR")).minor
    1250
    """
    match = _DECIMAL.fullmatch(text.strip())
    if match is None:
        raise MoneyError("an amount is digits with at most one decimal point")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > currency.exponent:
        raise MoneyError(f"{currency.code} has {currency.exponent} decimals")
    minor = int(whole) * 10**currency.exponent + int(fraction.ljust(currency.exponent, "0") or "0")
    if minor > AMOUNT_MINOR_MAX:
        raise MoneyError("the amount is larger than one payment can be")
    return Money(minor, currency)
