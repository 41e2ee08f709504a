"""The catalogue's file: prices in the currency's own decimals, and errors that say which item."""

from __future__ import annotations

from pathlib import Path

import pytest

from terminal.errors import ConfigurationError
from terminal.till_page.catalogue import CATALOGUE_BYTES_MAX, load_catalogue
from wire.messages.till_page import CatalogueItem
from wire.money import find_currency


def load(tmp_path: Path, text: str, currency: str = "EUR") -> tuple[CatalogueItem, ...]:
    path = tmp_path / "catalogue.toml"
    path.write_text(text, encoding="utf-8")
    return load_catalogue(path, find_currency(currency))


def test_items_come_in_their_order_with_names_in_both_languages(tmp_path: Path) -> None:
    text = """
[[items]]
name = "Tea"
name_zh = "茶"
price = "2.80"
tax_basis_points = 1000
group = "Drinks"
[[items]]
name = "Bread"
price = "3"
"""
    tea, bread = load(tmp_path, text)
    assert tea == CatalogueItem(
        name="Tea", name_zh="茶", price_minor=280, tax_basis_points=1000, group="Drinks", group_zh="Drinks"
    )
    assert (bread.name_zh, bread.price_minor, bread.tax_basis_points) == ("Bread", 300, 0)


def test_price_has_the_currencys_decimals(tmp_path: Path) -> None:
    (item,) = load(tmp_path, '[[items]]\nname = "Tea"\nprice = "280"\n', "JPY")
    assert item.price_minor == 280


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[[items]]\nname = "Tea"\nprice = "2.805"\n', "Tea"),
        ('[[items]]\nname = "Tea"\nprice = "-1"\n', "Tea"),
        ('[[items]]\nname = "Tea"\nprice = "0"\n', "Tea has no price"),
        ('[[items]]\nname = "Tea"\nprice = 2.8\n', "price"),
        ('[[items]]\nname = "Tea"\nprize = "2.80"\n', "prize"),
        ('[[items]]\nname = ""\nprice = "2.80"\n', "name"),
        ("[[items", "catalogue.toml"),
        ("#" * (CATALOGUE_BYTES_MAX + 1), "longer"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load(tmp_path, text)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_catalogue(tmp_path / "nowhere.toml", find_currency("EUR"))
