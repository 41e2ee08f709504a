"""What a handheld scanner types becomes codes: whole ones, whatever the line does to them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Final

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from simulators.scanners.serial_gun import SerialGun
from terminal.devices.paths import make_device
from terminal.errors import ConfigurationError, PresentationRefused, ReaderUnavailable
from terminal.scanners import serial_scanner
from terminal.scanners.code_scanner import CODE_CHARS_MAX
from terminal.scanners.serial_scanner import SILENCE_MS, CodeEnd, SerialScanner, _Lines
from terminal.scanners.typed_codes import CODES_MAX

TEXT: Final = "P1:6BF$*F0 %-./: " + "8UC+XK4QT3Z" * 20
WAIT_MS: Final = 30_000
MS: Final = 1_000_000


@pytest.fixture
def gun() -> Iterator[SerialGun]:
    gun = SerialGun()
    gun.start()
    yield gun
    gun.stop()


@pytest.fixture
def scanner(gun: SerialGun) -> Iterator[SerialScanner]:
    scanner = SerialScanner(gun.device_path)
    scanner.open()
    yield scanner
    scanner.close()


@pytest.mark.parametrize("terminator", [b"\r", b"\n", b"\r\n"])
def test_every_line_end_ends_one_code(gun: SerialGun, scanner: SerialScanner, terminator: bytes) -> None:
    for text in (TEXT, "471234567890123451"):
        gun.scan(text, terminator=terminator)
        assert scanner.wait_for_code(WAIT_MS) == text
    assert scanner.wait_for_code(50) is None


def test_code_typed_byte_by_byte_is_one_code(
    gun: SerialGun, scanner: SerialScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A loaded machine makes pauses of its own between the bytes.
    monkeypatch.setattr(serial_scanner, "SILENCE_MS", 10_000)
    typing = threading.Thread(target=gun.scan, args=(TEXT,), kwargs={"byte_pause_s": 0.001})
    typing.start()
    assert scanner.wait_for_code(WAIT_MS) == TEXT
    typing.join()


def test_half_a_scan_is_refused_and_the_next_one_is_read(gun: SerialGun, scanner: SerialScanner) -> None:
    with structlog.testing.capture_logs() as logs:
        gun.scan_half(TEXT)
        with pytest.raises(PresentationRefused) as refusal:
            scanner.wait_for_code(WAIT_MS)
        gun.scan(TEXT)
        assert scanner.wait_for_code(WAIT_MS) == TEXT
    assert refusal.value.code == "code_incomplete"
    assert [entry["event"] for entry in logs] == ["half_scan_dropped"]
    assert TEXT[:20] not in str(logs)


def test_silence_ends_a_code_of_a_scanner_set_up_so(gun: SerialGun) -> None:
    scanner = make_device(f"serial:{gun.device_path}?end=silence")
    assert isinstance(scanner, SerialScanner)
    scanner.open()
    try:
        gun.scan(TEXT, terminator=b"")
        assert scanner.wait_for_code(WAIT_MS) == TEXT
    finally:
        scanner.close()


def test_control_bytes_for_flow_control_are_data(gun: SerialGun, scanner: SerialScanner) -> None:
    gun.type_bytes(b"A\x11B\x13C\r")
    assert scanner.wait_for_code(WAIT_MS) == "A\x11B\x13C"


def test_codes_typed_before_opening_are_not_of_this_sale(gun: SerialGun) -> None:
    gun.scan("OLD")
    scanner = SerialScanner(gun.device_path)
    scanner.open()
    try:
        gun.scan("NEW")
        assert scanner.wait_for_code(WAIT_MS) == "NEW"
    finally:
        scanner.close()


def test_second_owner_is_refused(gun: SerialGun, scanner: SerialScanner) -> None:
    with pytest.raises(ReaderUnavailable):
        SerialScanner(gun.device_path).open()
    gun.scan(TEXT)
    assert scanner.wait_for_code(WAIT_MS) == TEXT


def test_pulled_cable_is_noticed_while_waiting(gun: SerialGun, scanner: SerialScanner) -> None:
    threading.Timer(0.1, gun.stop).start()
    with pytest.raises(ReaderUnavailable):
        scanner.wait_for_code(WAIT_MS)


@pytest.mark.parametrize("path", ["/dev/does-not-exist", "/dev/null", "/etc/hostname"])
def test_what_is_no_serial_device_does_not_open(path: str) -> None:
    with pytest.raises(ReaderUnavailable):
        SerialScanner(path).open()


@pytest.mark.parametrize(
    "query",
    ["baud=", "baud=x", "baud=9600&baud=9600", "baud=1", "baud=99999999999", "end=never", "parity=n", "end="],
)
def test_unknown_setting_is_refused_before_opening(query: str) -> None:
    with pytest.raises(ConfigurationError):
        make_device(f"serial:/dev/ttyACM0?{query}")


def test_endless_line_is_kept_no_longer_than_a_code_can_be() -> None:
    lines = _Lines(CodeEnd.LINE)
    for number in range(2_000):
        lines.feed(b"x" * 1_000, number)
    assert len(lines._line) == CODE_CHARS_MAX + 1
    lines.feed(b"\rGOOD\r", 2_000)
    assert [lines.codes.take(), lines.codes.take()] == ["x" * (CODE_CHARS_MAX + 1), "GOOD"]


def test_scanner_gone_wild_keeps_only_the_newest_codes() -> None:
    lines = _Lines(CodeEnd.LINE)
    lines.feed(b"".join(b"%d\r" % number for number in range(1_000)), 0)
    assert list(iter(lines.codes.take, None)) == [str(number) for number in range(1_000 - CODES_MAX, 1_000)]


def test_pause_in_which_nobody_read_does_not_tear_a_code() -> None:
    lines = _Lines(CodeEnd.LINE)
    lines.feed(b"FIRST HALF ", 0)
    lines.feed(b"AND SECOND\r", 10 * SILENCE_MS * MS)
    assert lines.codes.take() == "FIRST HALF AND SECOND"


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_characters="\r\n"), min_size=1, max_size=99), max_size=8
    ),
    st.data(),
)
def test_codes_arrive_whole_however_the_line_cuts_them(texts: list[str], data: st.DataObject) -> None:
    typed = "".join(text + data.draw(st.sampled_from(["\r", "\n", "\r\n"])) for text in texts).encode("ascii")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(typed)), max_size=12)))
    lines = _Lines(CodeEnd.LINE)
    for now_ns, (start, end) in enumerate(itertools.pairwise([0, *cuts, len(typed)])):
        lines.feed(typed[start:end], now_ns)
    assert list(iter(lines.codes.take, None)) == texts


@given(st.lists(st.binary(max_size=3_000), max_size=20))
def test_any_bytes_give_bounded_texts_and_never_an_exception(pieces: list[bytes]) -> None:
    lines = _Lines(CodeEnd.SILENCE)
    for number, piece in enumerate(pieces):
        lines.feed(piece, number * SILENCE_MS * MS)
    codes = list(iter(lines.codes.take, None))
    assert len(codes) <= CODES_MAX
    assert all(0 < len(code) <= CODE_CHARS_MAX + 1 for code in codes)


def test_burst_arrives_in_its_order(gun: SerialGun, scanner: SerialScanner) -> None:
    codes = [f"CODE {number}" for number in range(CODES_MAX)]
    for code in codes:
        gun.scan(code)
    assert [scanner.wait_for_code(WAIT_MS) for _ in codes] == codes
    assert scanner.wait_for_code(0) is None
