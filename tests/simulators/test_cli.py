"""The command line: help that loads nothing, cards and phones that real drivers read, a world that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.request import urlopen

import cv2
import pytest
from typer.testing import CliRunner

from simulators.cli import WORLD_DEFAULT, app
from terminal.devices.paths import make_device
from terminal.readers.card_reader import CardReader, CardTechnology
from terminal.scanners.decoder import CodeDecoder
from wire import es256
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_terms import PaymentTerms
from wire.cards.presentation_dialogue import read_presentation
from wire.codes.scanned import recognise
from wire.messages.payments import NfcAppPresentation, NfcSdmPresentation, QrConsumerPresentation
from wire.money import Money, find_currency
from wire.tokens.nfc_token import verify_nfc_token
from wire.tokens.qr_token import verify_qr_token
from wire.tokens.sign1 import parse_sign1

PROGRAM = Path(sys.executable).parent / "tapscan-sim"
NOW_S = 1_767_225_600


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def say_until(process: subprocess.Popen[str], beginning: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(beginning):
            return lines
    raise AssertionError(f"the process ended after {lines}")


def make_terms() -> PaymentTerms:
    return PaymentTerms(Money(500, find_currency("EUR")), bytes(8), "M" * 15, "T" * 8, NOW_S)


def tap_once(
    process: subprocess.Popen[str], lines: list[str]
) -> NfcAppPresentation | NfcSdmPresentation | None:
    """Press Enter and read what lies in the field; None for a card that is only a number."""
    path = lines[0].removeprefix("reader path for terminal.toml: ")
    reader = cast(CardReader, make_device(path))
    reader.open()
    try:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        connection = reader.wait_for_card(5_000)
        assert connection is not None
        if connection.technology is CardTechnology.UID_ONLY:
            return None
        return hold_dialogue(read_presentation(make_terms), connection.transmit)
    finally:
        reader.close()


def test_importing_the_command_line_loads_no_heavy_library() -> None:
    heavy = "{'cv2', 'numpy', 'cryptography', 'aiohttp', 'qrcode', 'msgspec'}"
    script = f"import sys, simulators.cli; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", [[], ["card"], ["phone"], ["world"], ["demo"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])

    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.processes
def test_card_taps_on_enter_and_signs_with_the_key_it_is_registered_by() -> None:
    with running("card", "--counter", "41") as process:
        lines = say_until(process, "Enter taps")
        presentation = tap_once(process, lines)

    registration = next(line for line in lines if "instrument add" in line)
    assert isinstance(presentation, NfcAppPresentation)
    key = es256.load_public_key(bytes.fromhex(registration.split()[-1]))
    assert verify_nfc_token(parse_sign1(presentation.token), key).counter == 42


@pytest.mark.processes
def test_link_card_taps_and_leaves_its_keys_in_files_for_their_owner_only(tmp_path: Path) -> None:
    with running("card", "--kind", "ntag424", "--keys-folder", str(tmp_path)) as process:
        lines = say_until(process, "Enter taps")
        assert isinstance(tap_once(process, lines), NfcSdmPresentation)

    for name in ("meta.key", "file-master.key"):
        assert len(bytes.fromhex((tmp_path / name).read_text(encoding="ascii"))) == 16
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


@pytest.mark.processes
def test_plain_tag_taps_as_one() -> None:
    with running("card", "--kind", "uid") as process:
        assert tap_once(process, say_until(process, "Enter taps")) is None


@pytest.mark.processes
def test_blank_card_says_how_it_is_made_a_card() -> None:
    with running("card", "--kind", "blank") as process:
        lines = say_until(process, "Enter taps")
    assert any("card personalise --code" in line for line in lines)


def test_phone_writes_a_picture_that_decodes_to_a_code_of_its_key(tmp_path: Path) -> None:
    file = tmp_path / "code.png"
    options = ["--output", "image", "--file", str(file), "--distortion", "rotated", "--cap", "7.50"]

    result = CliRunner().invoke(app, ["phone", *options], catch_exceptions=False)

    key = es256.load_public_key(bytes.fromhex(result.output.split("--public-key ")[1].split()[0]))
    frame = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    assert frame is not None
    presentation = recognise(CodeDecoder().decode(frame)[0])
    assert isinstance(presentation, QrConsumerPresentation)
    token = parse_sign1(presentation.token)
    issued_ms = int(file.stat().st_mtime) * 1000
    assert verify_qr_token(token, key, now_ms=issued_ms).cap == Money(750, find_currency("EUR"))


def test_phone_draws_a_code_in_the_terminal_with_its_text_below() -> None:
    result = CliRunner().invoke(app, ["phone", "--form", "base45"], catch_exceptions=False)

    lines = result.output.splitlines()
    assert isinstance(recognise(lines[-1]), QrConsumerPresentation)
    assert sum("█" in line for line in lines) > 20


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["phone", "--form", "morse"], "no form named morse"),
        (["phone", "--form", "numeric"], "--gateway"),
        (["phone", "--cap", "1.234"], "decimals"),
        (["phone", "--output", "image", "--distortion", "melted"], "melted"),
        (["card", "--field", "vpcd", "--slot", "nonsense"], "READER NAME:PORT"),
        (["world", "--file", "/nowhere.toml"], "nowhere"),
        (["world", "--slot", "x"], "READER NAME:PORT"),
        (["demo", "--world", "/nowhere.toml"], "nowhere"),
        (["demo", "--once", "--scenario", "/nowhere.toml"], "nowhere"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(options: list[str], complaint: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [PROGRAM, *options], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=30
    )

    assert result.returncode == 1
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.processes
def test_world_says_where_it_listens_and_ends_on_sigterm(tmp_path: Path) -> None:
    with running("world", "--file", str(WORLD_DEFAULT), "--seed", "5") as process:
        first = json.loads(say_until(process, "{")[0])
        assert first["control_url"].startswith("http://127.0.0.1:")
        with urlopen(first["control_url"] + "/v1/world", timeout=5) as answer:
            assert json.load(answer)["seed"] == 5

        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=10) == 0
