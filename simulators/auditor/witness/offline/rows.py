"""Records and credentials as the gateway stores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RECORDS_QUERY: Final = (
    "SELECT terminal_id, sequence, link, attempt_id, payment_id, has_payment, outcome, code, amount_minor,"
    " loss_minor, loss_bearer, accepted_ms, received_ms FROM offline_records"
)
CREDENTIALS_QUERY: Final = (
    "SELECT credential_id, instrument_id, tag, account_id, status_index, allowance_minor, per_payment_minor,"
    " issued_ms, expires_ms, ends_ms, state FROM credentials"
)
SUSPENDED_QUERY: Final = "SELECT instrument_id FROM instruments WHERE status = 'suspended'"


@dataclass(frozen=True, slots=True)
class RecordRow:
    """The word on a record."""

    terminal_id: str
    sequence: int
    link: bytes
    attempt_id: str
    payment_id: str
    has_payment: int
    outcome: str
    code: str
    amount_minor: int
    loss_minor: int
    loss_bearer: str | None
    accepted_ms: int
    received_ms: int

    @property
    def place(self) -> tuple[str, int]:
        """Whose, and which."""
        return self.terminal_id, self.sequence

    @property
    def where(self) -> str:
        """The same, for a finding."""
        return f"{self.terminal_id} {self.sequence}"

    @property
    def word(self) -> tuple[str, str, str | None, int, str | None]:
        """What its till has to be told."""
        return self.outcome, self.code, self.payment_id, self.loss_minor, self.loss_bearer


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """A credential as it stands."""

    credential_id: str
    instrument_id: str
    tag: bytes
    account_id: bytes
    status_index: int
    allowance_minor: int
    per_payment_minor: int
    issued_ms: int
    expires_ms: int
    ends_ms: int
    state: str


@dataclass(frozen=True, slots=True)
class OfflineNews:
    """What was added since the last look, and how credentials and instruments stand after it."""

    records: tuple[RecordRow, ...] = ()
    credentials: tuple[CredentialRow, ...] = ()
    suspended: frozenset[str] = frozenset()

    @property
    def payment_ids(self) -> frozenset[str]:
        """Payments that came from records, and were never asked for."""
        return frozenset(one.payment_id for one in self.records if one.has_payment)


NO_OFFLINE_NEWS: Final = OfflineNews()
