"""The demo as a newcomer runs it: real processes, every entry mode, and a verdict that can be wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from simulators.cli import SCENARIO_DEFAULT
from simulators.fields.private_pcscd import find_missing

pytestmark = pytest.mark.processes

PROGRAM = Path(sys.executable).parent / "tapscan-sim"
TIMEOUT_S = 240
SPENDABLE = re.compile(
    r"\b47\d{16}\b"  # a numeric payment code
    r"|\b04[0-9A-Fa-f]{12}\b"  # a card's UID
    r"|[0-9A-Fa-f]{24,}"  # a link's parameters, a key
    r"|[A-Za-z0-9+/_-]{60,}"  # a token, in any of its spellings
)
WITHOUT_PCSC = bool(find_missing())

ONE_TAP = """
[[steps]]
do = "tap"
say = "Ana taps her phone"
thing = "ana-phone"
field = "till-2-radio"
amount = "12.50"
expect = "{expect}"
{mode}
"""


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "demo", "--once", "--dir", str(folder), *options],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def summary_of(result: subprocess.CompletedProcess[str]) -> dict[str, object]:
    summary = json.loads(result.stdout.splitlines()[-1])
    assert isinstance(summary, dict)
    return summary


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return whatever still runs on this demo's folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in argument for argument in process.info["cmdline"] or [])
    ]


def write_one_tap(folder: Path, expect: str, mode: str = "") -> Path:
    path = folder / "one-tap.toml"
    path.write_text(ONE_TAP.format(expect=expect, mode=mode), encoding="utf-8")
    return path


def expected_counts() -> tuple[Counter[str], Counter[str]]:
    """Count what the scenario's file says, by hand: approvals by mode, refusals by code."""
    payments: Counter[str] = Counter()
    declined: Counter[str] = Counter()
    for block in SCENARIO_DEFAULT.read_text(encoding="utf-8").split("[[steps]]")[1:]:
        values = dict(line.split(" = ", 1) for line in block.strip().splitlines() if " = " in line)
        if "expect" not in values or (WITHOUT_PCSC and "pcsc" in values.get("field", "")):
            continue
        if values["expect"] == '"approved"':
            payments[values["mode"].strip('"')] += 1
        else:
            declined[values["expect"].strip('"')] += 1
    return payments, declined


def spendable_texts(folder: Path) -> list[str]:
    """Return what looks like a token, link, numeric code, card number or key in any log or journal."""
    files = [*folder.glob("logs/*.log"), *folder.glob("till-*/*.journal")]
    assert len(files) >= 7, "a log or journal is missing, so this would prove nothing"
    return [
        f"{path.name}: {match[:8]}…"
        for path in files
        for match in SPENDABLE.findall(path.read_text(encoding="utf-8"))
    ]


def test_the_scenario_settles_every_entry_mode_and_refuses_every_fraud(tmp_path: Path) -> None:
    result = run_demo(tmp_path)

    assert result.returncode == 0, result.stdout + result.stderr
    summary = summary_of(result)
    payments, declined = expected_counts()
    assert summary["payments"] == payments
    assert summary["declined"] == declined
    assert set(payments) == {"nfc_app", "nfc_sdm", "qr_consumer", "code_numeric"}
    assert summary["audit"] == "ok"
    assert isinstance(summary["p50_tap_to_answer_ms"], int)
    assert processes_of(tmp_path) == []
    assert spendable_texts(tmp_path) == []


def test_an_outcome_that_was_not_expected_fails_and_says_where_to_look(tmp_path: Path) -> None:
    result = run_demo(tmp_path, "--scenario", str(write_one_tap(tmp_path, "insufficient_funds")))

    assert result.returncode == 1
    assert "expected insufficient_funds, got approved nfc_app at till-2" in result.stdout
    assert "wallet ana: expected 400.00 EUR left, the gateway says 387.50" in result.stdout
    for name in ("gateway", "world", "till-1", "till-2"):
        assert str(tmp_path / "logs" / f"{name}.log") in result.stdout
    assert summary_of(result)["payments"] == {
        "nfc_app": 1, "nfc_sdm": 0, "qr_consumer": 0, "code_numeric": 0,
    }  # fmt: skip
    assert processes_of(tmp_path) == []


def test_a_scenario_that_fits_no_world_is_refused_before_anything_starts(tmp_path: Path) -> None:
    result = run_demo(tmp_path, "--scenario", str(write_one_tap(tmp_path, "out_of_luck")))

    assert result.returncode == 1
    assert "out_of_luck" in result.stderr
    assert not (tmp_path / "logs").exists()
