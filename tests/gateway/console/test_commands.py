"""The command line, in process, on a real file: what it stores, what it prints, how it fails."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.cli import main
from wire import es256

PUBLIC_KEY_HEX = es256.dump_public_key(ec.derive_private_key(71, ec.SECP256R1()).public_key()).hex()

Run = Callable[..., Any]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text('[storage]\ndatabase = "data/g.sqlite3"\nvault_key_file = "data/vault.key"\n')
    return path


@pytest.fixture
def run(toml: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that succeeds, and return the JSON object it prints."""

    def run_command(*arguments: str) -> Any:
        status = _status_of([*arguments, "--config", str(toml), "--json"])
        out, err = capsys.readouterr()
        assert status == 0, err
        return json.loads(out)

    run_command("migrate")
    return run_command


@pytest.fixture
def fail(toml: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that fails, and return its status and what it says on standard error."""

    def run_command(*arguments: str) -> tuple[int, str]:
        status = _status_of([*arguments, "--config", str(toml)])
        out, err = capsys.readouterr()
        assert status != 0
        assert out == ""
        return status, err

    return run_command


def _status_of(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    code = caught.value.code
    assert isinstance(code, int | None)
    return code or 0


def test_a_shop_is_set_up_and_its_till_gets_a_code(run: Run) -> None:
    merchant = run("merchant", "add", "--name", "Mill Lane", "--currency", "EUR", "--fee-basis-points", "25")
    location = run("location", "add", "--merchant", merchant["merchant_id"], "--name", "No 12")
    terminal = run(
        "terminal", "add", "--merchant", merchant["merchant_id"], "--location", location["location_id"]
    )
    assert len(terminal["enrolment_code"]) == 14
    assert run("merchant", "list") == {"merchants": [merchant]}
    (listed,) = run("terminal", "list")["terminals"]
    assert (listed["terminal_id"], listed["status"]) == (terminal["terminal_id"], "pending")
    assert run("terminal", "revoke", terminal["terminal_id"])["status"] == "revoked"
    assert run("terminal", "list")["terminals"][0]["status"] == "revoked"


def test_a_wallet_is_funded_frozen_and_shown(run: Run) -> None:
    wallet = run("wallet", "add", "--holder", "陈晓 Chen Xiao", "--currency", "EUR")["wallet_id"]
    funded = run("wallet", "fund", wallet, "12.50")
    assert (funded["available"], funded["available_minor"]) == ("12.50", 1_250)
    assert run("wallet", "freeze", wallet)["status"] == "frozen"
    assert run("wallet", "show", wallet)["status"] == "frozen"
    assert run("wallet", "unfreeze", wallet)["status"] == "active"
    (listed,) = run("wallet", "list")["wallets"]
    assert (listed["holder_name"], listed["status"]) == ("陈晓 Chen Xiao", "active")


def test_instruments_of_each_kind_are_registered(run: Run, tmp_path: Path) -> None:
    wallet = run("wallet", "add", "--holder", "Ana")["wallet_id"]
    (tmp_path / "meta.key").write_text("00" * 16 + "\n")
    (tmp_path / "master.key").write_text("11" * 16 + "\n")
    run(
        *("card-keys", "add", "--batch", "1"),
        *("--meta-key-file", str(tmp_path / "meta.key")),
        *("--file-master-file", str(tmp_path / "master.key")),
    )
    phone = run(
        *("instrument", "add", "--wallet", wallet, "--kind", "phone_key", "--public-key", PUBLIC_KEY_HEX),
        *("--per-payment", "20.00", "--per-day", "60", "--label", "Ana's phone"),
        *("--weakest-entry-mode", "qr_consumer"),
    )
    card = run(
        *("instrument", "add", "--wallet", wallet, "--kind", "ntag424_card"),
        *("--uid", "04C767F2066180", "--batch", "1"),
    )
    assert (phone["per_payment_minor"], phone["per_day_minor"], phone["label"]) == (
        2_000,
        6_000,
        "Ana's phone",
    )
    assert run("instrument", "list") == {"instruments": [phone, card]}
    assert run("instrument", "suspend", card["instrument_id"])["status"] == "suspended"
    assert run("instrument", "list")["instruments"][1]["status"] == "suspended"
    assert run("instrument", "activate", card["instrument_id"])["status"] == "active"


def test_cards_are_ordered_listed_and_cancelled(run: Run, fail: Run, tmp_path: Path) -> None:
    wallet = run("wallet", "add", "--holder", "Ana")["wallet_id"]
    status, err = fail("card", "order", "--wallet", wallet)
    assert (status, "card-keys add" in err) == (1, True)
    for version in (1, 2):
        for name in ("meta", "master"):
            (tmp_path / name).write_text(f"{version}{'0' if name == 'meta' else '1'}" * 16)
        added = run(
            *("card-keys", "add", "--batch", "1", "--key-version", str(version)),
            *("--meta-key-file", str(tmp_path / "meta")),
            *("--file-master-file", str(tmp_path / "master")),
        )
        assert added == {"batch_number": 1, "key_version": version}
    ordered = run("card", "order", "--wallet", wallet, "--label", "Ana's card")
    assert len(ordered.pop("code")) == 14
    assert (ordered["batch_number"], ordered["state"], ordered["begun"]) == (1, "open", False)
    assert run("card", "list") == {"card_orders": [ordered]}
    run("card", "cancel", ordered["order_id"])
    assert run("card", "list") == {"card_orders": [ordered | {"state": "cancelled"}]}
    assert fail("card", "cancel", ordered["order_id"])[0] == 1


def test_the_audit_is_ok_on_fresh_books_and_names_a_break(
    run: Run, fail: Run, toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wallet = run("wallet", "add", "--holder", "Ana")["wallet_id"]
    run("wallet", "fund", wallet, "10.00")
    assert run("audit")["audit"] == "ok"
    with sqlite3.connect(toml.parent / "data/g.sqlite3") as books:
        tables = [name for (name,) in books.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        assert "transfers" in tables
        for (trigger,) in books.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            books.execute(f'DROP TRIGGER "{trigger}"')
        books.execute("UPDATE transfers SET amount_minor = amount_minor + 1")
    books.close()
    assert _status_of(["audit", "--config", str(toml), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["audit"] == "broken"
    assert report["first_break"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("wallet", "show", "0" * 26), "there is no such wallet"),
        (("wallet", "show", "ana"), "26 characters"),
        (("wallet", "add", "--holder", "Ana", "--currency", "XYZ"), "currency"),
        (("merchant", "add", "--name", " "), "a merchant's name"),
        (("location", "add", "--merchant", "0" * 15, "--name", "x"), "does not exist"),
        (("terminal", "revoke", "0" * 8), ""),
    ],
)
def test_a_failure_is_one_sentence_and_status_1(
    run: Run, fail: Run, arguments: tuple[str, ...], says: str
) -> None:
    status, err = fail(*arguments)
    assert status == 1
    assert says in err
    assert err.startswith("tapscan-gateway: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("wallet", "add"),
        ("wallet", "fund", "x"),
        ("instrument", "add", "--wallet", "x", "--kind", "key_fob"),
        ("instrument", "add", "--wallet", "x", "--kind", "phone_key", "--public-key", "xyz"),
        ("no-such-command",),
        ("card-keys", "add", "--batch", "1", "--meta-key-file", "none", "--file-master-file", "none"),
    ],
    ids=str,
)
def test_wrong_usage_is_status_2(fail: Run, arguments: tuple[str, ...]) -> None:
    status, err = fail(*arguments)
    assert status == 2
    assert "Usage" in err


class TestVaultKey:
    def test_a_command_without_a_database_says_what_to_do(self, fail: Run) -> None:
        status, err = fail("wallet", "list")
        assert status == 1
        assert "tapscan-gateway migrate" in err

    @pytest.mark.parametrize("command", ["migrate", "serve"])
    def test_a_lost_key_is_never_silently_replaced(
        self, run: Run, fail: Run, toml: Path, command: str
    ) -> None:
        key_file = toml.parent / "data/vault.key"
        key_file.unlink()
        status, err = fail(command)
        assert status == 1
        assert "--new-vault-key" in err
        assert not key_file.exists()
        run("migrate", "--new-vault-key")
        assert key_file.exists()

    def test_migrating_twice_keeps_the_key(self, run: Run, toml: Path) -> None:
        before = (toml.parent / "data/vault.key").read_text()
        run("migrate")
        assert (toml.parent / "data/vault.key").read_text() == before


def test_listening_on_every_address_needs_a_public_one(run: Run, fail: Run, toml: Path) -> None:
    toml.write_text(toml.read_text() + '[listen]\nhost = "0.0.0.0"\nport = 0\n')
    status, err = fail("serve")
    assert status == 1
    assert "listen.public_url" in err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status_of(["--help"]) == 0
    out = capsys.readouterr().out
    for name in [
        "serve",
        "migrate",
        "audit",
        "merchant",
        "location",
        "terminal",
        "wallet",
        "instrument",
        "card-keys",
        "card",
    ]:
        assert name in out
