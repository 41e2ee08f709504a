"""The one place where a process finds out which store it has: a SQLite file, or a PostgreSQL database."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.errors import ConfigurationError
from gateway.storage.place import is_database_url, needs_postgres_driver, shown_place
from gateway.storage.sqlite.migrate import migrate
from gateway.storage.sqlite.store import SqliteStore
from gateway.storage.store import Store


def has_database(place: str) -> bool:
    """Say whether something of ours is kept there; call it from outside an event loop.

    Raises:
        ConfigurationError: the place is another program's, or can't be used.
        StoreUnavailable: the server can't be reached now.
    """
    if not is_database_url(place):
        return Path(place).exists()
    with needs_postgres_driver():
        from gateway.storage.postgres.migrate import find_version
    return find_version(place) > 0


def bring_up_to_date(place: str) -> int:
    """Create or update the database, and return its version; call it from outside an event loop.

    Raises:
        ConfigurationError: the place is another program's, newer than this program, or can't be used.
        StoreUnavailable: it can't be written now.
    """
    if not is_database_url(place):
        _make_folder(Path(place).parent)
        return migrate(place)
    with needs_postgres_driver():
        from gateway.storage.postgres.migrate import migrate as migrate_postgres
    return migrate_postgres(place)


async def open_store(place: str, *, queue_max: int) -> Store:
    """Open a database that there is.

    Args:
        queue_max: most bookings that wait for the database.

    Raises:
        ConfigurationError: there is none, or it can't be used.
        StoreUnavailable: it can't be used now.
    """
    if not await asyncio.to_thread(has_database, place):
        raise ConfigurationError(
            f"there is no database {shown_place(place)}: run `tapscan-gateway migrate` first"
        )
    if not is_database_url(place):
        return await SqliteStore.open(place, queue_max=queue_max)
    with needs_postgres_driver():
        from gateway.storage.postgres.store import open_postgres_store
    return await open_postgres_store(place, queue_max=queue_max)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"folder {folder} can't be made: {error.strerror}") from None
