"""Who may do what with a file of the chip, and what its links mirror.

Our cards mirror the encrypted PICC data and a MAC (protocol section 3b). The chip offers more (plain mirrors,
encrypted file data, a limit of reads); settings that use it are refused here, since no card of ours has them.

Source: NXP NT4H2421Gx data sheet rev 3.0, sections 8.2.3 (access), 10.7.1 and 10.7.2 (the two commands).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wire.cards.ntag424.secure_messaging import CommMode
from wire.errors import EncodingError

FREE: Final = 0xE
"""An access right: anybody, without a key."""
NEVER: Final = 0xF
"""An access right: nobody."""
KEY_COUNT: Final = 5

_SDM_BIT: Final = 0x40
_MODE_BITS: Final = 0x03
_MODES: Final = {0: CommMode.PLAIN, 1: CommMode.MAC, 2: CommMode.PLAIN, 3: CommMode.FULL}
_MODE_NUMBERS: Final = {CommMode.PLAIN: 0, CommMode.MAC: 1, CommMode.FULL: 3}
_SDM_OPTIONS: Final = 0xC1
"""UID mirrored, counter mirrored, ASCII (table 69)."""
_OFFSET_BYTES: Final = 3
_SDM_BYTES: Final = 3 + 3 * _OFFSET_BYTES
_STANDARD_FILE: Final = 0x00


@dataclass(frozen=True, slots=True)
class AccessRights:
    """Four rights, each a key number, FREE or NEVER."""

    read: int
    write: int
    read_write: int
    change: int

    def __post_init__(self) -> None:
        for right in (self.read, self.write, self.read_write, self.change):
            if not 0 <= right < KEY_COUNT and right not in (FREE, NEVER):
                raise EncodingError("an access right names a key that does not exist")


@dataclass(frozen=True, slots=True)
class SdmSettings:
    """What a link mirrors: PICC data under one key, a MAC under another."""

    meta_read_key: int
    file_read_key: int
    counter_read: int
    """Who may ask for the counter with GetFileCounters."""
    picc_data_offset: int
    """Where the 32 characters of encrypted PICC data stand in the file."""
    mac_input_offset: int
    mac_offset: int
    """Where the 16 characters of the MAC stand in the file."""


@dataclass(frozen=True, slots=True)
class FileSettings:
    """Settings of one file."""

    mode: CommMode
    access: AccessRights
    sdm: SdmSettings | None = None


def dump_file_settings(settings: FileSettings) -> bytes:
    """Write settings as ChangeFileSettings takes them, behind the file number.

    Source: table 69.
    """
    option = _MODE_NUMBERS[settings.mode] | (_SDM_BIT if settings.sdm else 0)
    return bytes((option,)) + _dump_access(settings.access) + _dump_sdm(settings.sdm)


def parse_file_settings(data: bytes) -> FileSettings:
    """Read what ChangeFileSettings takes; the inverse of `dump_file_settings`.

    Raises:
        EncodingError: cut short, too long, rights of keys there are none, or options our cards don't have.
    """
    if len(data) < 3:
        raise EncodingError("file settings are cut short")
    option, sdm = data[0], data[3:]
    if option & ~(_SDM_BIT | _MODE_BITS):
        raise EncodingError("file settings have a reserved bit set")
    if not option & _SDM_BIT:
        if sdm:
            raise EncodingError("file settings are too long")
        return FileSettings(_MODES[option & _MODE_BITS], _parse_access(data[1:3]))
    return FileSettings(_MODES[option & _MODE_BITS], _parse_access(data[1:3]), _parse_sdm(sdm))


def dump_file_state(settings: FileSettings, file_bytes: int) -> bytes:
    """Write settings as GetFileSettings answers them (table 73)."""
    dumped = dump_file_settings(settings)
    size = file_bytes.to_bytes(3, "little")
    return bytes((_STANDARD_FILE,)) + dumped[:3] + size + dumped[3:]


def parse_file_state(data: bytes) -> FileSettings:
    """Read an answer of GetFileSettings; the inverse of `dump_file_state`, the size left out.

    Raises:
        EncodingError: as `parse_file_settings`; or it is no standard file.
    """
    if len(data) < 7 or data[0] != _STANDARD_FILE:
        raise EncodingError("the answer describes no standard file")
    return parse_file_settings(data[1:4] + data[7:])


def _dump_access(access: AccessRights) -> bytes:
    # Two bytes, the lower one first: read and write share the second.
    return bytes((access.read_write << 4 | access.change, access.read << 4 | access.write))


def _parse_access(data: bytes) -> AccessRights:
    return AccessRights(
        read=data[1] >> 4, write=data[1] & 0x0F, read_write=data[0] >> 4, change=data[0] & 0x0F
    )


def _dump_sdm(sdm: SdmSettings | None) -> bytes:
    if sdm is None:
        return b""
    rights = bytes((NEVER << 4 | sdm.counter_read, sdm.meta_read_key << 4 | sdm.file_read_key))
    offsets = (sdm.picc_data_offset, sdm.mac_input_offset, sdm.mac_offset)
    return bytes((_SDM_OPTIONS,)) + rights + b"".join(offset.to_bytes(3, "little") for offset in offsets)


def _parse_sdm(data: bytes) -> SdmSettings:
    if len(data) != _SDM_BYTES or data[0] != _SDM_OPTIONS or data[1] >> 4 != NEVER:
        raise EncodingError("the file mirrors something that our cards don't")
    meta_read, file_read, counter_read = data[2] >> 4, data[2] & 0x0F, data[1] & 0x0F
    if meta_read >= KEY_COUNT or file_read >= KEY_COUNT:
        raise EncodingError("the file mirrors under a key that does not exist")
    if counter_read >= KEY_COUNT and counter_read not in (FREE, NEVER):
        raise EncodingError("the counter is read with a key that does not exist")
    offsets = [int.from_bytes(data[start : start + 3], "little") for start in (3, 6, 9)]
    return SdmSettings(meta_read, file_read, counter_read, *offsets)
