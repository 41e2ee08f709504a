"""The native commands of a simulated NTAG 424 DNA chip: what it carries out, and what it refuses.

Each command is committed whole before its answer is made, so a card that is lifted has done it or not. Left
out, and answered as unknown: LRP, AuthenticateEV2NonFirst, GetFileCounters, Read_Sig, chained frames; of
SetConfiguration only random UID (00) and the failure counters (0A) are built, and of mirroring only what
wire/cards/ntag424/file_settings.py knows.

Source: NXP NT4H2421Gx data sheet rev 3.0, sections 9.1 and 10.4 to 10.8 with their tables of return codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulators.cards.ntag424_memory import ChipFile, KeyCell, Ntag424Memory
from simulators.cards.ntag424_mirror import LinkMirror, ReadKind
from simulators.cards.ntag424_session import Challenge, ChipSession, Refusal
from wire.cards.apdu import LE_MAX
from wire.cards.ntag424.card_profile import NDEF_FILE_NUMBER
from wire.cards.ntag424.commands import (
    ADDITIONAL_FRAME,
    AUTHENTICATE_EV2_FIRST,
    CHANGE_FILE_SETTINGS,
    CHANGE_KEY,
    GET_CARD_UID,
    GET_FILE_SETTINGS,
    GET_KEY_VERSION,
    GET_VERSION,
    PICC_CONFIGURATION,
    RANDOM_UID,
    READ_DATA,
    SET_CONFIGURATION,
    WRITE_DATA,
    key_checksum,
)
from wire.cards.ntag424.file_settings import (
    FREE,
    KEY_COUNT,
    NEVER,
    FileSettings,
    SdmSettings,
    dump_file_state,
    parse_file_settings,
)
from wire.cards.ntag424.link import MAC_BYTES as LINK_MAC_BYTES
from wire.cards.ntag424.link import PICC_DATA_BYTES
from wire.cards.ntag424.native_status import NativeStatus
from wire.cards.ntag424.secure_messaging import MAC_BYTES, CommMode
from wire.errors import EncodingError

HARDWARE_VERSION: Final = bytes.fromhex("04040230001105")
SOFTWARE_VERSION: Final = bytes.fromhex("04040201021105")
PRODUCTION: Final = bytes.fromhex("CF39D449804021")
"""What GetVersion tells of every simulated chip: tables 54 and 56, and a production lot."""
WRITE_BYTES_MAX: Final = 248
"""Of one WriteData (table 81)."""

_KEY_BYTES: Final = 16
_FAILURE_CONFIGURATION: Final = 0x0A
_RANGE_BYTES: Final = 7
_MASTER: Final = 0
Continuation = Callable[[bytes], tuple[bytes, NativeStatus]]


class NativeCommands:
    """Native commands over a memory and a session; one frame in, one frame out."""

    def __init__(self, memory: Ntag424Memory, session: ChipSession, mirror: LinkMirror) -> None:
        self._memory = memory
        self._session = session
        self._mirror = mirror
        self._continuation: Continuation | None = None
        self._commands: dict[int, Callable[[bytes], bytes]] = {
            CHANGE_FILE_SETTINGS: self._change_file_settings,
            CHANGE_KEY: self._change_key,
            GET_CARD_UID: self._get_card_uid,
            GET_FILE_SETTINGS: self._get_file_settings,
            GET_KEY_VERSION: self._get_key_version,
            READ_DATA: self._read_data,
            SET_CONFIGURATION: self._set_configuration,
            WRITE_DATA: self._write_data,
        }
        self.in_application = False

    @property
    def is_waiting(self) -> bool:
        """Whether a command of several parts is under way."""
        return self._continuation is not None

    def abort(self) -> None:
        """Forget a command of several parts, and who was authenticated."""
        self._continuation = None
        self._session.forget()

    def carry_out(self, instruction: int, field: bytes) -> tuple[bytes, NativeStatus]:
        """Return the answer to a command; a refusal ends any authentication."""
        continuation, self._continuation = self._continuation, None
        try:
            if continuation is not None:
                if instruction != ADDITIONAL_FRAME:
                    raise Refusal(NativeStatus.COMMAND_ABORTED)
                return continuation(field)
            return self._begin(instruction, field)
        except Refusal as refusal:
            self.abort()
            return b"", refusal.status

    def _begin(self, instruction: int, field: bytes) -> tuple[bytes, NativeStatus]:
        if instruction == AUTHENTICATE_EV2_FIRST:
            challenge, answer = self._session.begin(field, in_application=self.in_application)
            self._continuation = lambda more: self._finish_authentication(challenge, more)
            return answer, NativeStatus.ADDITIONAL_FRAME
        if instruction == GET_VERSION:
            return self._begin_version(field)
        command = self._commands.get(instruction)
        if command is None:
            raise Refusal(NativeStatus.ILLEGAL_COMMAND_CODE)
        return command(field), NativeStatus.OPERATION_OK

    def _finish_authentication(self, challenge: Challenge, field: bytes) -> tuple[bytes, NativeStatus]:
        return self._session.finish(challenge, field), NativeStatus.OPERATION_OK

    # What the chip is

    def _begin_version(self, field: bytes) -> tuple[bytes, NativeStatus]:
        self._require_length(field, 0, CommMode.MAC)
        self._session.open(GET_VERSION, field, 0, CommMode.MAC)
        self._continuation = self._continue_version
        return HARDWARE_VERSION, NativeStatus.ADDITIONAL_FRAME

    def _continue_version(self, field: bytes) -> tuple[bytes, NativeStatus]:
        _require(not field, NativeStatus.LENGTH_ERROR)
        self._continuation = self._finish_version
        return SOFTWARE_VERSION, NativeStatus.ADDITIONAL_FRAME

    def _finish_version(self, field: bytes) -> tuple[bytes, NativeStatus]:
        _require(not field, NativeStatus.LENGTH_ERROR)
        uid = bytes(len(self._memory.uid)) if self._memory.random_uid else self._memory.uid
        told = HARDWARE_VERSION + SOFTWARE_VERSION + uid + PRODUCTION
        # One MAC over all three parts.
        protected = self._session.protect(told, CommMode.MAC)
        return protected[len(HARDWARE_VERSION + SOFTWARE_VERSION) :], NativeStatus.OPERATION_OK

    def _get_card_uid(self, field: bytes) -> bytes:
        _require(self._session.secure is not None, NativeStatus.AUTHENTICATION_ERROR)
        self._require_length(field, 0, CommMode.MAC)
        self._session.open(GET_CARD_UID, field, 0, CommMode.FULL)
        return self._session.protect(self._memory.uid, CommMode.FULL)

    def _set_configuration(self, field: bytes) -> bytes:
        _require(self._session.holds(_MASTER), NativeStatus.AUTHENTICATION_ERROR)
        _require(len(field) > 1, NativeStatus.LENGTH_ERROR)
        data = self._session.open(SET_CONFIGURATION, field, 1, CommMode.FULL)
        if field[0] == PICC_CONFIGURATION:
            _require(len(data) == 1, NativeStatus.LENGTH_ERROR)
            _require(data[0] | RANDOM_UID == RANDOM_UID, NativeStatus.PARAMETER_ERROR)
            self._memory.random_uid |= bool(data[0] & RANDOM_UID)
        elif field[0] == _FAILURE_CONFIGURATION:
            self._configure_failures(data)
        else:
            raise Refusal(NativeStatus.PARAMETER_ERROR)
        return self._session.protect(b"", CommMode.FULL)

    def _configure_failures(self, data: bytes) -> None:
        _require(len(data) == 5, NativeStatus.LENGTH_ERROR)
        limit = int.from_bytes(data[1:3], "little")
        _require(data[0] <= 1 and (limit > 0 or not data[0]), NativeStatus.PARAMETER_ERROR)
        self._memory.counts_failures = bool(data[0])
        if data[0]:
            self._memory.total_failures_max = limit
            self._memory.total_failures_forgiven = int.from_bytes(data[3:5], "little")

    # Keys

    def _change_key(self, field: bytes) -> bytes:
        _require(self._session.holds(_MASTER), NativeStatus.AUTHENTICATION_ERROR)
        _require(len(field) > 1, NativeStatus.LENGTH_ERROR)
        number = field[0]
        data = self._session.open(CHANGE_KEY, field, 1, CommMode.FULL)
        _require(number < KEY_COUNT, NativeStatus.NO_SUCH_KEY)
        if number == _MASTER:
            _require(len(data) == _KEY_BYTES + 1, NativeStatus.LENGTH_ERROR)
            # The session was under the key that is gone now: no MAC, and nobody is authenticated.
            self._memory.keys[number] = KeyCell(data[:_KEY_BYTES], data[_KEY_BYTES])
            self._session.forget()
            return b""
        _require(len(data) == _KEY_BYTES + 5, NativeStatus.LENGTH_ERROR)
        old_key = self._memory.keys[number].key
        new_key = bytes(mixed ^ old for mixed, old in zip(data[:_KEY_BYTES], old_key, strict=True))
        _require(data[_KEY_BYTES + 1 :] == key_checksum(new_key), NativeStatus.INTEGRITY_ERROR)
        self._memory.keys[number] = KeyCell(new_key, data[_KEY_BYTES])
        return self._session.protect(b"", CommMode.FULL)

    def _get_key_version(self, field: bytes) -> bytes:
        self._require_length(field, 1, CommMode.MAC)
        self._session.open(GET_KEY_VERSION, field, 1, CommMode.MAC)
        _require(self.in_application and field[0] < KEY_COUNT, NativeStatus.NO_SUCH_KEY)
        return self._session.protect(bytes((self._memory.keys[field[0]].version,)), CommMode.MAC)

    # Files

    def _get_file_settings(self, field: bytes) -> bytes:
        _require(self.in_application, NativeStatus.PERMISSION_DENIED)
        self._require_length(field, 1, CommMode.MAC)
        self._session.open(GET_FILE_SETTINGS, field, 1, CommMode.MAC)
        file = self._file(field[0])
        return self._session.protect(dump_file_state(file.settings, len(file.content)), CommMode.MAC)

    def _change_file_settings(self, field: bytes) -> bytes:
        _require(self.in_application, NativeStatus.PERMISSION_DENIED)
        _require(len(field) > 1, NativeStatus.LENGTH_ERROR)
        file = self._file(field[0])
        change = file.settings.access.change
        _require(change != NEVER, NativeStatus.PERMISSION_DENIED)
        _require(change == FREE or self._session.holds(change), NativeStatus.AUTHENTICATION_ERROR)
        mode = CommMode.FULL if self._session.holds(change) else CommMode.PLAIN
        data = self._session.open(CHANGE_FILE_SETTINGS, field, 1, mode)
        settings = _parse_settings(data, len(file.content))
        _require(settings.sdm is None or field[0] == NDEF_FILE_NUMBER, NativeStatus.PERMISSION_DENIED)
        file.settings = settings
        if settings.sdm is not None:
            self._memory.sdm_counter = 0
        return self._session.protect(b"", mode)

    def _read_data(self, field: bytes) -> bytes:
        _require(self.in_application, NativeStatus.PERMISSION_DENIED)
        _require(field[:1] != b"", NativeStatus.LENGTH_ERROR)
        file = self._file(field[0])
        access = file.settings.access
        mode = self._grant(file, access.read, access.read_write)
        self._require_length(field, _RANGE_BYTES, mode)
        self._session.open(READ_DATA, field, _RANGE_BYTES, mode)
        offset, length = _range_in(field)
        size = len(file.content)
        _require(offset < size and offset + length <= size, NativeStatus.BOUNDARY_ERROR)
        content = bytes(file.content)
        if self._session.secure is None and file.settings.sdm is not None:
            shown = self._mirror.show(ReadKind.NATIVE)
            _require(shown is not None, NativeStatus.INTEGRITY_ERROR)
            content = shown or b""
        data = content[offset : offset + (length or size - offset)]
        return self._session.protect(data[: LE_MAX if mode is CommMode.PLAIN else LE_MAX - 24], mode)

    def _write_data(self, field: bytes) -> bytes:
        _require(self.in_application, NativeStatus.PERMISSION_DENIED)
        _require(len(field) > _RANGE_BYTES, NativeStatus.LENGTH_ERROR)
        file = self._file(field[0])
        access = file.settings.access
        mode = self._grant(file, access.write, access.read_write)
        _require(len(field) - _RANGE_BYTES <= WRITE_BYTES_MAX, NativeStatus.LENGTH_ERROR)
        data = self._session.open(WRITE_DATA, field, _RANGE_BYTES, mode)
        offset, length = _range_in(field)
        _require(length > 0, NativeStatus.PARAMETER_ERROR)
        _require(len(data) == length, NativeStatus.LENGTH_ERROR)
        _require(offset + length <= len(file.content), NativeStatus.BOUNDARY_ERROR)
        file.content[offset : offset + length] = data
        return self._session.protect(b"", mode)

    def _grant(self, file: ChipFile, *rights: int) -> CommMode:
        """Return the mode in which one of the rights is had: the file's by a key, plain where it is free."""
        if all(right == NEVER for right in rights):
            raise Refusal(NativeStatus.PERMISSION_DENIED)
        if any(self._session.holds(right) for right in rights):
            return file.settings.mode
        _require(FREE in rights, NativeStatus.AUTHENTICATION_ERROR)
        return CommMode.PLAIN

    def _file(self, number: int) -> ChipFile:
        file = self._memory.files.get(number)
        if file is None:
            raise Refusal(NativeStatus.FILE_NOT_FOUND)
        return file

    def _require_length(self, field: bytes, header_bytes: int, mode: CommMode) -> None:
        """Refuse what is not the header, with its MAC where somebody is authenticated."""
        has_mac = self._session.secure is not None and mode is not CommMode.PLAIN
        _require(len(field) == header_bytes + MAC_BYTES * has_mac, NativeStatus.LENGTH_ERROR)


def _parse_settings(data: bytes, file_bytes: int) -> FileSettings:
    try:
        settings = parse_file_settings(data)
    except EncodingError:
        raise Refusal(NativeStatus.PARAMETER_ERROR) from None
    if settings.sdm is not None and not _fits(settings.sdm, file_bytes):
        raise Refusal(NativeStatus.PARAMETER_ERROR)
    return settings


def _fits(sdm: SdmSettings, file_bytes: int) -> bool:
    """Say whether both mirrors lie within the file and beside each other (table 71)."""
    mac_chars, picc_chars = 2 * LINK_MAC_BYTES, 2 * PICC_DATA_BYTES
    is_within = sdm.picc_data_offset + picc_chars <= file_bytes and sdm.mac_offset + mac_chars <= file_bytes
    is_beside = (
        sdm.mac_offset >= sdm.picc_data_offset + picc_chars
        or sdm.picc_data_offset >= sdm.mac_offset + mac_chars
    )
    return is_within and is_beside and sdm.mac_input_offset <= sdm.mac_offset


def _range_in(field: bytes) -> tuple[int, int]:
    return int.from_bytes(field[1:4], "little"), int.from_bytes(field[4:7], "little")


def _require(condition: bool, status: NativeStatus) -> None:
    if not condition:
        raise Refusal(status)
