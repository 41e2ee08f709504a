"""Every test value, one by one, through the daemons' own till API: what the table promises is answered.

One rehearsal serves them all, as a developer starts it: `tapscan-sim rehearsal`, with its gateway, five tills
and a world as real processes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from simulators.rehearsal.values import VALUES_PATH, TestValues, Value
from simulators.world.file import load_toml
from tests.acceptance.test_demo import SPENDABLE

pytestmark = pytest.mark.processes

PROGRAM = Path(sys.executable).parent / "tapscan-sim"
GATEWAY = Path(sys.executable).parent / "tapscan-gateway"
VALUES = load_toml(VALUES_PATH, TestValues)
SECONDS_TO_CONFIRM = "10"
PATIENCE_S = 150


@dataclass(frozen=True)
class Rehearsal:
    """A running rehearsal, and where its parts are."""

    folder: Path
    process: subprocess.Popen[str]
    url: str
    tills: dict[str, str]

    def call(self, url: str, body: object = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=PATIENCE_S) as answer:
                return json.load(answer)
        except HTTPError as error:
            return json.load(error)

    def rehearse(self, name: str, **order: object) -> Any:
        return self.call(f"{self.url}/v1/values/{name}", order)


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    folder = tmp_path_factory.mktemp("rehearsal")
    command = [PROGRAM, "rehearsal", "--port", "0", "--deadline", SECONDS_TO_CONFIRM, "--dir", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}, text=True
    ) as process:
        assert process.stdout is not None
        try:
            first = json.loads(process.stdout.readline())
            yield Rehearsal(folder, process, first["rehearsal_url"], first["tills"])
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    left = [each.pid for each in psutil.process_iter(["cmdline"]) if str(folder) in str(each.info["cmdline"])]
    assert left == []
    audit = subprocess.run(
        [GATEWAY, "audit", "--json", "--config", str(folder / "gateway.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(audit.stdout)["audit"] == "ok", audit.stdout + audit.stderr
    logs = sorted((folder / "logs").glob("*.log"))
    assert len(logs) >= 8, "a log is missing, so this would prove nothing"
    assert [log.name for log in logs if SPENDABLE.search(log.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("value", VALUES.values, ids=lambda value: value.name)
def test_value_is_answered_as_the_table_promises(rehearsal: Rehearsal, value: Value) -> None:
    report = rehearsal.rehearse(value.name)

    assert report.get("as_promised"), json.dumps(report, ensure_ascii=False, indent=1)
    assert report["told"].get("code", "") == value.code
    assert report["told"].get("event") == value.event
    assert report["told"].get("status") == value.status
    if value.code:
        assert set(report["cashier_text"]) == {"en", "zh-Hans"}
        said = json.dumps(report["steps"][-1], ensure_ascii=False)
        assert value.code in said


@pytest.mark.parametrize("name", ["frozen-wallet", "copied-phone", "pin-locked", "offline-device-limit"])
def test_value_can_be_rehearsed_again(rehearsal: Rehearsal, name: str) -> None:
    assert [rehearsal.rehearse(name)["as_promised"] for _ in range(2)] == [True, True]


def test_till_software_of_somebody_else_drives_while_hands_present(rehearsal: Rehearsal) -> None:
    till = rehearsal.tills["till-1"]
    with ThreadPoolExecutor(1) as pool:
        started = rehearsal.call(f"{till}/v1/sales", {"amount_minor": 777})
        hands = pool.submit(rehearsal.rehearse, "frozen-wallet", hands_only=True)
        report = hands.result(timeout=PATIENCE_S)
    sale = rehearsal.call(f"{till}/v1/sales/{started['sale_id']}", method="GET")

    assert report["told"] == {"event": "declined", "code": "wallet_frozen"}
    assert (sale["amount_minor"], sale["answer"]["decline"]["code"]) == (777, "wallet_frozen")
    # Still theirs: another card may be presented, or the sale be given up.
    assert sale["state"] == "armed"
    ended = rehearsal.call(f"{till}/v1/sales/{started['sale_id']}", method="DELETE")
    assert ended["state"] == "cancelled"


def test_a_value_that_its_developer_gives_up_leaves_the_till_free(rehearsal: Rehearsal) -> None:
    with pytest.raises(TimeoutError):
        urlopen(
            Request(
                f"{rehearsal.url}/v1/values/nobody-confirms",
                data=b"{}",
                headers={"Content-Type": "application/json"},
            ),
            timeout=1,
        )
    report = rehearsal.rehearse("frozen-wallet")
    while "another value" in report.get("detail", ""):
        report = rehearsal.rehearse("frozen-wallet")
    assert report["as_promised"]


def test_hands_have_nothing_to_do_for_a_request(rehearsal: Rehearsal) -> None:
    problem = rehearsal.rehearse("misspelt-field", hands_only=True)
    assert "send it yourself" in problem["detail"]


def test_unknown_value_is_refused_with_where_to_look(rehearsal: Rehearsal) -> None:
    result = subprocess.run(
        [PROGRAM, "rehearse", "frosty-wallet", "--at", rehearsal.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "frosty-wallet" in result.stderr
    assert "--list" in result.stderr


def test_the_command_prints_what_was_presented_and_answered(rehearsal: Rehearsal) -> None:
    result = subprocess.run(
        [PROGRAM, "rehearse", "frozen-wallet", "--at", rehearsal.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert [step["did"] for step in report["steps"]] == ["sale 5.00", "tap `frozen-phone`"]
    assert report["steps"][1]["event"]["decline"]["code"] == "wallet_frozen"


def test_the_list_names_every_value(rehearsal: Rehearsal) -> None:
    result = subprocess.run(
        [PROGRAM, "rehearse", "--list", "--at", rehearsal.url], capture_output=True, text=True, check=False
    )
    listed = [line.split()[0] for line in result.stdout.splitlines()]
    assert listed == [value.name for value in VALUES.values]


def test_a_port_that_is_taken_is_said_so(rehearsal: Rehearsal, tmp_path: Path) -> None:
    port = rehearsal.url.rpartition(":")[2]
    result = subprocess.run(
        [PROGRAM, "rehearsal", "--port", port, "--dir", str(tmp_path / "second")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"port {port} is taken" in result.stderr


def test_no_rehearsal_is_said_with_how_to_start_one() -> None:
    result = subprocess.run(
        [PROGRAM, "rehearse", "frozen-wallet", "--at", "http://127.0.0.1:9"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "tapscan-sim rehearsal" in result.stderr
