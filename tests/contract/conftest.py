"""Every store on a database of the test's own, opened as often as a test has processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.storage.store import Store
from tests.databases import Database, open_linked_sqlite_store, postgres_database, sqlite_database

if TYPE_CHECKING:
    from tests.conftest import Shop

OpenStore = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["sqlite", "sqlite through the link", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database of the test's own, empty, and each way of opening a store on one."""
    if request.param == "postgres":
        return postgres_database(request.getfixturevalue("postgres_url"))
    path = tmp_path / "store.sqlite3"
    found = sqlite_database(path)
    if request.param == "sqlite":
        return found
    return replace(found, kind=request.param, open_store=lambda: open_linked_sqlite_store(path))


@pytest.fixture
async def open_store(database: Database) -> AsyncIterator[OpenStore]:
    """Opens a store on one and the same database, as often as a test has processes."""
    stores: list[Store] = []

    async def open_one() -> Store:
        stores.append(await database.open_store())
        return stores[-1]

    yield open_one
    for store in stores:
        await store.close()


@pytest.fixture
async def store(open_store: OpenStore, shop: Shop) -> Store:
    """A store with the furnished shop."""
    store = await open_store()
    await shop.furnish(store)
    return store
