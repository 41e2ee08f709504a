"""What only contactless readers can go through: blocks that lie, plugs that are pulled, odd chips."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.cards.payment_card import PaymentCard
from simulators.cards.uid_tag import UidTag
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.pn532 import Pn532Device
from simulators.fields.udp_radio import UdpRadio
from terminal.errors import (
    CardRemoved,
    ConfigurationError,
    PresentationRefused,
    ReaderNotInstalled,
    ReaderUnavailable,
)
from terminal.readers import contactless
from terminal.readers.card_reader import CardTechnology
from terminal.readers.contactless import ContactlessReader
from tests import patient_nfcpy
from tests.patient_nfcpy import patient_drivers

KEY = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
SELECT = bytes.fromhex("00A4040009F0504F53504159010100")
ATS_WITHOUT_INTERFACE_BYTES = bytes.fromhex("0228")
"""Allowed by ISO/IEC 14443-4, section 5.2, and an IndexError inside nfcpy."""


ACTIVATION = {"26": "0400", "9320": "0801020308", "93700801020308": "20", "E080": "067880700080"}


class RogueRadio:
    """A card on nfcpy's UDP radio that keeps to the rules up to RATS and then to none."""

    def __init__(self, answer_block: Callable[[bytes], bytes | None]) -> None:
        self._answer_block = answer_block
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.reader_path = f"contactless:udp:127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            datagram, reader = self._socket.recvfrom(1024)
            if datagram == b"stop":
                self._socket.close()
                return
            if datagram != b"RFOFF":
                self._answer(bytes.fromhex(datagram.split()[1].decode()), reader)

    def _answer(self, frame: bytes, reader: tuple[str, int]) -> None:
        known = ACTIVATION.get(frame.hex().upper())
        answer = bytes.fromhex(known) if known else self._answer_block(frame)
        if answer is not None:
            self._socket.sendto(b"106A " + answer.hex().encode(), reader)

    def stop(self) -> None:
        self._socket.sendto(b"stop", self._socket.getsockname())
        self._thread.join(timeout=5)


@pytest.fixture
def rogue() -> Iterator[Callable[[Callable[[bytes], bytes | None]], ContactlessReader]]:
    opened: list[tuple[RogueRadio, ContactlessReader]] = []

    def open_it(answer_block: Callable[[bytes], bytes | None]) -> ContactlessReader:
        radio = RogueRadio(answer_block)
        reader = ContactlessReader(radio.reader_path)
        reader.open()
        opened.append((radio, reader))
        return reader

    yield open_it
    for radio, reader in opened:
        reader.close()
        radio.stop()


RogueMaker = Callable[[Callable[[bytes], bytes | None]], ContactlessReader]


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[Pn532Device]:
    chip = Pn532Device(str(tmp_path / "ttyUSB77"), traits=IsoDepTraits(fwi=6))
    chip.start()
    with patient_drivers():
        yield chip
    chip.stop()


def _card(seed: int = 1) -> PaymentCard:
    return PaymentCard(KEY, rng=random.Random(seed))


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("F2", id="extension without time"),
        pytest.param("F200", id="extension of no time"),
        pytest.param("0390 00", id="wrong block number"),
        pytest.param("A3", id="receipt instead of an answer"),
        pytest.param("02", id="no information"),
        pytest.param("0290", id="half a status word"),
        pytest.param("FF", id="no block at all"),
    ],
)
def test_block_that_breaks_the_protocol_is_refused(rogue: RogueMaker, block: str) -> None:
    reader = rogue(lambda frame: bytes.fromhex(block))
    connection = reader.wait_for_card(1_000)
    assert connection is not None

    with pytest.raises((PresentationRefused, CardRemoved)) as refusal:
        connection.transmit(SELECT)

    assert refusal.value.code in {"card_answer_invalid", "card_removed"}
    connection.close()


@pytest.mark.parametrize(
    "answer_block",
    [
        pytest.param(lambda frame: b"\xf2\x01", id="asks for more time for ever"),
        pytest.param(lambda frame: bytes((0x12 | frame[0] & 1, 0)), id="chains its answer for ever"),
        pytest.param(lambda frame: b"\xa3", id="asks for the same block for ever"),
    ],
)
def test_answer_that_never_ends_is_cut_off(
    rogue: RogueMaker, answer_block: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contactless, "TRANSMIT_MS_MAX", 300)
    reader = rogue(answer_block)
    connection = reader.wait_for_card(1_000)
    assert connection is not None

    with pytest.raises(PresentationRefused) as refusal:
        connection.transmit(SELECT)
    assert refusal.value.code == "card_answer_invalid"


def test_card_that_cannot_be_activated_is_refused_once_until_it_leaves() -> None:
    radio = UdpRadio(ats=ATS_WITHOUT_INTERFACE_BYTES, announces_removal=True)
    radio.start()
    reader = ContactlessReader(radio.reader_path)
    reader.open()
    radio.present(_card())

    with pytest.raises(PresentationRefused) as refusal:
        reader.wait_for_card(1_000)
    assert refusal.value.code == "card_not_supported"
    assert reader.wait_for_card(50) is None

    radio.remove()
    assert reader.wait_for_card(0) is None
    radio.present(_card())
    with pytest.raises(PresentationRefused):
        reader.wait_for_card(1_000)
    reader.close()
    radio.stop()


def test_tear_that_the_radio_announces_is_a_removal_at_once() -> None:
    # A frame may wait longer than a whole command: without the word, this takes all of its time.
    radio = UdpRadio(traits=IsoDepTraits(fwi=14), announces_removal=True)
    radio.start()
    reader = ContactlessReader(radio.reader_path)
    reader.open()
    card = PaymentCard(KEY, rng=random.Random(1), tear_at_apdu=1)
    radio.present(card)
    connection = reader.wait_for_card(1_000)
    assert connection is not None

    started = time.monotonic()
    with pytest.raises(CardRemoved):
        connection.transmit(SELECT)
    assert time.monotonic() - started < contactless.TRANSMIT_MS_MAX / 1000
    reader.close()
    radio.stop()


def test_memory_tag_stays_present_and_is_never_sent_a_command(chip: Pn532Device) -> None:
    reader = ContactlessReader(chip.reader_path)
    reader.open()
    tag = UidTag(bytes.fromhex("05112233445566"))
    chip.present(tag)
    connection = reader.wait_for_card(1_000)

    assert connection is not None
    assert connection.technology is CardTechnology.UID_ONLY
    assert connection.is_present()
    with pytest.raises(CardRemoved):
        connection.transmit(SELECT)
    chip.remove()
    assert not connection.is_present()
    assert not tag.received
    reader.close()


def test_unplugged_reader_is_unavailable_and_works_when_plugged_in_again(chip: Pn532Device) -> None:
    reader = ContactlessReader(chip.reader_path)
    reader.open()
    assert reader.wait_for_card(0) is None
    chip.stop()

    with pytest.raises(ReaderUnavailable):
        reader.wait_for_card(100)
    with pytest.raises(ReaderUnavailable):
        reader.open()
    reader.close()
    reader.close()

    chip.start()
    reader.open()
    chip.present(_card())
    connection = reader.wait_for_card(1_000)
    assert connection is not None
    assert connection.transmit(SELECT)[-2:] == b"\x90\x00"
    reader.close()


def test_reader_unplugged_under_a_card_is_unavailable(chip: Pn532Device) -> None:
    reader = ContactlessReader(chip.reader_path)
    reader.open()
    chip.present(_card())
    connection = reader.wait_for_card(1_000)
    assert connection is not None
    chip.stop()

    with pytest.raises(ReaderUnavailable):
        connection.transmit(SELECT)
    assert not connection.is_present()
    connection.close()
    reader.close()


def test_card_comes_and_goes_without_a_trace_in_the_log(
    chip: Pn532Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    logging.getLogger("nfc").setLevel(0)
    reader = ContactlessReader(chip.reader_path)
    reader.open()
    card = _card()
    chip.present(card)
    connection = reader.wait_for_card(1_000)
    assert connection is not None
    connection.transmit(SELECT)
    reader.close()

    assert card.uid.hex() not in caplog.text.lower()
    assert SELECT.hex() not in caplog.text.lower()


def test_closed_reader_is_unavailable() -> None:
    with pytest.raises(ReaderUnavailable):
        ContactlessReader("contactless:udp:127.0.0.1:9").wait_for_card(0)


@pytest.mark.parametrize("device", ["usb:ffff:ffff", "tty:NOSUCH99:pn532", "tty:/dev/null:pn532"])
def test_device_that_is_not_there_is_unavailable(device: str) -> None:
    reader = ContactlessReader(f"contactless:{device}")
    with pytest.raises(ReaderUnavailable):
        reader.open()
    reader.close()


def test_serial_driver_that_does_not_exist_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        ContactlessReader("contactless:tty:/dev/ttyS0:../../evil")


def test_without_nfcpy_the_reader_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nfc", None)
    with pytest.raises(ReaderNotInstalled):
        ContactlessReader("contactless:usb").open()


def test_two_cards_in_one_field_are_refused_once_and_neither_is_asked_anything(chip: Pn532Device) -> None:
    reader = ContactlessReader(chip.reader_path)
    reader.open()
    one, other = _card(1), _card(2)
    chip.present_two(one, other)

    with pytest.raises(PresentationRefused) as refusal:
        reader.wait_for_card(1_000)
    assert refusal.value.code == "card_changed"
    assert reader.wait_for_card(100) is None
    assert not one.received
    assert not other.received

    # The second one is taken away: the first pays without being lifted.
    chip.present(one)
    connection = reader.wait_for_card(1_000)
    assert connection is not None
    assert connection.transmit(SELECT)[-2:] == b"\x90\x00"
    connection.close()
    reader.close()


def test_card_beside_a_memory_tag_is_refused_like_two_cards(chip: Pn532Device) -> None:
    reader = ContactlessReader(chip.reader_path)
    reader.open()
    chip.present_two(UidTag(bytes.fromhex("05112233445566")), _card())
    with pytest.raises(PresentationRefused) as refusal:
        reader.wait_for_card(1_000)
    assert refusal.value.code == "card_changed"
    reader.close()


def test_chip_that_hangs_is_unavailable_and_works_after_its_reset(
    chip: Pn532Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ContactlessReader(chip.reader_path)
    reader.open()
    chip.fall_silent()
    with monkeypatch.context() as impatient:
        impatient.setattr(patient_nfcpy, "PN532_MS", 0)
        with pytest.raises(ReaderUnavailable) as failure:
            reader.wait_for_card(1_000)
        assert failure.value.code == "reader_unplugged"
        reader.close()
    chip.wake()
    reader.open()
    chip.present(_card())
    assert reader.wait_for_card(1_000) is not None
    reader.close()


def test_noise_on_the_line_is_a_failure_or_nothing_and_the_reader_opens_again(chip: Pn532Device) -> None:
    reader = ContactlessReader(chip.reader_path)
    reader.open()
    for noise in (b"\xff" * 40, b"\x00\x00\xff\x05\xfb\xd5", bytes(range(256))):
        chip.babble(noise)
        try:
            assert reader.wait_for_card(50) is None
        except ReaderUnavailable:
            reader.close()
            reader.open()
    reader.close()
    reader.open()
    chip.present(_card())
    assert reader.wait_for_card(1_000) is not None
    reader.close()
