"""catalogue.toml: quick items of the till page, with names in two languages, price and tax."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from terminal.errors import ConfigurationError
from wire.errors import MoneyError
from wire.messages.till_page import ITEMS_MAX, TAX_BASIS_POINTS_MAX, CatalogueItem, ItemName
from wire.money import Currency, parse_money

CATALOGUE_BYTES_MAX: Final = 128 * 1024


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: ItemName
    name_zh: ItemName | None = None
    price: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    """In major units, such as "2.80"."""
    tax_basis_points: Annotated[int, msgspec.Meta(ge=0, le=TAX_BASIS_POINTS_MAX)] = 0
    """1000 is ten per cent, which the price includes."""
    group: Annotated[str, msgspec.Meta(max_length=40)] = ""
    group_zh: Annotated[str, msgspec.Meta(max_length=40)] = ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    items: Annotated[list[_Entry], msgspec.Meta(max_length=ITEMS_MAX)] = []


def load_catalogue(path: Path, currency: Currency) -> tuple[CatalogueItem, ...]:
    """Read the quick items, in the order of the file.

    Raises:
        ConfigurationError: unreadable, no TOML, an unknown key, a price that is none; says which.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > CATALOGUE_BYTES_MAX:
            raise ConfigurationError(f"{path} is longer than {CATALOGUE_BYTES_MAX} bytes")
        file = msgspec.convert(tomllib.loads(raw.decode("utf-8")), _File)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return tuple(_make_item(entry, currency, path) for entry in file.items)


def _make_item(entry: _Entry, currency: Currency, path: Path) -> CatalogueItem:
    try:
        price_minor = parse_money(entry.price, currency).minor
    except MoneyError as error:
        raise ConfigurationError(f"{path}: the price of {entry.name}: {error}") from None
    if price_minor == 0:
        raise ConfigurationError(f"{path}: {entry.name} has no price")
    return CatalogueItem(
        name=entry.name,
        name_zh=entry.name_zh or entry.name,
        price_minor=price_minor,
        tax_basis_points=entry.tax_basis_points,
        group=entry.group,
        group_zh=entry.group_zh or entry.group,
    )
