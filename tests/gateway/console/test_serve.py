"""`tapscan-gateway serve` as a process: ready, useful beside other commands, stopped without a trace."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.processes
SECRET = b"d28445a1-secret-token"


def _command(toml: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *arguments, "--config", str(toml), "--json"]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(
        "[listen]\nport = 0\n"
        '[storage]\ndatabase = "data/g.sqlite3"\nvault_key_file = "data/vault.key"\n'
        '[logging]\nformat = "json"\n'
    )
    return path


@pytest.fixture
def serving(toml: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    process = subprocess.Popen(
        _command(toml, "serve"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ.copy()
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def test_serves_beside_other_commands_and_stops_when_told(
    serving: tuple[subprocess.Popen[bytes], dict[str, Any]], toml: Path
) -> None:
    process, ready = serving
    assert ready["ready"] is True
    with urllib.request.urlopen(f"{ready['url']}/health/ready", timeout=10) as response:
        assert json.load(response) == {"status": "ready"}
    added = subprocess.run(
        _command(toml, "merchant", "add", "--name", "Shop"), capture_output=True, timeout=60, check=True
    )
    assert json.loads(added.stdout)["status"] == "active"
    _send_secrets(ready["url"])
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    events = [json.loads(line) for line in err.splitlines() if line.startswith(b"{")]
    assert [events[0]["event"], events[-1]["event"]] == ["ready", "stopped"]
    assert SECRET not in err


def _send_secrets(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    for raw in (
        b"GET /" + SECRET + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nSignature " + SECRET + b"\r\n\r\n",
        b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nSignature: " + SECRET + b"\r\nConnection: close\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(raw)
            assert connection.recv(64).startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))


def test_an_address_in_use_is_one_clear_sentence(toml: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        toml.write_text(toml.read_text().replace("port = 0", f"port = {port}"))
        result = subprocess.run(_command(toml, "serve"), capture_output=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(b"tapscan-gateway: listen.host 127.0.0.1 and listen.port")
    assert result.stderr.count(b"\n") == 1
