"""What a reader or scanner tells the sale it is armed for.

Drivers block in one owner thread per device (terminal/supervision/); these values are what crosses from
that thread into asyncio, through a bounded queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from terminal.readers.card_line import CardLine
from wire.cards.payment_terms import PaymentTerms
from wire.messages.payments import Presentation


@dataclass(frozen=True, slots=True)
class Noticed:
    """A card or code has come; it is being read."""

    reader: str
    noticed_ns: int
    """time.monotonic_ns when the driver returned the card or the code."""


@dataclass(frozen=True, slots=True)
class Presented:
    """Something that can be sent to the gateway."""

    reader: str
    presentation: Presentation
    noticed_ns: int
    complete_ns: int
    card_exchange_ms: int | None
    """Round trip of the signing command, for relay scoring; None for codes and links."""
    credential: bytes | None = None
    """The card's credential where it signed offline terms: such a tap is for terminal/offline, and what it
    signed must not be sent as a payment while the terminal accepts offline."""
    line: CardLine | None = None
    """To the card itself while it stays, where it showed a link: the gateway may want it to prove itself."""


@dataclass(frozen=True, slots=True)
class PresentedInVain:
    """Something that can't be used here; `code` is a refusal of wire/notices.py."""

    reader: str
    code: str
    noticed_ns: int


PresentationEvent = Noticed | Presented | PresentedInVain


class TermsSource(Protocol):
    """Makes the terms of the armed sale, with a fresh nonce at every call."""

    def __call__(self) -> PaymentTerms:
        """Return terms for one SELECT; never the same nonce twice."""
