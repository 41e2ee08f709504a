"""An NTAG 424 DNA card, from the chip as delivered to a card that pays: a link that is new at every tap.

Here are power and the ISO commands; native commands are in ntag424_native.py, what stays without power in
ntag424_memory.py. Selection of child and parent directories (P1 of 01 and 03) is left out.

Source: NXP NT4H2421Gx data sheet rev 3.0, sections 8.2 (files), 9.3 (SDM), 10.9 (ISO commands).
"""

from __future__ import annotations

import random
from typing import Final

from simulators.cards.apdu_card import ApduCard, refuse
from simulators.cards.ntag424_memory import (
    CAPABILITY_FILE_NUMBER,
    PROPRIETARY_FILE_NUMBER,
    ChipFile,
    Ntag424Memory,
)
from simulators.cards.ntag424_mirror import LinkMirror, ReadKind
from simulators.cards.ntag424_native import NativeCommands
from simulators.cards.ntag424_session import ChipSession
from wire.application_id import NDEF_AID
from wire.cards.apdu import CommandApdu, ResponseApdu
from wire.cards.ndef import CAPABILITY_FILE_ID, NDEF_FILE_ID
from wire.cards.ntag424.card_profile import NDEF_FILE_NUMBER
from wire.cards.ntag424.commands import NATIVE_CLASS
from wire.cards.ntag424.file_settings import FREE
from wire.cards.ntag424.native_status import NativeStatus
from wire.cards.status_words import StatusWord

_PICC_NAME: Final = bytes.fromhex("D2760000850100")
_PICC_ID: Final = 0x3F00
_APPLICATION_ID: Final = 0xE110
_PROPRIETARY_FILE_ID: Final = 0xE105
_NUMBER_OF: Final = {
    CAPABILITY_FILE_ID: CAPABILITY_FILE_NUMBER,
    NDEF_FILE_ID: NDEF_FILE_NUMBER,
    _PROPRIETARY_FILE_ID: PROPRIETARY_FILE_NUMBER,
}
_FILE_ID_BASE: Final = 0xE100
"""A short file id is the low five bits of the long one."""
_NAME_BYTES_MAX: Final = 16


class Ntag424Card(ApduCard):
    """A chip and its memory; where its file mirrors, its counter rises when its link is read."""

    def __init__(
        self,
        memory: Ntag424Memory,
        *,
        rng: random.Random,
        tear_at_apdu: int | None = None,
        tear_after_processing: bool = False,
    ) -> None:
        """Make a card that lies in no field.

        Args:
            memory: what the chip keeps, of `deliver_chip` or `personalise_chip`; this card's own from now on.
            rng: seeded; random UIDs, challenges and the padding of links come from it.
            tear_at_apdu, tear_after_processing: see `ApduCard`.
        """
        super().__init__(
            uid=None if memory.random_uid else memory.uid,
            rng=rng,
            tear_at_apdu=tear_at_apdu,
            tear_after_processing=tear_after_processing,
        )
        self.memory = memory
        self._session = ChipSession(memory, rng)
        self._mirror = LinkMirror(memory, rng)
        self._native = NativeCommands(memory, self._session, self._mirror)
        self._forget()

    @property
    def real_uid(self) -> bytes:
        """The seven bytes the chip was made with."""
        return self.memory.uid

    @property
    def counter(self) -> int:
        """SDMReadCtr, the value last shown."""
        return self.memory.sdm_counter

    def clone(self) -> Ntag424Card:
        """Copy the card as an attacker who read out its keys would: its counter stays behind from now on."""
        return Ntag424Card(self.memory.copy(), rng=self._split_rng())

    def power_on(self) -> None:
        """Enter a field; what was configured about the UID counts from here on."""
        self._fixed_uid = None if self.memory.random_uid else self.memory.uid
        super().power_on()

    def _forget(self) -> None:
        self._file_id: int | None = None
        self._native.abort()
        self._native.in_application = False
        self._mirror.end_row()

    def _reject_malformed(self) -> ResponseApdu:
        self._native.abort()
        return refuse(StatusWord.WRONG_LENGTH)

    def _answer(self, command: CommandApdu) -> ResponseApdu:
        is_read = (command.cla, command.ins) in ((0x00, 0xB0), (NATIVE_CLASS, 0xAD))
        if not is_read:
            # Reads in a row see one and the same link; any other command ends the row (section 9.3.1).
            self._mirror.end_row()
        if command.cla == NATIVE_CLASS:
            return self._answer_native(command)
        if self._native.is_waiting:
            self._native.abort()
            return refuse(StatusWord.CONDITIONS_NOT_SATISFIED)
        if command.cla != 0x00:
            return refuse(StatusWord.CLASS_UNKNOWN)
        if command.ins == 0xB0:
            return self._read_binary(command)
        if command.ins == 0xA4:
            return self._select(command)
        if command.ins == 0xD6:
            return self._update_binary(command)
        return refuse(StatusWord.INSTRUCTION_UNKNOWN)

    def _answer_native(self, command: CommandApdu) -> ResponseApdu:
        if command.p1 or command.p2 or command.le is None:
            self._native.abort()
            return refuse(NativeStatus.LENGTH_ERROR)
        data, status = self._native.carry_out(command.ins, command.data)
        return ResponseApdu(data, status)

    def _select(self, command: CommandApdu) -> ResponseApdu:
        if command.p1 not in (0x00, 0x02, 0x04) or command.p2 not in (0x00, 0x0C):
            return refuse(StatusWord.WRONG_P1_P2)
        if command.p1 == 0x04:
            return self._select_by_name(command.data)
        if command.p1 == 0x00 and not command.data:
            return self._enter(in_application=False)
        if len(command.data) != 2:
            return refuse(StatusWord.LC_INCONSISTENT)
        return self._select_by_id(int.from_bytes(command.data, "big"), only_files=command.p1 == 0x02)

    def _select_by_name(self, name: bytes) -> ResponseApdu:
        if not 1 <= len(name) <= _NAME_BYTES_MAX:
            return refuse(StatusWord.LC_INCONSISTENT)
        if name not in (NDEF_AID, _PICC_NAME):
            return refuse(StatusWord.FILE_NOT_FOUND)
        return self._enter(in_application=name == NDEF_AID)

    def _select_by_id(self, file_id: int, *, only_files: bool) -> ResponseApdu:
        if file_id in (_PICC_ID, _APPLICATION_ID) and not only_files:
            return self._enter(in_application=file_id == _APPLICATION_ID)
        if not self._native.in_application or file_id not in _NUMBER_OF:
            return refuse(StatusWord.FILE_NOT_FOUND)
        self._file_id = file_id
        return ResponseApdu(b"", StatusWord.SUCCESS)

    def _enter(self, *, in_application: bool) -> ResponseApdu:
        self._session.forget()
        self._native.in_application = in_application
        self._file_id = None
        return ResponseApdu(b"", StatusWord.SUCCESS)

    def _update_binary(self, command: CommandApdu) -> ResponseApdu:
        file = self._selected()
        if file is None:
            return refuse(StatusWord.CONDITIONS_NOT_SATISFIED)
        access = file.settings.access
        if self._session.secure is not None or FREE not in (access.write, access.read_write):
            return refuse(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        offset = command.p1 << 8 | command.p2
        if not command.data:
            return refuse(StatusWord.WRONG_LENGTH)
        # Short file ids are for readers: nobody of ours writes by one.
        if command.p1 & 0x80 or offset + len(command.data) > len(file.content):
            return refuse(StatusWord.WRONG_P1_P2)
        file.content[offset : offset + len(command.data)] = command.data
        return ResponseApdu(b"", StatusWord.SUCCESS)

    def _read_binary(self, command: CommandApdu) -> ResponseApdu:
        if command.data or command.le is None:
            return refuse(StatusWord.WRONG_LENGTH)
        offset = command.p1 << 8 | command.p2
        if command.p1 & 0x80:
            refusal = self._select_by_short_id(command.p1 & 0x7F)
            if refusal is not None:
                return refuse(refusal)
            offset = command.p2
        return self._read_selected(offset, command.le)

    def _select_by_short_id(self, short_id: int) -> StatusWord | None:
        if short_id > 0x1E:
            return StatusWord.WRONG_P1_P2
        if short_id == 0:
            return None
        if not self._native.in_application or _FILE_ID_BASE | short_id not in _NUMBER_OF:
            return StatusWord.FILE_NOT_FOUND
        self._file_id = _FILE_ID_BASE | short_id
        return None

    def _read_selected(self, offset: int, le: int) -> ResponseApdu:
        file = self._selected()
        if file is None:
            return refuse(StatusWord.CONDITIONS_NOT_SATISFIED)
        access = file.settings.access
        if self._session.secure is not None or FREE not in (access.read, access.read_write):
            return refuse(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        if offset >= len(file.content):
            return refuse(StatusWord.WRONG_P1_P2)
        content: bytes | None = bytes(file.content)
        if file.settings.sdm is None:
            self._mirror.end_row()
        else:
            content = self._mirror.show(ReadKind.ISO)
        if content is None:
            return refuse(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        return ResponseApdu(content[offset : offset + le], StatusWord.SUCCESS)

    def _selected(self) -> ChipFile | None:
        return None if self._file_id is None else self.memory.files[_NUMBER_OF[self._file_id]]
