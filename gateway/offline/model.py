"""What is known of credentials and of the records handed in under them, as the store keeps it.

Structs that travel between the processes of one gateway, as those of gateway/payments/model.py do.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import msgspec

from wire.tokens.credential import STATUS_INDEX_MAX

OPEN_CREDENTIALS_MAX: Final = 4
"""Credentials of one instrument whose money is still set aside: the live one, and those it replaced."""
STATUS_INDEXES: Final = STATUS_INDEX_MAX + 1
"""As many credentials of all instruments together may be open at one time."""

LossBearer = Literal["operator", "merchant"]
RecordOutcome = Literal["settled", "declined", "conflict"]
AlarmKind = Literal[
    "gap",
    "chain_broken",
    "sequence_conflict",
    "attempt_conflict",
    "tap_repeated",
    "key_copied",
    "total_forked",
]
"""`gap`: the record before it is missing (so far). `chain_broken`: its neighbour has another link.
`sequence_conflict`: another record has its number. `attempt_conflict`: its attempt was decided otherwise.
`tap_repeated`: its tap was a payment before. `key_copied`: two claims under one counter. `total_forked`: a
running total that misses a payment."""


class CredentialState(StrEnum):
    """Where a credential stands; what is left of its allowance goes back when it ends."""

    LIVE = "live"
    REPLACED = "replaced"
    """The device has a newer one; records under this one may still arrive."""
    ENDED = "ended"


class CredentialWish(msgspec.Struct, frozen=True, array_like=True):
    """A credential to be issued, if its allowance can be set aside."""

    credential_id: str
    request_digest: bytes
    """SHA-256 of the request message; compared on a repeat."""
    instrument_id: str
    tag: bytes
    """Eight random bytes: what the credential itself carries as its id (cti)."""
    allowance_minor: int
    per_payment_minor: int
    issued_ms: int
    """Whole seconds, as is `expires_ms`: the credential knows no smaller ones."""
    expires_ms: int
    ends_ms: int
    """From here on no record under it is taken any more."""


class Credential(msgspec.Struct, frozen=True, array_like=True):
    """An issued credential as it stands now."""

    credential_id: str
    request_digest: bytes
    instrument_id: str
    tag: bytes
    account_id: bytes
    """The account that holds the allowance."""
    status_index: int
    allowance_minor: int
    per_payment_minor: int
    currency: str
    issued_ms: int
    expires_ms: int
    ends_ms: int
    state: CredentialState
    left_minor: int
    """What is still in its account."""
    listed_ms: int | None
    """Since when the status list says that it is suspended."""


class TapClaim(msgspec.Struct, frozen=True, array_like=True):
    """What a device signed in a tap; its signature and its credential's hold, and the key is registered."""

    instrument_id: str
    key_id: bytes
    counter: int
    claims_digest: bytes
    """SHA-256 of the signed payload."""
    running_total_minor: int
    credential_tag: bytes


class SealedPayment(msgspec.Struct, frozen=True, array_like=True):
    """A record whose seal holds, and what could be judged of it without the store."""

    payment_id: str
    """A fresh ULID, used if the record becomes a payment, approved or declined."""
    terminal_id: str
    merchant_id: str
    sequence: int
    link: bytes
    """SHA-256 of the sealed bytes."""
    previous_link: bytes
    sealed: bytes
    attempt_id: str
    order_id: str
    amount_minor: int
    currency: str
    accepted_ms: int
    list_issued_s: int
    refusal: str | None
    """Which decline of wire/notices.py it deserves already; None if it kept every rule that can be told."""
    claim: TapClaim | None
    """None where what was tapped is not authentic."""
    now_ms: int


class SettledRecord(msgspec.Struct, frozen=True, array_like=True):
    """What became of a record, for ever."""

    terminal_id: str
    sequence: int
    link: bytes
    outcome: RecordOutcome
    code: str
    """A code of wire/notices.py; empty where there is nothing to explain."""
    payment_id: str | None
    """Its own, else the one that has its attempt or its tap; None if another record has its number."""
    amount_minor: int
    currency: str
    loss_minor: int
    """What nobody's allowance or wallet covered."""
    loss_bearer: LossBearer | None
    accepted_ms: int
    received_ms: int


class OfflineAlarm(msgspec.Struct, frozen=True, array_like=True):
    """Something about a terminal's records that somebody should look at."""

    kind: AlarmKind
    terminal_id: str
    sequence: int
    link: bytes
    """Of the record that raised it."""
    payment_id: str | None
    """The other payment that it is about, if one is."""
    instrument_id: str | None
    at_ms: int
