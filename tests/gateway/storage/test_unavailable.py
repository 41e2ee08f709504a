"""When the disk is full or may not be written: StoreUnavailable, nothing booked, and on again after."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.audit import audit
from gateway.errors import GatewayBusy, StoreUnavailable
from gateway.storage.sqlite.store import SqliteStore, open_sqlite_store

if TYPE_CHECKING:
    from tests.conftest import Shop

NOBODY = 65_534


@contextmanager
def full_disk(log: Path) -> Iterator[None]:
    """Let no file of this process grow beyond what the log has now: the kernel refuses, as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as nobody, because root may write what is read-only."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


async def test_full_disk_books_nothing_and_recovers(tmp_path: Path, shop: Shop) -> None:
    path = tmp_path / "store.sqlite3"
    store = await open_sqlite_store(path)
    await shop.furnish(store)
    with full_disk(tmp_path / "store.sqlite3-wal"):
        answers = await asyncio.gather(
            *(store.book_payment(shop.booking(number)) for number in range(5)), return_exceptions=True
        )
        with pytest.raises(StoreUnavailable):
            await store.check_health()
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 5
    for number in range(5):
        assert await store.find_payment_by_attempt("TERMNA01", shop.booking(number).attempt_id) is None
    await store.check_health()
    # The very same request, sent again, is what `retryable` promises.
    assert (await store.book_payment(shop.booking(0))).outcome == "approved"
    assert (await store.find_wallet("WALLET1")).available_minor == shop.funds_minor - 1_250
    await store.close()
    assert audit(path).is_ok


async def test_file_that_may_not_be_written_does_not_open(tmp_path: Path, shop: Shop) -> None:
    path = tmp_path / "store.sqlite3"
    store = await open_sqlite_store(path)
    await shop.furnish(store)
    await store.close()
    path.chmod(0o444)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    with unprivileged(), pytest.raises(StoreUnavailable):
        await open_sqlite_store(path)
    path.chmod(0o600)
    assert audit(path).group_count == 1


async def test_store_turns_away_what_its_queue_can_not_hold(tmp_path: Path, shop: Shop) -> None:
    store = await SqliteStore.open(tmp_path / "store.sqlite3", queue_max=10)
    await shop.furnish(store)
    answers = await asyncio.gather(
        *(store.book_payment(shop.booking(number, amount_minor=1)) for number in range(200)),
        return_exceptions=True,
    )
    turned_away = [answer for answer in answers if isinstance(answer, GatewayBusy)]
    booked = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert turned_away
    assert booked
    assert len(turned_away) + len(booked) == 200
    assert (await store.find_wallet("WALLET1")).available_minor == shop.funds_minor - len(booked)
    await store.close()
