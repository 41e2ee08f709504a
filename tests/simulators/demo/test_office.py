"""The operator's commands through one batch: each is answered for itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from simulators.demo.office import Office
from simulators.demo.processes import Processes
from simulators.errors import ProcessFailed
from simulators.rehearsal.values import WORLD_PATH
from simulators.world.file import load_world_file

pytestmark = pytest.mark.processes


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[storage]\ndatabase = "office.sqlite3"\nvault_key_file = "vault.key"\n', encoding="utf-8"
    )
    deaths: list[str] = []
    processes = Processes(tmp_path, deaths.append)
    made = Office(config, load_world_file(WORLD_PATH), processes)
    await made.migrate()
    yield made
    await processes.stop_all()
    assert deaths == []


async def test_a_command_is_not_answered_with_what_one_before_it_was_that_was_given_up(
    office: Office,
) -> None:
    """A developer who loses patience with a rehearsed value cancels whatever it waits for."""
    given_up = asyncio.create_task(office.run("merchant", "list", "--json"))
    for _ in range(5):
        await asyncio.sleep(0)
    given_up.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await given_up
    assert set(msgspec.json.decode(await office.run("wallet", "list", "--json"))) == {"wallets"}
    assert set(msgspec.json.decode(await office.run("wallet", "list", "--json"))) == {"wallets"}


async def test_a_command_that_fails_says_why_and_the_next_one_works(office: Office) -> None:
    with pytest.raises(ProcessFailed, match="`tapscan-gateway wallet freeze`"):
        await office.run("wallet", "freeze", "nobody")
    assert "wallets" in await office.run("wallet", "list", "--json")
