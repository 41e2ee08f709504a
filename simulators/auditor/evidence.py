"""What the world outside a gateway knows by itself: who held what where, what was asked, what was told.

Nothing here comes from the gateway's database. Whoever runs a world writes it down as it happens.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from simulators.auditor.attempts import Merchant
from simulators.auditor.promises import Promise, Told


@dataclass(frozen=True, slots=True)
class Payer:
    """Something that pays, as the operator set it up."""

    instrument_id: str
    wallet_id: str
    account_id: bytes
    """Of the wallet, in the ledger."""
    per_payment_minor: int
    per_day_minor: int
    entry_modes: frozenset[str]
    """The ways it may be presented."""


@dataclass(frozen=True, slots=True)
class Presented:
    """Something that was shown to a till, by a holder or by a thief with a copy."""

    use: Hashable
    """The same for every copy of one token, link or code; it may pay once."""
    instrument_id: str | None
    """None where no gateway knows what was shown."""
    entry_mode: str
    counter: int | None = None
    """Of the key that signed or of the card; None for a numeric code."""
    cap_minor: int | None = None
    """The most it is good for; None where the amount itself is signed, or nothing is."""
    amount_minor: int | None = None
    """The very amount that was signed, where one was."""
    valid_from_ms: int = 0
    valid_until_ms: int = 1 << 62
    """Between these two, by the gateway's clock, it is good."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt as its till sent it."""

    promise: Promise
    merchant_id: str
    order_id: str
    sent_ms: int
    """When it first left the till, by the gateway's clock."""
    presented: Presented | None


@dataclass(slots=True)
class Evidence:
    """All that was seen so far; things are added and nothing is taken back."""

    payers: dict[str, Payer] = field(default_factory=dict)
    merchants: dict[str, Merchant] = field(default_factory=dict)
    presented: dict[Hashable, Presented] = field(default_factory=dict)
    asked: dict[tuple[str, str], Asked] = field(default_factory=dict)
    """By terminal and attempt."""
    order_amounts: dict[tuple[str, str], int] = field(default_factory=dict)
    """What an order is for, by merchant and order."""
    suspending: dict[str, int] = field(default_factory=dict)
    """Instruments that an operator began to suspend, and when; from then on they may be."""
    suspended: dict[str, int] = field(default_factory=dict)
    """Instruments that surely are, and since when."""
    freezing: dict[str, int] = field(default_factory=dict)
    """As `suspending`, of wallets."""
    frozen: dict[str, int] = field(default_factory=dict)
    codes_asked_ms: dict[str, list[int]] = field(default_factory=dict)
    """When a phone asked for a numeric code, whether or not it got one: each ends the ones before."""
    reversing: set[tuple[str, str]] = field(default_factory=set)
    """Attempts, by terminal, that their till began to take back; from then on they may be."""
    contradictions: list[tuple[str, str]] = field(default_factory=list)
    """A code and where: what one till was told does not go together."""

    def show(self, presented: Presented) -> None:
        """Note that something was shown; a copy changes nothing."""
        self.presented.setdefault(presented.use, presented)

    def ask(self, asked: Asked) -> None:
        """Note that an attempt left its till; a resend changes nothing."""
        promise = asked.promise
        self.asked.setdefault((promise.terminal_id, promise.attempt_id), asked)
        self.order_amounts.setdefault((asked.merchant_id, asked.order_id), promise.amount_minor)

    def take_back(self, asked: Asked) -> None:
        """Note that a till began to take an attempt back, whether or not it was ever sent."""
        self.reversing.add((asked.promise.terminal_id, asked.promise.attempt_id))
        self.ask(asked)

    def tell(self, terminal_id: str, attempt_id: str, told: Told) -> None:
        """Note that a till was told a decision."""
        asked = self.asked.get((terminal_id, attempt_id))
        if asked is None:
            self.contradictions.append(("told_about_nothing", attempt_id))
            return
        if asked.promise.told not in (None, told):
            self.contradictions.append(("told_otherwise_before", attempt_id))
        if asked.promise.refused:
            self.contradictions.append(("told_after_a_refusal", attempt_id))
        asked.promise.told = told

    def refuse(self, terminal_id: str, attempt_id: str) -> None:
        """Note that a till was told that nothing was booked, once and for all."""
        asked = self.asked.get((terminal_id, attempt_id))
        if asked is None:
            return
        if asked.promise.told is not None and asked.promise.told.approved:
            self.contradictions.append(("refused_after_an_approval", attempt_id))
        asked.promise.refused = True
