"""What the world outside knows of a payment's life: what tills, staff and holders asked, agreed to and heard.

Like evidence.py, of which this is the part that follows a payment after its decision: nothing here comes
from the gateway's database.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

PIN: Final = "pin"
DEVICE: Final = "device"
PIN_TRIES_MAX: Final = 3
"""Wrong PINs after which a wallet's is locked."""


@dataclass(frozen=True, slots=True)
class Tier:
    """What a wallet of a level may spend, in minor units."""

    confirm_above_minor: int
    pin_max_minor: int
    per_payment_minor: int
    per_day_minor: int
    """Over all instruments of the wallet."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms an attempt was sent, beyond its amount."""

    is_manual: bool = False
    tip_max_minor: int = 0
    order_amount_minor: int = 0
    """What the till said that the order is for; 0: nothing."""


@dataclass(frozen=True, slots=True)
class HouseRules:
    """The gateway's settings, as its operator wrote them."""

    confirm_ms: int = 120_000
    capture_ms: int = 7 * 86_400_000
    sweep_ms: int = 1_000
    payments_per_window_max: int = 0
    window_ms: int = 600_000
    counter_max_minor: int = 5_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """A yes or no that a holder gave, by a PIN at the till or signed on a phone."""

    way: str
    agreed: bool
    amount_minor: int
    merchant_id: str
    sent_ms: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What somebody was told of a payment after it was decided."""

    payment_id: str
    state: str
    charged_minor: int | None = None
    """None where it was not said, as on a phone."""
    tip_minor: int = 0
    refunded_minor: int = 0
    sent_ms: int = 0
    """When it was asked."""
    is_fresh: bool = True
    """Whether it is surely the answer to that asking, and no older one's."""
    capture_id: str | None = None
    """Of the capture that this was the answer to."""
    refund_total_minor: int | None = None
    """Of the refund that this was the answer to."""
    ends: bool = False
    """Whether this was the answer to a void or a reversal: nothing may be charged or held any more."""


@dataclass(frozen=True, slots=True)
class WrongPin:
    """A till was told that a PIN is wrong, or locked."""

    wallet_id: str
    sent_ms: int
    is_locked: bool


@dataclass(slots=True)
class Dealings:
    """All that was asked, agreed to and heard so far."""

    rules: HouseRules = field(default_factory=HouseRules)
    now_ms: Callable[[], int] = lambda: 0
    """The world's time, by the gateway's clock."""
    tip_margins: dict[str, int] = field(default_factory=dict)
    """Basis points of the goods, by merchant; others take no tips."""
    refund_limits: dict[str, int] = field(default_factory=dict)
    """For a day of UTC, by terminal."""
    managers: set[tuple[str, str]] = field(default_factory=set)
    """Merchant and member of staff: who may refund."""
    captures: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Goods and tip that a till asked for, by payment and capture."""
    refunds: set[tuple[str, str, int, str]] = field(default_factory=set)
    """Payment, refund, total and the member of staff whose right PIN was given."""
    voids: set[str] = field(default_factory=set)
    """Payments that a till asked to let go."""
    reversing: set[tuple[str, str]] = field(default_factory=set)
    """Terminal and attempt that a till asked to reverse, from the first send on."""
    reversed: set[tuple[str, str]] = field(default_factory=set)
    """Of these, the ones that the gateway said are closed."""
    agreements: defaultdict[str, list[Agreement]] = field(default_factory=lambda: defaultdict(list))
    """By payment."""
    pin_sends: Counter[str] = field(default_factory=Counter)
    """How often a PIN, right or wrong, was sent for a wallet; each may have been judged."""
    heard: list[Heard] = field(default_factory=list)
    """Not yet held against what stands."""
    wrong_pins: list[WrongPin] = field(default_factory=list)
    """As `heard`."""
    events: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """Sequence and payment of the events that a terminal was told, in that order; of those that asked."""
    healed_ms: int | None = None
    """Since when nothing goes wrong any more."""
