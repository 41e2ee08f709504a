"""The simulated gun types what it scans, byte for byte, and can be pulled and plugged in again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.scanners import serial_gun
from simulators.scanners.serial_gun import GunJammed, SerialGun


@pytest.fixture
def gun(tmp_path: Path) -> Iterator[SerialGun]:
    gun = SerialGun(tmp_path / "ttyGUN")
    gun.start()
    yield gun
    gun.stop()


def _open(gun: SerialGun) -> int:
    return os.open(gun.device_path, os.O_RDWR | os.O_NOCTTY)


def _read(descriptor: int, byte_count: int) -> bytes:
    data = b""
    while len(data) < byte_count:
        data += os.read(descriptor, byte_count - len(data))
    return data


@pytest.mark.parametrize("typed", [b"P1:AB C%$\r", b"\n\x00\x03\x04\x11\x13\x1a\x7f\xff", b"x" * 3000])
def test_bytes_arrive_as_typed(gun: SerialGun, typed: bytes) -> None:
    descriptor = _open(gun)
    gun.type_bytes(typed)
    assert _read(descriptor, len(typed)) == typed
    os.close(descriptor)


def test_scan_ends_with_a_carriage_return_unless_set_up_otherwise(gun: SerialGun) -> None:
    descriptor = _open(gun)
    gun.scan("ABC")
    gun.scan("DEF", terminator=b"\r\n")
    gun.scan_half("GHIJ")
    assert _read(descriptor, 11) == b"ABC\rDEF\r\nGH"
    os.close(descriptor)


def test_slow_line_types_byte_by_byte(gun: SerialGun) -> None:
    descriptor = _open(gun)
    started = time.monotonic()
    gun.scan("ABCDEFGHI", byte_pause_s=0.01)
    assert time.monotonic() - started >= 0.1
    assert _read(descriptor, 10) == b"ABCDEFGHI\r"
    os.close(descriptor)


def test_pulled_gun_is_gone_and_comes_back_under_its_link(gun: SerialGun) -> None:
    descriptor = _open(gun)
    gun.stop()
    gun.stop()
    assert not os.path.lexists(gun.device_path)
    assert _read_end(descriptor) == b""
    os.close(descriptor)
    with pytest.raises(GunJammed):
        gun.scan("ABC")
    gun.start()
    descriptor = _open(gun)
    gun.scan("ABC")
    assert _read(descriptor, 4) == b"ABC\r"
    os.close(descriptor)


def test_code_that_nobody_takes_is_lost_after_its_time(
    gun: SerialGun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_gun, "WRITE_S_MAX", 0.2)
    with pytest.raises(GunJammed):
        gun.type_bytes(bytes(1 << 20))


def test_pulling_the_cable_ends_a_scan_that_is_under_way(gun: SerialGun) -> None:
    outcome: list[BaseException] = []

    def scan() -> None:
        try:
            gun.scan("A" * 1000, byte_pause_s=0.05)
        except GunJammed as jam:
            outcome.append(jam)

    scanning = threading.Thread(target=scan)
    scanning.start()
    gun.stop()
    scanning.join(timeout=3)
    assert len(outcome) == 1


def _read_end(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1)
    except OSError:  # Linux hangs up with EIO
        return b""
