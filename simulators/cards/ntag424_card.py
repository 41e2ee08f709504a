"""An NTAG 424 DNA card, personalised for payment: a random UID and a link that is new at every tap.

Only what a terminal can reach without a key is built: ISO SELECT and READ BINARY, and the refusals of the
rest. Native commands (CLA 90) are all answered as unknown; selection of child and parent directories
(P1 of 01 and 03) is left out.

Source: NXP NT4H2421Gx data sheet rev 3.0, sections 8.2 (files), 9.3 (SDM), 10.9 (ISO commands).
"""

from __future__ import annotations

import random
from typing import Final

from simulators.cards.apdu_card import ApduCard, refuse
from wire.application_id import NDEF_AID
from wire.cards.apdu import CommandApdu, ResponseApdu
from wire.cards.ndef import CAPABILITY_FILE_ID, NDEF_FILE_ID, dump_ndef_file, dump_uri_message
from wire.cards.ntag424.keys import check_card_uid
from wire.cards.ntag424.link import (
    COUNTER_MAX,
    MAC_BYTES,
    PADDING_BYTES,
    PICC_DATA_BYTES,
    PiccData,
    SunLink,
    dump_sun_url,
    seal_picc_data,
    sun_mac,
)
from wire.cards.status_words import StatusWord

NDEF_FILE_BYTES: Final = 256
CAPABILITY_FILE: Final = bytes.fromhex("001720010000FF0406E104010000000506E10500808283").ljust(32, b"\x00")
"""Content of E103 as delivered (data sheet section 8.2.3.1): MLe 256, NDEF file E104 of 256 bytes."""

_PICC_NAME: Final = bytes.fromhex("D2760000850100")
_PICC_ID: Final = 0x3F00
_APPLICATION_ID: Final = 0xE110
_PROPRIETARY_FILE_ID: Final = 0xE105
_FILE_IDS: Final = (CAPABILITY_FILE_ID, NDEF_FILE_ID, _PROPRIETARY_FILE_ID)
_FILE_ID_BASE: Final = 0xE100
"""A short file id is the low five bits of the long one."""
_NAME_BYTES_MAX: Final = 16
_NATIVE_CLASS: Final = 0x90
_ILLEGAL_COMMAND: Final = 0x911C
_MAC_CHARS: Final = 2 * MAC_BYTES
_PICC_DATA_CHARS: Final = 2 * PICC_DATA_BYTES
_AFTER_PICC_DATA_CHARS: Final = len("&c=") + _MAC_CHARS


class Ntag424Card(ApduCard):
    """A link card; its counter rises when its link is read."""

    def __init__(
        self,
        uid: bytes,
        meta_key: bytes,
        file_key: bytes,
        url_base: str,
        *,
        rng: random.Random,
        counter: int = 0,
        random_uid: bool = True,
        tear_at_apdu: int | None = None,
        tear_after_processing: bool = False,
    ) -> None:
        """Make a card that lies in no field.

        Args:
            uid: its real seven bytes, which its keys were made from and its link hides.
            meta_key: 16 bytes, the batch's.
            file_key: 16 bytes, this card's own (`diversify_file_key`).
            url_base: what the link begins with, such as `https://pay.example.com/t`.
            rng: seeded; random UIDs and the padding of links come from it.
            counter: SDMReadCtr, the value last shown.
            random_uid: whether anticollision shows a fresh number instead of the real UID.
            tear_at_apdu, tear_after_processing: see `ApduCard`.

        Raises:
            IdError: the UID has not seven bytes.
            EncodingError, CardError: the base gives no link that fits the card.
        """
        super().__init__(
            uid=None if random_uid else check_card_uid(uid),
            rng=rng,
            tear_at_apdu=tear_at_apdu,
            tear_after_processing=tear_after_processing,
        )
        self.real_uid = check_card_uid(uid)
        self.counter = counter
        self._meta_key = meta_key
        self._file_key = file_key
        self._url_base = url_base
        self._random_uid = random_uid
        self._template = _make_template(url_base)
        self._forget()

    def clone(self) -> Ntag424Card:
        """Copy the card as an attacker who read out its keys would: its counter stays behind from now on."""
        return Ntag424Card(
            self.real_uid,
            self._meta_key,
            self._file_key,
            self._url_base,
            rng=self._split_rng(),
            counter=self.counter,
            random_uid=self._random_uid,
        )

    def _forget(self) -> None:
        self._in_application = False
        self._file_id: int | None = None
        self._shown_file: bytes | None = None

    def _answer(self, command: CommandApdu) -> ResponseApdu:
        is_read = (command.cla, command.ins) == (0x00, 0xB0)
        if not is_read:
            # Reads in a row see one and the same link; any other command ends the row (section 9.3.1).
            self._shown_file = None
        if command.cla == _NATIVE_CLASS:
            return refuse(_ILLEGAL_COMMAND)
        if command.cla != 0x00:
            return refuse(StatusWord.CLASS_UNKNOWN)
        if is_read:
            return self._read_binary(command)
        if command.ins == 0xA4:
            return self._select(command)
        if command.ins == 0xD6:
            return self._update_binary()
        return refuse(StatusWord.INSTRUCTION_UNKNOWN)

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
        if not self._in_application or file_id not in _FILE_IDS:
            return refuse(StatusWord.FILE_NOT_FOUND)
        self._file_id = file_id
        return ResponseApdu(b"", StatusWord.SUCCESS)

    def _enter(self, *, in_application: bool) -> ResponseApdu:
        self._in_application = in_application
        self._file_id = None
        return ResponseApdu(b"", StatusWord.SUCCESS)

    def _update_binary(self) -> ResponseApdu:
        # Personalised: every write needs a key, and this card lets nobody authenticate.
        return refuse(
            StatusWord.CONDITIONS_NOT_SATISFIED
            if self._file_id is None
            else StatusWord.SECURITY_STATUS_NOT_SATISFIED
        )

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
        if not self._in_application or _FILE_ID_BASE | short_id not in _FILE_IDS:
            return StatusWord.FILE_NOT_FOUND
        self._file_id = _FILE_ID_BASE | short_id
        return None

    def _read_selected(self, offset: int, le: int) -> ResponseApdu:
        if self._file_id is None:
            return refuse(StatusWord.CONDITIONS_NOT_SATISFIED)
        if self._file_id == _PROPRIETARY_FILE_ID:
            return refuse(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        is_link = self._file_id == NDEF_FILE_ID
        if offset >= (NDEF_FILE_BYTES if is_link else len(CAPABILITY_FILE)):
            return refuse(StatusWord.WRONG_P1_P2)
        content = self._show_link() if is_link else self._show_capabilities()
        if content is None:
            return refuse(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        return ResponseApdu(content[offset : offset + le], StatusWord.SUCCESS)

    def _show_capabilities(self) -> bytes:
        self._shown_file = None
        return CAPABILITY_FILE

    def _show_link(self) -> bytes | None:
        """Return the NDEF file with its mirrors filled in; None once the counter is used up."""
        if self._shown_file is None:
            if self.counter >= COUNTER_MAX:
                return None
            self.counter += 1
            self._shown_file = self._mirror()
        return self._shown_file

    def _mirror(self) -> bytes:
        picc = PiccData(self.real_uid, self.counter)
        picc_data = seal_picc_data(picc, self._rng.randbytes(PADDING_BYTES), self._meta_key)
        mac = sun_mac(self._file_key, picc)
        mac_offset = len(self._template) - _MAC_CHARS
        picc_data_offset = len(self._template) - _AFTER_PICC_DATA_CHARS - _PICC_DATA_CHARS
        file = bytearray(self._template.ljust(NDEF_FILE_BYTES, b"\x00"))
        file[picc_data_offset : picc_data_offset + _PICC_DATA_CHARS] = picc_data.hex().upper().encode("ascii")
        file[mac_offset : mac_offset + _MAC_CHARS] = mac.hex().upper().encode("ascii")
        return bytes(file)


def _make_template(url_base: str) -> bytes:
    blank = SunLink(bytes(PICC_DATA_BYTES), bytes(MAC_BYTES))
    return dump_ndef_file(dump_uri_message(dump_sun_url(url_base, blank)))
