"""What only PC/SC readers can go through: pcscd restarts, wrong names, cards without a usable ATR."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.cards.payment_card import PaymentCard
from simulators.cards.uid_tag import UidTag
from simulators.fields.private_pcscd import PrivatePcscd, VirtualSlot, find_missing
from simulators.fields.vpcd import VpcdSlot
from terminal.errors import CardRemoved, PresentationRefused, ReaderNotInstalled, ReaderUnavailable
from terminal.readers.card_reader import CardTechnology
from terminal.readers.pcsc import PcscConnection, PcscReader, choose_reader

pytestmark = pytest.mark.pcsc

KEY = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
SELECT = bytes.fromhex("00A4040009F0504F53504159010100")


@pytest.fixture(scope="module")
def pcscd() -> Iterator[PrivatePcscd]:
    if missing := find_missing():
        pytest.skip("; ".join(missing))
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed")
    # libpcsclite reads the variable once per process: every test here gives the same folder.
    folder = Path(tempfile.gettempdir()) / f"tapscan-test-pcsc-{os.getpid()}"
    with PrivatePcscd(("Reader",), socket_folder=folder) as pcscd:
        os.environ.update(pcscd.environment)
        yield pcscd
    folder.rmdir()


@pytest.fixture
def address(pcscd: PrivatePcscd) -> VirtualSlot:
    return pcscd.slots[0]


@pytest.fixture
def reader(address: VirtualSlot) -> Iterator[PcscReader]:
    reader = PcscReader(address.reader_name)
    reader.open()
    yield reader
    reader.close()
    reader.close()


@pytest.fixture
def slot(address: VirtualSlot, reader: PcscReader) -> Iterator[VpcdSlot]:
    slot = VpcdSlot(address.port, reader_name=address.reader_name)
    yield slot
    slot.stop()
    _await_empty(reader)


def _card(**options: int) -> PaymentCard:
    return PaymentCard(KEY, rng=random.Random(1), tear_at_apdu=options.get("tear_at_apdu"))


def _met(reader: PcscReader) -> PcscConnection:
    connection = reader.wait_for_card(2_000)
    assert connection is not None
    return connection


def _await_empty(reader: PcscReader) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if reader.wait_for_card(0) is None:
                return
        except (PresentationRefused, ReaderUnavailable):
            return
        threading.Event().wait(0.02)
    raise AssertionError("the slot does not become empty")


def test_path_names_the_reader() -> None:
    assert PcscReader("ACS ACR122U 00 00").path == "pcsc:ACS ACR122U 00 00"


def test_reader_that_is_not_there_is_unavailable(pcscd: PrivatePcscd) -> None:
    reader = PcscReader("No Such Reader 00 00")
    with pytest.raises(ReaderUnavailable, match="no such reader"):
        reader.open()
    reader.close()


def test_whole_name_goes_before_a_beginning_and_numbers_may_change() -> None:
    names = ["ACS ACR122U 00 00", "ACS ACR122U 00 00 00 01", "Dual 01 00", "Dual 01 01"]
    assert choose_reader("ACS ACR122U 00 00", names) == "ACS ACR122U 00 00"
    assert choose_reader("Dual 01 01", names) == "Dual 01 01"
    assert choose_reader("ACS ACR122U", ["ACS ACR122U 02 00"]) == "ACS ACR122U 02 00"
    with pytest.raises(ReaderUnavailable, match="no such reader"):
        choose_reader("ACS ACR", ["ACS ACR122U 02 00"])


def test_beginning_of_several_names_is_refused(pcscd: PrivatePcscd, address: VirtualSlot) -> None:
    reader = PcscReader(address.reader_name.rsplit(" ", 2)[0])
    with pytest.raises(ReaderUnavailable, match="several"):
        reader.open()
    reader.close()


def test_card_left_lying_is_met_again_after_its_connection_was_closed(
    reader: PcscReader, slot: VpcdSlot
) -> None:
    slot.present(_card())
    _met(reader).close()
    connection = _met(reader)
    assert connection.transmit(SELECT)[-2:] == b"\x90\x00"
    connection.close()


def test_storage_card_is_a_uid_only_card(reader: PcscReader, slot: VpcdSlot) -> None:
    slot.present(UidTag(bytes.fromhex("05112233445566")))
    assert _met(reader).technology is CardTechnology.UID_ONLY


def test_closing_a_connection_does_not_reset_the_next_card(reader: PcscReader, slot: VpcdSlot) -> None:
    slot.present(_card())
    first = _met(reader)
    slot.remove()
    successor = _card()
    slot.present(successor)
    deadline = time.monotonic() + 5
    while first.is_present():
        assert time.monotonic() < deadline
    first.close()
    connection = _met(reader)
    assert connection.transmit(SELECT)[-2:] == b"\x90\x00"
    slot.remove()
    while connection.is_present():
        assert time.monotonic() < deadline, "pcscd lost track of the slot"
    connection.close()


def test_torn_connection_never_reaches_the_card_that_comes_next(reader: PcscReader, slot: VpcdSlot) -> None:
    slot.present(_card(tear_at_apdu=1))
    connection = _met(reader)
    with pytest.raises(CardRemoved):
        connection.transmit(SELECT)
    successor = _card()
    slot.present(successor)
    # Five of pcscd's polls: by now the driver would carry the old handle's commands to the new card.
    threading.Event().wait(0.1)

    for _ in range(3):
        with pytest.raises(CardRemoved):
            connection.transmit(SELECT)
    assert not connection.is_present()
    assert not successor.received
    connection.close()
    assert _met(reader).transmit(SELECT)[-2:] == b"\x90\x00"


@pytest.mark.parametrize("atr", [b"\x00", b"\x3b" * 40], ids=["no ATR", "too long"])
def test_card_that_cannot_be_activated_is_refused_once(
    reader: PcscReader, address: VirtualSlot, atr: bytes
) -> None:
    slot = VpcdSlot(address.port, reader_name=address.reader_name, atr=atr)
    slot.present(_card())

    with pytest.raises(PresentationRefused) as refusal:
        reader.wait_for_card(2_000)
    assert refusal.value.code == "card_not_supported"
    assert reader.wait_for_card(100) is None
    slot.stop()
    honest = VpcdSlot(address.port)
    honest.present(_card())
    assert _met(reader).transmit(SELECT)[-2:] == b"\x90\x00"
    honest.stop()
    _await_empty(reader)


def test_restart_of_pcscd_is_survived_by_opening_again(pcscd: PrivatePcscd, address: VirtualSlot) -> None:
    reader = PcscReader(address.reader_name)
    reader.open()
    assert reader.wait_for_card(0) is None
    pcscd.restart()

    with pytest.raises(ReaderUnavailable):
        reader.wait_for_card(100)
    reader.close()
    reader.open()
    slot = VpcdSlot(address.port, reader_name=address.reader_name)
    slot.present(_card())
    assert _met(reader).transmit(SELECT)[-2:] == b"\x90\x00"
    slot.stop()
    _await_empty(reader)
    reader.close()


def test_waiting_reader_notices_that_pcscd_stopped(pcscd: PrivatePcscd, address: VirtualSlot) -> None:
    reader = PcscReader(address.reader_name)
    reader.open()
    restart = threading.Timer(0.1, pcscd.restart)
    restart.start()
    started = time.monotonic()
    with pytest.raises(ReaderUnavailable):
        reader.wait_for_card(5_000)
    assert time.monotonic() - started < 5
    restart.join()
    reader.close()


def test_closed_reader_is_unavailable() -> None:
    with pytest.raises(ReaderUnavailable):
        PcscReader("Reader 00 00").wait_for_card(0)


def test_without_pyscard_the_reader_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smartcard.scard", None)
    with pytest.raises(ReaderNotInstalled):
        PcscReader("Reader 00 00").open()
