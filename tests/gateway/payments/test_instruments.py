"""Instruments found by key: read together, remembered within a bound, never confused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.errors import StoreUnavailable
from gateway.holders.model import Instrument
from gateway.payments.instruments import InstrumentDirectory
from gateway.storage.sqlite.store import SqliteStore, open_sqlite_store
from gateway.storage.store import KEYS_PER_CALL_MAX

if TYPE_CHECKING:
    from tests.conftest import Shop

KEYS = [b"key-%04d" % number for number in range(300)]


class Counted:
    """A real store, and how it was asked."""

    def __init__(self, store: SqliteStore) -> None:
        self.calls: list[int] = []
        self.is_gone = False
        self._store = store

    async def find_instruments_by_keys(self, key_ids: Sequence[bytes]) -> list[Instrument]:
        self.calls.append(len(key_ids))
        if self.is_gone:
            raise StoreUnavailable
        return await self._store.find_instruments_by_keys(key_ids)


@pytest.fixture
async def counted(tmp_path: Path, shop: Shop) -> AsyncIterator[Counted]:
    store = await open_sqlite_store(tmp_path / "store.sqlite3")
    await shop.furnish(store)
    for number, key_id in enumerate(KEYS):
        await store.add_instrument(
            replace(shop.instrument, instrument_id=f"PHONE{number:04d}", key_id=key_id)
        )
    yield Counted(store)
    await store.close()


async def test_lookups_of_one_turn_are_read_together(counted: Counted) -> None:
    directory = InstrumentDirectory(counted)
    found = await asyncio.gather(*(directory.find(key_id) for key_id in KEYS))
    assert [one and one.instrument_id for one in found] == [f"PHONE{number:04d}" for number in range(300)]
    assert counted.calls == [KEYS_PER_CALL_MAX, 300 - KEYS_PER_CALL_MAX]


async def test_one_key_asked_by_many_is_read_once_and_then_remembered(counted: Counted) -> None:
    directory = InstrumentDirectory(counted)
    await asyncio.gather(*(directory.find(KEYS[7]) for _ in range(20)))
    await directory.find(KEYS[7])
    assert counted.calls == [1]


async def test_unknown_key_is_nobodys_and_asked_again(counted: Counted) -> None:
    directory = InstrumentDirectory(counted)
    assert await directory.find(b"stranger") is None
    assert await directory.find(b"stranger") is None
    assert counted.calls == [1, 1]


async def test_failure_is_told_to_everybody_and_forgotten(counted: Counted) -> None:
    directory = InstrumentDirectory(counted)
    counted.is_gone = True
    answers = await asyncio.gather(*(directory.find(key_id) for key_id in KEYS[:9]), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 9
    counted.is_gone = False
    assert await directory.find(KEYS[0]) is not None


async def test_caller_that_gives_up_takes_nothing_from_others(counted: Counted) -> None:
    directory = InstrumentDirectory(counted)
    leaving, staying = (asyncio.ensure_future(directory.find(KEYS[3])) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    found = await staying
    assert found is not None
    assert found.instrument_id == "PHONE0003"


async def test_least_recently_used_goes_first(counted: Counted) -> None:
    directory = InstrumentDirectory(counted, cached_max=2)
    for key_id in (KEYS[0], KEYS[1], KEYS[0], KEYS[2]):
        await directory.find(key_id)
    counted.calls.clear()
    await directory.find(KEYS[0])
    assert counted.calls == []
    await directory.find(KEYS[1])
    assert counted.calls == [1]
