"""The small world, made and started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.world.world import World
from tests.simulators.world.bench import WORLD, make_world


@pytest.fixture
def world_path(tmp_path: Path) -> Path:
    path = tmp_path / "world.toml"
    path.write_text(WORLD, encoding="utf-8")
    return path


@pytest.fixture
async def world(world_path: Path) -> AsyncIterator[World]:
    made = make_world(world_path)
    await made.start()
    yield made
    await made.stop()
