"""Many commands in one process: each answered on a line of its own, none stopping the others."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.console.batch import LINE_CHARS_MAX
from gateway.console.batch import run_batch as run_lines


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[storage]\ndatabase = "g.sqlite3"\nvault_key_file = "vault.key"\n[logging]\nformat = "json"\n',
        encoding="utf-8",
    )
    return path


def run_batch(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> list[Any]:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(SystemExit) as caught:
        main(["batch", "--config", str(config)])
    assert not caught.value.code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_commands_are_answered_one_by_one_and_a_failure_stops_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        "migrate --json",
        "merchant add --name 'Mill Lane \u78e8\u574a' --json",
        "",
        "merchant add --name Other --currency QQQ",
        "nonsense",
        "merchant list --json",
    ]
    answers = run_batch(config, monkeypatch, capsys, "\n".join(lines) + "\n")

    assert [answer["status"] for answer in answers] == [0, 0, 1, 2, 0]
    assert "currency" in answers[2]["err"]
    assert "nonsense" in answers[3]["err"]
    (merchant,) = json.loads(answers[4]["out"])["merchants"]
    assert merchant["name"] == "Mill Lane \u78e8\u574a"
    assert merchant == json.loads(answers[1]["out"])


def test_a_merchant_is_suspended_and_let_go_on(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    added = run_batch(config, monkeypatch, capsys, "migrate\nmerchant add --name Mill --json\n")[1]
    merchant_id = json.loads(added["out"])["merchant_id"]
    commands = [f"merchant suspend {merchant_id} --json", f"merchant activate {merchant_id} --json"]
    answers = run_batch(config, monkeypatch, capsys, "\n".join([*commands, "merchant suspend NOBODY", ""]))

    assert [json.loads(answer["out"])["status"] for answer in answers[:2]] == ["suspended", "active"]
    assert answers[2]["status"] == 1


@pytest.mark.parametrize("line", ["serve", "batch", "merchant add --name 'open", "x" * (LINE_CHARS_MAX + 9)])
def test_a_line_that_is_no_command_of_a_batch_is_answered_so(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    answers = run_batch(config, monkeypatch, capsys, line + "\n")
    assert [answer["status"] for answer in answers] == [2]
    assert answers[0]["err"]


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (3, 3), ("it broke", 1)])
def test_an_exit_is_answered_with_what_a_shell_would_see(code: str | int | None, status: int) -> None:
    def leave(words: Sequence[str]) -> None:
        raise SystemExit(code)

    target = io.StringIO()
    run_lines(io.StringIO("anything\n"), target, leave)
    assert json.loads(target.getvalue())["status"] == status
