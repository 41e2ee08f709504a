"""Gateways as an operator starts them: `tapscan-gateway serve` and a configuration file."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gateway.config import GatewayConfig, load_config
from gateway.storage.sqlite.database import open_connection
from tests.benchmarks.ledger.processes import Child
from tests.benchmarks.ledger.signer import PUBLIC_URL

DATABASE: Final = "ledger.sqlite3"
VAULT_KEY: Final = "vault.key"
_SYNCHRONOUS_FULL: Final = 2


@dataclass(slots=True)
class RunningGateways:
    """One or more gateways on one ledger."""

    children: tuple[Child, ...]
    workers: int = 1
    """Processes that share each port."""
    ports: tuple[int, ...] = ()
    """Known once they are ready."""

    def await_ready(self) -> None:
        """Return when all accept requests.

        Raises:
            ChildDied: one does not start.
        """
        self.ports = tuple(
            int(json.loads(child.read_line())["url"].rpartition(":")[2]) for child in self.children
        )

    @property
    def pids(self) -> list[int]:
        """Of the processes that were started; they may have started others."""
        return [child.pid for child in self.children]

    def stop(self) -> None:
        """Stop them all."""
        for child in self.children:
            child.stop()

    def kill(self) -> None:
        """End them all at once, whatever state they are in; repeatable."""
        for child in self.children:
            child.kill()


def gateway_command(*arguments: str | Path) -> list[str | Path]:
    """Return the command line of the product, with the interpreter that runs the benchmark."""
    return [sys.executable, "-m", "gateway.cli", *arguments]


def write_config(folder: Path, *, database: str = DATABASE, workers: int = 1) -> Path:
    """Write a configuration that leaves every default alone that has to do with speed or durability.

    The log is JSON, as config/gateway.toml advises a server, and is written to a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        f'[listen]\nport = 0\npublic_url = "{PUBLIC_URL}"\n'
        f'[storage]\ndatabase = "{database}"\nvault_key_file = "{VAULT_KEY}"\n'
        '[risk]\npayments_per_window_max = 0\n[logging]\nformat = "json"\n'
    )
    if workers > 1:
        text += f"[processes]\nworkers = {workers}\n"
    path = folder / "gateway.toml"
    path.write_text(text)
    check_settings_are_the_products(load_config(path))
    return path


def check_settings_are_the_products(config: GatewayConfig) -> None:
    """Return if nothing but addresses, files, the number of processes and the log's form was chosen here."""
    default = GatewayConfig()
    assert config.limits == default.limits, "the limits are the product's"
    assert config.clock == default.clock, "the clock's tolerance is the product's"
    chosen = msgspec.structs.replace(config.processes, workers=default.processes.workers)
    assert chosen == default.processes, "nothing but the number of workers was chosen"
    assert config.logging.level == default.logging.level, "every request is logged as it is by default"


def check_commits_are_durable(database: Path) -> None:
    """Return if the product's own connections to a SQLite file sync every commit to the disk."""
    connection = open_connection(database, writable=True)
    try:
        assert int(_pragma(connection, "synchronous")) >= _SYNCHRONOUS_FULL, "a commit is synced"
        assert _pragma(connection, "journal_mode") == "wal", "the log is what is synced"
    finally:
        connection.close()


def copy_ledger(source: Path, target: Path) -> None:
    """Copy a SQLite ledger that nobody has open, with the vault key beside it."""
    target.mkdir(parents=True)
    for name in (DATABASE, f"{DATABASE}-wal", VAULT_KEY):
        if (source / name).exists():
            shutil.copy(source / name, target / name)


def start_gateways(name: str, configs: Sequence[Path], *, workers: int = 1) -> RunningGateways:
    """Start a gateway for each configuration file; they are not ready yet."""
    children = [
        Child(
            f"{name}, process {number}",
            gateway_command("serve", "--config", config, "--json"),
            config.parent / f"gateway-{number}.log",
        )
        for number, config in enumerate(configs, start=1)
    ]
    return RunningGateways(tuple(children), workers)


def _pragma(connection: sqlite3.Connection, name: str) -> str:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return str(value)
