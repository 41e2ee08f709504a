"""A card in a vpcd slot, spoken to as pcscd's driver does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simulators.cards.uid_tag import UidTag
from simulators.fields.vpcd import VpcdSlot, atr_of

POWER_OFF, POWER_ON, RESET, GET_ATR = b"\x00", b"\x01", b"\x02", b"\x04"


class Driver:
    """The driver's side: listens, and takes a connection for a card."""

    def __init__(self, port: int = 0) -> None:
        self._server = socket.create_server(("127.0.0.1", port), backlog=0)
        self._server.settimeout(5.0)
        self.port: int = self._server.getsockname()[1]
        self._card: socket.socket | None = None

    def accept(self) -> None:
        self._card, _ = self._server.accept()
        self._card.settimeout(5.0)

    def send(self, message: bytes) -> None:
        assert self._card is not None
        self._card.sendall(len(message).to_bytes(2, "big") + message)

    def ask(self, message: bytes) -> bytes:
        self.send(message)
        length = int.from_bytes(self._receive(2), "big")
        return self._receive(length)

    def sees_removal(self) -> bool:
        assert self._card is not None
        return self._card.recv(1) == b""

    def close(self) -> None:
        if self._card is not None:
            self._card.close()
        self._server.close()

    def _receive(self, count: int) -> bytes:
        assert self._card is not None
        data = b""
        while len(data) < count:
            piece = self._card.recv(count - len(data))
            assert piece, "the card closed its connection"
            data += piece
        return data


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()


@pytest.fixture
def slot(driver: Driver) -> Iterator[VpcdSlot]:
    slot = VpcdSlot(driver.port)
    slot.start()
    yield slot
    slot.stop()
    slot.stop()


def test_iso_dep_card_has_the_atr_of_pcsc_part_3(card: Any) -> None:
    # The ATR every contactless reader shows for one historical byte 80, as NTAG 424 DNA has.
    assert atr_of(card) == bytes.fromhex("3B8180018080")


def test_memory_tag_has_the_atr_of_a_storage_card() -> None:
    # MIFARE Ultralight on an ACR122U (PC/SC part 3, section 3.1.3.2.3.2).
    expected = bytes.fromhex("3B8F8001804F0CA0000003060300030000000068")
    assert atr_of(UidTag(bytes.fromhex("05112233445566"))) == expected


def test_card_answers_atr_power_and_commands(driver: Driver, slot: VpcdSlot, card: Any) -> None:
    slot.present(card)
    driver.accept()

    assert driver.ask(GET_ATR) == atr_of(card)
    driver.send(POWER_ON)
    assert driver.ask(bytes.fromhex("00A40400")) == bytes.fromhex("00A404009000")
    driver.send(RESET)
    assert driver.ask(GET_ATR) == atr_of(card)
    assert card.power_ons == 2
    driver.send(POWER_OFF)
    assert driver.ask(GET_ATR) == atr_of(card)
    assert not card.powered


def test_reader_answers_for_the_uid_itself(driver: Driver, slot: VpcdSlot) -> None:
    slot.present(UidTag(bytes.fromhex("05112233445566")))
    driver.accept()

    assert driver.ask(bytes.fromhex("FFCA000000")) == bytes.fromhex("051122334455669000")
    assert driver.ask(bytes.fromhex("00A4040000")) == bytes.fromhex("6D00")


def test_removal_in_the_middle_of_a_command_tears(driver: Driver, slot: VpcdSlot, card: Any) -> None:
    slot.present(card)
    driver.accept()
    card.may_answer.clear()
    driver.send(bytes.fromhex("00A40400"))
    _await(lambda: bool(card.received))

    removal = threading.Thread(target=slot.remove)
    removal.start()
    assert driver.sees_removal()
    card.may_answer.set()
    removal.join(timeout=5)
    assert not card.powered


def test_scripted_tear_is_a_removal(driver: Driver, slot: VpcdSlot, card: Any) -> None:
    card.torn = True
    slot.present(card)
    driver.accept()
    driver.send(bytes.fromhex("00A40400"))
    assert driver.sees_removal()


@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyError])
def test_broken_card_never_holds_the_connection(
    driver: Driver, slot: VpcdSlot, card: Any, failure: type[Exception]
) -> None:
    def break_down(command: bytes) -> bytes:
        raise failure

    card.transmit = break_down
    slot.present(card)
    driver.accept()
    driver.send(bytes.fromhex("00A40400"))
    assert driver.sees_removal()


def test_card_stays_in_the_slot_over_a_restart_of_pcscd(card: Any) -> None:
    driver = Driver()
    slot = VpcdSlot(driver.port)
    slot.present(card)
    driver.accept()
    driver.close()

    successor = Driver(driver.port)
    successor.accept()

    assert successor.ask(GET_ATR) == atr_of(card)
    slot.stop()
    successor.close()


def test_card_is_inserted_when_pcscd_comes_later(card: Any) -> None:
    placeholder = Driver()
    placeholder.close()
    slot = VpcdSlot(placeholder.port)
    slot.present(card)

    driver = Driver(placeholder.port)
    driver.accept()

    assert driver.ask(GET_ATR) == atr_of(card)
    slot.stop()
    driver.close()


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.005)
