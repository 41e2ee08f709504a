"""A store on a database of the test's own, and a hand on the head of its chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from gateway.storage.postgres.store import PostgresStore, open_postgres_store

if TYPE_CHECKING:
    from tests.conftest import Shop

WAITING_FOR_LOCK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
    AND (query LIKE '%FROM book_batch%' OR query LIKE '%SELECT sequence FROM chain_head%')
"""
POLLS_MAX = 6_000


async def until_blocked(connection: Any) -> None:
    """Return when somebody waits for a lock that somebody else holds."""
    for _ in range(POLLS_MAX):
        if await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nobody came to wait for a lock")


class Hand:
    """Somebody else at the database, who may take the head of the chain and change what bookings read."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transaction: Any = None

    async def take_head(self) -> None:
        """Keep everybody from booking."""
        await self.begin()
        await self._connection.execute("SELECT FROM chain_head FOR UPDATE")

    async def begin(self) -> None:
        """Do what follows in one transaction, until it is let go."""
        self._transaction = self._connection.transaction()
        await self._transaction.start()

    async def execute(self, *statements: str) -> None:
        """Change something; what history does not allow is allowed to this hand."""
        await self._connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await self._connection.execute(statement)
        await self._connection.execute("SET session_replication_role = origin")

    async def let_go(self) -> None:
        """Commit what was changed and let others book."""
        await self._transaction.commit()

    async def until_blocked(self, count: int) -> None:
        """Return when so many wait for a lock, whoever they are."""
        for _ in range(POLLS_MAX):
            if await self._connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") == count:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("nobody came to wait for a lock")

    async def until_waiting(self, count: int = 1) -> None:
        """Return when so many batches have read their facts and wait for the head."""
        for _ in range(POLLS_MAX):
            # Outside of the transaction that holds the head, whose view of activity stands still.
            if await self._connection.fetchval(WAITING_FOR_LOCK) == count:
                return
            await self._connection.execute("SELECT pg_stat_clear_snapshot()")
            await asyncio.sleep(0.005)
        raise AssertionError("no batch came to wait for the head")


@pytest.fixture
async def hand(postgres_url: str) -> AsyncIterator[Hand]:
    connection = await asyncpg.connect(postgres_url)
    yield Hand(connection)
    await connection.close()


@pytest.fixture
async def other_hand(postgres_url: str) -> AsyncIterator[Hand]:
    connection = await asyncpg.connect(postgres_url)
    yield Hand(connection)
    await connection.close()


@pytest.fixture
async def open_store(postgres_url: str) -> AsyncIterator[Callable[..., Awaitable[PostgresStore]]]:
    """Opens stores on the test's own database, and closes them after it."""
    stores: list[PostgresStore] = []

    async def open_one(**options: Any) -> PostgresStore:
        stores.append(await open_postgres_store(postgres_url, **options))
        return stores[-1]

    yield open_one
    for store in stores:
        await store.close()


@pytest.fixture
async def store(open_store: Callable[..., Awaitable[PostgresStore]], shop: Shop) -> PostgresStore:
    """A store with the furnished shop."""
    store = await open_store()
    await shop.furnish(store)
    return store
