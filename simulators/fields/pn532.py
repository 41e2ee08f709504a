"""A PN532 chip on a pseudo-terminal, for nfcpy's own pn532 driver (NXP UM0701-02).

It knows the commands that driver sends to open the chip, to look for a Type A card and to exchange frames
with it. The chip takes the time it takes: a card that does not answer costs the configured timeout, and a
search without a card lasts until its retries are used up, so that a card coming meanwhile is found at once.
"""

from __future__ import annotations

import os
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Final

from simulators.cards.card import MemoryTag, SimulatedCard
from simulators.fields.field_thread import FieldThread
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.pn532_frames import ACK, NACK, SYNTAX_ERROR, FrameReader, dump_response
from simulators.fields.type_a import HALT, RATS_OVERRIDE_NONE, REQA, SELECT_CODES, TypeACard

FIRMWARE: Final = bytes.fromhex("32010607")
"""IC PN532, version 1.6, supports ISO/IEC 14443 A and B and 18092."""
BAUD_RATES: Final = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600, 1288000)
PASSIVE_TRY_S: Final = 0.015
"""One try to find a card, switching the field on included: an estimate, the manual gives none."""
PASSIVE_TRIES_MAX: Final = 64
READ_BYTES_MAX: Final = 1024
REGISTER_RX_MODE: Final = 0x6303
REGISTER_TX_MODE: Final = 0x6302
REGISTER_FIFO_DATA: Final = 0x6339
RX_CRC_ON: Final = 0x80
OK: Final = b"\x00"
ERROR_TIMEOUT: Final = b"\x01"
BITRATE_TYPE_A: Final = 0


class Pn532Device(FieldThread):
    """A contactless field behind a PN532.

    Args:
        link_path: a symbolic link to make to the pseudo-terminal, e.g. `/dev/ttyUSB77`, so that the device
            keeps its name over restarts as a real one does; None for the pseudo-terminal's own path.
        traits: frame waiting time and size of the cards presented here.
        ats: sent instead of the right answer to select.
    """

    def __init__(
        self,
        link_path: str | None = None,
        *,
        traits: IsoDepTraits | None = None,
        ats: bytes = RATS_OVERRIDE_NONE,
    ) -> None:
        super().__init__(traits or IsoDepTraits(), ats)
        self._link = None if link_path is None else Path(link_path)
        self._master = self._slave = -1
        self._forget()
        self._commands: dict[int, Callable[[bytes], bytes | None]] = {
            0x00: self._diagnose,
            0x02: lambda _: FIRMWARE,
            0x06: self._read_registers,
            0x08: self._write_registers,
            0x10: self._set_baud_rate,
            0x12: lambda _: b"",
            0x14: lambda _: b"",
            0x16: lambda _: OK,
            0x32: self._configure,
            0x42: self._communicate_through,
            0x4A: self._list_passive_target,
        }

    @property
    def device_path(self) -> str:
        """The link if there is one, else the pseudo-terminal; known once started."""
        return str(self._link) if self._link is not None else os.ttyname(self._slave)

    @property
    def reader_path(self) -> str:
        """Path for terminal.toml; known once started."""
        return f"contactless:tty:{self.device_path}:pn532"

    @property
    def baud_rate(self) -> int:
        """What the host negotiated last; a pseudo-terminal is as fast either way."""
        return self._baud_rate

    def present_two(self, card: SimulatedCard | MemoryTag, other: SimulatedCard | MemoryTag) -> None:
        """Put two cards into the field at once, as they lie in a purse."""
        coming, beside = (TypeACard(one, self._traits, self._ats) for one in (card, other))
        self._do(lambda: self._swap(coming, beside))

    def fall_silent(self) -> None:
        """Let the chip hang: it takes bytes and answers nothing, until `wake`."""
        self._do(lambda: self._hang(True))

    def wake(self) -> None:
        """Let the chip answer again, as after its reset."""
        self._do(lambda: self._hang(False))

    def babble(self, noise: bytes) -> None:
        """Send bytes that are no frame, as a loose ground does."""
        self._do(lambda: self._write(noise))

    def _forget(self) -> None:
        self._hangs = False
        self._frames = FrameReader()
        self._registers: dict[int, int] = {}
        self._baud_rate = 115_200
        self._timeout_s: float | None = None
        self._passive_tries = 1
        self._last_response = b""
        self._due: tuple[float, int, bytes] | None = None
        self._searched_uid: bytes | None = None

    def _hang(self, hangs: bool) -> None:
        self._hangs = hangs
        self._frames = FrameReader()
        self._due = self._searched_uid = None

    def _open(self) -> None:
        self._master, self._slave = os.openpty()
        # Both ends raw, else the line discipline would answer for the chip.
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self._forget()
        if self._link is not None:
            self._link.unlink(missing_ok=True)
            self._link.symlink_to(os.ttyname(self._slave))

    def _close(self) -> None:
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)

    def _descriptor(self) -> int:
        return self._master

    def _read(self) -> None:
        received = os.read(self._master, READ_BYTES_MAX)
        if not self._hangs:
            for frame in self._frames.feed(received):
                self._take(frame)

    def _take(self, frame: bytes) -> None:
        self._due = self._searched_uid = None  # any frame ends what was running
        if frame == ACK:
            return
        if frame == NACK:
            self._write(self._last_response)
            return
        self._write(ACK)
        command = self._commands.get(frame[0])
        if command is None:
            self._write(SYNTAX_ERROR)
            return
        data = command(frame[1:])
        if data is not None:
            self._respond(frame[0], data)

    def _respond(self, code: int, data: bytes) -> None:
        self._due = self._searched_uid = None
        self._last_response = dump_response(code, data)
        self._write(self._last_response)

    def _write(self, data: bytes) -> None:
        os.write(self._master, data)

    def _deadline(self) -> float | None:
        return None if self._due is None else self._due[0]

    def _time_out(self) -> None:
        if self._due is not None:
            self._respond(self._due[1], self._due[2])

    # --- commands: each returns its answer, or None when that comes later ---

    def _diagnose(self, data: bytes) -> bytes:
        return data if data[:1] == b"\x00" else OK

    def _read_registers(self, data: bytes) -> bytes:
        return bytes(self._registers.get(address, 0) for address in _addresses(data, 2))

    def _write_registers(self, data: bytes) -> bytes:
        self._registers.update(zip(_addresses(data, 3), data[2::3], strict=True))
        return b""

    def _set_baud_rate(self, data: bytes) -> bytes:
        self._baud_rate = BAUD_RATES[data[0] % len(BAUD_RATES)]
        return b""

    def _configure(self, data: bytes) -> bytes:
        item, values = data[0], data[1:]
        if item == 0x01 and not values[0] & 1:
            for card in (self._card, self._beside):
                if card is not None:
                    card.power_off()
        elif item == 0x02:
            # T = 100 µs * 2**(n - 1); n = 0 waits for ever (table of section 7.3.1).
            self._timeout_s = None if values[2] == 0 else 100e-6 * 2 ** (values[2] - 1)
        elif item == 0x05:
            self._passive_tries = min(values[2] + 1, PASSIVE_TRIES_MAX)
        return b""

    def _list_passive_target(self, data: bytes) -> bytes | None:
        if data[1] == BITRATE_TYPE_A and data[0] > 1:
            return self._list_two()
        if data[1] == BITRATE_TYPE_A:
            self._searched_uid = data[2:]
            found = self._search(self._card)
            if found is not None:
                return found
        # What the driver reads there to tell "nothing" from "something that fell silent".
        self._registers[REGISTER_FIFO_DATA] = REQA[0]
        self._due = (time.monotonic() + self._passive_tries * PASSIVE_TRY_S, 0x4A, b"\x00")
        return None

    def _list_two(self) -> bytes | None:
        """Look for a first card, halt it, look for a second; both stay halted (section 7.3.5)."""
        self._searched_uid = b""
        first = self._search(self._card)
        if first is None:
            self._due = (time.monotonic() + self._passive_tries * PASSIVE_TRY_S, 0x4A, b"\x00")
            return None
        self._exchange(HALT)
        second = self._search(self._beside)
        if second is None:
            self._due = (time.monotonic() + self._passive_tries * PASSIVE_TRY_S, 0x4A, first)
            return None
        return b"\x02" + first[1:] + b"\x02" + second[2:]

    def _communicate_through(self, data: bytes) -> bytes | None:
        answer = self._exchange(data)
        if answer is not None:
            return OK + self._with_crc(answer)
        if self._timeout_s is not None:
            self._due = (time.monotonic() + self._timeout_s, 0x42, ERROR_TIMEOUT)
        return None

    def _card_came(self) -> None:
        if self._searched_uid is None:
            return
        found = self._search(self._card)
        if found is not None:
            self._respond(0x4A, found)

    def _search(self, card: TypeACard | None) -> bytes | None:
        if card is None:
            return None
        card.power_on()
        atqa = card.answer(REQA)
        if atqa is None:
            return None
        selected = self._select(card)
        if selected is None:
            return None
        sak, uid = selected
        self._registers[REGISTER_RX_MODE] = self._registers[REGISTER_TX_MODE] = RX_CRC_ON
        return b"\x01\x01" + atqa[::-1] + sak + bytes((len(uid),)) + uid

    def _select(self, card: TypeACard) -> tuple[bytes, bytes] | None:
        uid = b""
        for code in SELECT_CODES:
            part = card.answer(bytes((code, 0x20)))
            sak = None if part is None else card.answer(bytes((code, 0x70)) + part)
            if part is None or sak is None:
                return None
            if not sak[0] & 0x04:
                uid += part[:4]
                return (sak, uid) if self._is_searched(uid) else None
            uid += part[1:4]
        return None

    def _is_searched(self, uid: bytes) -> bool:
        # With the cascade tag the driver sends 88 in front of a seven-byte UID.
        return not self._searched_uid or self._searched_uid[-len(uid) :] == uid

    def _with_crc(self, answer: bytes) -> bytes:
        """Leave the CRC on where the host has switched the chip's check off, as for Type 2 tags.

        Acknowledgements of four bits carry none.
        """
        if self._registers.get(REGISTER_RX_MODE, 0) & RX_CRC_ON or len(answer) < 2:
            return answer
        return answer + crc_a(answer)


def crc_a(data: bytes) -> bytes:
    """Compute CRC_A, low byte first (ISO/IEC 14443-3, annex B)."""
    crc = 0x6363
    for byte in data:
        byte ^= crc & 0xFF
        byte ^= byte << 4 & 0xFF
        crc = crc >> 8 ^ byte << 8 ^ byte << 3 ^ byte >> 4
    return (crc & 0xFFFF).to_bytes(2, "little")


def _addresses(data: bytes, stride: int) -> list[int]:
    return [
        int.from_bytes(data[index : index + 2], "big") for index in range(0, len(data) - stride + 1, stride)
    ]
