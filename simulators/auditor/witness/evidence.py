"""What the world outside a gateway knows by itself: who held what where, what was asked, what was told.

Nothing here comes from the gateway's database. Whoever runs a world writes it down as it happens.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Final

from simulators.auditor.model.attempts import Merchant
from simulators.auditor.promises import Promise, Told
from simulators.auditor.witness.dealings import Dealings, Terms, Tier
from simulators.auditor.witness.offline.evidence import OfflineEvidence

NO_LIMIT: Final = 1 << 62
NO_TERMS: Final = Terms()


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
    confirm_above_minor: int | None = None
    """More than this its holder has to confirm; None: its wallet's tier says."""
    tier: Tier | None = None
    """Of the wallet; None if it has no limits of its own."""
    has_pin: bool = False
    """Whether its wallet has one."""

    @property
    def unconfirmed_max_minor(self) -> int:
        """The most that it may pay unless its holder confirms."""
        own = NO_LIMIT if self.confirm_above_minor is None else self.confirm_above_minor
        return own if self.tier is None else min(own, self.tier.confirm_above_minor)


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
    is_offline: bool = False
    """Signed for a till that was offline: it may come in a record, and pays nothing by itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt as its till sent it."""

    promise: Promise
    merchant_id: str
    order_id: str
    sent_ms: int
    """When it first left the till, by the gateway's clock."""
    presented: Presented | None
    terms: Terms = NO_TERMS

    @property
    def goods_minor(self) -> int:
        """What it would take of its order."""
        return self.promise.amount_minor - self.terms.tip_max_minor


@dataclass(slots=True)
class Evidence:
    """All that was seen so far; things are added and nothing is taken back."""

    payers: dict[str, Payer] = field(default_factory=dict)
    merchants: dict[str, Merchant] = field(default_factory=dict)
    presented: dict[Hashable, Presented] = field(default_factory=dict)
    asked: dict[tuple[str, str], Asked] = field(default_factory=dict)
    """By terminal and attempt."""
    offers: dict[tuple[str, str], dict[str, Presented]] = field(default_factory=dict)
    """What phones signed for one attempt, by instrument: several people may pay one code."""
    dealings: Dealings = field(default_factory=Dealings)
    """What was asked and heard about payments after they were decided."""
    suspending: dict[str, int] = field(default_factory=dict)
    """Instruments that an operator began to suspend, and when; from then on they may be."""
    suspended: dict[str, int] = field(default_factory=dict)
    """Instruments that surely are, and since when."""
    freezing: dict[str, int] = field(default_factory=dict)
    """As `suspending`, of wallets."""
    frozen: dict[str, int] = field(default_factory=dict)
    codes_asked_ms: dict[str, list[int]] = field(default_factory=dict)
    """When a phone asked for a numeric code, whether or not it got one: each ends the ones before."""
    offline: OfflineEvidence | None = None
    """What was accepted without a connection; None where nothing may be."""
    contradictions: list[tuple[str, str]] = field(default_factory=list)
    """A code and where: what one till was told does not go together."""

    def show(self, presented: Presented) -> None:
        """Note that something was shown; a copy changes nothing."""
        self.presented.setdefault(presented.use, presented)

    def ask(self, asked: Asked) -> None:
        """Note that an attempt left its till; a resend changes nothing."""
        promise = asked.promise
        key = promise.terminal_id, promise.attempt_id
        known = self.asked.get(key)
        if known is not None and known.presented is None and asked.presented is not None:
            # A reversal named it first; what was presented is known from here on.
            known.promise.use = asked.promise.use
            self.asked[key] = replace(known, presented=asked.presented, terms=asked.terms)
        elif known is None:
            self.asked[key] = asked

    def offer(self, terminal_id: str, attempt_id: str, presented: Presented) -> None:
        """Note that a phone signed for an attempt that waits for one."""
        self.show(presented)
        self.offers.setdefault((terminal_id, attempt_id), {})[presented.instrument_id or ""] = presented

    def take_back(self, asked: Asked) -> None:
        """Note that a till began to take an attempt back, whether or not it was ever sent."""
        self.dealings.reversing.add((asked.promise.terminal_id, asked.promise.attempt_id))
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
