"""Failures to do the job, each with a stable code of wire/notices.py.

    GatewayError
    ├── StoreUnavailable         the store can't write or read now; retryable, nothing half-booked
    ├── GatewayBusy              the bounded queue is full; retryable
    ├── IdempotencyConflict      the attempt id was used for another request
    ├── AuthenticationFailed     signature, key, freshness; code says which
    ├── EnrolmentRefused         wrong, used or expired code; or a key already enrolled
    ├── PaymentRefused           a payment can't be changed like that; code says why, nothing changed
    ├── CardRefused              a card can't be made, proven or wiped like that; code says why
    ├── NotFound                 no such thing, or not the caller's
    ├── SealBroken               a secret at rest does not open: wrong key, or tampered with
    ├── BackupRefused            a backup or restore was not done; code says why
    └── ConfigurationError       the process cannot start like this

Declines are not here: they are values (gateway/payments/model.py). HTTP status is one table in
gateway/http/problems.py.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base: `code` is shown and logged, `retryable` means this same request, unchanged."""

    code = "internal"
    retryable = False

    def __init__(self, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(detail or (code or self.code))
        if code is not None:
            self.code = code


class StoreUnavailable(GatewayError):
    """The store cannot be written or read at present; sent again, what was booked after all is found."""

    code = "store_unavailable"
    retryable = True


class GatewayBusy(GatewayError):
    """Too much is waiting already; nothing of the request was booked."""

    code = "gateway_busy"
    retryable = True


class IdempotencyConflict(GatewayError):
    """The attempt id is known with another request; the first one stands."""

    code = "idempotency_conflict"


class AuthenticationFailed(GatewayError):
    """The caller did not prove who it is."""

    code = "signature_invalid"


class EnrolmentRefused(GatewayError):
    """The enrolment code is wrong, used or expired."""

    code = "enrolment_code_invalid"


class PaymentRefused(GatewayError):
    """A payment can't be captured, voided, confirmed or refunded like that; nothing was changed."""

    code = "payment_not_open"


class CardRefused(GatewayError):
    """A card can't be made, proven, mended or wiped like that; the gateway's books are as before."""

    code = "card_session_over"


class NotFound(GatewayError):
    """No such thing, or it belongs to somebody else: the two are not told apart."""

    code = "not_found"


class SealBroken(GatewayError):
    """A secret at rest does not open: another vault key, or somebody changed the database."""


class BackupRefused(GatewayError):
    """A backup was not made, or not put in place; nothing was changed. Only commands say so.

    Codes: `target_exists`, `target_is_database`, `source_unusable`, `source_damaged`, `books_broken`,
    `database_in_use`, `database_exists`, `not_a_file` (of a database server, which has its own tools).
    """

    code = "backup_refused"


class ConfigurationError(GatewayError):
    """The process cannot start with this configuration; the detail names the key."""

    code = "configuration_invalid"
