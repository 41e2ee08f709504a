"""Kill, look, go on: cycles of crashes under load, with the books held against all that was promised."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from gateway.audit import audit
from gateway.office import open_office
from gateway.processes.supervisor import RestartPolicy
from simulators.auditor.books.books import Books, check_books
from simulators.auditor.findings import Finding
from simulators.auditor.promises import check_promises
from tests.acceptance.crash.checkouts import UNAVAILABLE, Street
from tests.acceptance.crash.serving import WAIT_S, Gateway
from tests.databases import postgres_database, sqlite_database
from tests.postgres_server import PostgresServer, running_server

ANSWERS_BEFORE_A_KILL: Final = (20, 150)
"""Between how many and how many decisions are waited for before the next blow."""
ANSWERS_AFTER_A_KILL: Final = 20
"""How many decisions show that what was left alone goes on by itself."""


@dataclass(frozen=True)
class Scenario:
    """What is killed, of what."""

    database: str
    workers: int
    victim: str
    """`gateway`: its main process; `worker`: one of its workers; `server`: every process of PostgreSQL."""


SCENARIOS: Final = {
    "sqlite": Scenario("sqlite", 1, "gateway"),
    "sqlite main process": Scenario("sqlite", 2, "gateway"),
    "sqlite worker": Scenario("sqlite", 2, "worker"),
    "postgres": Scenario("postgres", 1, "gateway"),
    "postgres main process": Scenario("postgres", 2, "gateway"),
    "postgres worker": Scenario("postgres", 2, "worker"),
    "postgres server": Scenario("postgres", 1, "server"),
}


@dataclass
class Outcome:
    """What a campaign saw."""

    cycles: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Return it as the one line that a campaign ends with."""
        codes = Counter(finding.code for finding in self.findings)
        names = ("payments", "answered", "unanswered", "found", "resent", "refused", "uncertain_booked")
        return {
            "cycles": self.cycles,
            **{name: self.counts[name] for name in names},
            "lost": codes.pop("lost", 0),
            "doubled": codes.pop("doubled", 0),
            "audit": "ok" if not codes else dict(codes),
        }


async def run_campaign(scenario: Scenario, cycles: int, seed: int, folder: Path) -> Outcome:
    """Crash a gateway, or what it stands on, so many times, and return what was found.

    Nothing is repaired between the cycles: one set of books goes through all of them.
    """
    with _place(scenario, folder) as (database, server, read_books):
        gateway = await asyncio.to_thread(Gateway, folder, database, scenario.workers)
        campaign = _Campaign(scenario, gateway, server, read_books, seed)
        async with open_office(gateway.config, {}, os.urandom) as office:
            await campaign.street.furnish(office)
        return await campaign.run(cycles)


class _Campaign:
    def __init__(
        self,
        scenario: Scenario,
        gateway: Gateway,
        server: PostgresServer | None,
        read_books: Callable[[], Awaitable[Books]],
        seed: int,
    ) -> None:
        self.street = Street(seed)
        self._rng = random.Random(seed)
        self._scenario = scenario
        self._gateway = gateway
        self._server = server
        self._read_books = read_books
        self._outcome = Outcome()

    async def run(self, cycles: int) -> Outcome:
        try:
            async with self._open_street():
                for _ in range(cycles):
                    await self._strike(self._rng.randint(*ANSWERS_BEFORE_A_KILL))
                    await self._look()
                    self._outcome.cycles += 1
            assert await self._gateway.stop() == 0
            await self._look()
            await self._close_the_books()
        finally:
            await self._gateway.end()
        self._outcome.counts = self.street.counts
        self._outcome.counts["payments"] = len(self.street.sales)
        return self._outcome

    @asynccontextmanager
    async def _open_street(self) -> AsyncIterator[None]:
        self.street.open(await self._gateway.start())
        async with self.street.selling():
            yield

    async def _strike(self, answers: int) -> None:
        """Wait for so many decisions, kill the victim, and see that things go on."""
        match self._scenario.victim:
            case "gateway":
                # At the very moment an answer was heard: what it promised must be on the disk by then.
                await self.street.until("answered", answers, self._gateway.kill)
                await self._replace_gateway()
            case "worker":
                await self._let_workers_grow_steady()
                await self.street.until("answered", answers, self._kill_a_worker)
                await self.street.until("answered", ANSWERS_AFTER_A_KILL)
            case "server":
                await self.street.until("answered", answers)
                await self._replace_server()
        assert self._gateway.is_running

    async def _let_workers_grow_steady(self) -> None:
        """Wait until no worker could be said to die of how it was started; the first may be young."""
        if self._outcome.cycles == 0:
            return
        async with asyncio.timeout(WAIT_S):
            # An age is nothing that anybody tells of.
            while min(self._gateway.worker_ages_s(), default=0.0) < RestartPolicy().steady_s:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def _kill_a_worker(self) -> None:
        self._rng.choice(self._gateway.workers()).kill()

    async def _replace_gateway(self) -> None:
        self.street.shut()
        await self._gateway.wait_for_end()
        await self._look()
        self.street.open(await self._gateway.start())

    async def _replace_server(self) -> None:
        server = self._server
        assert server is not None
        await asyncio.to_thread(server.kill)
        # The gateway stays up, says what is the matter, and goes on by itself afterwards.
        await self.street.until(UNAVAILABLE, 1)
        await asyncio.to_thread(server.start)
        await self.street.until("answered", ANSWERS_AFTER_A_KILL)

    async def _look(self) -> None:
        """Hold the books against what had been promised before they were read."""
        before = {id(sale): replace(sale.promise) for sale in self.street.sales}
        books = await self._read_books()
        promises = [
            before.get(id(sale), replace(sale.promise, told=None, refused=False))
            for sale in self.street.sales
        ]
        found = check_books(books) + check_promises(promises, books)
        self._outcome.findings += [one for one in found if one not in self._outcome.findings]
        report = await asyncio.to_thread(audit, self._gateway.config.storage.database)
        if report.first_break is not None:
            self._note(report.first_break.code, report.first_break.where)

    async def _close_the_books(self) -> None:
        """Everybody knows what became of everything, and the operator's own audit agrees."""
        for sale in self.street.sales:
            if not sale.is_known:
                self._note("never_learnt", sale.request.attempt_id)
            if sale.is_contradicted:
                self._note("contradicted", sale.request.attempt_id)
        books = await self._read_books()
        booked = {payment.attempt_id for payment in books.payments}
        given_up = [sale for sale in self.street.sales if sale.is_given_up and not sale.promise.refused]
        self.street.count(*("uncertain_booked" for sale in given_up if sale.request.attempt_id in booked))
        record = await self._gateway.audit()
        if record["audit"] != "ok":
            self._note("audit_command", str(record["first_break"]))

    def _note(self, code: str, where: str) -> None:
        finding = Finding(code, where)
        if finding not in self._outcome.findings:
            self._outcome.findings.append(finding)


@contextmanager
def _place(
    scenario: Scenario, folder: Path
) -> Iterator[tuple[str, PostgresServer | None, Callable[[], Awaitable[Books]]]]:
    """Make the database: its place, the server it lives on if there is one, and who reads its books."""
    if scenario.database == "sqlite":
        path = folder / "tapscan.sqlite3"
        yield str(path), None, sqlite_database(path).read_books
        return
    with contextlib.ExitStack() as stack:
        # Synced to the disk, as a shop's would be: what is killed must come back with all it promised.
        server = stack.enter_context(running_server(durable=True))
        url = server.create_database("crash")
        yield url, server, postgres_database(url).read_books
