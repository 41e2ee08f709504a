"""nfcpy's UDP radio, card side, spoken to in datagrams."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulators.fields import udp_radio
from simulators.fields.udp_radio import UdpRadio


@pytest.fixture
def radio() -> Iterator[UdpRadio]:
    radio = UdpRadio()
    radio.start()
    yield radio
    radio.stop()
    radio.stop()


@pytest.fixture
def reader(radio: UdpRadio) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader:
        reader.connect(("127.0.0.1", int(radio.reader_path.rpartition(":")[2])))
        reader.settimeout(2.0)
        yield reader


def test_card_in_the_field_answers_sens_req(radio: UdpRadio, reader: socket.socket, card: Any) -> None:
    radio.present(card)
    reader.send(b"106A 26")
    assert reader.recv(1024) == b"106A 0400"


def test_card_that_comes_later_answers_the_waiting_sens_req(
    radio: UdpRadio, reader: socket.socket, card: Any
) -> None:
    reader.send(b"106A 26")
    _await(lambda: _has_taken_everything(radio))
    radio.present(card)
    assert reader.recv(1024) == b"106A 0400"


def test_stale_sens_req_is_left_alone(
    radio: UdpRadio, reader: socket.socket, card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_radio, "SENSE_HELD_S_MAX", 0.0)
    reader.send(b"106A 26")
    _await(lambda: _has_taken_everything(radio))
    radio.present(card)

    reader.setblocking(False)
    with pytest.raises(BlockingIOError):
        reader.recv(1024)


def test_field_off_takes_the_cards_power(radio: UdpRadio, reader: socket.socket, card: Any) -> None:
    radio.present(card)
    reader.send(b"106A 26")
    reader.recv(1024)
    assert card.powered

    reader.send(b"RFOFF")
    _await(lambda: not card.powered)


def test_reader_that_died_without_field_off_is_followed_by_a_fresh_power_up(
    radio: UdpRadio, reader: socket.socket, card: Any
) -> None:
    radio.present(card)
    reader.send(b"106A 26")
    reader.recv(1024)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as successor:
        successor.connect(reader.getpeername())
        successor.settimeout(2.0)
        successor.send(b"106A 26")
        successor.recv(1024)
    assert card.power_ons == 2


@pytest.mark.parametrize("datagram", [b"", b"106A", b"106A zz", b"212F 00", b"\xff\xfe \xfd", b"106A 2"])
def test_rubbish_is_met_with_silence(
    radio: UdpRadio, reader: socket.socket, card: Any, datagram: bytes
) -> None:
    radio.present(card)
    reader.send(datagram)
    reader.send(b"106A 26")
    assert reader.recv(1024) == b"106A 0400"


def test_removal_is_announced_where_asked_for(card: Any) -> None:
    radio = UdpRadio(announces_removal=True)
    radio.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader:
        reader.connect(("127.0.0.1", int(radio.reader_path.rpartition(":")[2])))
        reader.settimeout(2.0)
        radio.present(card)
        reader.send(b"106A 26")
        reader.recv(1024)
        radio.remove()
        assert reader.recv(1024) == b"RFOFF"
    radio.stop()


def test_radio_is_reachable_from_this_machine_only(radio: UdpRadio) -> None:
    assert radio.reader_path.startswith("contactless:udp:127.0.0.1:")


def test_broken_card_falls_out_of_the_field_and_the_next_one_works(
    radio: UdpRadio, reader: socket.socket, card: Any
) -> None:
    class Broken:
        uid = bytes.fromhex("08010203")
        historical_bytes = b""

        def power_on(self) -> None: ...

        def power_off(self) -> None: ...

        def transmit(self, command: bytes) -> bytes:
            raise ZeroDivisionError

    radio.present(Broken())
    for frame in (b"26", b"9320", b"93700801020308", b"E080"):
        reader.send(b"106A " + frame)
        reader.recv(1024)
    reader.send(b"106A 0200")
    radio.present(card)
    reader.send(b"106A 26")
    assert reader.recv(1024) == b"106A 0400"


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.002)


def _has_taken_everything(radio: UdpRadio) -> bool:
    """Say whether no datagram waits; what the radio is asked next then comes after all of them."""
    assert radio._socket is not None
    try:
        radio._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    return False
