"""The simulated PN532 in front of nfcpy's own driver, and its frames by themselves."""

from __future__ import annotations

import importlib
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.cards.uid_tag import UidTag
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.pn532 import Pn532Device, crc_a
from simulators.fields.pn532_frames import ACK, NACK, SYNTAX_ERROR, FrameReader, dump_response
from tests.patient_nfcpy import patient_drivers

nfc = pytest.importorskip("nfc", reason="nfcpy is not installed")
for name in ("nfc.clf.pn532", "nfc.clf.transport", "nfc.tag.tt4"):
    importlib.import_module(name)


@pytest.fixture
def chip() -> Iterator[Pn532Device]:
    chip = Pn532Device(traits=IsoDepTraits(fwi=6))
    chip.start()
    with patient_drivers():
        yield chip
    chip.stop()
    chip.stop()


@pytest.fixture
def frontend(chip: Pn532Device) -> Iterator[Any]:
    frontend = nfc.ContactlessFrontend()
    frontend.device = nfc.clf.pn532.init(nfc.clf.transport.TTY(chip.device_path))
    frontend.device._path = chip.device_path
    yield frontend
    frontend.close()


def _sense(frontend: Any, technology: str = "106A") -> Any:
    return frontend.sense(nfc.clf.RemoteTarget(technology), iterations=1)


def test_driver_opens_the_chip_and_negotiates_its_speed(frontend: Any, chip: Pn532Device) -> None:
    assert frontend.device.chipset_name == "PN532v1.6"
    assert chip.baud_rate == 921_600
    frontend.close()
    assert chip.baud_rate == 115_200


def test_driver_activates_an_iso_dep_card_and_exchanges_apdus(
    frontend: Any, chip: Pn532Device, card: Any
) -> None:
    chip.present(card)
    target = _sense(frontend)
    tag = nfc.tag.activate(frontend, target)

    assert bytes(target.sdd_res) == card.uid
    assert tag.type == "Type4Tag"
    assert tag.transceive(bytes(250)) == bytes(250) + b"\x90\x00"
    assert tag.transceive(bytes(600)) == bytes(600) + b"\x90\x00"
    assert tag.is_present
    chip.remove()
    assert not tag.is_present


def test_driver_reads_a_type_2_tag_whose_checksum_it_checks_itself(frontend: Any, chip: Pn532Device) -> None:
    chip.present(UidTag(bytes.fromhex("05112233445566")))
    tag = nfc.tag.activate(frontend, _sense(frontend))

    assert tag.type == "Type2Tag"
    assert tag.read(0)[:3] == bytes.fromhex("051122")
    assert tag.write(4, b"\x01\x02\x03\x04")
    assert tag.read(4)[:4] == b"\x01\x02\x03\x04"


def test_search_finds_a_card_that_comes_while_it_lasts(frontend: Any, chip: Pn532Device, card: Any) -> None:
    # More tries than the driver asks for, so that the tap is sure to fall into one search.
    frontend.device.chipset.rf_configuration(0x05, b"\x01\x00\x30")
    frontend.device.chipset.command(0x4A, b"\x01\x00", timeout=0)
    chip.present(card)
    started = time.monotonic()
    response = frontend.device.chipset.read_frame(700)

    assert response[5:9] == bytes.fromhex("D54B0101")
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize("technology", ["106A", "106B", "212F"])
def test_empty_field_has_no_target(frontend: Any, technology: str) -> None:
    assert _sense(frontend, technology) is None


def test_switching_the_field_off_takes_the_cards_power(frontend: Any, chip: Pn532Device, card: Any) -> None:
    chip.present(card)
    assert _sense(frontend)
    assert card.powered
    frontend.sense()
    assert not card.powered


def test_silent_card_costs_the_configured_timeout(frontend: Any, chip: Pn532Device, card: Any) -> None:
    chip.present(card)
    tag = nfc.tag.activate(frontend, _sense(frontend))
    card.torn = True

    with pytest.raises(nfc.tag.tt4.Type4TagCommandError):
        tag.transceive(b"\x00\xa4\x04\x00")


def test_link_names_the_device_as_long_as_it_is_there(tmp_path: Path) -> None:
    link = tmp_path / "ttyUSB77"
    chip = Pn532Device(str(link))
    chip.start()
    assert chip.reader_path == f"contactless:tty:{link}:pn532"
    assert os.readlink(link).startswith("/dev/pts/")
    chip.stop()
    assert not link.is_symlink()


def test_unknown_command_is_a_syntax_error(chip: Pn532Device) -> None:
    host = os.open(chip.device_path, os.O_RDWR | os.O_NOCTTY)
    os.write(host, _host_frame(b"\x60\x00"))
    assert _read(host, len(ACK + SYNTAX_ERROR)) == ACK + SYNTAX_ERROR
    os.close(host)


def test_host_that_missed_a_response_gets_it_again(chip: Pn532Device) -> None:
    host = os.open(chip.device_path, os.O_RDWR | os.O_NOCTTY)
    version = dump_response(0x02, bytes.fromhex("32010607"))
    os.write(host, bytes.fromhex("0000FF02FED4022A00"))
    assert _read(host, len(ACK + version)) == ACK + version
    os.write(host, NACK)
    assert _read(host, len(version)) == version
    os.close(host)


def test_crc_a_is_that_of_the_standard() -> None:
    # ISO/IEC 14443-3, annex B.3: the frames 00 00 and 12 34.
    assert crc_a(bytes.fromhex("0000")) == bytes.fromhex("A01E")
    assert crc_a(bytes.fromhex("1234")) == bytes.fromhex("26CF")


def _host_frame(body: bytes) -> bytes:
    frame = bytearray(dump_response(0, b"")[:3])
    if len(body) < 255:
        frame += bytes((len(body) + 1, -(len(body) + 1) & 0xFF))
    else:
        length = (len(body) + 1).to_bytes(2, "big")
        frame += b"\xff\xff" + length + bytes((-sum(length) & 0xFF,))
    return bytes(frame) + b"\xd4" + body + bytes((-(0xD4 + sum(body)) & 0xFF, 0))


@given(bodies=st.lists(st.binary(min_size=1, max_size=264), max_size=4), cut=st.integers(1, 40))
def test_frames_are_found_however_they_are_cut(bodies: list[bytes], cut: int) -> None:
    stream = b"".join(b"\x00" * 10 + _host_frame(body) for body in bodies)
    reader = FrameReader()
    found = [
        frame for index in range(0, len(stream), cut) for frame in reader.feed(stream[index : index + cut])
    ]
    assert found == bodies


@given(data=st.binary(max_size=600))
def test_any_bytes_are_frames_or_nothing(data: bytes) -> None:
    assert all(isinstance(frame, bytes) for frame in FrameReader().feed(data))


def _read(descriptor: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        assert select.select([descriptor], [], [], 5)[0], "the chip keeps silent"
        data += os.read(descriptor, count - len(data))
    return data


LIST_TWO = (0x4A, bytearray((2, 0)))
"""InListPassiveTarget for at most two Type A cards; nfcpy itself always asks for one."""


def test_chip_lists_two_cards_and_leaves_both_halted(frontend: Any, chip: Pn532Device, card: Any) -> None:
    other = UidTag(bytes.fromhex("05112233445566"))
    chip.present_two(card, other)
    found = frontend.device.chipset.command(*LIST_TWO, timeout=1.0)
    assert found[0] == 2
    assert card.uid in bytes(found)
    assert other.uid in bytes(found)


def test_chip_that_counted_one_card_leaves_it_halted_until_the_field_is_new(
    frontend: Any, chip: Pn532Device, card: Any
) -> None:
    chip.present(card)
    assert frontend.device.chipset.command(*LIST_TWO, timeout=1.0)[0] == 1
    assert frontend.device.chipset.in_list_passive_target(1, 0, b"") is None
    assert _sense(frontend) is not None


def test_chip_counts_no_card_where_there_is_none(frontend: Any) -> None:
    assert frontend.device.chipset.command(*LIST_TWO, timeout=1.0)[0] == 0


def test_removing_takes_both_cards(frontend: Any, chip: Pn532Device, card: Any) -> None:
    chip.present_two(card, UidTag(bytes.fromhex("05112233445566")))
    chip.remove()
    assert frontend.device.chipset.command(*LIST_TWO, timeout=1.0)[0] == 0
