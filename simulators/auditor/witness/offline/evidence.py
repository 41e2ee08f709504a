"""What the world outside knows of payments without a connection: what was set aside for whom, what was
tapped, what tills told their cashiers, what they handed in, and by what rules all of it was to be done.

Like evidence.py, of which this is a part: nothing here comes from the gateway's database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

LEEWAY_MS: Final = 30_000
"""How far clocks may differ where a credential or a list is judged."""
TAP_AGE_MS_MAX: Final = 60_000
END_GRACE_MS: Final = LEEWAY_MS + 60_000
"""How much longer than a record's age a credential's money stays set aside."""
CLOCK_SKEW_MS_MAX: Final = 30_000
"""How far a till's clock may be from the gateway's, and still be held for right."""
OPEN_CREDENTIALS_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class OfflineHouse:
    """The gateway's settings for payments without a connection, as its operator wrote them; minor units."""

    allowance_max_minor: int
    floor_minor: int
    device_total_minor: int
    stored_sum_minor: int
    stored_count: int
    list_age_ms: int
    list_refresh_ms: int
    clock_age_ms: int
    record_age_ms: int
    credential_life_ms: int


@dataclass(frozen=True, slots=True)
class Vouched:
    """A credential as a phone got it."""

    tag: bytes
    instrument_id: str
    status_index: int
    allowance_minor: int
    per_payment_minor: int
    issued_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class OfflineTap:
    """What a phone, or a copy of one, signed for a till that was offline."""

    use: Hashable
    """The same as in `Presented`."""
    instrument_id: str
    terminal_id: str
    amount_minor: int
    counter: int
    total_minor: int
    tag: bytes
    """Of the credential."""
    tapped_ms: int
    """As the terms say: whole seconds by the till's clock."""


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """One record of a till, as it is in its file and on the line."""

    terminal_id: str
    sequence: int
    link: bytes
    previous_link: bytes
    attempt_id: str
    order_id: str
    amount_minor: int
    accepted_ms: int
    """By the till's clock."""
    clock_set_ms: int
    list_issued_s: int
    use: Hashable
    tag: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """A cashier was told that a payment is accepted."""

    record: SealedRecord
    clock_ms: int
    """What the till's clock said."""
    true_ms: int


Word = tuple[str, str, str | None, int, str | None]
"""Outcome, code, payment, loss and who bears it."""


@dataclass(slots=True)
class OfflineEvidence:
    """All of it so far."""

    house: OfflineHouse
    losses_account_id: bytes
    """The operator's, in the ledger."""
    wishes: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By credential id: which instrument asked for how much, in minor units."""
    vouched: dict[bytes, Vouched] = field(default_factory=dict)
    """By tag."""
    taps: dict[Hashable, OfflineTap] = field(default_factory=dict)
    """By use."""
    copied: set[bytes] = field(default_factory=set)
    """Tags of credentials that somebody has signed under with a copy."""
    accepted: dict[tuple[str, str], Accepted] = field(default_factory=dict)
    """By terminal and attempt."""
    rogues: set[str] = field(default_factory=set)
    """Terminals that run software of their own: nobody knows what they were told."""
    news: list[Accepted] = field(default_factory=list)
    """Of these, what was not judged yet."""
    handed_in: dict[tuple[str, int, bytes], SealedRecord] = field(default_factory=dict)
    """By terminal, sequence and link: everything that ever left a till in a batch."""
    handed_in_news: list[SealedRecord] = field(default_factory=list)
    set_clocks: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """What a till's clock said when it heard the gateway's time, and that time, by terminal."""
    lists: dict[tuple[str, int], list[frozenset[int]]] = field(default_factory=lambda: defaultdict(list))
    """Which indexes a till was told to be suspended, by terminal and second of issue."""
    list_news: list[tuple[int, frozenset[int]]] = field(default_factory=list)
    """Second of issue and indexes of lists that were not judged yet."""
    words: dict[tuple[str, int], Word] = field(default_factory=dict)
    """By terminal and sequence: what is on the till's disk about a record, when all is over."""
    shown: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """By terminal: conflicts, declines and the merchant's loss that its screen shows when all is over."""
    online_attempts: set[tuple[str, str]] = field(default_factory=set)
    """Terminal and attempt that a till has sent as a payment."""

    def accept(self, accepted: Accepted) -> None:
        """Note what a cashier was told."""
        self.accepted[accepted.record.terminal_id, accepted.record.attempt_id] = accepted
        self.news.append(accepted)

    def hear_list(self, terminal_id: str, issued_s: int, named: frozenset[int]) -> None:
        """Note what a till was told of who is suspended."""
        self.lists[terminal_id, issued_s].append(named)
        self.list_news.append((issued_s, named))

    def hand_in(self, record: SealedRecord) -> None:
        """Note that a record left its till; a repeat changes nothing."""
        key = record.terminal_id, record.sequence, record.link
        if key not in self.handed_in:
            self.handed_in[key] = record
            self.handed_in_news.append(record)
