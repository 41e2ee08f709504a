"""What is stored about everything a batch of attempts names; a store reads it, set by set."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gateway.holders.model import InstrumentStatus
from gateway.merchants.model import MerchantStatus, TerminalStatus
from gateway.payments.model import PaymentRecord
from wire.messages.payments import EntryMode

AttemptKey = tuple[str, str]
"""Attempt id, terminal id."""
OrderKey = tuple[str, str]
"""Order id, merchant id."""
DayKey = tuple[int, str]
"""Day of UTC, instrument id (or wallet id, where that is said)."""


class Site(msgspec.Struct, frozen=True):
    """Where an attempt is made, and whose money it will be."""

    terminal_id: str
    terminal_status: TerminalStatus
    merchant_id: str
    merchant_status: MerchantStatus
    merchant_name: str
    merchant_account_id: bytes
    fee_basis_points: int
    tip_margin_basis_points: int
    """How much of the goods a tip may be at most."""
    receipt_count: int
    """Receipts the merchant has given so far."""
    location_name: str


class Tier(msgspec.Struct, frozen=True):
    """What a wallet of some identity level may spend in its currency, in minor units."""

    confirm_above_minor: int
    """More than this needs the holder's confirmation."""
    pin_max_minor: int
    """More than this needs a device's signature: a PIN is not enough."""
    per_payment_minor: int
    per_day_minor: int
    """Over all instruments of the wallet."""


class Payer(msgspec.Struct):
    """An instrument and its wallet's account; status and counter as the batch leaves them so far."""

    instrument_id: str
    key_id: bytes
    label: str
    status: InstrumentStatus
    weakest_entry_mode: EntryMode
    per_payment_minor: int
    per_day_minor: int
    card_counter: int
    wallet_account_id: bytes
    wallet_id: str
    confirm_above_minor: int | None
    """The instrument's own limit without confirmation; None: only the tier's counts."""
    has_pin: bool
    """The wallet has a PIN that is not locked."""
    has_phone: bool
    """An active phone of the wallet could confirm."""
    tier: Tier | None


class KnownAttempt(msgspec.Struct, frozen=True):
    """An attempt that was decided before."""

    request_digest: bytes
    record: PaymentRecord


class CodeState(msgspec.Struct):
    """A numeric payment code."""

    expires_ms: int
    is_used: bool


class OrderState(msgspec.Struct):
    """What an order is for and what of it is paid."""

    amount_minor: int
    taken_minor: int


@dataclass(slots=True)
class PaymentFacts:
    """What is stored about everything a batch names; what is missing does not exist."""

    attempts: dict[AttemptKey, KnownAttempt] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    payers: dict[str, Payer] = field(default_factory=dict)
    token_uses: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    """Claims digests by key id and counter."""
    terminal_nonces: set[tuple[bytes, str]] = field(default_factory=set)
    """Nonce, terminal id; of the attempt's day of UTC and the day before."""
    codes: dict[bytes, CodeState] = field(default_factory=dict)
    orders: dict[OrderKey, OrderState] = field(default_factory=dict)
    spent_minor: dict[DayKey, int] = field(default_factory=dict)
    recent: dict[DayKey, tuple[int, int]] = field(default_factory=dict)
    """The window of the instrument's last payment of the day, and how many fell into it."""
    wallet_spent_minor: dict[DayKey, int] = field(default_factory=dict)
    """By day and wallet, of wallets that have a tier."""
