"""The command line with a PostgreSQL database: the same commands, and no password in anything they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres_server import PostgresServer

PASSWORD = "s3cret/word"


@pytest.fixture
def empty_url(postgres_server: PostgresServer) -> Iterator[str]:
    postgres_server.create_database("console")
    yield postgres_server.url("console", password=PASSWORD)
    postgres_server.drop_database("console")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text('[storage]\ndatabase = "file.sqlite3"\nvault_key_file = "vault.key"\n')
    return path


@pytest.fixture
def run(toml: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; return its status and what it printed and complained."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([*arguments, "--config", str(toml), "--json"])
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err
        assert "s3cret" not in out + err
        return int(caught.value.code or 0), out, err

    return run_command


def test_commands_work_on_the_database_of_the_environment(
    run: Callable[..., Any], empty_url: str, toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPSCAN_DATABASE_URL", empty_url)
    status, out, _ = run("migrate")
    assert status == 0
    assert json.loads(out)["database"].startswith("postgresql://tapscan@/console?host=")
    assert run("merchant", "add", "--name", "Mill Lane", "--currency", "EUR")[0] == 0
    wallet = json.loads(run("wallet", "add", "--holder", "陈晓", "--currency", "EUR")[1])["wallet_id"]
    assert json.loads(run("wallet", "fund", wallet, "12.50")[1])["available_minor"] == 1_250
    assert json.loads(run("audit")[1])["groups"] == 1
    assert not (toml.parent / "file.sqlite3").exists()


def test_database_may_be_named_in_the_file(run: Callable[..., Any], empty_url: str, toml: Path) -> None:
    toml.write_text(f'[storage]\ndatabase = "{empty_url}"\nvault_key_file = "vault.key"\n')
    assert run("merchant", "list")[0] == 1
    assert run("migrate")[0] == 0
    assert run("merchant", "list")[0] == 0


def test_database_that_is_not_there_or_empty_is_named_without_its_password(
    run: Callable[..., Any], empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPSCAN_DATABASE_URL", empty_url)
    for command in (("merchant", "list"), ("audit",)):
        status, _, err = run(*command)
        assert status == 1
        assert "there is no database postgresql://tapscan@/console" in err
    monkeypatch.setenv("TAPSCAN_DATABASE_URL", empty_url.replace("/console", "/nowhere"))
    assert "no such database" in run("migrate")[2]
    monkeypatch.setenv("TAPSCAN_DATABASE_URL", "postgresql://pay:s3cret@127.0.0.1:1/x")
    assert "answers" in run("merchant", "list")[2]
    monkeypatch.setenv("TAPSCAN_DATABASE_URL", "mysql://pay:s3cret@127.0.0.1/x")
    assert "TAPSCAN_DATABASE_URL" in run("migrate")[2]


def test_lost_vault_key_is_not_replaced_beside_a_database(
    run: Callable[..., Any], empty_url: str, toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPSCAN_DATABASE_URL", empty_url)
    assert run("migrate")[0] == 0
    (toml.parent / "vault.key").unlink()
    status, _, err = run("migrate")
    assert status == 1
    assert "vault key" in err
    assert not (toml.parent / "vault.key").exists()
