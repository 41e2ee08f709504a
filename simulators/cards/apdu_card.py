"""What all our software cards that speak APDUs share: power, a record of commands, and scripted tears."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from typing import Final

from simulators.cards.card import CardTorn
from wire.cards.apdu import CommandApdu, ResponseApdu, parse_command
from wire.cards.status_words import StatusWord
from wire.errors import EncodingError

RECEIVED_MAX: Final = 1000
"""How many commands a card remembers; older ones are forgotten first."""
RANDOM_UID_PREFIX: Final = 0x08
"""First byte of a four-byte UID drawn anew at every power-up (ISO/IEC 14443-3, section 6.5.4)."""


class ApduCard(ABC):
    """A card that is powered by a field, answers APDUs, and may be pulled out at a scripted moment.

    One field at a time holds a card and calls it from one thread at a time; the record may be read from
    any thread.
    """

    historical_bytes: bytes = b"\x80"
    """One category indicator and nothing behind it, as NTAG 424 DNA answers (AN12196, activation)."""

    def __init__(
        self,
        *,
        uid: bytes | None,
        rng: random.Random,
        tear_at_apdu: int | None = None,
        tear_after_processing: bool = False,
    ) -> None:
        """Make a card that lies in no field.

        Args:
            uid: shown at anticollision; None for a random one at every power-up.
            rng: seeded; the card's only randomness.
            tear_at_apdu: pull the card out at this command of a session, counted from 1. Happens once.
            tear_after_processing: the torn command is still carried out and only its answer is lost.
        """
        self.tear_at_apdu = tear_at_apdu
        self.tear_after_processing = tear_after_processing
        self._rng = rng
        self._fixed_uid = uid
        self._received: deque[bytes] = deque(maxlen=RECEIVED_MAX)
        self._session_apdu_count = 0
        self._powered = False
        self.uid = uid if uid is not None else self._draw_uid()

    @property
    def received(self) -> list[bytes]:
        """The commands this card was sent, oldest first, at most RECEIVED_MAX of them."""
        return list(self._received)

    def power_on(self) -> None:
        """Enter a field: volatile state is fresh, and so is a random UID."""
        self._forget()
        self._session_apdu_count = 0
        self._powered = True
        self.uid = self._draw_uid() if self._fixed_uid is None else self._fixed_uid

    def power_off(self) -> None:
        """Leave the field: volatile state is lost, what was written to memory stays."""
        self._forget()
        self._powered = False

    def transmit(self, command: bytes) -> bytes:
        """Answer one command APDU with a response APDU, status word last.

        Raises:
            CardTorn: a scripted tear, or the card has no power.
        """
        if not self._powered:
            raise CardTorn("a card without power answers nothing")
        self._received.append(command)
        self._session_apdu_count += 1
        if self._session_apdu_count == self.tear_at_apdu:
            self._tear(command)
        return self._process(command)

    @abstractmethod
    def _answer(self, command: CommandApdu) -> ResponseApdu:
        """Carry out one well-formed command."""

    @abstractmethod
    def _forget(self) -> None:
        """Lose the volatile state."""

    def _reject_malformed(self) -> ResponseApdu:
        return refuse(StatusWord.WRONG_LENGTH)

    def _process(self, command: bytes) -> bytes:
        try:
            parsed = parse_command(command)
        except EncodingError:
            return self._reject_malformed().encode()
        return self._answer(parsed).encode()

    def _tear(self, command: bytes) -> None:
        self.tear_at_apdu = None
        if self.tear_after_processing:
            self._process(command)
        self.power_off()
        raise CardTorn("a scripted tear")

    def _draw_uid(self) -> bytes:
        return bytes((RANDOM_UID_PREFIX,)) + self._rng.randbytes(3)

    def _split_rng(self) -> random.Random:
        # A copy draws its own numbers from here on, and which ones follows from the seed.
        return random.Random(self._rng.getrandbits(64))  # noqa: S311 - a seeded simulation, no secrets


def refuse(status_word: int) -> ResponseApdu:
    """Make an answer without data."""
    return ResponseApdu(b"", status_word)
