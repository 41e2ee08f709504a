"""Records of cards to be made, and of conversations with them, as the store keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CARD_SESSIONS_PER_TERMINAL_MAX: Final = 4
"""Conversations of one terminal that may be open; one more ends the oldest."""


class CardOrderState(StrEnum):
    """How far an order is."""

    OPEN = "open"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class CardOrder:
    """A card to be made for a wallet."""

    order_id: str
    wallet_id: str
    batch_number: int
    label: str | None
    """What a receipt will show of the card; None: the default."""
    state: CardOrderState
    card_key_id: bytes | None
    """The card it was begun with, by its key id under the keys it is to have; None before."""
    instrument_id: str | None
    """What the card became."""
    created_ms: int
    expires_ms: int
    """Unix milliseconds from which its code begins no card any more; one begun before is still finished."""


@dataclass(frozen=True, slots=True)
class CardSession:
    """A conversation with a card."""

    session_id: str
    terminal_id: str
    request_digest: bytes
    """SHA-256 of the request that began it; the same id with another request is refused."""
    step: int
    """How many answers were taken."""
    state_sealed: bytes
    """Everything else, sealed by the vault for this step."""
    created_ms: int
    expires_ms: int
