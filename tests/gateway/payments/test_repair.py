"""The repair worker ends what is due, whatever a crash left, and no poisoned payment stops the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import GatewayError, StoreUnavailable
from gateway.payments.bell import TerminalBell
from gateway.payments.life import Expire
from gateway.payments.model import Terms
from gateway.payments.repair import RepairWorker
from gateway.storage.sqlite.store import SqliteStore, open_sqlite_store
from wire.messages.payments import CaptureMode, PaymentState

if TYPE_CHECKING:
    from tests.conftest import Shop

HOUR_MS = 3_600_000


@dataclass
class Failing:
    """A store of which some payments can't be changed, or which is away for some calls."""

    store: SqliteStore
    poisoned: set[str] = field(default_factory=set)
    away_count: int = 0
    tried: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def change_payment(self, change: Expire, now_ms: int) -> Any:
        self.tried.append(change.payment_id)
        if self.away_count:
            self.away_count -= 1
            raise StoreUnavailable("away")
        if change.payment_id in self.poisoned:
            raise GatewayError("a row that nobody understands")
        return await self.store.change_payment(change, now_ms)


@dataclass
class Scene:
    """Three holds that are over in an hour, and a worker whose clock the test sets."""

    store: Failing
    worker: RepairWorker
    shop: Shop
    now_ms: int
    payment_ids: list[str]

    async def states(self) -> list[PaymentState]:
        found = [
            await self.store.find_payment(self.shop.terminal.terminal_id, one) for one in self.payment_ids
        ]
        return [one.life.state for one in found]


@pytest.fixture
async def scene(tmp_path: Path, shop: Shop) -> AsyncIterator[Scene]:
    store = Failing(await open_sqlite_store(tmp_path / "store.sqlite3"))
    await shop.furnish(store)
    due_ms = shop.now_ms + HOUR_MS
    terms = Terms(capture=CaptureMode.MANUAL, confirm_by_ms=due_ms, capture_by_ms=due_ms)
    records = [await store.book_payment(shop.booking(number, terms=terms)) for number in (1, 2, 3)]
    assert {record.outcome for record in records} == {"authorised"}
    made = Scene(store, None, shop, shop.now_ms, [record.payment_id for record in records])  # type: ignore[arg-type]
    made.worker = RepairWorker(store, TerminalBell(), sweep_ms=1, now_ms=lambda: made.now_ms)
    yield made
    await store.store.close()


async def test_nothing_is_ended_before_its_time_and_everything_at_it(scene: Scene) -> None:
    scene.now_ms += HOUR_MS - 1
    assert await scene.worker.sweep() == 0
    scene.now_ms += 1
    assert await scene.worker.sweep() == 3
    assert await scene.states() == [PaymentState.EXPIRED] * 3
    wallet = await scene.store.find_wallet("WALLET1")
    assert (wallet.available_minor, wallet.pending_minor) == (scene.shop.funds_minor, 0)
    assert await scene.worker.sweep() == 0


async def test_one_poisoned_payment_is_put_off_later_each_time_and_stops_nobody(scene: Scene) -> None:
    scene.store.poisoned = {scene.payment_ids[1]}
    scene.now_ms += HOUR_MS
    for _ in range(16):
        await scene.worker.sweep()
    states = await scene.states()
    assert states == [PaymentState.EXPIRED, PaymentState.AUTHORISED, PaymentState.EXPIRED]
    assert scene.worker.poisoned_count == 1
    # After sweeps 1, 3, 7 and 15: each pause is twice the one before.
    assert scene.store.tried.count(scene.payment_ids[1]) == 4
    scene.store.poisoned = set()
    for _ in range(16):
        await scene.worker.sweep()
    assert await scene.states() == [PaymentState.EXPIRED] * 3
    assert scene.worker.poisoned_count == 0


async def test_a_store_that_is_away_is_no_poison_and_is_asked_again(scene: Scene) -> None:
    scene.store.away_count = 2
    scene.now_ms += HOUR_MS
    running = asyncio.create_task(scene.worker.run())
    async with asyncio.timeout(20):
        while await scene.states() != [PaymentState.EXPIRED] * 3:
            continue
    running.cancel()
    assert scene.worker.poisoned_count == 0


async def test_another_worker_begins_where_a_crashed_one_stopped(scene: Scene) -> None:
    scene.now_ms += HOUR_MS
    await scene.store.change_payment(Expire(scene.payment_ids[0]), scene.now_ms)
    other = RepairWorker(scene.store, TerminalBell(), sweep_ms=1, now_ms=lambda: scene.now_ms)
    assert await other.sweep() == 2
    assert await scene.states() == [PaymentState.EXPIRED] * 3
