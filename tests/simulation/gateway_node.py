"""One gateway process of a world: real dispatcher, services and store; it can die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gateway.app import make_desk
from gateway.cards.orders import CardOrderService
from gateway.config import CodeSettings, DeadlineSettings, GatewayConfig, RiskSettings
from gateway.holders.service import HolderService
from gateway.http.answers import Answer
from gateway.http.calls import SignedCall
from gateway.http.dispatch import Dispatcher
from gateway.merchants.service import MerchantService
from gateway.merchants.staff import StaffService
from gateway.office import Office
from gateway.payments.card_keys import CardKeyRing
from gateway.payments.repair import RepairWorker
from gateway.pins import PinHasher
from gateway.vault import Vault
from simulators.auditor.witness.dealings import HouseRules
from simulators.auditor.witness.offline.evidence import OfflineHouse
from simulators.faults.dice import Dice
from simulators.faults.plan import FaultKind, FaultPlan
from simulators.networks.network import ConnectionBroken
from simulators.seeds import make_rng
from tests.simulation.inline_store import Fate, InlineReaders, InlineWriter, make_store, open_database
from tests.simulation.offline_house import gateway_settings
from tests.simulation.town import CHEAP_PINS, GATEWAY_URL, Town
from tests.simulation.trace import Trace

COMMITS_S_MAX = (0.006, 0.006, 0.08)
"""How long a commit may take: in some worlds the disk is slow."""
READS_S_MAX = (0.002, 0.03, 0.4)
"""How long a read may take: the slower they are, the more of them overlap."""
NAME = "gateway"
RULES = HouseRules(
    confirm_ms=20_000,
    capture_ms=60_000,
    sweep_ms=5_000,
    counter_max_minor=2_000,
)
"""Deadlines short enough to pass while there is business."""


def _config_of(rules: HouseRules, house: OfflineHouse | None) -> GatewayConfig:
    """Return the settings that the witness knows as the house's rules."""
    return GatewayConfig(
        risk=RiskSettings(payments_per_window_max=rules.payments_per_window_max, unusual_times=0),
        deadlines=DeadlineSettings(
            confirm_ms=rules.confirm_ms, capture_ms=rules.capture_ms, sweep_ms=rules.sweep_ms
        ),
        codes=CodeSettings(counter_max_units=rules.counter_max_minor // 100),
        offline=gateway_settings(house),
    )


class NoRequestLog:
    """Lines of requests go nowhere."""

    def write(self, line: object, *, is_quiet: bool = False) -> None:
        """Forget it."""


async def run_inline(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run what would have a thread, at once."""
    return work(*arguments)


class GatewayNode:
    """The machine a gateway runs on: its database stays, its processes come and go."""

    def __init__(
        self,
        town: Town,
        seed: int,
        plan: FaultPlan,
        dice: Dice,
        trace: Trace,
        *,
        rules: HouseRules,
        house: OfflineHouse | None,
        now_ms: Callable[[], int],
        on_commit: Callable[[], None],
        on_crash: Callable[[], None],
    ) -> None:
        self._town = town
        self._seed = seed
        self._plan = plan
        self._dice = dice
        self._trace = trace
        self._config = _config_of(rules, house)
        self._now_ms = now_ms
        self._on_commit = on_commit
        self._on_crash = on_crash
        self._rng = make_rng(seed, "gateway machine")
        self._commit_s_max, self._read_s_max = self._rng.choice(COMMITS_S_MAX), self._rng.choice(READS_S_MAX)
        self._loop = asyncio.get_running_loop()
        self._life = 0
        self._out_until_s = 0.0
        self._answering: set[asyncio.Task[Answer]] = set()
        self.database = open_database(town.image)
        self.is_up = False
        self._start()

    async def deliver(self, call: SignedCall) -> Answer:
        """Answer a call, or break the connection where nobody lives to answer."""
        if not self.is_up:
            raise ConnectionBroken
        task = asyncio.create_task(self._dispatcher.dispatch(call))
        self._answering.add(task)
        await asyncio.wait({task})
        self._answering.discard(task)
        if task.cancelled():
            raise ConnectionBroken
        return task.result()

    @property
    def office(self) -> Office:
        """The services, as the operator's commands use them."""
        return self._office

    def ask(self, query: str, values: Sequence[object] = ()) -> Iterable[Sequence[Any]]:
        """Return the rows of a query on what is committed, behind the gateway's back."""
        cursor = self.database.cursor()
        cursor.row_factory = None
        return cursor.execute(query, values).fetchall()

    def crash(self, why: str) -> None:
        """Die at once: who waits for an answer gets none, what was not committed is gone."""
        self._trace.note(NAME, f"crashes {why}")
        self.is_up = False
        self._writer.die()
        self._repairing.cancel()
        for task in self._answering:
            task.cancel()
        self._on_crash()
        down_ms = self._dice.duration_ms(NAME, self._plan.gateway.down_ms_max)
        self._loop.call_later(down_ms / 1000, self._start)

    def heal(self) -> None:
        """Come back now, and let nothing happen any more."""
        self._out_until_s = 0.0
        if not self.is_up:
            self._start()

    def _start(self) -> None:
        if self.is_up:
            return
        self._life += 1
        rng = make_rng(self._seed, NAME, str(self._life))
        self._writer = InlineWriter(
            self.database,
            draw_delay_s=lambda: self._rng.random() * self._commit_s_max,
            draw_fate=self._draw_fate,
            on_fate=self._suffer,
        )
        readers = InlineReaders(
            self.database,
            draw_delay_s=lambda: self._rng.random() * self._read_s_max,
            is_available=self._is_available,
        )
        store = make_store(self._writer, readers)
        vault = Vault(self._town.vault_key, draw_nonce=rng.randbytes)
        pins = PinHasher(run_blocking=run_inline, **CHEAP_PINS)
        self._office = Office(
            store=store,
            vault=vault,
            merchants=MerchantService(store, vault, rng.randbytes),
            holders=HolderService(store, vault, rng.randbytes),
            pins=pins,
            staff=StaffService(store, pins, CardKeyRing(store, vault), rng.randbytes),
            cards=CardOrderService(store, vault, rng.randbytes),
        )
        desk = make_desk(
            self._config, self._office, public_url=GATEWAY_URL, now_ms=self._now_ms, entropy=rng.randbytes
        )
        # The log's lines carry real durations, and cost more than the payments here.
        self._dispatcher = Dispatcher(replace(desk, request_log=NoRequestLog()))
        worker = RepairWorker(
            desk.store, desk.bell, sweep_ms=self._config.deadlines.sweep_ms, now_ms=self._now_ms
        )
        self._repairing = asyncio.create_task(worker.run())
        self.is_up = True
        self._trace.note(NAME, f"starts, life {self._life}")

    def _is_available(self) -> bool:
        return self._loop.time() >= self._out_until_s

    def _draw_fate(self) -> Fate:
        dice, plan = self._dice, self._plan
        if not self._is_available():
            return Fate.UNAVAILABLE
        if dice.happens(FaultKind.CRASH_BEFORE_COMMIT, plan.gateway.crash_before_commit, NAME):
            return Fate.CRASHED_BEFORE
        if dice.happens(FaultKind.CRASH_AFTER_COMMIT, plan.gateway.crash_after_commit, NAME):
            return Fate.CRASHED_AFTER
        if dice.happens(FaultKind.COMMIT_UNCERTAIN, plan.database.commit_uncertain, NAME):
            return Fate.UNCERTAIN
        if dice.happens(FaultKind.DATABASE_UNAVAILABLE, plan.database.unavailable, NAME):
            outage_ms = dice.duration_ms(NAME, plan.database.outage_ms_max)
            self._out_until_s = self._loop.time() + outage_ms / 1000
            return Fate.UNAVAILABLE
        return Fate.COMMITTED

    def _suffer(self, fate: Fate) -> None:
        """Take the consequences of a commit."""
        self._trace.note(NAME, fate.value)
        if fate in (Fate.CRASHED_BEFORE, Fate.CRASHED_AFTER):
            self.crash("at a commit")
        if fate not in (Fate.UNAVAILABLE, Fate.CRASHED_BEFORE):
            self._on_commit()
