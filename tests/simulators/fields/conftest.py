"""Cards that say what a field needs to be seen doing."""

from __future__ import annotations

import threading

import pytest

from simulators.cards.card import CardTorn


class EchoCard:
    """Answers the command it was sent and 9000; remembers its powering and what it was sent."""

    historical_bytes = b"\x80"

    def __init__(self, uid: bytes = bytes.fromhex("08010203")) -> None:
        self.uid = uid
        self.powered = False
        self.power_ons = 0
        self.received: list[bytes] = []
        self.answers: list[bytes] = []
        self.torn = False
        self.may_answer = threading.Event()
        self.may_answer.set()

    def power_on(self) -> None:
        self.powered = True
        self.power_ons += 1

    def power_off(self) -> None:
        self.powered = False

    def transmit(self, command: bytes) -> bytes:
        assert self.powered, "a field must power a card before it speaks to it"
        self.received.append(command)
        self.may_answer.wait(timeout=10)
        if self.torn:
            raise CardTorn
        return self.answers.pop(0) if self.answers else command + b"\x90\x00"


@pytest.fixture
def card() -> EchoCard:
    return EchoCard()
