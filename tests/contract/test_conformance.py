"""The checks of `tapscan-terminal check-reader`, over every simulated way of a card or code to the till."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.pn532 import Pn532Device
from simulators.fields.private_pcscd import PrivatePcscd, find_missing
from simulators.fields.udp_radio import UdpRadio
from simulators.fields.vpcd import VpcdSlot
from simulators.scanners.serial_gun import SerialGun
from simulators.screens.mjpeg import MjpegServer
from terminal.conformance.card_checks import CARD_CHECKS
from terminal.conformance.code_checks import CODE_CHECKS
from terminal.conformance.model import Action, Check, Verdict
from terminal.conformance.suite import OPEN, run_check, run_suite
from terminal.devices.paths import make_device
from terminal.errors import ReaderUnavailable
from terminal.readers.card_reader import CardConnection, CardTechnology
from tests.contract.simulated_hands import (
    SimulatedHands,
    camera_hands,
    field_hands,
    file_hands,
    gun_hands,
    make_picture_file,
    wedge_hands,
)
from tests.patient_nfcpy import patient_drivers
from tests.wedge_host import WedgeStand

WAIT_S: Final = 30.0
"""Far more than any path needs; only what is missed waits so long."""
TRAITS: Final = IsoDepTraits(fwi=8)
PCSC: Final = pytest.mark.pcsc
READERS: Final = [
    "udp",
    "pn532",
    pytest.param("pcsc_fast", marks=PCSC),
    pytest.param("pcsc_stock", marks=PCSC),
]
SCANNERS: Final = ["camera-http", "camera-file", "serial", "wedge"]
SKIPPED: Final = {
    # A datagram has no cable, and pcscd's virtual reader is no device that could be pulled: its service is
    # restarted instead (tests/simulators/world/test_faults.py).
    ("udp", "heals_after_unplugging"),
    ("pcsc_fast", "heals_after_unplugging"),
    ("pcsc_stock", "heals_after_unplugging"),
    # Neither the UDP radio nor PC/SC can tell two cards from one.
    ("udp", "refuses_two_cards"),
    ("pcsc_fast", "refuses_two_cards"),
    ("pcsc_stock", "refuses_two_cards"),
    # A camera sees a whole code or none.
    ("camera-http", "refuses_half_a_scan"),
    ("camera-file", "refuses_half_a_scan"),
}


@dataclass
class Stand:
    """A simulated device, the hands at it, and its path."""

    name: str
    path: str
    hands: SimulatedHands
    device: Any = None
    """The driver, where it is in a process of its own."""


@pytest.fixture(scope="module", params=READERS)
def reader(request: pytest.FixtureRequest) -> Iterator[Stand]:
    name: str = request.param
    with ExitStack() as stack:
        stack.enter_context(patient_drivers())
        field = _make_field(name, stack)
        field.start()
        yield Stand(name, field.reader_path, field_hands(field))
        field.stop()


@pytest.fixture(params=SCANNERS)
def scanner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    name: str = request.param
    if name == "camera-file":
        picture = make_picture_file(tmp_path)
        yield Stand(name, f"camera:file:{picture.path}", file_hands(picture))
        return
    if name == "wedge":
        if shutil.which("umockdev-run") is None:
            pytest.skip("umockdev is not installed: scripts/setup.sh says how")
        wedge = WedgeStand(tmp_path)
        yield Stand(name, wedge.path, wedge_hands(wedge), wedge.scanner)
        wedge.stop()
        return
    device = MjpegServer() if name == "camera-http" else SerialGun(tmp_path / "ttyGUN0")
    device.start()
    if isinstance(device, MjpegServer):
        yield Stand(name, f"camera:{device.url}", camera_hands(device))
    else:
        yield Stand(name, f"serial:{device.device_path}", gun_hands(device))
    device.stop()


def _make_field(name: str, stack: ExitStack) -> UdpRadio | Pn532Device | VpcdSlot:
    if name == "udp":
        return UdpRadio(traits=TRAITS)
    if name == "pn532":
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        return Pn532Device(f"{folder}/ttyUSB77", traits=TRAITS)
    fast_poll = name == "pcsc_fast"
    if missing := find_missing(fast_poll=fast_poll):
        pytest.skip("; ".join(missing))
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed")
    # libpcsclite reads the variable once per process: every test here gives the same folder.
    folder_path = Path(tempfile.gettempdir()) / f"tapscan-test-pcsc-{os.getpid()}"
    pcscd = stack.enter_context(PrivatePcscd(("Contract",), fast_poll=fast_poll, socket_folder=folder_path))
    os.environ.update(pcscd.environment)
    return VpcdSlot(pcscd.slots[0].port, reader_name=pcscd.slots[0].reader_name)


def _hold(stand: Stand, check: Check[Any]) -> None:
    result = run_check(check, stand.device or make_device(stand.path), stand.hands, wait_s=WAIT_S)
    expected = Verdict.SKIPPED if (stand.name, check.name) in SKIPPED else Verdict.PASSED
    assert (result.verdict, result.reason if expected is Verdict.PASSED else "") == (expected, ""), result


@pytest.mark.parametrize("check", CARD_CHECKS, ids=lambda check: check.name)
def test_card_reader_keeps_the_contract(reader: Stand, check: Check[Any]) -> None:
    _hold(reader, check)


@pytest.mark.parametrize("check", CODE_CHECKS, ids=lambda check: check.name)
def test_code_scanner_keeps_the_contract(scanner: Stand, check: Check[Any]) -> None:
    _hold(scanner, check)


# --- a check must be able to fail ----------------------------------------------------------------------


class LyingConnection:
    """Goes on answering whatever became of its card."""

    technology = CardTechnology.ISO_DEP

    def __init__(self, *, sees_removal: bool = False) -> None:
        self._sees_removal = sees_removal
        self._asked = 0

    def transmit(self, command: bytes) -> bytes:
        return b"\x90\x00"

    def is_present(self) -> bool:
        self._asked += 1
        return not self._sees_removal or self._asked < 2

    def close(self) -> None:
        pass


class LyingReader:
    """A reader that keeps no promise."""

    path = "pcsc:Liar"

    def __init__(self, *, sees_removal: bool = False, raises: Exception | None = None) -> None:
        self.holds = False
        self._sees_removal = sees_removal
        self._raises = raises

    def open(self) -> None:
        pass

    def wait_for_card(self, timeout_ms: int) -> CardConnection | None:
        if self._raises is not None:
            raise self._raises
        return LyingConnection(sees_removal=self._sees_removal) if self.holds else None

    def close(self) -> None:
        pass


def _hands_of(reader: LyingReader) -> SimulatedHands:
    def set_to(holds: bool) -> str:
        reader.holds = holds
        return ""

    on = (Action.HOLD_CARD, Action.HOLD_TAG, Action.UNPLUG, Action.PLUG_IN)
    off = (Action.CLEAR, Action.TAKE_AWAY, Action.TEAR)
    movements = {action: (lambda: set_to(True)) for action in on}
    return SimulatedHands(movements | {action: (lambda: set_to(False)) for action in off})


def _result(reader: LyingReader, name: str) -> tuple[Verdict, str]:
    check = next(check for check in CARD_CHECKS if check.name == name)
    result = run_check(check, reader, _hands_of(reader), wait_s=0.1)
    return result.verdict, result.reason


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("opens_and_closes", {}, "closed, it does not say so"),
        ("sees_the_removal", {}, "the removal was not seen within 0 s"),
        ("sees_the_removal", {"sees_removal": True}, "a connection whose card had left was answered"),
        ("never_reaches_the_next_card", {}, "the removal was not seen within 0 s"),
        ("survives_a_tear", {}, "the tear was not seen within 0 s"),
        ("refuses_what_can_be_copied", {}, "a simple tag was asked for, and a card came"),
        ("heals_after_unplugging", {}, "the pulled cable was not seen within 0 s"),
        ("reads_a_card", {"raises": ZeroDivisionError("card 0487")}, "unexpected ZeroDivisionError"),
        (
            "reads_a_card",
            {"raises": ReaderUnavailable("gone", code="reader_unplugged")},
            "unexpected reader_unplugged: gone",
        ),
    ],
)
def test_reader_that_breaks_a_promise_fails_the_check_of_it(
    name: str, options: dict[str, Any], reason: str
) -> None:
    assert _result(LyingReader(**options), name) == (Verdict.FAILED, reason)


def test_device_that_does_not_open_is_held_to_nothing_else() -> None:
    class Absent(LyingReader):
        def open(self) -> None:
            raise ReaderUnavailable("not there", code="reader_unplugged")

    told: list[object] = []
    reader = Absent()
    results = run_suite(reader, _hands_of(reader), wait_s=1, begin=told.append, end=told.append)
    assert [(result.name, result.verdict) for result in results] == [(OPEN, Verdict.FAILED)]
    assert told == results


def test_what_nobody_did_is_skipped_and_not_failed() -> None:
    class Absentminded:
        is_certain = False

        def do(self, action: Action) -> str:
            return ""

    check = next(check for check in CARD_CHECKS if check.name == "reads_a_card")
    result = run_check(check, LyingReader(), Absentminded(), wait_s=0.1)
    assert result.verdict is Verdict.SKIPPED
    assert "nobody did it" in result.reason
