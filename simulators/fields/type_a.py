"""A Type A card in a field: ISO/IEC 14443-3 from power-up to selection, then ISO-DEP or Type 2 frames."""

from __future__ import annotations

from enum import Enum, auto
from functools import reduce
from operator import xor
from typing import Final

from simulators.cards.card import MemoryTag, SimulatedCard
from simulators.fields.card_worker import CardWorker, is_memory_tag, processor_of
from simulators.fields.iso_dep import IsoDepSession, IsoDepTraits, dump_ats

REQA: Final = b"\x26"
WUPA: Final = b"\x52"
HALT: Final = b"\x50\x00"
RATS: Final = 0xE0
DESELECT: Final = b"\xc2"
CASCADE_TAG: Final = 0x88
SELECT_CODES: Final = (0x93, 0x95)
SAK_CASCADE: Final = b"\x04"
SAK_ISO_DEP: Final = b"\x20"
SAK_TYPE_2: Final = b"\x00"
ATQA_SINGLE: Final = bytes.fromhex("0400")
ATQA_DOUBLE: Final = bytes.fromhex("4400")
RATS_OVERRIDE_NONE: Final = b""


class _State(Enum):
    OFF = auto()
    IDLE = auto()
    READY = auto()
    ACTIVE = auto()
    PROTOCOL = auto()
    HALTED = auto()


class TypeACard:
    """Carries a simulated card through the radio protocol; frames are without CRC.

    Args:
        card: the card; its UID is read at every power-up, so that a random one is shown.
        traits: frame waiting time and frame size.
        ats: an answer to select to send instead of the right one, for cards that get it wrong.
    """

    def __init__(
        self, card: SimulatedCard | MemoryTag, traits: IsoDepTraits, ats: bytes = RATS_OVERRIDE_NONE
    ) -> None:
        self._card = card
        self._traits = traits
        self._ats = ats
        self._worker = None if is_memory_tag(card) else CardWorker(processor_of(card))
        self._state = _State.OFF
        self._levels: list[bytes] = []
        self._level = 0
        self._session: IsoDepSession | None = None

    @property
    def is_type_2(self) -> bool:
        """Whether this card speaks Type 2 frames, whose answers a reader checks itself."""
        return self._worker is None

    def power_on(self) -> None:
        """Enter a field that is on; already there is no error."""
        if self._state is not _State.OFF:
            return
        self._card.power_on()
        self._levels = _cascade(self._card.uid)
        self._state = _State.IDLE

    def power_off(self) -> None:
        """Lose power: by leaving, or because the reader switched its field off."""
        if self._state is _State.OFF:
            return
        self._state, self._session = _State.OFF, None
        if self._worker is not None:
            self._worker.settle()
        self._card.power_off()

    def leave(self) -> None:
        """Leave the field for good."""
        self.power_off()
        if self._worker is not None:
            self._worker.close()

    def answer(self, frame: bytes) -> bytes | None:
        """Return the card's frame, or None for silence; see `IsoDepSession.answer` for how long it takes.

        Raises:
            CardTorn: the card left at this very moment.
        """
        if self._state is _State.PROTOCOL:
            return self._exchange_blocks(frame)
        if frame == WUPA or (frame == REQA and self._state is not _State.HALTED):
            return self._wake()
        if frame == HALT:
            self._state = _State.HALTED
            return None
        if self._state is _State.READY:
            return self._anticollide(frame)
        if self._state is _State.ACTIVE:
            return self._act(frame)
        return None

    def _wake(self) -> bytes | None:
        if self._state is _State.OFF:
            return None
        self._state, self._level = _State.READY, 0
        return ATQA_SINGLE if len(self._levels) == 1 else ATQA_DOUBLE

    def _anticollide(self, frame: bytes) -> bytes | None:
        own = self._levels[self._level]
        if frame == bytes((SELECT_CODES[self._level], 0x20)):
            return own
        if frame != bytes((SELECT_CODES[self._level], 0x70)) + own:
            self._state = _State.IDLE
            return None
        self._level += 1
        if self._level < len(self._levels):
            return SAK_CASCADE
        self._state = _State.ACTIVE
        return SAK_TYPE_2 if self.is_type_2 else SAK_ISO_DEP

    def _act(self, frame: bytes) -> bytes | None:
        if is_memory_tag(self._card):
            answer = self._card.exchange(frame)
            if answer is None:
                # A Type 2 tag that meets a command it does not know goes back to IDLE, mute.
                self._state = _State.IDLE
            return answer
        if len(frame) != 2 or frame[0] != RATS:
            self._state = _State.IDLE
            return None
        assert self._worker is not None
        self._session = IsoDepSession(self._worker.submit, frame[1] >> 4, self._traits)
        self._state = _State.PROTOCOL
        return self._ats or dump_ats(processor_of(self._card).historical_bytes, self._traits)

    def _exchange_blocks(self, frame: bytes) -> bytes | None:
        assert self._session is not None
        answer = self._session.answer(frame)
        if answer == DESELECT:
            self._state, self._session = _State.HALTED, None
        return answer


def _cascade(uid: bytes) -> list[bytes]:
    """Split a UID into its anticollision levels, each with its check byte (BCC)."""
    parts = [uid] if len(uid) == 4 else [bytes((CASCADE_TAG,)) + uid[:3], uid[3:]]
    if any(len(part) != 4 for part in parts):
        raise ValueError("a UID has 4 or 7 bytes")
    return [part + bytes((reduce(xor, part),)) for part in parts]
