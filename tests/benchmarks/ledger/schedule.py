"""The run: what is measured after what, so that what is compared lies close together in time.

A machine that is shared, or that merely warms up, drifts. So everything is measured in several rounds; in
each of them, at each number of requests in flight, the targets take turns on the very same signed
requests, in an order that moves on by one from round to round; figures are medians over the rounds.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tests.benchmarks.ledger.cells import Block, Cell, LoadClient, measure_cell, order_of
from tests.benchmarks.ledger.figures import peak_of
from tests.benchmarks.ledger.ledgers import Ledger, Watch
from tests.benchmarks.ledger.load_client import Order
from tests.benchmarks.ledger.postgres import measure_pgbench
from tests.benchmarks.ledger.presigning import Batch, Customers, Mix, Signers
from tests.benchmarks.ledger.scale import P99_IN_FLIGHT, SEED, Scale
from tests.benchmarks.ledger.targets import RAW, Ledgers, Responder, running_responders
from tests.benchmarks.ledger.town import Town
from tests.postgres_server import PostgresServer

OVERLOAD: Final = 4
"""How many times of what a target carried at its best is offered to it."""
SIGNED_MARGIN: Final = 1.3
GREETING_S_MAX: Final = 30
SEQUENTIAL_PER_S: Final = 1_500
"""More than one request in flight can be answered a second."""

T = TypeVar("T")


@dataclass(slots=True)
class Measured:
    """Everything one run has measured."""

    cells: list[Cell] = field(default_factory=list)
    pgbench_tps: list[float] = field(default_factory=list)
    pgbench_prepared_tps: list[float] = field(default_factory=list)
    postgres_version: str | None = None
    main_targets: list[str] = field(default_factory=list)
    """For each store the better of its targets, on which the other mixes and the overload were measured."""


def measure_all(scale: Scale, stores: Sequence[str], folder: Path, cache: Path, watch: Watch) -> Measured:
    """Measure everything.

    Args:
        folder: empty, for what this run leaves behind.
        cache: where furnished and full ledgers are kept from run to run.
        watch: is told of everything that takes time.

    Raises:
        CellFailed: a payment was answered otherwise than approved.
        LedgerWrong: a ledger does not hold what was answered, or does not pass the audit.
        ChildDied: a process ended.
    """
    ledgers = Ledgers(scale, stores, folder, cache, watch)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ledgers.running())
        client = stack.enter_context(LoadClient(folder / "client.log"))
        customers = Customers(Town(scale.town), SEED)
        signers = stack.enter_context(Signers(customers, folder / "batches", SEED))
        responders = stack.enter_context(running_responders(folder))
        run = _Run(scale, ledgers, server, client, signers, responders, watch)
        run.measured.postgres_version = ledgers.postgres_version
        for sitting in range(scale.sitting_count):
            run.sit(folder / f"sitting-{sitting + 1}")
        run.close_preloaded()
    return run.measured


@dataclass(slots=True)
class _Run:
    scale: Scale
    ledgers: Ledgers
    server: PostgresServer | None
    client: LoadClient
    signers: Signers
    responders: Sequence[Responder]
    watch: Watch
    measured: Measured = field(default_factory=Measured)
    preloaded: list[Ledger] = field(default_factory=list)
    round: int = 0

    def sit(self, folder: Path) -> None:
        """Open every ledger anew, measure some rounds, and hold each ledger against what was answered."""
        ledgers = self._say("start gateways", lambda: self.ledgers.open_all(folder))
        self._greet(ledgers)
        for _ in range(self.scale.rounds_each):
            self.round += 1
            self._measure_ladder(ledgers)
            if not self.preloaded:
                self._open_preloaded(ledgers)
            main = [ledger for ledger in ledgers if ledger.name in self.measured.main_targets]
            self._measure_compared(main)
            self._measure_pgbench()
            if self.round <= self.scale.overload_rounds:
                self._measure_overload(main)
        self._close(ledgers)

    def close_preloaded(self) -> None:
        """Hold the full ledgers against what was answered."""
        self._close(self.preloaded)

    def _close(self, ledgers: Sequence[Ledger]) -> None:
        def close(ledger: Ledger) -> None:
            ledger.close(audit=True)

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            advance = self.watch("count and audit ledgers", len(ledgers))
            for _ in threads.map(close, ledgers):
                advance(1)

    def _open_preloaded(self, ledgers: Sequence[Ledger]) -> None:
        best: dict[str, str] = {}
        for ledger in ledgers:
            store = ledger.name.partition("_")[0]
            if store not in best or self._peak(ledger.name) > self._peak(best[store]):
                best[store] = ledger.name
        self.measured.main_targets = list(best.values())
        self.preloaded = self._say(
            "start gateways on full ledgers",
            lambda: self.ledgers.open_preloaded(self.measured.main_targets),
        )
        self._greet(self.preloaded)

    def _greet(self, ledgers: Sequence[Ledger]) -> None:
        """Let every regular pay at every process, unmeasured: who was just started knows nobody yet."""
        visits = {ledger.name: _visits(ledger) for ledger in ledgers}
        for number in range(max(map(len, visits.values()))):
            batch = self._sign(Mix.EVERY_REGULAR, self.scale.town.regular_count, self.scale.cell_s)
            for ledger in ledgers:
                for port in visits[ledger.name][number : number + 1]:
                    order = order_of([port], batch, P99_IN_FLIGHT, GREETING_S_MAX, 0)
                    result = self._say(f"greet {ledger.name}", functools.partial(self.client.run, order))
                    ledger.answered += result.approved
            self.signers.discard(batch)

    def _measure_ladder(self, ledgers: Sequence[Ledger]) -> None:
        for in_flight in self.scale.ladder:
            with self._signed(Mix.UNIFORM, in_flight, ledgers) as batch:
                self._take_turns(
                    [
                        *(
                            functools.partial(self._respond, one, batch, in_flight)
                            for one in self.responders
                            # One look a round at what the client could do is enough.
                            if one.name != RAW or in_flight == self.scale.ladder[-1]
                        ),
                        *(
                            functools.partial(self._pay, one, batch, Mix.UNIFORM, in_flight, Block.LADDER)
                            for one in ledgers
                        ),
                    ]
                )

    def _measure_compared(self, main: Sequence[Ledger]) -> None:
        for in_flight in self.scale.compared_at:
            with contextlib.ExitStack() as stack:
                batches = {
                    mix: stack.enter_context(self._signed(mix, in_flight, main)) for mix in self.scale.mixes
                }
                pairs = [(ledger, mix) for ledger in main for mix in self.scale.mixes]
                pairs += [(ledger, Mix.UNIFORM) for ledger in self.preloaded]
                self._take_turns(
                    [
                        functools.partial(self._pay, ledger, batches[mix], mix, in_flight, Block.COMPARED)
                        for ledger, mix in pairs
                    ]
                )

    def _measure_overload(self, main: Sequence[Ledger]) -> None:
        scale = self.scale
        rates = {ledger.name: OVERLOAD * self._peak(ledger.name) for ledger in main}
        batch = self._sign(Mix.UNIFORM, int(max(rates.values()) * scale.overload_s) + 1, scale.overload_s)
        for ledger in main:
            order = order_of(
                ledger.gateways.ports, batch, scale.overload_connections, scale.overload_s, scale.warm_up_s
            )
            order = msgspec.structs.replace(order, rate_per_s=rates[ledger.name])
            self._measure_payments(ledger, order, Mix.UNIFORM, Block.OVERLOAD)
        self.signers.discard(batch)

    def _measure_pgbench(self) -> None:
        if self.server is None:
            return
        measure = functools.partial(measure_pgbench, self.server, self.scale.pgbench_s)
        self.measured.pgbench_tps.append(self._say("pgbench", measure))
        if self.round <= self.scale.pgbench_prepared_rounds:
            prepared = functools.partial(measure, prepared=True)
            self.measured.pgbench_prepared_tps.append(self._say("pgbench, prepared", prepared))

    def _pay(self, ledger: Ledger, batch: Batch, mix: Mix, in_flight: int, block: Block) -> None:
        scale = self.scale
        order = order_of(ledger.gateways.ports, batch, in_flight, scale.cell_s, scale.warm_up_s)
        self._measure_payments(ledger, order, mix, block)

    def _measure_payments(self, ledger: Ledger, order: Order, mix: Mix, block: Block) -> None:
        measure = functools.partial(
            measure_cell,
            self.client,
            order,
            target=ledger.name,
            mix=mix,
            round_number=self.round,
            block=block,
            gateway_pids=ledger.gateways.pids,
            server_pids=ledger.server_pids,
        )
        cell = self._say(f"{ledger.name}, {mix}, {block}, {order.connections} in flight", measure)
        ledger.answered += cell.result.approved
        self.measured.cells.append(cell)

    def _respond(self, responder: Responder, batch: Batch, in_flight: int) -> None:
        order = order_of([responder.port], batch, in_flight, self.scale.noop_s, self.scale.warm_up_s)
        measure = functools.partial(
            measure_cell,
            self.client,
            # Whoever does not read requests may be sent the same ones again and again.
            msgspec.structs.replace(order, endless=True, checks_answers=False),
            target=responder.name,
            mix=Mix.UNIFORM,
            round_number=self.round,
            block=Block.LADDER,
            gateway_pids=[child.pid for child in responder.children],
        )
        self.measured.cells.append(self._say(f"{responder.name}, {in_flight} in flight", measure))

    @contextlib.contextmanager
    def _signed(self, mix: Mix, in_flight: int, ledgers: Sequence[Ledger]) -> Iterator[Batch]:
        """Sign as many payments as the quickest of some ledgers will take in one cell."""
        known = [self._peak(ledger.name) for ledger in ledgers]
        per_s = SIGNED_MARGIN * max(known) if min(known) > 0 else self.scale.first_guess_per_s
        count = int(min(per_s, SEQUENTIAL_PER_S * in_flight) * self.scale.cell_s) + 1
        if mix is Mix.STRANGERS:
            # Nobody is a stranger twice in one sitting; a batch that is sent sooner ends its cell.
            count = min(count, self.scale.town.stranger_count // len(self.scale.compared_at))
        batch = self._sign(mix, count, self.scale.cell_s)
        try:
            yield batch
        finally:
            self.signers.discard(batch)

    def _sign(self, mix: Mix, count: int, duration_s: float) -> Batch:
        return self.signers.sign(mix, count, duration_s, self.watch(f"sign {count:,} payments, {mix}", count))

    def _peak(self, target: str) -> float:
        return peak_of(self.measured.cells, target)

    def _take_turns(self, turns: Sequence[Callable[[], None]]) -> None:
        first = (self.round - 1) % len(turns)
        for turn in [*turns[first:], *turns[:first]]:
            turn()

    def _say(self, what: str, work: Callable[[], T]) -> T:
        advance = self.watch(what, 1)
        result = work()
        advance(1)
        return result


def _visits(ledger: Ledger) -> list[int]:
    """Return at which ports a regular has to pay, so that as good as every process gets to know it."""
    workers = ledger.gateways.workers
    # Which worker takes a connection is not ours to choose: one visit more than there are of them.
    return [*ledger.gateways.ports] * (1 if workers == 1 else workers + 1)
