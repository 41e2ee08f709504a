"""PostgreSQL in the benchmark: one durable server, its ledgers, and pgbench on the very same server."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.storage.postgres.move import move_ledger
from tests.benchmarks.ledger.gateways import (
    DATABASE,
    VAULT_KEY,
    RunningGateways,
    start_gateways,
    write_config,
)
from tests.benchmarks.ledger.ledgers import Watch, audit_ledger, check_count, keep_sqlite_preloaded
from tests.benchmarks.ledger.machine import check_is_a_disk
from tests.benchmarks.ledger.preload import Advance, cache_key, furnish_ledger, keep
from tests.benchmarks.ledger.processes import ROOT
from tests.benchmarks.ledger.scale import Scale
from tests.benchmarks.ledger.town import Town, count_furnishings
from tests.postgres_server import USER, PostgresServer

MIGRATIONS: Final = ROOT / "gateway" / "storage" / "postgres" / "migrations"
TOWN_DATABASE: Final = "town"
PRELOADED_DATABASE: Final = "preloaded"
PGBENCH_DATABASE: Final = "pgbench"
PGBENCH_CLIENTS: Final = 16
PGBENCH_THREADS: Final = 2
DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_TPS: Final = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


@dataclass(slots=True)
class PostgresLedger:
    """A database of its own on the one server, removed when it is closed."""

    name: str
    folder: Path
    server: PostgresServer
    database: str
    gateways: RunningGateways
    answered: int = 0
    preloaded_count: int = 0

    @property
    def server_pids(self) -> list[int]:
        """The postmaster, whose children do the work."""
        return [self.server.pid]

    def close(self, *, audit: bool) -> None:
        """As `Ledger.close`."""
        self.gateways.stop()
        held = self.server.run_sql("SELECT count(*) FROM payments WHERE outcome = 'approved'", self.database)
        check_count(self.name, int(held), self.preloaded_count + self.answered)
        if audit:
            audit_ledger(self.name, self.folder / "gateway.toml")
        self.server.drop_database(self.database)
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def running_postgres(cache: Path, scale: Scale, watch: Watch) -> Iterator[tuple[PostgresServer, Path]]:
    """Run a durable server with a furnished and a preloaded ledger; yield it and the vault key's folder."""
    kept = keep(
        cache,
        f"postgres-pgbench-{scale.pgbench_scale}-"
        + cache_key(MIGRATIONS, Town(scale.town), scale.preloaded_count),
        lambda folder: _make(cache, folder, scale, watch),
    )
    server = PostgresServer(durable=True)
    try:
        _copy_data(kept / "data", server.folder / "data")
        check_is_a_disk(server.folder)
        server.start()
        for name, value in DURABLE.items():
            assert server.run_sql(f"SHOW {name}") == value, f"the server has {name} {value}"
        yield server, kept
    finally:
        server.close()


def open_postgres_ledger(
    server: PostgresServer, kept: Path, folder: Path, *, gateway_count: int, name: str, preloaded_count: int
) -> PostgresLedger:
    """Start so many gateways on a copy of the furnished ledger, or on the preloaded one; not ready yet."""
    database = PRELOADED_DATABASE if preloaded_count else name
    if not preloaded_count:
        server.create_database(name, TOWN_DATABASE)
    config = write_config(folder, database=server.url(database))
    shutil.copy(kept / VAULT_KEY, folder / VAULT_KEY)
    # One file for all: each takes a free port of its own, and they sign and seal alike.
    running = start_gateways(name, [config] * gateway_count)
    return PostgresLedger(name, folder, server, database, running, preloaded_count=preloaded_count)


def measure_pgbench(server: PostgresServer, duration_s: int, *, prepared: bool = False) -> float:
    """Return the transactions a second of pgbench's own TPC-B, in the simple protocol unless prepared."""
    protocol = ["-M", "prepared"] if prepared else []
    load = ["-n", "-c", str(PGBENCH_CLIENTS), "-j", str(PGBENCH_THREADS), "-T", str(duration_s), *protocol]
    match = _TPS.search(_pgbench(server, *load))
    assert match is not None, "pgbench says how many transactions it made a second"
    return float(match[1])


def server_version(server: PostgresServer) -> str:
    """Return the server's version."""
    return server.run_sql("SHOW server_version")


def _make(cache: Path, folder: Path, scale: Scale, watch: Watch) -> None:
    town = Town(scale.town)
    # On the disk, since it may be large; but nothing of it outlives a failure, so nothing is synced.
    server = PostgresServer(durable=True, settings={"fsync": "off"})
    try:
        server.start()
        config = write_config(folder, database=server.create_database(TOWN_DATABASE))
        advance = watch("furnish a PostgreSQL ledger", count_furnishings(town.size))
        furnish_ledger(config, town, advance)
        if scale.preloaded_count:
            _preload(server, keep_sqlite_preloaded(cache, town, scale.preloaded_count, watch), watch)
        server.create_database(PGBENCH_DATABASE)
        _pgbench(server, "-i", "-q", "-s", str(scale.pgbench_scale))
        server.stop()
        _copy_data(server.folder / "data", folder / "data")
    finally:
        server.close()


def _preload(server: PostgresServer, source: Path, watch: Watch) -> None:
    """Move the SQLite ledger row for row, so that both stores hold the same payments in the same order."""
    url = server.create_database(PRELOADED_DATABASE)
    advances: dict[str, Advance] = {}
    seen: Counter[str] = Counter()

    def progress(table: str, done_count: int, total_count: int | None) -> None:
        if table not in advances:
            advances[table] = watch(f"move {table} into PostgreSQL, once", total_count or 1)
        advances[table](done_count - seen[table])
        seen[table] = done_count

    move_ledger(source / DATABASE, url, progress)
    server.run_sql("VACUUM (ANALYZE)", PRELOADED_DATABASE)


def _copy_data(source: Path, target: Path) -> None:
    # The owner goes with it: the server does not run as root.
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def _pgbench(server: PostgresServer, *arguments: str) -> str:
    command: Sequence[str | Path] = [
        server.programs / "pgbench", "-h", server.folder, "-U", USER, *arguments, PGBENCH_DATABASE,
    ]  # fmt: skip
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout
