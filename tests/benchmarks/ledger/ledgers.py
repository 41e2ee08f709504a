"""The ledgers payments are measured on: SQLite files, made from kept ones, and what is in them afterwards."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import gateway.storage.sqlite.migrate
from tests.benchmarks.ledger.gateways import (
    DATABASE,
    RunningGateways,
    check_commits_are_durable,
    copy_ledger,
    gateway_command,
    start_gateways,
    write_config,
)
from tests.benchmarks.ledger.history import write_history
from tests.benchmarks.ledger.machine import check_is_a_disk
from tests.benchmarks.ledger.preload import Advance, cache_key, furnish_ledger, keep
from tests.benchmarks.ledger.processes import ROOT
from tests.benchmarks.ledger.town import Town, count_furnishings

AUDIT_TIMEOUT_S: Final = 1_800
SQLITE_MIGRATIONS: Final = Path(gateway.storage.sqlite.migrate.__file__).parent / "migrations"

Watch = Callable[[str, int], Advance]
"""Told what long work begins and of how many steps, returns whom to tell of each step."""


class LedgerWrong(Exception):
    """The ledger does not hold what was answered, or the audit found a break."""


class Ledger(Protocol):
    """One ledger with gateways on it."""

    name: str
    """Such as `sqlite_1`: the store, and how many processes answer."""
    gateways: RunningGateways
    answered: int
    """Payments that were answered as approved, and must therefore be in it."""

    @property
    def server_pids(self) -> list[int]:
        """Processes of the database server, if it has one."""

    def close(self, *, audit: bool) -> None:
        """Stop the gateways, then see that the ledger holds exactly what was answered.

        Raises:
            LedgerWrong: it does not.
        """


@dataclass(slots=True)
class SqliteLedger:
    """A SQLite file of its own, removed when it is closed."""

    name: str
    folder: Path
    gateways: RunningGateways
    answered: int = 0
    preloaded_count: int = 0
    server_pids: list[int] = field(default_factory=list)

    def close(self, *, audit: bool) -> None:
        """As `Ledger.close`."""
        self.gateways.stop()
        check_count(self.name, count_payments(self.folder / DATABASE), self.preloaded_count + self.answered)
        if audit:
            audit_ledger(self.name, self.folder / "gateway.toml")
        shutil.rmtree(self.folder)


def open_sqlite_ledger(
    source: Path, folder: Path, *, workers: int, name: str, preloaded_count: int = 0
) -> SqliteLedger:
    """Copy a kept ledger and start a gateway of so many worker processes on the copy; it is not ready yet."""
    copy_ledger(source, folder)
    check_is_a_disk(folder)
    config = write_config(folder, workers=workers)
    check_commits_are_durable(folder / DATABASE)
    running = start_gateways(name, [config], workers=workers)
    return SqliteLedger(name, folder, running, preloaded_count=preloaded_count)


def keep_sqlite_town(cache: Path, town: Town, watch: Watch) -> Path:
    """Return the folder of a furnished SQLite ledger without a payment."""

    def make(folder: Path) -> None:
        advance = watch("furnish a SQLite ledger", count_furnishings(town.size))
        furnish_ledger(write_config(folder), town, advance)

    return keep(cache, f"sqlite-{cache_key(SQLITE_MIGRATIONS, town, 0)}", make)


def keep_sqlite_preloaded(cache: Path, town: Town, count: int, watch: Watch) -> Path:
    """Return the folder of a SQLite ledger that holds `count` payments."""

    def make(folder: Path) -> None:
        shutil.copytree(keep_sqlite_town(cache, town, watch), folder, dirs_exist_ok=True)
        advance = watch(f"write {count:,} payments into SQLite, once", count)
        write_config(folder)
        write_history(folder / DATABASE, town, count, advance)

    return keep(cache, f"sqlite-{cache_key(SQLITE_MIGRATIONS, town, count)}", make)


def count_payments(database: Path) -> int:
    """Return how many approved payments a SQLite ledger holds."""
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM payments WHERE outcome = 'approved'").fetchone()
        return int(count)


def check_count(name: str, held: int, answered: int) -> None:
    """Return if as many approved payments are held as were answered.

    Raises:
        LedgerWrong: more or fewer.
    """
    if held != answered:
        raise LedgerWrong(f"{name}: {answered} payments were answered as approved and {held} are held")


def audit_ledger(name: str, config: Path) -> None:
    """Run `tapscan-gateway audit`.

    Raises:
        LedgerWrong: it found a break, or could not look.
    """
    result = subprocess.run(
        list(map(str, gateway_command("audit", "--config", config, "--json"))),
        cwd=ROOT,
        capture_output=True,
        timeout=AUDIT_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0 or json.loads(result.stdout)["audit"] != "ok":
        raise LedgerWrong(f"{name}: the audit says {(result.stdout + result.stderr)[-500:].decode()}")
