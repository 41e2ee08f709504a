"""One suite for every way a code can reach the till: the same codes, the same outcomes.

Paths: a camera over MJPEG, a camera that is a picture file, a handheld scanner on a pseudo-terminal and one
that types as a keyboard (all four made by the daemon's own factory from a path), and a scanner object in the
same process. What any scanner must do besides is in test_conformance.py.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.phones.phone import Phone
from simulators.scanners.serial_gun import SerialGun
from simulators.screens.mjpeg import MjpegServer
from simulators.screens.picture_file import PictureFile
from simulators.screens.render import render_frame
from terminal.devices.paths import make_device
from terminal.errors import ReaderUnavailable
from terminal.scanners.code_scanner import CodeScanner, cut_code
from tests.wedge_host import WedgeStand
from wire.codes.luhn import luhn_digit
from wire.codes.numeric import make_numeric_code
from wire.codes.scanned import recognise
from wire.errors import PaymentCodeError
from wire.messages.payments import CodeNumericPresentation, QrConsumerPresentation
from wire.money import Money, find_currency

WAIT_MS: Final = 30_000
"""Far more than any path needs; only a lost code ever waits so long."""
HOSTILE_MS: Final = 4_000
"""The same for what may come to nothing, as cameras see no code in a picture of it."""
NOW_MS: Final = 1_770_000_000_000
TOKEN_PAN: Final = "637500000000000" + luhn_digit("637500000000000")
CAP: Final = Money(5_000, find_currency("EUR"))


class Hand(Protocol):
    """A customer's hand: holds a code to whatever the till has."""

    def present(self, text: str) -> None:
        """Show the code, or scan it."""

    def withdraw(self) -> None:
        """Take it away."""


class MjpegHand:
    def __init__(self) -> None:
        self.server = MjpegServer()
        self.server.start()
        self.path = f"camera:{self.server.url}"

    def present(self, text: str) -> None:
        self.server.show(render_frame(text, width=800, height=600))

    def withdraw(self) -> None:
        self.server.show(None)


class FileHand:
    def __init__(self, folder: Path) -> None:
        self.file = PictureFile(folder / "camera.png")
        self.path = f"camera:file:{self.file.path}"

    def present(self, text: str) -> None:
        self.file.show(render_frame(text, width=800, height=600))

    def withdraw(self) -> None:
        self.file.show(None)


class SerialHand:
    def __init__(self, folder: Path) -> None:
        self.gun = SerialGun(folder / "ttyGUN0")
        self.gun.start()
        self.path = f"serial:{self.gun.device_path}"

    def present(self, text: str) -> None:
        self.gun.scan(text)

    def withdraw(self) -> None:
        return


class DirectScanner(CodeScanner):
    """A scanner and its hand in one: the shortest thing that keeps the contract."""

    path = "direct:scanner"

    def __init__(self) -> None:
        self._codes: deque[str] = deque(maxlen=8)
        self._changed = threading.Condition()
        self._is_open = False

    def open(self) -> None:
        self._is_open = True

    def wait_for_code(self, timeout_ms: int) -> str | None:
        with self._changed:
            if not self._is_open:
                raise ReaderUnavailable("not open")
            self._changed.wait_for(lambda: self._codes, timeout_ms / 1000)
            return self._codes.popleft() if self._codes else None

    def close(self) -> None:
        self._is_open = False
        self._codes.clear()

    def present(self, text: str) -> None:
        with self._changed:
            self._codes.append(cut_code(text))
            self._changed.notify_all()

    def withdraw(self) -> None:
        return


def _make_pair(kind: str, folder: Path) -> tuple[Hand, CodeScanner]:
    if kind == "direct":
        scanner = DirectScanner()
        return scanner, scanner
    if kind == "wedge":
        if shutil.which("umockdev-run") is None:
            pytest.skip("umockdev is not installed: scripts/setup.sh says how")
        wedge = WedgeStand(folder)
        return wedge, wedge.scanner
    makers = {
        "camera-http": MjpegHand,
        "camera-file": lambda: FileHand(folder),
        "serial": lambda: SerialHand(folder),
    }
    hand = makers[kind]()
    device = make_device(hand.path)
    assert hasattr(device, "wait_for_code")
    return hand, device


@pytest.fixture(params=["camera-http", "camera-file", "serial", "wedge", "direct"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Hand, CodeScanner]]:
    hand, scanner = _make_pair(request.param, tmp_path)
    scanner.open()
    yield hand, scanner
    scanner.close()
    hand.withdraw()
    if request.param != "direct":
        gun = hand if request.param == "wedge" else getattr(hand, "gun", None)
        for device in (getattr(hand, "server", None), gun):
            if device is not None:
                device.stop()


def _phone() -> Phone:
    key = ec.derive_private_key(0xC0DE, ec.SECP256R1())
    return Phone(key, rng=random.Random(7), token_pan=TOKEN_PAN)


def _wait_out(scanner: CodeScanner) -> None:
    """Wait until the scanner sees nothing any more."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while scanner.wait_for_code(300) is not None:
        assert time.monotonic() < deadline


def test_path_is_what_the_device_was_made_from(pair: tuple[Hand, CodeScanner]) -> None:
    hand, scanner = pair
    assert scanner.path == getattr(hand, "path", None)


@pytest.mark.parametrize("form", ["cpm", "base45", "base32"])
def test_phone_code_arrives_word_for_word(pair: tuple[Hand, CodeScanner], form: str) -> None:
    hand, scanner = pair
    text = _phone().pay_code(NOW_MS, CAP, form=form)
    hand.present(text)
    assert scanner.wait_for_code(WAIT_MS) == text
    assert isinstance(recognise(text), QrConsumerPresentation)


def test_numeric_code_arrives_word_for_word(pair: tuple[Hand, CodeScanner]) -> None:
    hand, scanner = pair
    text = make_numeric_code("123456789012345")
    hand.present(text)
    assert scanner.wait_for_code(WAIT_MS) == text
    assert isinstance(recognise(text), CodeNumericPresentation)


@pytest.mark.parametrize(
    "hostile", ["\x00\x01\x02", "ü" * 40, "付款码" * 20, "\U0001f4b8" * 9, "]Q3\x1d01", "P1:%%%", "47"]
)
def test_hostile_code_is_a_text_that_is_refused_or_nothing(
    pair: tuple[Hand, CodeScanner], hostile: str
) -> None:
    hand, scanner = pair
    hand.present(hostile)
    text = scanner.wait_for_code(HOSTILE_MS)
    if text is not None:
        with pytest.raises(PaymentCodeError):
            recognise(text)
    hand.withdraw()
    _wait_out(scanner)
    honest = make_numeric_code("9" * 15)
    hand.present(honest)
    assert scanner.wait_for_code(WAIT_MS) == honest
