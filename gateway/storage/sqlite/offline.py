"""Credentials and sealed records: read, judged (gateway/offline/decide.py), written in one transaction."""

from __future__ import annotations

import sqlite3

from gateway.errors import NotFound
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind, TransferGroup
from gateway.offline.decide import RecordChanges, RecordFacts, booking_of, decide_record
from gateway.offline.groups import give_back, reserve
from gateway.offline.model import Credential, CredentialWish, OfflineAlarm, SealedPayment, SettledRecord
from gateway.storage.offline_rows import (
    Values,
    account_of,
    check_holder,
    check_reserved,
    check_status_index,
    issued_credential,
    keys_of_record,
    read_alarm,
    read_credential,
    read_known_credential,
    read_record,
    read_seen,
    statements_of_record,
    values_of_alarm,
    values_of_credential,
)
from gateway.storage.sqlite import ledger, payments
from gateway.storage.sqlite.ledger import require_all
from gateway.storage.sqlite.queries import load_queries
from gateway.storage.store import PAGE_ROWS_MAX

SQL = load_queries("offline")


def issue_credential(connection: sqlite3.Connection, wish: CredentialWish) -> Credential:
    """Set an allowance aside and issue its credential; see OfflineStore."""
    known = _find(connection, "find_credential", {"credential_id": wish.credential_id})
    if known is not None:
        return read_known_credential(wish, known)
    keys = {"instrument_id": wish.instrument_id}
    holder = check_holder(_find(connection, "find_holder", keys))
    status_index = check_status_index(_find(connection, "find_free_index", {}))
    account, now_ms = account_of(wish, holder["currency"]), wish.issued_ms
    ledger.open_account(connection, account, now_ms)
    ledger.open_operator_account(connection, AccountKind.LOSSES, account.currency, now_ms)
    group = reserve(
        wish.credential_id,
        wallet_account_id=holder["wallet_account_id"],
        account_id=account.account_id,
        amount_minor=wish.allowance_minor,
        currency=account.currency,
    )
    _book(connection, group, now_ms)
    connection.execute(SQL["replace_live"], keys)
    _change_one(connection, "give_index", {"status_index": status_index})
    _change_one(connection, "add_credential", values_of_credential(wish, account, status_index))
    return issued_credential(wish, account, status_index)


def list_credentials(connection: sqlite3.Connection, after_id: str) -> list[Credential]:
    """Return a page of credentials in id order."""
    values = {"after_id": after_id, "rows_max": PAGE_ROWS_MAX}
    return [read_credential(row) for row in connection.execute(SQL["list_credentials"], values)]


def list_due_credentials(connection: sqlite3.Connection, now_ms: int, after_id: str) -> list[str]:
    """Return a page of ids of credentials whose end has come, in id order."""
    values = {"now_ms": now_ms, "after_id": after_id, "rows_max": PAGE_ROWS_MAX}
    return [row["credential_id"] for row in connection.execute(SQL["list_due_credentials"], values)]


def end_credential(connection: sqlite3.Connection, credential_id: str, now_ms: int) -> int:
    """End a credential whose time is over; return what went back to its wallet."""
    values = {"credential_id": credential_id, "now_ms": now_ms}
    row = _find(connection, "find_ending", values)
    if row is None:
        raise NotFound("there is no such credential")
    if connection.execute(SQL["end_credential"], values).rowcount == 0:
        return 0
    left_minor: int = row["left_minor"]
    if left_minor:
        group = give_back(
            credential_id,
            wallet_account_id=row["wallet_account_id"],
            account_id=row["account_id"],
            amount_minor=left_minor,
            currency=row["currency"],
        )
        _book(connection, group, now_ms)
    return left_minor


def read_suspended(connection: sqlite3.Connection) -> tuple[list[int], bool]:
    """Return the suspended indexes, and whether what is stored of their listing is right already."""
    rows = connection.execute(SQL["list_suspended"]).fetchall()
    wrong_count = connection.execute(SQL["count_wrongly_listed"]).fetchone()["wrong_count"]
    is_noted = wrong_count == 0 and all(row["listed_ms"] is not None for row in rows)
    return [row["status_index"] for row in rows], is_noted


def note_suspended(connection: sqlite3.Connection, now_ms: int) -> list[int]:
    """Store since when suspended credentials are listed, and return their indexes."""
    connection.execute(SQL["note_listed"], {"now_ms": now_ms})
    connection.execute(SQL["note_unlisted"])
    return read_suspended(connection)[0]


def settle_record(connection: sqlite3.Connection, sealed: SealedPayment) -> SettledRecord:
    """Give a record its word, or find the one it got; see OfflineStore."""
    row = _find(connection, "find_record", keys_of_record(sealed, None))
    known = None if row is None else read_record(row)
    if known is not None and known.link == sealed.link:
        return known
    paying, accounts = payments.read_facts(connection, [booking_of(sealed)])
    facts = _read_facts(connection, sealed, known)
    facts.payments = paying
    wanted = {operator_account_id(AccountKind.LOSSES, sealed.currency)}
    if facts.credential is not None:
        wanted.add(facts.credential.account_id)
    accounts |= ledger.read_accounts(connection, wanted)
    expiries = ledger.list_due_expiries(connection, sealed.now_ms)
    head = ledger.find_chain_head(connection)
    workbook = payments.open_workbook(connection, accounts, expiries, head.sequence + 1)
    ledger.let_go(workbook, expiries, sealed.now_ms)
    changes = decide_record(facts, sealed, workbook)
    if changes.is_new:
        receipt_counts = {site.merchant_id: site.receipt_count for site in paying.sites.values()}
        ledger.write_changes(connection, workbook.changes(), head)
        payments.write_changes(connection, changes.payments, head.sequence + 1, receipt_counts)
    _write_changes(connection, sealed, changes)
    return changes.answer


def find_last_sequence(connection: sqlite3.Connection, terminal_id: str) -> int:
    """Return the highest number among a terminal's records; 0 if there is none."""
    row = connection.execute(SQL["find_last_sequence"], {"terminal_id": terminal_id}).fetchone()
    return int(row["sequence"])


def list_alarms(connection: sqlite3.Connection) -> list[OfflineAlarm]:
    """Return the last alarms, newest first."""
    rows = connection.execute(SQL["list_alarms"], {"rows_max": PAGE_ROWS_MAX})
    return [read_alarm(row) for row in rows]


def list_losses(connection: sqlite3.Connection) -> list[SettledRecord]:
    """Return the last records that left a loss, newest first."""
    rows = connection.execute(SQL["list_losses"], {"rows_max": PAGE_ROWS_MAX})
    return [read_record(row) for row in rows]


def _read_facts(
    connection: sqlite3.Connection, sealed: SealedPayment, known: SettledRecord | None
) -> RecordFacts:
    claim = sealed.claim
    row = (
        None if claim is None else _find(connection, "find_credential_by_tag", {"tag": claim.credential_tag})
    )
    credential = None if row is None else read_credential(row)
    keys = keys_of_record(sealed, credential)
    links = _find(connection, "find_links", keys)
    assert links is not None, "a row of lookups is a row"
    seen = read_seen(connection.execute(SQL["list_seen"], keys))
    return RecordFacts(
        known=known,
        link_before=links["link_before"],
        link_expected_after=links["link_expected_after"],
        credential=credential,
        below=seen.get("below"),
        above=seen.get("above"),
        till_before=seen.get("till_before"),
        till_after=seen.get("till_after"),
        used_by=links["used_by"],
    )


def _write_changes(connection: sqlite3.Connection, sealed: SealedPayment, changes: RecordChanges) -> None:
    if changes.is_new:
        for name, values in statements_of_record(sealed, changes):
            _change_one(connection, name, values)
    for alarm in changes.alarms:
        connection.execute(SQL["add_alarm"], values_of_alarm(alarm))


def _book(connection: sqlite3.Connection, group: TransferGroup, now_ms: int) -> None:
    (answer,) = ledger.book(connection, [group], now_ms)
    check_reserved(answer.outcome)


def _find(connection: sqlite3.Connection, name: str, values: Values) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(SQL[name], values).fetchone()
    return row


def _change_one(connection: sqlite3.Connection, name: str, values: Values) -> None:
    require_all(connection.execute(SQL[name], values).rowcount, (values,), name)
