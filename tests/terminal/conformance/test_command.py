"""`tapscan-terminal check-reader` as a process, with somebody at the device who does what it asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.udp_radio import UdpRadio
from simulators.screens.picture_file import PictureFile
from terminal.conformance.card_checks import CARD_CHECKS
from terminal.conformance.code_checks import CODE_CHECKS
from terminal.conformance.model import Action, Result, Verdict
from terminal.conformance.person import NOT_BY_HAND, PersonHands
from terminal.conformance.report import dump_json, dump_text, make_report
from tests.contract.simulated_hands import field_hands
from wire.notices import CHINESE, ENGLISH

PROGRAM = Path(sys.executable).parent / "tapscan-terminal"
ACTIONS = {action.text(ENGLISH): action for action in Action}


def _check(path: str, do: Callable[[Action], object], *options: str) -> tuple[int, str]:
    """Run the command, do what it asks for, and return its status and what it wrote."""
    lines = []
    with subprocess.Popen(
        [PROGRAM, "check-reader", path, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            asked = line.strip().removeprefix("> ")
            if asked in ACTIONS:
                do(ACTIONS[asked])
    return process.returncode, "".join(lines)


def test_person_who_does_what_is_asked_gets_a_report_without_numbers_of_cards(tmp_path: Path) -> None:
    radio = UdpRadio(traits=IsoDepTraits(fwi=8))
    radio.start()
    report_path = tmp_path / "report.json"
    hands = field_hands(radio)

    def do(action: Action) -> None:
        # This reader sees one of two.
        hands.do(Action.HOLD_CARD if action is Action.HOLD_TWO else action)

    status, said = _check(radio.reader_path, do, "--seconds", "10", "--json", str(report_path))

    radio.stop()
    assert status == 0, said
    report = json.loads(report_path.read_text(encoding="utf-8"))
    assert report["is_conforming"]
    assert [result["name"] for result in report["results"]] == [check.name for check in CARD_CHECKS]
    skipped = {result["name"] for result in report["results"] if result["verdict"] == "skipped"}
    # A datagram has no cable, and its reader can't count cards: the command says so.
    assert skipped == {"refuses_two_cards", "heals_after_unplugging"}
    assert "this reader can't tell two cards from one" in said
    assert report["versions"]["nfcpy"] != "not installed"
    reads = next(result for result in report["results"] if result["name"] == "reads_a_card")
    assert reads["measured"]["command_ms_median"] < 1_000
    # The tag's number is fixed, and in nothing that would be sent in.
    assert "05112233445566" not in said + report_path.read_text(encoding="utf-8")
    assert "7 passed, 0 failed, 2 skipped." in said


def test_device_nobody_attends_to_is_skipped_over_and_one_that_is_not_there_fails(tmp_path: Path) -> None:
    picture = PictureFile(tmp_path / "camera.png")
    path = f"camera:file:{picture.path}"
    status, said = _check(path, lambda action: None, "--seconds", "1")
    assert status == 0, said
    assert "2 passed, 0 failed, 7 skipped." in said

    picture.path.unlink()
    status, said = _check(path, lambda action: None, "--seconds", "1", "--language", "zh-Hans")
    assert status == 1
    assert "there is no picture" in said
    assert "未通过 1 项" in said


def test_command_refuses_what_names_no_device_or_language() -> None:
    status, said = _check("teapot:1", lambda action: None)
    assert (status, "a device path begins with" in said) == (1, True)
    status, said = _check("camera:0", lambda action: None, "--language", "fr")
    assert (status, "a language is en or zh-Hans" in said) == (1, True)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("camera:http://admin:secret@10.0.0.7/stream?key=4711", "camera:http://10.0.0.7/stream"),
        ("camera:rtsp://admin:secret@10.0.0.7/", "camera:rtsp://10.0.0.7/"),
        ("serial:/dev/ttyACM0?baud=9600", "serial:/dev/ttyACM0?baud=9600"),
    ],
)
def test_report_names_the_device_without_a_password(path: str, shown: str) -> None:
    report = make_report(path, [Result("reads_a_code", Verdict.PASSED)])
    assert report.path == shown
    assert json.loads(dump_json(report))["path"] == shown
    assert shown in dump_text(report, ENGLISH)


def test_every_action_is_asked_for_in_both_languages_or_is_not_a_persons() -> None:
    for language in (ENGLISH, CHINESE):
        said: list[str] = []
        hands = PersonHands(said.append, language)
        for action in Action:
            assert (hands.do(action) is None) is (action in NOT_BY_HAND)
        assert len(said) == len(Action) - len(NOT_BY_HAND)
        assert len(set(said)) == len(said)


def test_every_check_says_what_it_proves_and_has_a_name_of_its_own() -> None:
    for checks in (CARD_CHECKS, CODE_CHECKS):
        names = [check.name for check in checks]
        assert len(set(names)) == len(names)
        assert all(check.proves.endswith(".") for check in checks)
