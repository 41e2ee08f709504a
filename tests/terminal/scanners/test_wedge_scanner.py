"""What a keyboard scanner's keys mean, and what its driver does when there is none to be had."""

from __future__ import annotations

import builtins
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.scanners.wedge_gun import DEVICE, KEYS, WedgeGun, WedgeJammed
from terminal.devices.paths import make_device
from terminal.errors import ConfigurationError, PresentationRefused, ReaderNotInstalled, ReaderUnavailable
from terminal.scanners.us_keyboard import KEY_CAPSLOCK, KEY_KPENTER, KEY_TAB, TYPED, type_key
from terminal.scanners.wedge_scanner import SILENCE_MS, WedgeScanner
from tests.wedge_host import RemoteScanner
from wire.codes.numeric import make_numeric_code

WAIT_MS = 30_000
"""Far more than any code needs; only a lost one is waited for so long."""
KEY_A, KEY_B, KEY_ENTER, KEY_CONTROL = 30, 48, 28, 29
needs_umockdev = pytest.mark.skipif(
    shutil.which("umockdev-run") is None, reason="umockdev is not installed: scripts/setup.sh says how"
)


@pytest.fixture
def gun(tmp_path: Path) -> Iterator[tuple[WedgeGun, RemoteScanner]]:
    """A scanner and the real driver that has it, in a process under umockdev."""
    gun, scanner = WedgeGun(tmp_path), RemoteScanner(f"wedge:{DEVICE}")
    scanner.host(gun.command)
    gun.plug_in()
    scanner.open()
    yield gun, scanner
    gun.pull_out()
    scanner.stop()


def test_every_character_of_ascii_is_typed_by_one_key() -> None:
    """Two tables, made apart: the driver's from keys to characters, the simulator's the other way."""
    printable = [chr(code) for code in range(32, 127)]
    assert sorted(KEYS) == sorted(printable)
    for character, (key, is_shifted) in KEYS.items():
        assert type_key(key, is_shifted=is_shifted, is_caps=False) == character


def test_caps_lock_turns_letters_only_and_shift_turns_them_back() -> None:
    assert type_key(KEY_A, is_shifted=False, is_caps=True) == "A"
    assert type_key(KEY_A, is_shifted=True, is_caps=True) == "a"
    assert type_key(2, is_shifted=False, is_caps=True) == "1"


def test_keys_that_are_none_of_ours_spoil_a_text_and_pass_none_off() -> None:
    unknown = [key for key in range(256) if key not in TYPED]
    assert {type_key(key, is_shifted=False, is_caps=False) for key in unknown} == {"\ufffd"}


@needs_umockdev
class TestUnderUmockdev:
    @pytest.mark.parametrize("suffix", [KEY_ENTER, KEY_KPENTER, KEY_TAB])
    def test_every_printable_character_arrives(
        self, gun: tuple[WedgeGun, RemoteScanner], suffix: int
    ) -> None:
        text = "".join(chr(code) for code in range(33, 127))
        gun[0].scan(text, suffix=suffix)
        assert gun[1].wait_for_code(WAIT_MS) == text

    def test_a_key_that_is_held_types_once(self, gun: tuple[WedgeGun, RemoteScanner]) -> None:
        held = [(KEY_A, 1), (KEY_A, 2), (KEY_A, 2), (KEY_A, 0), (KEY_B, 1), (KEY_B, 0)]
        gun[0].press([*held, (KEY_ENTER, 1), (KEY_ENTER, 0)])
        assert gun[1].wait_for_code(WAIT_MS) == "ab"

    def test_control_keys_type_nothing_and_caps_lock_is_obeyed(
        self, gun: tuple[WedgeGun, RemoteScanner]
    ) -> None:
        gun[0].press([(KEY_CONTROL, 1), (KEY_CONTROL, 0), (KEY_CAPSLOCK, 1), (KEY_CAPSLOCK, 0)])
        gun[0].scan("aB1")
        assert gun[1].wait_for_code(WAIT_MS) == "Ab1"

    def test_half_a_scan_is_refused_and_the_next_one_is_whole(
        self, gun: tuple[WedgeGun, RemoteScanner]
    ) -> None:
        gun[0].scan("P1:HALF", suffix=None)
        with pytest.raises(PresentationRefused) as refusal:
            gun[1].wait_for_code(WAIT_MS)
        assert refusal.value.code == "code_incomplete"
        gun[0].scan(code := make_numeric_code("7" * 15))
        assert gun[1].wait_for_code(WAIT_MS) == code

    def test_a_slow_scanner_is_waited_for(self, gun: tuple[WedgeGun, RemoteScanner]) -> None:
        gun[0].scan("SLOW", pause_ms=SILENCE_MS // 10)
        assert gun[1].wait_for_code(WAIT_MS) == "SLOW"

    def test_a_burst_leaves_the_newest_codes(self, gun: tuple[WedgeGun, RemoteScanner]) -> None:
        codes = [make_numeric_code(f"{number:015d}") for number in range(3)]
        for code in codes:
            gun[0].scan(code)
        assert [gun[1].wait_for_code(WAIT_MS) for _ in codes] == codes


def test_without_its_library_it_is_off_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_evdev(name: str, *arguments: object) -> object:
        if name == "evdev":
            raise ImportError(name)
        return real_import(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_evdev)
    with pytest.raises(ReaderNotInstalled, match="evdev"):
        WedgeScanner("/dev/input/event0").open()


def test_a_device_that_is_not_there_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(ReaderUnavailable) as failure:
        WedgeScanner(str(tmp_path / "event0")).open()
    assert failure.value.code == "reader_unplugged"


def test_a_file_that_is_no_input_device_is_a_failure_and_not_a_crash(tmp_path: Path) -> None:
    (path := tmp_path / "event0").touch()
    with pytest.raises(ReaderUnavailable):
        WedgeScanner(str(path)).open()


@pytest.mark.parametrize("path", ["wedge:", "wedge:event0", "wedge:0"])
def test_a_path_that_names_no_device_is_said_at_the_start(path: str) -> None:
    with pytest.raises(ConfigurationError):
        make_device(path)


def test_the_simulator_types_only_what_a_keyboard_can_and_to_somebody(tmp_path: Path) -> None:
    gun = WedgeGun(tmp_path)
    with pytest.raises(WedgeJammed):
        gun.scan("付款码")
    with pytest.raises(WedgeJammed):
        gun.scan("P1:")
