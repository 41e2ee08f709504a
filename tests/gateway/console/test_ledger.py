"""`audit`, `backup` and `restore` as an operator meets them: records, refusals, bars, Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.errors import BackupRefused
from gateway.storage.sqlite.database import listen_to_signals, open_connection, translated_errors
from gateway.storage.sqlite.migrate import migrate

Run = Callable[..., Any]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[listen]\nport = 0\n[storage]\ndatabase = "data/g.sqlite3"\nvault_key_file = "data/vault.key"\n'
    )
    return path


@pytest.fixture
def database(toml: Path) -> Path:
    return toml.parent / "data" / "g.sqlite3"


@pytest.fixture
def run(toml: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that succeeds, and return the JSON object it prints."""

    def run_command(*arguments: str) -> Any:
        status = _status_of([*arguments, "--config", str(toml), "--json"])
        out, err = capsys.readouterr()
        assert status == 0, err
        assert err == ""
        return json.loads(out)

    return run_command


@pytest.fixture
def wallet(run: Run) -> str:
    """A wallet with 10.00 in a database that there now is."""
    run("migrate")
    wallet_id: str = run("wallet", "add", "--holder", "Ana")["wallet_id"]
    run("wallet", "fund", wallet_id, "10.00")
    return wallet_id


@pytest.fixture
def fail(toml: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that is refused, and return the sentence it says."""

    def run_command(*arguments: str) -> str:
        status = _status_of([*arguments, "--config", str(toml)])
        out, err = capsys.readouterr()
        assert (status, out) == (1, "")
        assert err.startswith("tapscan-gateway: ")
        assert err.count("\n") == 1
        return err

    return run_command


def _status_of(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    code = caught.value.code
    assert isinstance(code, int | None)
    return code or 0


def _falsify(database: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as books:
        for (trigger,) in books.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            books.execute(f'DROP TRIGGER "{trigger}"')
        assert books.execute(statement).rowcount > 0


@pytest.mark.usefixtures("wallet")
class TestAudit:
    def test_the_record_says_what_was_walked_and_how_fast(self, run: Run) -> None:
        record = run("audit")
        assert (record["audit"], record["groups"], record["transfers"]) == ("ok", 1, 1)
        assert (record["accounts"], record["payments"], record["first_break"]) == (2, 0, None)
        assert len(record["chain_head"]) == 64
        assert record["seconds"] > 0
        assert record["groups_per_s"] > 0

    def test_a_break_is_named_and_is_status_1(
        self, toml: Path, database: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _falsify(database, "UPDATE transfers SET amount_minor = amount_minor + 1")
        assert _status_of(["audit", "--config", str(toml)]) == 1
        out, _ = capsys.readouterr()
        assert "broken" in out
        assert "hash_mismatch: group 1" in out


def test_the_audit_of_no_database_is_refused(fail: Run) -> None:
    assert "there is no database" in fail("audit")


@pytest.mark.usefixtures("wallet")
class TestBackup:
    def test_the_record_says_what_is_in_it_and_what_is_not(
        self, run: Run, toml: Path, database: Path, tmp_path: Path
    ) -> None:
        record = run("backup", str(tmp_path / "copy.sqlite3"))
        assert record["backup"] == str(tmp_path / "copy.sqlite3")
        assert record["bytes"] == (tmp_path / "copy.sqlite3").stat().st_size
        assert (record["audit"], record["groups"]) == ("ok", 1)
        assert record["chain_head"] == run("audit")["chain_head"]
        assert str(database.with_name("vault.key")) in record["vault_key"]

    def test_a_vault_key_of_the_environment_is_named_and_not_shown(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TAPSCAN_VAULT_KEY", "5e" * 32)
        record = run("backup", str(tmp_path / "copy.sqlite3"))
        assert "TAPSCAN_VAULT_KEY" in record["vault_key"]
        assert "5e5e" not in json.dumps(record)

    def test_a_copy_of_broken_books_is_made_only_unverified(
        self, run: Run, fail: Run, database: Path, tmp_path: Path
    ) -> None:
        _falsify(database, "UPDATE transfers SET amount_minor = amount_minor + 1")
        target = tmp_path / "copy.sqlite3"
        assert "hash_mismatch: group 1" in fail("backup", str(target))
        assert not target.exists()
        assert run("backup", str(target), "--no-verify")["audit"] == "not done"
        assert "hash_mismatch: group 1" in fail("restore", str(target), "--force")

    def test_a_file_that_is_there_needs_force(self, run: Run, fail: Run, tmp_path: Path) -> None:
        target = tmp_path / "copy.sqlite3"
        run("backup", str(target))
        assert "--force" in fail("backup", str(target))
        run("backup", str(target), "--force")

    def test_no_database_is_refused(self, fail: Run, database: Path, tmp_path: Path) -> None:
        database.unlink()
        assert "there is no database" in fail("backup", str(tmp_path / "copy.sqlite3"))


class TestRestore:
    def test_an_old_state_comes_back_and_the_replaced_one_is_kept(
        self, run: Run, fail: Run, wallet: str, tmp_path: Path, database: Path
    ) -> None:
        target = tmp_path / "copy.sqlite3"
        backed_up = run("backup", str(target))
        run("wallet", "fund", wallet, "5.00")
        assert "--force" in fail("restore", str(target))
        record = run("restore", str(target), "--force")
        assert record["restored"] == str(database)
        assert record["chain_head"] == backed_up["chain_head"]
        assert record["replaced"].startswith(f"{database}.replaced-")
        assert Path(record["replaced"]).exists()
        assert str(database.with_name("vault.key")) in record["vault_key"]
        assert run("wallet", "show", wallet)["available_minor"] == 1_000

    def test_a_machine_that_never_had_one_gets_its_database(
        self, run: Run, wallet: str, tmp_path: Path, database: Path
    ) -> None:
        run("backup", str(tmp_path / "copy.sqlite3"))
        key = database.with_name("vault.key").read_text()
        for file in database.parent.iterdir():
            file.unlink()
        database.parent.rmdir()
        assert run("restore", str(tmp_path / "copy.sqlite3"))["replaced"] is None
        database.with_name("vault.key").write_text(key)
        database.with_name("vault.key").chmod(0o600)
        assert run("wallet", "show", wallet)["available_minor"] == 1_000

    def test_what_is_no_backup_is_refused_by_name(
        self, fail: Run, wallet: str, tmp_path: Path, run: Run
    ) -> None:
        (tmp_path / "letter.sqlite3").write_text("Dear sirs, " * 1_000)
        assert "letter.sqlite3 is no whole backup" in fail(
            "restore", str(tmp_path / "letter.sqlite3"), "--force"
        )
        assert run("wallet", "show", wallet)["available_minor"] == 1_000

    @pytest.mark.processes
    def test_a_gateway_that_serves_keeps_its_database(
        self, run: Run, fail: Run, wallet: str, toml: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "copy.sqlite3"
        run("backup", str(target))
        with _serving(toml) as process:
            assert "stop it first" in fail("restore", str(target), "--force")
            # Nothing was done to the gateway either: it stops as it should.
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        run("restore", str(target), "--force")


@pytest.mark.parametrize("arguments", [("backup", "copy.sqlite3"), ("restore", "copy.sqlite3", "--force")])
def test_a_database_server_has_tools_of_its_own(
    toml: Path, fail: Run, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPSCAN_DATABASE_URL", "postgresql://pay:secret@127.0.0.1:1/tapscan")
    said = fail(*arguments)
    assert "pg_dump or pg_basebackup" in said
    assert "tapscan-gateway audit" in said
    assert "secret" not in said


@contextlib.contextmanager
def _serving(toml: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        _command(toml, "serve"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["ready"]
            yield process
        finally:
            process.kill()


def _command(toml: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *arguments, "--config", str(toml), "--json"]


@pytest.mark.processes
@pytest.mark.usefixtures("wallet")
class TestBars:
    def test_somebody_at_a_terminal_sees_how_far_it_is(self, toml: Path, tmp_path: Path) -> None:
        out, seen = _run_at_a_terminal(_command(toml, "backup", str(tmp_path / "copy.sqlite3")))
        assert json.loads(out)["audit"] == "ok"
        for doing in ("copy", "check", "groups", "payments", "orders", "days"):
            assert doing in seen
        assert "1/1" in seen

    def test_nobody_sees_anything_who_wants_it_quiet(self, toml: Path) -> None:
        out, seen = _run_at_a_terminal(_command(toml, "audit", "--quiet"))
        assert json.loads(out)["audit"] == "ok"
        assert seen == ""


def _run_at_a_terminal(command: list[str]) -> tuple[bytes, str]:
    """Run a command whose standard error is a terminal; return what it printed, and what was seen there."""
    ours, its = pty.openpty()
    seen = bytearray()

    def look() -> None:
        # Reading a terminal that nobody has open any more is an error, which ends this.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4_096):
                seen.extend(piece)

    looking = threading.Thread(target=look)
    looking.start()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=its, timeout=60, check=True, env=environment
    )
    os.close(its)
    looking.join()
    os.close(ours)
    return result.stdout, seen.decode()


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """Python's own answer to Ctrl-C, whatever an event loop of another test left in its place."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c")
class TestInterrupt:
    def test_a_long_statement_ends_at_ctrl_c(self, tmp_path: Path) -> None:
        migrate(tmp_path / "store.sqlite3")
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        with contextlib.closing(open_connection(tmp_path / "store.sqlite3", writable=False)) as connection:
            listen_to_signals(connection)
            sender = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
            sender.start()
            with pytest.raises(KeyboardInterrupt), translated_errors():
                connection.execute(endless).fetchone()
            sender.join()
            assert connection.execute("SELECT 1").fetchone()[0] == 1

    @pytest.mark.usefixtures("wallet")
    @pytest.mark.parametrize("arguments", [("audit",), ("backup", "copy.sqlite3")])
    def test_a_command_ends_with_one_sentence_and_the_shells_status(
        self,
        toml: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        arguments: tuple[str, ...],
    ) -> None:
        def press_ctrl_c(path: object) -> None:
            signal.raise_signal(signal.SIGINT)
            # The interpreter looks for signals at a loop's end, not right after the call.
            for _ in range(1_000):
                pass

        monkeypatch.chdir(toml.parent)
        monkeypatch.setattr("gateway.audit.run.open_source", press_ctrl_c)
        assert _status_of([*arguments, "--config", str(toml)]) == 130
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("tapscan-gateway: interrupted")
        assert err.count("\n") == 1
        assert sorted(path.name for path in toml.parent.iterdir()) == ["data", "gateway.toml"]


def test_every_refusal_has_a_code_that_the_error_lists() -> None:
    source = (Path(__file__).parents[3] / "gateway/storage/sqlite/backup.py").read_text("utf-8")
    documented = BackupRefused.__doc__ or ""
    used = {part.split('"')[0] for part in source.split('code="')[1:]}
    assert used
    assert {code for code in used if f"`{code}`" not in documented} == set()
