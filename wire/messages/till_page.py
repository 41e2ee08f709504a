"""What the till's own pages ask of the daemon beside what any till software asks, and what they show."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from wire.messages.base import Message
from wire.messages.payments import (
    LINES_MAX,
    AmountMinor,
    AmountOrNothing,
    CurrencyCode,
    LineItem,
    OrderDetails,
    UlidText,
    UnixMs,
)
from wire.messages.till import SaleState, SaleView

ITEMS_MAX: Final = 200
"""Quick items of a catalogue."""
TAX_BASIS_POINTS_MAX: Final = 10_000

ItemName = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class PageKind(StrEnum):
    """Which page a browser was let in for."""

    TILL = "till"
    """The cashier's: everything till software may do."""
    CUSTOMER = "customer"
    """The customer's display: what the payer may see, and nothing else."""


class PageLinkRequest(Message, frozen=True):
    """Ask for a link to a page."""

    page: PageKind = PageKind.TILL


class PageLink(Message, frozen=True):
    """A link that lets one browser in, once."""

    urls: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=2)]
    """On the till itself; then, where the till listens to its network, from there. One of them, once."""
    expires_ms: UnixMs


class PageEntry(Message, frozen=True):
    """What a link carries behind its `#`, which never travels in an address."""

    link: Annotated[str, msgspec.Meta(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$(?!\n)")]


class PageEntered(Message, frozen=True):
    """The browser is let in; its cookie comes in a header."""

    page: PageKind


class CatalogueItem(Message, frozen=True):
    """Something that is sold often."""

    name: ItemName
    name_zh: ItemName
    price_minor: AmountMinor
    """Tax included."""
    tax_basis_points: Annotated[int, msgspec.Meta(ge=0, le=TAX_BASIS_POINTS_MAX)] = 0
    group: Annotated[str, msgspec.Meta(max_length=40)] = ""
    group_zh: Annotated[str, msgspec.Meta(max_length=40)] = ""


class PageView(Message, frozen=True):
    """What a till page starts from, and starts again from after its connection was gone."""

    terminal_id: str
    merchant_name: str
    location_name: str
    currency: CurrencyCode
    exponent: Annotated[int, msgspec.Meta(ge=0, le=4)]
    """Decimals of the currency."""
    language: str
    """Of the till; a page shows it until somebody chooses another."""
    has_printer: bool
    sequence: int
    """Number of the last event this view contains: listen from there on."""
    now_ms: UnixMs
    """By the till's clock, so that a page can count down by it."""
    items: Annotated[tuple[CatalogueItem, ...], msgspec.Meta(max_length=ITEMS_MAX)] = ()
    sale: SaleView | None = None
    """The open sale or the last one."""
    order: OrderDetails | None = None
    """What it is for."""


class DisplayView(Message, frozen=True):
    """What the customer sees: nothing here says who they are, what they have, or why they were refused.

    Others in the queue can read it too; the cashier is told the reason.
    """

    merchant_name: str
    location_name: str
    exponent: Annotated[int, msgspec.Meta(ge=0, le=4)]
    currency: CurrencyCode
    language: str
    now_ms: UnixMs
    sale_id: UlidText | None = None
    """None: nobody is paying."""
    state: SaleState | None = None
    amount_minor: AmountOrNothing = 0
    lines: Annotated[tuple[LineItem, ...], msgspec.Meta(max_length=LINES_MAX)] = ()
    is_held: bool = False
    """Approved, and not charged yet: nobody is told that they have paid."""
    has_code: bool = False
    """Whether the till shows a code of its own to scan."""
    has_receipt: bool = False
    """Whether a code leads to the page of the payment's receipt."""
    must_present_again: bool = False
    """What was presented last was not taken; the sale goes on."""
    by_pin: bool = False
    by_device: bool = False
    by_card: bool = False
    """How the holder can agree, while that is waited for."""
