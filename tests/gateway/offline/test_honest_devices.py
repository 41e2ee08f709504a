"""Whatever honest devices do, and however often and in whatever order it arrives, nobody loses a cent.

What copies add is bounded, and money is never made: what a merchant got, somebody paid.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from gateway.holders.model import WalletStatus
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from gateway.offline.groups import split_amount
from gateway.storage.sqlite.store import open_sqlite_store
from tests.offline_devices import Device, OfflineWorld, Till

if TYPE_CHECKING:
    from tests.conftest import Shop

ALLOWANCE = 2_000
DEVICES, TILLS = 3, 3

sales = st.lists(
    st.tuples(st.integers(0, DEVICES - 1), st.integers(0, TILLS - 1), st.integers(1, 900)), max_size=14
)
# Where each upload takes its record from, as a fraction of what there is; repeats come by themselves.
orders = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=30)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_amount_is_split_whole_and_the_operator_pays_last(
    amount_minor: int, in_allowance_minor: int, in_wallet_minor: int
) -> None:
    parts = split_amount(amount_minor, in_allowance_minor=in_allowance_minor, in_wallet_minor=in_wallet_minor)
    assert parts.allowance_minor + parts.wallet_minor + parts.losses_minor == amount_minor
    assert 0 <= parts.allowance_minor <= in_allowance_minor
    assert 0 <= parts.wallet_minor <= in_wallet_minor
    if parts.wallet_minor:
        assert parts.allowance_minor == in_allowance_minor
    if parts.losses_minor:
        assert parts.wallet_minor == in_wallet_minor


class Scene:
    """Devices and tills over a store of their own."""

    def __init__(self, store: Any, shop: Shop) -> None:
        self.store, self.shop, self.world = store, shop, OfflineWorld(store, shop)
        self.devices: list[Device] = []
        self.tills: list[Till] = []

    async def furnish(self) -> None:
        await self.shop.furnish(self.store)
        self.devices = [await self.world.device(number) for number in range(1, DEVICES + 1)]
        for device in self.devices:
            await device.get_credential(self.store, ALLOWANCE, self.shop.now_ms)
        self.tills = [await self.world.till(number) for number in range(1, TILLS + 1)]

    def sell(self, device: Device, till: Till, amount_minor: int, *, words: str = "") -> int:
        """Let a till accept a tap if the device agrees; return what was accepted."""
        if device.total_minor + amount_minor > ALLOWANCE:
            return 0
        claim = device.tap(amount_minor)
        if words:
            claim = structs.replace(claim, claims_digest=words.encode().ljust(32, b"."))
        till.accept(claim, amount_minor)
        return amount_minor

    async def upload(self, order: list[float]) -> list[Any]:
        """Hand in records as they are drawn, then all that are left, each till's from its last back."""
        records = [one for till in self.tills for one in till.sealed]
        drawn = [records[int(place * len(records))] for place in order] if records else []
        return [await self.store.settle_record(one) for one in [*drawn, *reversed(records)]]

    async def balance_minor(self, account_id: bytes) -> int:
        return int((await self.store.find_account(account_id)).available_minor)

    async def operator_minor(self, kind: AccountKind) -> int:
        return await self.balance_minor(operator_account_id(kind, "EUR"))

    async def earned_minor(self) -> int:
        fees = await self.operator_minor(AccountKind.FEES)
        return await self.balance_minor(self.shop.merchant.account_id) + fees

    async def left_minor(self) -> int:
        return sum(one.left_minor for one in await self.store.list_credentials())


async def _with_scene(shop: Shop, work: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = await open_sqlite_store(Path(folder) / "store.sqlite3")
        try:
            scene = Scene(store, shop)
            await scene.furnish()
            await work(scene)
        finally:
            await store.close()


UNHURRIED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@UNHURRIED
@given(made=sales, order=orders)
def test_honest_devices_cost_nobody_anything(
    shop: Shop, made: list[tuple[int, int, int]], order: list[float]
) -> None:
    async def work(scene: Scene) -> None:
        spent_minor = sum(
            scene.sell(scene.devices[device], scene.tills[till], amount) for device, till, amount in made
        )
        words = await scene.upload(order)
        assert {(word.outcome, word.code, word.loss_minor) for word in words} <= {("settled", "", 0)}
        assert await scene.operator_minor(AccountKind.LOSSES) == 0
        assert await scene.earned_minor() == spent_minor
        assert await scene.left_minor() == DEVICES * ALLOWANCE - spent_minor
        assert await scene.store.list_suspended(shop.now_ms) == []

    asyncio.run(_with_scene(shop, work))


@UNHURRIED
@given(made=sales, copied=sales, order=orders)
def test_copies_cost_what_nobody_covers_and_no_till_twice_what_its_card_could_spend(
    shop: Shop, made: list[tuple[int, int, int]], copied: list[tuple[int, int, int]], order: list[float]
) -> None:
    async def work(scene: Scene) -> None:
        await scene.store.set_wallet_status(shop.wallet.wallet_id, WalletStatus.FROZEN)
        copies = [device.copy() for device in scene.devices]
        for device, till, amount in made:
            scene.sell(scene.devices[device], scene.tills[till], amount)
        for number, (device, till, amount) in enumerate(copied):
            scene.sell(copies[device], scene.tills[till], amount, words=f"copy {number}")
        await scene.upload(order)
        final = {(one.terminal_id, one.sequence): one for one in await scene.upload([])}
        settled = [one for one in final.values() if one.outcome == "settled"]
        lost_minor = sum(one.loss_minor for one in settled)
        assert -await scene.operator_minor(AccountKind.LOSSES) == lost_minor
        assert await scene.earned_minor() == sum(one.amount_minor for one in settled)
        assert lost_minor == await scene.earned_minor() - (DEVICES * ALLOWANCE - await scene.left_minor())
        # One till takes no more of a key than its allowance: totals that it saw itself only rise.
        assert lost_minor <= DEVICES * (TILLS * ALLOWANCE - ALLOWANCE)

    asyncio.run(_with_scene(shop, work))
