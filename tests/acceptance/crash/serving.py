"""`tapscan-gateway serve` as a process that can be started, killed and started again on the same books."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import psutil

from gateway.config import GatewayConfig, load_config
from gateway.office import prepare_storage

PUBLIC_URL = "http://crash.test"
"""What every till signs, on whichever port the gateway comes up next."""
WAIT_S = 60
LOG_LINES_SHOWN = 20


class GatewayDidNotStart(Exception):
    """It ended before it was ready; the text is the end of its log."""


class Gateway:
    """One configuration, and the process that serves it now."""

    def __init__(
        self, folder: Path, database: str, workers: int, *, public_url: str = PUBLIC_URL, settings: str = ""
    ) -> None:
        """Write a configuration; `settings` are further tables of gateway.toml."""
        self._toml = folder / "gateway.toml"
        self._toml.write_text(
            f'[listen]\nport = 0\npublic_url = "{public_url}"\n'
            f'[storage]\ndatabase = "{database}"\nvault_key_file = "vault.key"\n'
            f"[processes]\nworkers = {workers}\n{settings}"
            '[risk]\npayments_per_window_max = 0\n[logging]\nformat = "json"\nlevel = "warning"\n',
            encoding="utf-8",
        )
        self._log_path = folder / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._left: list[psutil.Process] = []
        self.config: GatewayConfig = load_config(self._toml)
        prepare_storage(self.config, {}, entropy=secrets.token_bytes)

    @property
    def is_running(self) -> bool:
        """Say whether the main process lives."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> str:
        """Start it, and return where it listens once it is ready."""
        async with asyncio.timeout(WAIT_S):
            line = await asyncio.to_thread(self._start)
        if not line:
            lines = self._log_path.read_text(encoding="utf-8").splitlines()
            raise GatewayDidNotStart("\n".join(lines[-LOG_LINES_SHOWN:]))
        self._left = self.workers()
        return str(json.loads(line)["url"])

    def workers(self) -> list[psutil.Process]:
        """Return the processes it serves with, beside the main one."""
        assert self._process is not None
        return psutil.Process(self._process.pid).children()

    def worker_ages_s(self) -> list[float]:
        """Return how long each of them has lived."""
        return [time.time() - one.create_time() for one in self.workers()]

    def kill(self) -> None:
        """End the main process at once; the workers it began with find out by themselves."""
        assert self._process is not None
        self._process.kill()

    async def wait_for_end(self) -> None:
        """Return when the main process and its workers are gone."""
        await asyncio.to_thread(self._wait_for_end)

    async def stop(self) -> int:
        """Tell it to stop, and return its exit status."""
        assert self._process is not None
        self._left = self.workers()
        self._process.send_signal(signal.SIGTERM)
        await self.wait_for_end()
        return int(self._process.returncode)

    async def end(self) -> None:
        """Leave no process behind, however it went."""
        if self.is_running:
            self._left = self.workers()
            self.kill()
        if self._process is not None:
            await self.wait_for_end()

    async def audit(self) -> dict[str, Any]:
        """Run the operator's audit, and return what it prints."""
        result = await asyncio.to_thread(
            subprocess.run, self._command("audit"), capture_output=True, timeout=WAIT_S, env=_environment()
        )
        record: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return record

    def _start(self) -> bytes:
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command("serve"), stdout=subprocess.PIPE, stderr=log, env=_environment()
            )
        return _out_of(self._process).readline()

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "gateway.cli", name, "--config", str(self._toml), "--json"]

    def _wait_for_end(self) -> None:
        assert self._process is not None
        self._process.wait(WAIT_S)
        _out_of(self._process).close()
        left = psutil.wait_procs(self._left, WAIT_S)[1]
        assert not left, "workers outlived their main process"


def _out_of(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def _environment() -> dict[str, str]:
    # A database of the developer's own must not be the one that is crashed.
    return {name: value for name, value in os.environ.items() if not name.startswith("TAPSCAN_")}
