"""A gateway's real parts on a file of the test's own: store, vault, services; time stands still."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config import GatewayConfig, ListenSettings, StorageSettings
from gateway.office import Office, open_office, prepare_storage

NOW_MS = 1_767_225_600_000


class Clock:
    """A clock the test sets."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rng() -> random.Random:
    return random.Random(20_260_101)


@pytest.fixture
def config(tmp_path: Path, rng: random.Random) -> GatewayConfig:
    """Settings on any free port, with a fresh database and vault key."""
    config = GatewayConfig(
        listen=ListenSettings(port=0),
        storage=StorageSettings(
            database=str(tmp_path / "gateway" / "tapscan.sqlite3"),
            vault_key_file=str(tmp_path / "gateway" / "vault.key"),
        ),
    )
    prepare_storage(config, {}, entropy=rng.randbytes)
    return config


@pytest.fixture
async def office(config: GatewayConfig, rng: random.Random) -> AsyncIterator[Office]:
    async with open_office(config, {}, rng.randbytes) as office:
        yield office
