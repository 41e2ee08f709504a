"""The link a simulated NTAG 424 DNA chip shows: counted, mirrored, and the same for reads in a row.

Source: NXP NT4H2421Gx data sheet rev 3.0, sections 9.3.1 (counter), 9.3.3 (PICC data), 9.3.8 (MAC).
"""

from __future__ import annotations

import random
from enum import Enum, auto

from simulators.cards.ntag424_memory import Ntag424Memory
from wire.cards.ntag424.card_profile import NDEF_FILE_NUMBER
from wire.cards.ntag424.link import COUNTER_MAX, PADDING_BYTES, PiccData, seal_picc_data, sun_mac


class ReadKind(Enum):
    """By which command a file is read; changing it is a new read."""

    ISO = auto()
    NATIVE = auto()


class LinkMirror:
    """Fills in the mirrors of the NDEF file for whoever reads it without a key."""

    def __init__(self, memory: Ntag424Memory, rng: random.Random) -> None:
        self._memory = memory
        self._rng = rng
        self._shown: bytes | None = None
        self._kind: ReadKind | None = None

    def end_row(self) -> None:
        """Forget what was shown: the next read counts anew."""
        self._shown = self._kind = None

    def show(self, kind: ReadKind) -> bytes | None:
        """Return the file with its mirrors filled in; None once the counter is used up."""
        if self._shown is None or self._kind is not kind:
            self.end_row()
            if self._memory.sdm_counter >= COUNTER_MAX:
                return None
            self._memory.sdm_counter += 1
            self._shown, self._kind = self._mirror(), kind
        return self._shown

    def _mirror(self) -> bytes:
        file = self._memory.files[NDEF_FILE_NUMBER]
        sdm = file.settings.sdm
        assert sdm is not None, "only a file that mirrors is mirrored"
        picc = PiccData(self._memory.uid, self._memory.sdm_counter)
        meta_key = self._memory.keys[sdm.meta_read_key].key
        content = bytearray(file.content)
        _write_hex(
            content, sdm.picc_data_offset, seal_picc_data(picc, self._rng.randbytes(PADDING_BYTES), meta_key)
        )
        mac_input = bytes(content[sdm.mac_input_offset : sdm.mac_offset])
        _write_hex(
            content, sdm.mac_offset, sun_mac(self._memory.keys[sdm.file_read_key].key, picc, mac_input)
        )
        return bytes(content)


def _write_hex(content: bytearray, offset: int, value: bytes) -> None:
    text = value.hex().upper().encode("ascii")
    content[offset : offset + len(text)] = text
