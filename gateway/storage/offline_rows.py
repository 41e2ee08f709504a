"""Credentials and sealed records between rows and values; the same in every store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from gateway.errors import AuthenticationFailed, GatewayError, IdempotencyConflict, NotFound, PaymentRefused
from gateway.holders.model import InstrumentStatus
from gateway.ledger.accounts import allowance_account_id
from gateway.ledger.model import Account, AccountKind
from gateway.ledger.outcomes import Outcome
from gateway.offline.decide import RecordChanges, Seen
from gateway.offline.model import (
    OPEN_CREDENTIALS_MAX,
    Credential,
    CredentialState,
    CredentialWish,
    OfflineAlarm,
    SealedPayment,
    SettledRecord,
)
from gateway.offline.rules import INVALID
from gateway.storage.records import Row

Values = Mapping[str, Any]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def read_credential(row: Row) -> Credential:
    """Return the credential in a row of credentials with its account's currency and rest."""
    return Credential(
        credential_id=row["credential_id"],
        request_digest=row["request_digest"],
        instrument_id=row["instrument_id"],
        tag=row["tag"],
        account_id=row["account_id"],
        status_index=row["status_index"],
        allowance_minor=row["allowance_minor"],
        per_payment_minor=row["per_payment_minor"],
        currency=row["currency"],
        issued_ms=row["issued_ms"],
        expires_ms=row["expires_ms"],
        ends_ms=row["ends_ms"],
        state=CredentialState(row["state"]),
        left_minor=row["left_minor"],
        listed_ms=row["listed_ms"],
    )


def read_known_credential(wish: CredentialWish, row: Row) -> Credential:
    """Return the credential that has a wish's id.

    Raises:
        IdempotencyConflict: it was issued for another request.
    """
    known = read_credential(row)
    if (known.instrument_id, known.request_digest) != (wish.instrument_id, wish.request_digest):
        raise IdempotencyConflict("the credential id was used for another request")
    return known


def check_holder(row: Row | None) -> Row:
    """Return the row of an instrument that may get one more credential.

    Raises:
        NotFound, AuthenticationFailed, PaymentRefused: as `OfflineStore.issue_credential`.
    """
    if row is None:
        raise NotFound("there is no such instrument")
    if row["status"] != InstrumentStatus.ACTIVE:
        raise AuthenticationFailed("this device is suspended", code="device_suspended")
    if row["open_count"] >= OPEN_CREDENTIALS_MAX:
        raise PaymentRefused("too many credentials of this device are open", code="offline_not_offered")
    return row


def check_status_index(row: Row | None) -> int:
    """Return the status index that is free.

    Raises:
        PaymentRefused: `offline_not_offered`; none is.
    """
    if row is None or row["status_index"] is None:
        raise PaymentRefused("every status index is taken", code="offline_not_offered")
    return int(row["status_index"])


def account_of(wish: CredentialWish, currency: str) -> Account:
    """Return the account that a credential's allowance goes to."""
    return Account(
        allowance_account_id(wish.credential_id),
        AccountKind.ALLOWANCE,
        currency,
        debits_must_not_exceed_credits=True,
    )


def check_reserved(outcome: Outcome) -> None:
    """Return if an allowance was set aside.

    Raises:
        PaymentRefused: `allowance_not_covered`, `payer_wallet_frozen`. GatewayError: `internal`.
    """
    match outcome:
        case Outcome.BOOKED:
            return
        case Outcome.INSUFFICIENT_FUNDS:
            raise PaymentRefused(code="allowance_not_covered")
        case Outcome.ACCOUNT_FROZEN:
            raise PaymentRefused(code="payer_wallet_frozen")
        case _:
            raise GatewayError(f"the ledger answered {outcome.name} to an allowance")


def values_of_credential(wish: CredentialWish, account: Account, status_index: int) -> Values:
    """Return what add_credential writes."""
    return {
        "credential_id": wish.credential_id,
        "request_digest": wish.request_digest,
        "instrument_id": wish.instrument_id,
        "tag": wish.tag,
        "account_id": account.account_id,
        "status_index": status_index,
        "allowance_minor": wish.allowance_minor,
        "per_payment_minor": wish.per_payment_minor,
        "issued_ms": wish.issued_ms,
        "expires_ms": wish.expires_ms,
        "ends_ms": wish.ends_ms,
    }


def issued_credential(wish: CredentialWish, account: Account, status_index: int) -> Credential:
    """Return a wish as the credential it has just become."""
    return Credential(
        credential_id=wish.credential_id,
        request_digest=wish.request_digest,
        instrument_id=wish.instrument_id,
        tag=wish.tag,
        account_id=account.account_id,
        status_index=status_index,
        allowance_minor=wish.allowance_minor,
        per_payment_minor=wish.per_payment_minor,
        currency=account.currency,
        issued_ms=wish.issued_ms,
        expires_ms=wish.expires_ms,
        ends_ms=wish.ends_ms,
        state=CredentialState.LIVE,
        left_minor=wish.allowance_minor,
        listed_ms=None,
    )


def read_record(row: Row) -> SettledRecord:
    """Return the word in a row of offline_records."""
    return SettledRecord(
        terminal_id=row["terminal_id"],
        sequence=row["sequence"],
        link=row["link"],
        outcome=row["outcome"],
        code=row["code"],
        payment_id=row["payment_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        loss_minor=row["loss_minor"],
        loss_bearer=row["loss_bearer"],
        accepted_ms=row["accepted_ms"],
        received_ms=row["received_ms"],
    )


def read_seen(rows: Iterable[Row]) -> dict[str, Seen]:
    """Return what a key signed in the records nearest to one, by where they stand to it."""
    return {
        row["place"]: Seen(row["counter"], row["running_total_minor"], row["amount_minor"]) for row in rows
    }


def keys_of_record(sealed: SealedPayment, credential: Credential | None) -> Values:
    """Return by what a record's neighbours are looked for."""
    claim = sealed.claim
    return {
        "terminal_id": sealed.terminal_id,
        "sequence": sealed.sequence,
        "key_id": None if claim is None else claim.key_id,
        "counter": None if claim is None else claim.counter,
        "credential_id": None if credential is None else credential.credential_id,
    }


def values_of_record(sealed: SealedPayment, changes: RecordChanges) -> Values:
    """Return what add_record writes."""
    word, claim = changes.answer, sealed.claim
    if sealed.refusal == INVALID:
        # It says another amount than the device signed, so no total may be reckoned with it.
        claim = None
    return {
        "terminal_id": word.terminal_id,
        "sequence": word.sequence,
        "link": word.link,
        "previous_link": sealed.previous_link,
        "sealed": sealed.sealed,
        "attempt_id": sealed.attempt_id,
        "payment_id": word.payment_id,
        "has_payment": changes.has_payment,
        "outcome": word.outcome,
        "code": word.code,
        "amount_minor": word.amount_minor,
        "currency": word.currency,
        "loss_minor": word.loss_minor,
        "loss_bearer": word.loss_bearer,
        "credential_id": changes.credential_id,
        "key_id": None if claim is None else claim.key_id,
        "counter": None if claim is None else claim.counter,
        "running_total_minor": None if claim is None else claim.running_total_minor,
        "accepted_ms": word.accepted_ms,
        "received_ms": word.received_ms,
    }


def statements_of_record(sealed: SealedPayment, changes: RecordChanges) -> list[tuple[str, Values]]:
    """Return the statements that write a new record, in order; each must change exactly one row."""
    statements: list[tuple[str, Values]] = [("add_record", values_of_record(sealed, changes))]
    if changes.suspended_key_id is not None:
        statements.append(("suspend_key", {"key_id": changes.suspended_key_id}))
    if changes.counted is not None:
        (day, instrument_id), amount_minor = changes.counted
        values = {"day": day, "instrument_id": instrument_id, "amount_minor": amount_minor}
        statements.append(("count_day", values))
    return statements


def values_of_alarm(alarm: OfflineAlarm) -> Values:
    """Return what add_alarm writes, and say it to the log."""
    log.warning(
        "offline_alarm",
        kind=alarm.kind,
        terminal_id=alarm.terminal_id,
        sequence=alarm.sequence,
        payment_id=alarm.payment_id,
        instrument_id=alarm.instrument_id,
    )
    return {
        "terminal_id": alarm.terminal_id,
        "sequence": alarm.sequence,
        "kind": alarm.kind,
        "link": alarm.link,
        "payment_id": alarm.payment_id,
        "instrument_id": alarm.instrument_id,
        "at_ms": alarm.at_ms,
    }


def read_alarm(row: Row) -> OfflineAlarm:
    """Return the alarm in a row of offline_alarms."""
    return OfflineAlarm(
        kind=row["kind"],
        terminal_id=row["terminal_id"],
        sequence=row["sequence"],
        link=row["link"],
        payment_id=row["payment_id"],
        instrument_id=row["instrument_id"],
        at_ms=row["at_ms"],
    )
