"""Payments that terminals accept without a connection: credentials, rules, the status list, the upload.

    POST /v1/wallet/credentials     a device asks for a credential         CredentialRequest, …Answer
    GET  /v1/offline/issuer         a terminal asks whom to believe        IssuerAnswer
    GET  /v1/offline/status-list    a terminal asks who is suspended       StatusListAnswer
    POST /v1/offline/batches        a terminal hands in what it accepted   BatchRequest, BatchAnswer

The list's address takes `?known=<etag>`: the tag is in the answer's body and in the query, not in headers,
because a request's signature covers its address and its body, and no other header.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from wire.messages.base import Message
from wire.messages.enrolment import PublicKeyBytes
from wire.messages.payments import AmountMinor, CurrencyCode, UlidText, UnixMs
from wire.tokens.credential import CREDENTIAL_BYTES_MAX
from wire.tokens.offline_record import OFFLINE_RECORD_BYTES_MAX, SEQUENCE_MAX
from wire.tokens.status_list import STATUS_LIST_BYTES_MAX

CREDENTIALS_TARGET: Final = "/v1/wallet/credentials"
ISSUER_TARGET: Final = "/v1/offline/issuer"
STATUS_LIST_TARGET: Final = "/v1/offline/status-list"
BATCHES_TARGET: Final = "/v1/offline/batches"

BATCH_RECORDS_MAX: Final = 16
"""Sixteen of the longest records in base64, 15,040 characters, leave a body of 16 KiB room for the rest."""
ISSUER_KEYS_MAX: Final = 4
"""Two live at once (protocol section 7, key rotation); the others are about to come or just gone."""
AGE_MS_MAX: Final = 31 * 24 * 3_600_000

AgeMs = Annotated[int, msgspec.Meta(ge=0, le=AGE_MS_MAX)]
LimitMinor = Annotated[int, msgspec.Meta(ge=0, le=999_999_999_999)]
ETag = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,64}$", max_length=64)]
"""Of which list; opaque, and fit for a query as it is."""
KeyIdBytes = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
SealedRecord = Annotated[bytes, msgspec.Meta(min_length=1, max_length=OFFLINE_RECORD_BYTES_MAX)]


class CredentialRequest(Message, frozen=True):
    """Ask that this much of the wallet be set aside for payments without a connection.

    The signing key says whose device. The same id with the same limits gets the same answer, and money is
    set aside once.
    """

    credential_id: UlidText
    allowance_minor: AmountMinor
    """In minor units of the wallet's currency."""
    per_payment_minor: AmountMinor | None = None
    """The most of one payment; the gateway's own limit where it is None or higher than that."""


class CredentialAnswer(Message, frozen=True):
    """The credential, good until it expires; what is left of the allowance then goes back to the wallet."""

    credential: Annotated[bytes, msgspec.Meta(min_length=1, max_length=CREDENTIAL_BYTES_MAX)]
    expires_ms: UnixMs
    allowance_minor: AmountMinor


class IssuerKey(Message, frozen=True):
    """One key that signs credentials and status lists."""

    key_id: KeyIdBytes
    """The first eight bytes of the SHA-256 of the public key, as tokens carry it."""
    public_key: PublicKeyBytes


class OfflineRules(Message, frozen=True):
    """What this terminal may accept without asking (docs/adr/0008, decision 4)."""

    currency: CurrencyCode
    """Of every amount here; a sale in another currency is never accepted offline."""
    floor_minor: LimitMinor
    """Most of one payment."""
    device_total_minor: LimitMinor
    """Most of one device's payments that are stored here, together."""
    stored_sum_minor: LimitMinor
    """Most of all payments that are stored here, together."""
    stored_count: Annotated[int, msgspec.Meta(ge=0, le=10_000)]
    """Most payments stored here; the terminal has a bound of its own as well."""
    list_age_ms: AgeMs
    """Oldest status list to go by."""
    clock_age_ms: AgeMs
    """Longest time since the gateway last confirmed the terminal's clock."""
    record_age_ms: AgeMs
    """Oldest record the gateway still books; the terminal warns before that."""


class IssuerAnswer(Message, frozen=True):
    """Whom to believe and how far; `rules` is None where this terminal may accept nothing offline."""

    keys: Annotated[list[IssuerKey], msgspec.Meta(max_length=ISSUER_KEYS_MAX)]
    gateway_time_ms: UnixMs
    rules: OfflineRules | None = None


class StatusListAnswer(Message, frozen=True):
    """The present list, or that the known one is still the present one."""

    etag: ETag
    status_list: Annotated[bytes, msgspec.Meta(min_length=1, max_length=STATUS_LIST_BYTES_MAX)] | None = None
    """The signed list (wire/tokens/status_list.py); None where `known` named this very one."""


class BatchRequest(Message, frozen=True):
    """Hand in sealed records, in the order of their sequence.

    Idempotent by record, not by batch: a record that comes again, in whatever batch, gets the result it
    got; so a batch whose answer was lost may be sent again, or another made of its records.
    """

    batch_id: UlidText
    records: Annotated[list[SealedRecord], msgspec.Meta(min_length=1, max_length=BATCH_RECORDS_MAX)]


class RecordResult(Message, frozen=True):
    """What became of one record."""

    sequence: Annotated[int, msgspec.Meta(ge=0, le=SEQUENCE_MAX)]
    """The record's own; 0 where its seal can't be read."""
    outcome: Literal["settled", "declined", "conflict"]
    """Settled: the merchant gets the money, whoever it comes from. Declined: a rule was broken, nothing is
    booked. Conflict: another record has this sequence, or its attempt or tap was decided before; nothing is
    booked for it."""
    code: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """A code of wire/notices.py; empty where there is nothing to explain."""
    payment_id: UlidText | None = None
    loss_minor: LimitMinor = 0
    """What nobody's allowance or wallet covered."""
    loss_bearer: Literal["operator", "merchant"] | None = None


class BatchAnswer(Message, frozen=True):
    """One result for each record of the batch, in the batch's order."""

    results: Annotated[list[RecordResult], msgspec.Meta(min_length=1, max_length=BATCH_RECORDS_MAX)]
    next_sequence: Annotated[int, msgspec.Meta(ge=1, le=SEQUENCE_MAX + 1)]
    """One above the highest sequence the gateway has of this terminal."""
