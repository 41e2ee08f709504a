"""One worker's supervisor: says why a worker can't serve, restarts one that dies, and not for ever."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import GatewayConfig, ListenSettings, StorageSettings
from gateway.errors import ConfigurationError
from gateway.office import prepare_storage
from gateway.processes.supervisor import RestartPolicy, Supervisor, WorkerLost, WorkerSetup

pytestmark = pytest.mark.processes
WAIT_S = 60


@pytest.fixture
def setup(tmp_path: Path) -> WorkerSetup:
    """A setup whose workers open a file of their own, which is not how it is, but quick."""
    config = GatewayConfig(
        listen=ListenSettings(port=0),
        storage=StorageSettings(
            database=str(tmp_path / "g.sqlite3"), vault_key_file=str(tmp_path / "vault.key")
        ),
    )
    return WorkerSetup(config, "http://x", None, os.environ, RestartPolicy(restarts_max=1, delay_s=0.01))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_what_keeps_a_worker_from_serving_is_told_in_its_own_words(
    setup: WorkerSetup, listener: socket.socket
) -> None:
    supervisor = Supervisor(1, setup, listener)
    try:
        with pytest.raises(ConfigurationError, match="there is no database"):
            await supervisor.start()
    finally:
        await supervisor.stop()


async def test_a_worker_that_dies_again_and_again_is_given_up(
    setup: WorkerSetup, listener: socket.socket
) -> None:
    await asyncio.to_thread(prepare_storage, setup.config, {}, entropy=random.Random(5).randbytes)
    supervisor = Supervisor(1, setup, listener)
    try:
        async with asyncio.timeout(WAIT_S):
            await supervisor.start()
            first = supervisor.pid
            os.kill(first, signal.SIGKILL)
            await _until_another(supervisor, first)
            os.kill(supervisor.pid, signal.SIGKILL)
            with pytest.raises(WorkerLost, match="died 2 times"):
                await supervisor.wait_until_given_up()
    finally:
        await supervisor.stop()


async def _until_another(supervisor: Any, pid: int) -> None:
    while supervisor.pid == pid:  # noqa: ASYNC110  a process id has no event to wait for
        await asyncio.sleep(0.01)
