"""What a model of payments is asked and what it answers: attempts, terms, and payments as they stand."""

from __future__ import annotations

from dataclasses import dataclass

WEAKNESS = ("nfc_app", "qr_merchant", "qr_consumer", "nfc_sdm", "code_numeric")
"""Entry modes, the strongest first."""
ATTEMPT_REVERSED = "attempt_reversed"
"""The verdict under which a till gives up an attempt that was never seen."""


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token: one use of a key's counter, perhaps bound to a terminal's nonce."""

    key_id: bytes
    counter: int
    claims_digest: bytes
    nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class CardTap:
    """A tap of a card whose counter must rise."""

    counter: int


@dataclass(frozen=True, slots=True)
class Code:
    """A numeric code, hashed."""

    code_hash: bytes


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms an attempt is made, beyond its amount; amounts in minor units, times in unix ms."""

    manual: bool = False
    """Held first, charged by a capture."""
    tip_minor: int = 0
    """What of the amount is kept for a tip."""
    order_minor: int = 0
    """What the whole order is for; 0: the amount without the tip's part."""
    confirmed: bool = False
    """Its holder agreed already."""
    confirm_for: str | None = None
    """Why the holder has to agree, whatever the limits say."""
    window_max: int = 0
    """More payments than this within ten minutes need their holder; 0: any number."""
    confirm_by_ms: int = 0
    capture_by_ms: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as it reaches the books, with the verdict of verification."""

    payment_id: str
    attempt_id: str
    request_digest: bytes
    terminal_id: str
    order_id: str
    amount_minor: int
    currency: str
    entry_mode: str
    instrument_id: str | None
    use: Token | CardTap | Code | None
    refused: str | None
    """The decline code of verification; None if the presentation is authentic and fits."""
    now_ms: int
    terms: Terms = Terms()

    @property
    def goods_minor(self) -> int:
        """What it takes of its order."""
        return self.amount_minor - self.terms.tip_minor

    @property
    def order_minor(self) -> int:
        """What its order is for."""
        return self.terms.order_minor or self.goods_minor


@dataclass(frozen=True, slots=True)
class Payment:
    """What an attempt was decided to be, for ever, and what became of it until now."""

    payment_id: str
    outcome: str
    """`approved`, `authorised`, `requires_confirmation` or `declined`."""
    state: str
    instrument_id: str | None = None
    decline_code: str | None = None
    confirm_code: str | None = None
    ways: frozenset[str] = frozenset()
    """How its holder can agree: `pin`, `device`."""
    code: str | None = None
    """What closed it."""
    step_count: int = 0
    charged_minor: int = 0
    tip_minor: int = 0
    fee_minor: int = 0
    refunded_minor: int = 0
    due_ms: int | None = None
    receipt_number: int | None = None

    @property
    def approved(self) -> bool:
        """Say whether it was charged at once."""
        return self.outcome == "approved"


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """An attempt that was not decided, or a change that was not made; it changes nothing."""

    code: str


@dataclass(frozen=True, slots=True)
class Merchant:
    """A shop."""

    account_id: bytes
    fees_account_id: bytes
    fee_basis_points: int
    active: bool = True
    receipts: int = 0
    tip_basis_points: int = 0
    """How much of the goods a tip may be at most."""


@dataclass(frozen=True, slots=True)
class Tier:
    """What a wallet may spend, in minor units."""

    confirm_above: int
    pin_max: int
    per_payment: int
    per_day: int
    """Over all its instruments."""


@dataclass(frozen=True, slots=True)
class Wallet:
    """Whose instruments pay together."""

    has_pin: bool = False
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class Instrument:
    """Something that pays from a wallet's account."""

    account_id: bytes
    key_id: bytes
    weakest_entry_mode: str
    per_payment_minor: int
    per_day_minor: int
    active: bool = True
    card_counter: int = 0
    wallet_id: str = ""
    is_phone: bool = False
    confirm_above_minor: int | None = None


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """A numeric code of an instrument."""

    instrument_id: str
    expires_ms: int
    used: bool = False
