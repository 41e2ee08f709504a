"""Credentials and sealed records: read, judged (gateway/offline/decide.py), written under the chain's lock.

As changes of payments are (life.py), and for the same reason: they are rare, and whoever holds the lock reads
what is so.
"""

from __future__ import annotations

from gateway.errors import GatewayError, NotFound
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind, TransferGroup
from gateway.ledger.workbook import LedgerFacts, Workbook
from gateway.offline.decide import RecordChanges, RecordFacts, booking_of, decide_record
from gateway.offline.groups import give_back, reserve
from gateway.offline.model import Credential, CredentialWish, OfflineAlarm, SealedPayment, SettledRecord
from gateway.payments.changes import PaymentChanges
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
from gateway.storage.postgres import directory
from gateway.storage.postgres.booking import Plan, let_go, write_plan
from gateway.storage.postgres.database import Connection, GuardRefused, Row, execute, fetch, fetch_row
from gateway.storage.postgres.facts import read_ledger_facts, read_payment_facts, read_touched
from gateway.storage.postgres.queries import load_queries
from gateway.storage.store import PAGE_ROWS_MAX

SQL = load_queries("offline")
LEDGER_SQL = load_queries("ledger")
UNPLACED_GROUPS = 1


async def issue_credential(connection: Connection, wish: CredentialWish) -> Credential:
    """Set an allowance aside and issue its credential; see OfflineStore."""
    async with connection.transaction():
        await _take_turn(connection)
        known = await _find(connection, "find_credential", {"credential_id": wish.credential_id})
        if known is not None:
            return read_known_credential(wish, known)
        keys = {"instrument_id": wish.instrument_id}
        holder = check_holder(await _find(connection, "find_holder", keys))
        status_index = check_status_index(await _find(connection, "find_free_index", {}))
        account, now_ms = account_of(wish, holder["currency"]), wish.issued_ms
        await directory.open_account(connection, account, now_ms)
        await directory.open_operator_account(connection, AccountKind.LOSSES, account.currency, now_ms)
        group = reserve(
            wish.credential_id,
            wallet_account_id=holder["wallet_account_id"],
            account_id=account.account_id,
            amount_minor=wish.allowance_minor,
            currency=account.currency,
        )
        await _book(connection, group, now_ms)
        await execute(connection, SQL["replace_live"], keys)
        await _change_one(connection, "give_index", {"status_index": status_index})
        await _change_one(connection, "add_credential", values_of_credential(wish, account, status_index))
    return issued_credential(wish, account, status_index)


async def list_credentials(connection: Connection, after_id: str) -> list[Credential]:
    """Return a page of credentials in id order."""
    values = {"after_id": after_id, "rows_max": PAGE_ROWS_MAX}
    return [read_credential(row) for row in await fetch(connection, SQL["list_credentials"], values)]


async def list_due_credentials(connection: Connection, now_ms: int, after_id: str) -> list[str]:
    """Return a page of ids of credentials whose end has come, in id order."""
    values = {"now_ms": now_ms, "after_id": after_id, "rows_max": PAGE_ROWS_MAX}
    return [row["credential_id"] for row in await fetch(connection, SQL["list_due_credentials"], values)]


async def end_credential(connection: Connection, credential_id: str, now_ms: int) -> int:
    """End a credential whose time is over; return what went back to its wallet."""
    values = {"credential_id": credential_id, "now_ms": now_ms}
    async with connection.transaction():
        await _take_turn(connection)
        row = await _find(connection, "find_ending", values)
        if row is None:
            raise NotFound("there is no such credential")
        if await execute(connection, SQL["end_credential"], values) == 0:
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
            await _book(connection, group, now_ms)
        return left_minor


async def read_suspended(connection: Connection) -> tuple[list[int], bool]:
    """Return the suspended indexes, and whether what is stored of their listing is right already."""
    rows = await fetch(connection, SQL["list_suspended"], {})
    wrong = await _find(connection, "count_wrongly_listed", {})
    is_noted = wrong is not None and wrong["wrong_count"] == 0
    return [row["status_index"] for row in rows], is_noted and all(row["listed_ms"] for row in rows)


async def note_suspended(connection: Connection, now_ms: int) -> list[int]:
    """Store since when suspended credentials are listed, and return their indexes."""
    async with connection.transaction():
        await _take_turn(connection)
        await execute(connection, SQL["note_listed"], {"now_ms": now_ms})
        await execute(connection, SQL["note_unlisted"], {})
        indexes, _ = await read_suspended(connection)
    return indexes


async def settle_record(connection: Connection, sealed: SealedPayment) -> SettledRecord:
    """Give a record its word, or find the one it got; see OfflineStore."""
    async with connection.transaction():
        await _take_turn(connection)
        row = await _find(connection, "find_record", keys_of_record(sealed, None))
        known = None if row is None else read_record(row)
        if known is not None and known.link == sealed.link:
            return known
        paying, moved, expiries = await read_payment_facts(connection, [booking_of(sealed)], sealed.now_ms)
        facts = await _read_facts(connection, sealed, known)
        facts.payments = paying
        await _add_accounts(connection, moved, facts.credential, sealed.currency)
        workbook = Workbook(moved, UNPLACED_GROUPS)
        let_go(workbook, expiries, sealed.now_ms)
        changes = decide_record(facts, sealed, workbook)
        if changes.is_new:
            plan = Plan(workbook.changes(), changes.payments, lambda _: None)
            await _write(connection, plan)
        await _write_changes(connection, sealed, changes)
    return changes.answer


async def find_last_sequence(connection: Connection, terminal_id: str) -> int:
    """Return the highest number among a terminal's records; 0 if there is none."""
    row = await _find(connection, "find_last_sequence", {"terminal_id": terminal_id})
    return 0 if row is None else int(row["sequence"])


async def list_alarms(connection: Connection) -> list[OfflineAlarm]:
    """Return the last alarms, newest first."""
    rows = await fetch(connection, SQL["list_alarms"], {"rows_max": PAGE_ROWS_MAX})
    return [read_alarm(row) for row in rows]


async def list_losses(connection: Connection) -> list[SettledRecord]:
    """Return the last records that left a loss, newest first."""
    rows = await fetch(connection, SQL["list_losses"], {"rows_max": PAGE_ROWS_MAX})
    return [read_record(row) for row in rows]


async def _read_facts(
    connection: Connection, sealed: SealedPayment, known: SettledRecord | None
) -> RecordFacts:
    claim = sealed.claim
    tag = None if claim is None else claim.credential_tag
    row = await _find(connection, "find_credential_by_tag", {"tag": tag})
    credential = None if row is None else read_credential(row)
    keys = keys_of_record(sealed, credential)
    links = await _find(connection, "find_links", keys)
    assert links is not None, "a row of lookups is a row"
    seen = read_seen(await fetch(connection, SQL["list_seen"], keys))
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


async def _add_accounts(
    connection: Connection, moved: LedgerFacts, credential: Credential | None, currency: str
) -> None:
    wanted = {operator_account_id(AccountKind.LOSSES, currency)}
    if credential is not None:
        wanted.add(credential.account_id)
    moved.accounts |= (await read_touched(connection, wanted, ())).accounts


async def _write_changes(connection: Connection, sealed: SealedPayment, changes: RecordChanges) -> None:
    if changes.is_new:
        for name, values in statements_of_record(sealed, changes):
            await _change_one(connection, name, values)
    for alarm in changes.alarms:
        await execute(connection, SQL["add_alarm"], values_of_alarm(alarm))


async def _book(connection: Connection, group: TransferGroup, now_ms: int) -> None:
    workbook = Workbook(await read_ledger_facts(connection, [group]), UNPLACED_GROUPS)
    check_reserved(workbook.book_group(group, now_ms).outcome)
    await _write(connection, Plan(workbook.changes(), PaymentChanges(), lambda _: None))


async def _write(connection: Connection, plan: Plan[None]) -> None:
    try:
        await write_plan(connection, plan)
    except GuardRefused as refused:
        raise GatewayError(f"{refused.guard} refused what was decided under the lock") from refused


async def _take_turn(connection: Connection) -> None:
    await fetch_row(connection, LEDGER_SQL["lock_chain_head"], {})


async def _find(connection: Connection, name: str, values: Values) -> Row | None:
    return await fetch_row(connection, SQL[name], values)


async def _change_one(connection: Connection, name: str, values: Values) -> None:
    if await execute(connection, SQL[name], values) != 1:
        raise GatewayError(f"the guard of {name} refused what was decided under the lock")
