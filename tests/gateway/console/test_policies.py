"""Commands for staff, tiers and single limits: what they store, and that no PIN is ever shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main

Run = Callable[..., Any]
PIN = "271828"


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, and return its status and everything it printed."""
    path = tmp_path / "gateway.toml"
    path.write_text(
        '[storage]\ndatabase = "data/g.sqlite3"\nvault_key_file = "data/vault.key"\n'
        '[listen]\npublic_url = "https://pay.example.com"\n'
    )

    def run_command(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main([*arguments, "--config", str(path)])
        out, err = capsys.readouterr()
        status = caught.value.code
        assert isinstance(status, int | None)
        return status or 0, out + err

    assert run_command("migrate")[0] == 0
    return run_command


def _json(result: tuple[int, str]) -> Any:
    status, out = result
    assert status == 0, out
    return json.loads(out)


@pytest.fixture
def merchant_id(run: Run) -> str:
    return str(_json(run("merchant", "add", "--name", "Mill Lane", "--json"))["merchant_id"])


def test_staff_come_prove_themselves_and_leave(run: Run, merchant_id: str) -> None:
    added = run(
        *("staff", "add", "--merchant", merchant_id, "--name", "Mira 米拉"),
        *("--role", "manager", "--pin", PIN, "--json"),
    )
    member = _json(added)
    assert (member["role"], member["status"], member["wrong_pins"]) == ("manager", "active", 0)
    assert PIN not in added[1]
    assert "argon2" not in added[1]
    assert run("staff", "pin", member["staff_id"], "--pin", "1618")[0] == 0
    assert run("staff", "leave", member["staff_id"])[0] == 0
    (listed,) = _json(run("staff", "list", "--json"))["staff"]
    assert (listed["name"], listed["status"]) == ("Mira 米拉", "left")


@pytest.mark.parametrize("pin", ["123", "12345678901234", "secret"])
def test_what_is_no_pin_is_refused_without_being_repeated(run: Run, merchant_id: str, pin: str) -> None:
    status, out = run("staff", "add", "--merchant", merchant_id, "--name", "Mira", "--pin", pin)
    assert status == 1
    assert "4 to 12 digits" in out
    assert pin not in out


def test_tiers_are_set_in_units_and_shown_in_minor_ones(run: Run) -> None:
    for per_day in ("900.00", "1000.00"):
        run(
            *("tier", "set", "EUR", "basic", "--confirm-above", "25.00", "--pin-max", "100.00"),
            *("--per-payment", "150.00", "--per-day", per_day),
        )
    (tier,) = _json(run("tier", "list", "--json"))["tiers"]
    assert tier == {
        "currency": "EUR",
        "identity_level": "basic",
        "confirm_above_minor": 2_500,
        "pin_max_minor": 10_000,
        "per_payment_minor": 15_000,
        "per_day_minor": 100_000,
    }


def test_single_limits_are_set_where_there_is_somebody_to_limit(run: Run, merchant_id: str) -> None:
    wallet_id = _json(run("wallet", "add", "--holder", "Ana", "--json"))["wallet_id"]
    assert run("limit", "tips", merchant_id, "1500")[0] == 0
    assert run("wallet", "pin", wallet_id, "--pin", PIN)[0] == 0
    assert run("wallet", "level", wallet_id, "basic")[0] == 0
    for command in (
        ("limit", "refunds", "T0000009", "5000"),
        ("limit", "confirm-above", "01ARYZ6S410000000000000000", "2500"),
        ("wallet", "level", "01ARYZ6S410000000000000000", "basic"),
    ):
        status, out = run(*command)
        assert status == 1, command
        assert "there is none" in out


def test_a_sticker_leads_to_the_public_address_for_ever(run: Run, merchant_id: str) -> None:
    place = _json(run("location", "add", "--merchant", merchant_id, "--name", "No 12", "--json"))
    till = _json(
        run("terminal", "add", "--merchant", merchant_id, "--location", place["location_id"], "--json")
    )
    first, second = [_json(run("terminal", "sticker", till["terminal_id"], "--json")) for _ in range(2)]
    assert first == second
    assert f"pay.example.com/c/{till['terminal_id']}" in first["code_text"]
