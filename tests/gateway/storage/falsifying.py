"""Books that are kept once for all tests of a kind of store, copied for each, falsified and audited."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.audit import AuditBreak, audit
from gateway.ledger.chain import GENESIS, hash_group
from gateway.ledger.model import GroupPurpose, Transfer, TransferGroup, TransferKind
from tests.databases import Database, postgres_database, sqlite_database
from tests.postgres_server import PostgresServer

LEGS = (
    "SELECT group_sequence, transfer_id, kind, debit_account_id, credit_account_id, amount_minor, currency,"
    " pending_id, expires_ms FROM transfers ORDER BY group_sequence, leg_index"
)
GROUPS = "SELECT sequence, booked_ms, purpose FROM ledger_groups ORDER BY sequence"
FORGET_CHECKS = """
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint
        WHERE contype = 'c' AND connamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.owner, one.conname);
    END LOOP;
END $$
"""

Keep = Callable[[Database], Awaitable[None]]


def kept_once(
    request: pytest.FixtureRequest, directories: pytest.TempPathFactory, name: str, keep: Keep
) -> Iterator[Database]:
    """Yield a database of the kind that a fixture's parameter names, with what `keep` writes into it."""
    if request.param == "sqlite":
        database = sqlite_database(directories.mktemp(name) / "store.sqlite3")
        asyncio.run(keep(database))
        yield database
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = postgres_database(server.create_database(name, "migrated"))
    asyncio.run(keep(database))
    yield database
    server.drop_database(name)


def copied(kept: Database, request: pytest.FixtureRequest, directory: Path, name: str) -> Iterator[Database]:
    """Yield a copy of a database of `kept_once`, whose name this is, to be falsified."""
    if kept.kind == "sqlite":
        yield sqlite_database(Path(shutil.copy(kept.place, directory / "copy.sqlite3")))
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    yield postgres_database(server.create_database(f"copy_of_{name}", name))
    server.drop_database(f"copy_of_{name}")


async def falsify(books: Database, *statements: str) -> None:
    """Do to the books what only somebody can do who has the file, or the server, in hand."""
    if books.kind == "sqlite":
        ((*triggers,),) = [await books.read(["SELECT name FROM sqlite_schema WHERE type = 'trigger'"])]
        drops = [f"DROP TRIGGER {name}" for (name,) in triggers[0]]
        await books.write(["PRAGMA ignore_check_constraints = ON", *drops, *statements])
    else:
        await books.write(["SET LOCAL session_replication_role = replica", FORGET_CHECKS, *statements])


async def reseal(books: Database) -> None:
    """Hash all groups anew as they now are, as somebody would who knows how the chain is made."""
    groups, rows = await books.read([GROUPS, LEGS])
    legs: dict[int, list[Transfer]] = {}
    for sequence, transfer_id, kind, *rest in rows:
        legs.setdefault(sequence, []).append(Transfer(bytes(transfer_id), TransferKind(kind), *rest))
    head, statements = GENESIS, []
    for sequence, booked_ms, purpose in groups:
        head = hash_group(
            head, sequence, booked_ms, TransferGroup(tuple(legs[sequence]), GroupPurpose(purpose))
        )
        statements.append(f"UPDATE ledger_groups SET hash = {blob(books, head)} WHERE sequence = {sequence}")
    await falsify(books, *statements)


def blob(books: Database, value: bytes) -> str:
    """Return bytes as the database's SQL writes them."""
    return f"x'{value.hex()}'" if books.kind == "sqlite" else f"'\\x{value.hex()}'"


async def found_in(books: Database) -> AuditBreak | None:
    """Audit, beside the event loop, as commands do."""
    return (await asyncio.to_thread(audit, books.place)).first_break
