"""The card side of ISO-DEP: blocks of ISO/IEC 14443-4 to and from whole APDUs.

Frames here are without CRC, as both nfcpy's UDP radio and a PN532 with its CRC unit on exchange them.
Rule numbers are those of ISO/IEC 14443-4:2018, section 7.5.5.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

CARRIER_HZ: Final = 13.56e6
FRAME_BYTES_BY_CODE: Final = (16, 24, 32, 40, 48, 64, 96, 128, 256)
"""FSDI and FSCI to frame sizes, PCB and CRC included (ISO/IEC 14443-4 table 1)."""
BLOCK_OVERHEAD_BYTES: Final = 3
"""One PCB and two CRC bytes; we use no CID and no NAD."""
HISTORICAL_BYTES_MAX: Final = 15
COMMAND_BYTES_MAX: Final = 65_544
"""Longest extended command APDU (ISO/IEC 7816-3); a longer chain is met with silence."""
WAITING_EXTENSIONS_MAX: Final = 200
"""How often a card may ask for more time for one command before this field lets it fall silent."""

_CHAINING: Final = 0x10
_CID_OR_NAD: Final = 0x0C
_DESELECT: Final = bytes((0xC2,))
_WAITING_EXTENSION: Final = 0xF2


@dataclass(frozen=True, slots=True)
class IsoDepTraits:
    """What a card says of itself in its answer to select (ATS)."""

    fwi: int = 10
    """Frame waiting time 4096 / 13.56 MHz * 2**fwi: 10 is 309 ms, 11 is 618 ms, 8 is 77 ms."""
    fsci: int = 8
    """Longest frame the card takes, as a code: 8 is 256 bytes, 2 is 32."""

    @property
    def frame_waiting_s(self) -> float:
        """Seconds a reader waits for the answer to a frame."""
        return float(4096 / CARRIER_HZ * 2**self.fwi)


def dump_ats(historical_bytes: bytes, traits: IsoDepTraits) -> bytes:
    """Write the answer to select: TL, T0, TA (106 kbit/s only), TB (FWI), TC (no CID, no NAD), history."""
    body = bytes((0x70 | traits.fsci, 0x80, traits.fwi << 4, 0x00)) + historical_bytes[:HISTORICAL_BYTES_MAX]
    return bytes((len(body) + 1,)) + body


class IsoDepSession:
    """One activated card: give it the reader's blocks, get the card's."""

    def __init__(self, submit: Callable[[bytes], Future[bytes]], fsdi: int, traits: IsoDepTraits) -> None:
        self._submit = submit
        self._patience_s = traits.frame_waiting_s / 2
        self._chunk_bytes = FRAME_BYTES_BY_CODE[min(fsdi, 8)] - BLOCK_OVERHEAD_BYTES
        self._block_number = 1  # rule C
        self._command = b""
        self._answer_left = b""
        self._pending: Future[bytes] | None = None
        self._extension_count = 0
        self._last: bytes | None = None

    def answer(self, block: bytes) -> bytes | None:
        """Return the card's block, or None for silence.

        Blocks for up to half the frame waiting time, then asks for more with S(WTX).

        Raises:
            CardTorn: the card left at this very moment.
        """
        if not block or (block[0] & 0xC0 != 0xC0 and block[0] & _CID_OR_NAD):
            return None
        kind = block[0] & 0xE2
        if kind == 0x02:
            return self._take_information(block)
        if kind == 0xA2:
            return self._take_receipt(block[0])
        if block == _DESELECT:
            return _DESELECT
        if block[0] == _WAITING_EXTENSION and self._pending is not None:
            return self._wait()
        return None

    def _take_information(self, block: bytes) -> bytes | None:
        self._block_number ^= 1  # rule D
        self._command += block[1:]
        self._answer_left = b""
        if len(self._command) > COMMAND_BYTES_MAX:
            self._command = b""
            return None
        if block[0] & _CHAINING:
            return self._send(bytes((0xA2 | self._block_number,)))
        command, self._command = self._command, b""
        self._extension_count = 0
        self._pending = self._submit(command)
        return self._wait()

    def _take_receipt(self, pcb: int) -> bytes | None:
        if pcb & 1 == self._block_number:
            return self._last  # rule 11
        if pcb & _CHAINING:
            return bytes((0xA2 | self._block_number,))  # rule 12: R(NAK), also the presence check
        if not self._answer_left:
            return None
        self._block_number ^= 1  # rule E
        return self._send_chunk()

    def _wait(self) -> bytes | None:
        assert self._pending is not None
        try:
            self._answer_left = self._pending.result(timeout=self._patience_s)
        except TimeoutError:
            return self._ask_for_time()
        self._pending = None
        return self._send_chunk()

    def _ask_for_time(self) -> bytes | None:
        self._extension_count += 1
        if self._extension_count > WAITING_EXTENSIONS_MAX:
            return None
        return self._send(bytes((_WAITING_EXTENSION, 1)))

    def _send_chunk(self) -> bytes:
        chunk, self._answer_left = (
            self._answer_left[: self._chunk_bytes],
            self._answer_left[self._chunk_bytes :],
        )
        chaining = _CHAINING if self._answer_left else 0
        return self._send(bytes((0x02 | chaining | self._block_number,)) + chunk)

    def _send(self, block: bytes) -> bytes:
        self._last = block
        return block
