"""Money: whole minor units, one currency at a time, and the currencies of ISO 4217."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import MoneyError
from wire.money import (
    AMOUNT_MINOR_MAX,
    CURRENCIES,
    Currency,
    Money,
    find_currency,
    find_currency_by_numeric,
    format_minor,
    parse_money,
)

EUR, JPY, KWD, CLF = (find_currency(code) for code in ("EUR", "JPY", "KWD", "CLF"))
_AMOUNTS = st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX)
_CURRENCIES = st.sampled_from(list(CURRENCIES.values()))


@given(st.integers(0, AMOUNT_MINOR_MAX), _CURRENCIES)
def test_parse_money_reads_what_format_minor_wrote(minor: int, currency: Currency) -> None:
    assert parse_money(format_minor(minor, currency), currency) == Money(minor, currency)


@given(st.text(max_size=20) | st.from_regex(r"[0-9]{1,14}([.,][0-9]{0,5})?"), _CURRENCIES)
def test_parse_money_gives_money_or_a_typed_error_for_any_text(text: str, currency: Currency) -> None:
    try:
        money = parse_money(text, currency)
    except MoneyError:
        return
    assert 0 <= money.minor <= AMOUNT_MINOR_MAX


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.50", EUR, 1_250),
        ("12.5", EUR, 1_250),
        ("12", EUR, 1_200),
        ("0.05", EUR, 5),
        ("0", EUR, 0),
        (" 7.00\n", EUR, 700),
        ("1250", JPY, 1_250),
        ("1.250", KWD, 1_250),
        ("1.2345", CLF, 12_345),
        ("9999999999.99", EUR, AMOUNT_MINOR_MAX),
    ],
)
def test_parse_money_reads_a_typed_decimal(text: str, currency: Currency, minor: int) -> None:
    assert parse_money(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("", EUR),
        ("-1", EUR),
        ("+1", EUR),
        ("1,50", EUR),
        ("1e3", EUR),
        ("1.", EUR),
        (".5", EUR),
        ("01", EUR),
        ("1_000", EUR),
        ("１２", EUR),
        ("12.505", EUR),
        ("1.5", JPY),
        ("10000000000.00", EUR),
        ("999999999999", EUR),  # in euros, not in cents
        ("9" * 10_000, EUR),
        ("NaN", EUR),
    ],
)
def test_parse_money_refuses_what_is_no_plain_decimal(text: str, currency: Currency) -> None:
    with pytest.raises(MoneyError) as caught:
        parse_money(text, currency)
    assert caught.value.code == "amount_invalid"


@given(_AMOUNTS, _AMOUNTS)
def test_adding_and_subtracting_undo_each_other(first: int, second: int) -> None:
    total = Money(first, EUR) + Money(second, EUR)
    assert total == Money(first + second, EUR)
    assert total - Money(second, EUR) == Money(first, EUR)


def test_two_currencies_never_mix() -> None:
    for mix in (lambda: Money(1, EUR) + Money(1, JPY), lambda: Money(1, EUR) - Money(1, JPY)):
        with pytest.raises(MoneyError) as caught:
            mix()
        assert caught.value.code == "currency_mismatch"


@pytest.mark.parametrize("minor", [1.0, True, "1", None])
def test_only_an_int_is_an_amount(minor: object) -> None:
    with pytest.raises(MoneyError):
        Money(minor, EUR)  # type: ignore[arg-type]  # the mistake under test


def test_money_is_written_with_its_currencys_decimals() -> None:
    assert [str(Money(1_250, currency)) for currency in (EUR, JPY, KWD, CLF)] == [
        "12.50 EUR",
        "1250 JPY",
        "1.250 KWD",
        "0.1250 CLF",
    ]
    assert str(Money(-5, EUR)) == "-0.05 EUR"


@pytest.mark.parametrize("code", ["XXX", "XAU", "eur", "EU", "", "EUR\n"])
def test_a_code_that_is_no_currency_is_unknown(code: str) -> None:
    with pytest.raises(MoneyError) as caught:
        find_currency(code)
    assert caught.value.code == "currency_unknown"


@pytest.mark.parametrize("numeric", [0, 999, 959, -978])
def test_a_number_that_is_no_currency_is_unknown(numeric: int) -> None:
    with pytest.raises(MoneyError) as caught:
        find_currency_by_numeric(numeric)
    assert caught.value.code == "currency_unknown"


def test_a_few_rows_of_list_one() -> None:
    rows = [("EUR", 978, 2), ("CNY", 156, 2), ("JPY", 392, 0), ("KWD", 414, 3), ("ALL", 8, 2)]
    for code, numeric, exponent in rows:
        assert find_currency(code) == find_currency_by_numeric(numeric) == Currency(code, numeric, exponent)


def test_the_table_is_list_one_as_published(vectors: Path) -> None:
    """Every entry with a minor unit, and nothing else."""
    published = {
        (entry.findtext("Ccy"), int(entry.findtext("CcyNbr") or 0), int(entry.findtext("CcyMnrUnts") or 0))
        for entry in ElementTree.parse(vectors / "iso4217" / "list-one.xml").iter("CcyNtry")
        if (entry.findtext("CcyMnrUnts") or "N.A.") != "N.A."
    }
    ours = {(currency.code, currency.numeric, currency.exponent) for currency in CURRENCIES.values()}
    assert ours == published
