"""`tapscan-gateway offline …`: small tables over what a store knows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from gateway.cli import main
from gateway.storage.sqlite.store import open_sqlite_store
from tests.offline_devices import OfflineWorld

if TYPE_CHECKING:
    from tests.conftest import Shop


def run(capsys: pytest.CaptureFixture[str], toml: Path, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--config", str(toml)])
    out, err = capsys.readouterr()
    assert not caught.value.code, err
    return out


async def accept_a_copy(path: Path, shop: Shop) -> None:
    """Settle one tap and a copy of it that contradicts it, of a wallet that covers only the first."""
    store = await open_sqlite_store(path)
    shop.funds_minor = 1_000
    await shop.furnish(store)
    world = OfflineWorld(store, shop)
    phone, till, other = await world.device(), await world.till(), await world.till(2)
    await phone.get_credential(store, 1_000, shop.now_ms)
    copied = structs.replace(phone.copy().tap(700), claims_digest=b"c" * 32)  # type: ignore[type-var]
    await store.settle_record(till.accept(phone.tap(1_000), 1_000))
    await store.settle_record(other.accept(copied, 700))
    await store.close()


def test_permits_conflicts_and_losses_are_shown(
    tmp_path: Path, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    # Before any command, which would take the log's lines to where this test's output goes.
    asyncio.run(accept_a_copy(tmp_path / "g.sqlite3", shop))
    toml = tmp_path / "gateway.toml"
    toml.write_text('[storage]\ndatabase = "g.sqlite3"\nvault_key_file = "vault.key"\n')
    run(capsys, toml, "migrate", "--new-vault-key")

    def rows(topic: str) -> Any:
        return json.loads(run(capsys, toml, "offline", topic, "--json"))[topic]

    (permit,) = rows("credentials")
    assert (permit["state"], permit["allowance_minor"], permit["left_minor"]) == ("live", 1_000, 0)
    assert {row["kind"] for row in rows("conflicts")} == {"key_copied"}
    (loss,) = rows("losses")
    assert (loss["loss_minor"], loss["loss_bearer"], loss["code"]) == (700, "operator", "instrument_cloned")
    assert "key_copied" in run(capsys, toml, "offline", "conflicts")


def test_where_there_is_nothing_the_tables_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = tmp_path / "gateway.toml"
    toml.write_text('[storage]\ndatabase = "g.sqlite3"\nvault_key_file = "vault.key"\n')
    run(capsys, toml, "migrate")
    for topic in ("credentials", "conflicts", "losses"):
        assert run(capsys, toml, "offline", topic) == f"no {topic}\n"
