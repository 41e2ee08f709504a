"""The native commands of an NTAG 424 DNA chip, as dialogues over a channel that may be authenticated.

Randomness is an argument: whoever authenticates hands RndA in. What goes wrong raises `CardError` with the
chip's refusal; an answer whose MAC does not hold is `card_answer_invalid`, whatever it says.

Source: NXP NT4H2421Gx data sheet rev 3.0, sections 10.4 to 10.8; NXP AN12196 rev 1.8, section 6.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from wire.application_id import NDEF_AID
from wire.cards.apdu import LE_MAX, CommandApdu, ResponseApdu
from wire.cards.dialogue import CardDialogue, exchange, expect_success
from wire.cards.ntag424.file_settings import FileSettings, dump_file_settings, parse_file_state
from wire.cards.ntag424.keys import UID_BYTES
from wire.cards.ntag424.native_status import NativeStatus
from wire.cards.ntag424.secure_messaging import (
    RANDOM_BYTES,
    TRANSACTION_ID_BYTES,
    CommMode,
    SecureSession,
    decrypt,
    derive_session_keys,
    encrypt,
    open_answer,
    protect_command,
)
from wire.errors import CardError, EncodingError

NATIVE_CLASS: Final = 0x90
ADDITIONAL_FRAME: Final = 0xAF
AUTHENTICATE_EV2_FIRST: Final = 0x71
CHANGE_FILE_SETTINGS: Final = 0x5F
CHANGE_KEY: Final = 0xC4
GET_CARD_UID: Final = 0x51
GET_FILE_SETTINGS: Final = 0xF5
GET_KEY_VERSION: Final = 0x64
GET_VERSION: Final = 0x60
READ_DATA: Final = 0xAD
SET_CONFIGURATION: Final = 0x5C
WRITE_DATA: Final = 0x8D

SELECT_NDEF_APPLICATION: Final = CommandApdu(0x00, 0xA4, 0x04, 0x0C, NDEF_AID)
PICC_CONFIGURATION: Final = 0x00
RANDOM_UID: Final = 0x02
"""Option and its one bit of SetConfiguration; once set, no command clears it (table 50)."""
WRITE_BYTES_MAX: Final = 128
"""Most that is written at once: within this a write is done whole or not at all (section 8.6)."""
ZERO_KEY: Final = bytes(16)
"""Every key of a card as delivered, with version 0."""
VENDOR_NXP: Final = 0x04
TYPE_NTAG: Final = 0x04

_AUTHENTICATION_ANSWER_BYTES: Final = 32


@dataclass(slots=True)
class CardChannel:
    """A selected card; `session` is None until somebody authenticates, and after any refusal."""

    session: SecureSession | None = None
    key_number: int | None = None
    """Which key the session is of."""

    def forget(self) -> None:
        """Be unauthenticated again, as the chip is."""
        self.session = self.key_number = None


@dataclass(frozen=True, slots=True)
class ChipVersion:
    """What GetVersion says of the chip."""

    vendor: int
    hardware_type: int
    uid: bytes | None
    """7 bytes; None where the card shows a random one."""


def select_application(channel: CardChannel) -> CardDialogue[None]:
    """Select the chip's one application; this ends any session.

    Raises:
        CardError: `card_not_supported`; it has none.
    """
    channel.forget()
    yield from expect_success(SELECT_NDEF_APPLICATION)


def get_version() -> CardDialogue[ChipVersion]:
    """Ask what chip this is, before anybody authenticates.

    Raises:
        CardError: `card_not_supported`; it does not know the command. `card_answer_invalid`.
    """
    hardware = yield from _frame(GET_VERSION, NativeStatus.ADDITIONAL_FRAME)
    yield from _frame(ADDITIONAL_FRAME, NativeStatus.ADDITIONAL_FRAME)
    production = yield from _frame(ADDITIONAL_FRAME, NativeStatus.OPERATION_OK)
    if len(hardware) < 2 or len(production) < UID_BYTES:
        raise CardError("the chip's version is cut short")
    uid = production[:UID_BYTES]
    return ChipVersion(hardware[0], hardware[1], uid if any(uid) else None)


def authenticate_first(channel: CardChannel, key_number: int, key: bytes, rnd_a: bytes) -> CardDialogue[None]:
    """Prove a key to the card and have the card prove it; the channel is under a new session then.

    Args:
        channel: of the selected application.
        key_number: 0 to 4.
        key: 16 bytes.
        rnd_a: 16 bytes, unpredictable and never used before.

    Raises:
        CardError: `card_keys_unknown`; the card has another key there. `card_resting`; it answers nobody for
            a while. `card_answer_invalid`; whatever answered does not know the key.

    Source: data sheet section 10.4.1; AN12196 section 6.6.
    """
    channel.forget()
    challenge = yield from _frame(
        AUTHENTICATE_EV2_FIRST, NativeStatus.ADDITIONAL_FRAME, bytes((key_number, 0))
    )
    if len(challenge) != RANDOM_BYTES:
        raise CardError("the card's challenge has another length")
    rnd_b = decrypt(key, challenge)
    answer = yield from _frame(
        ADDITIONAL_FRAME, NativeStatus.OPERATION_OK, encrypt(key, rnd_a + _rotate(rnd_b))
    )
    if len(answer) != _AUTHENTICATION_ANSWER_BYTES:
        raise CardError("the card's proof has another length")
    plain = decrypt(key, answer)
    if plain[TRANSACTION_ID_BYTES : TRANSACTION_ID_BYTES + RANDOM_BYTES] != _rotate(rnd_a):
        raise CardError("the card did not prove the key")
    channel.session = SecureSession(derive_session_keys(key, rnd_a, rnd_b), plain[:TRANSACTION_ID_BYTES])
    channel.key_number = key_number


def get_key_version(channel: CardChannel, key_number: int) -> CardDialogue[int]:
    """Return the version of a key, 0 as delivered; anybody may ask."""
    data = yield from _send(channel, GET_KEY_VERSION, bytes((key_number,)), b"", CommMode.MAC)
    if len(data) != 1:
        raise CardError("a key version has one byte")
    return data[0]


def change_key(
    channel: CardChannel, key_number: int, new_key: bytes, version: int, *, old_key: bytes = ZERO_KEY
) -> CardDialogue[None]:
    """Replace a key and its version, in one step that is done or not done.

    Changing key 0 ends the session, which was under it.

    Args:
        channel: authenticated with key 0.
        key_number: 0 to 4.
        new_key: 16 bytes.
        version: 0 to 255.
        old_key: of keys 1 to 4, which the chip wants to see proven; not used for key 0.

    Source: data sheet section 10.6.1; AN12196 section 6.16.
    """
    data = new_key + bytes((version,))
    if key_number != channel.key_number:
        mixed = bytes(new ^ old for new, old in zip(new_key, old_key, strict=True))
        data = mixed + bytes((version,)) + key_checksum(new_key)
    ends_session = key_number == channel.key_number
    yield from _send(
        channel, CHANGE_KEY, bytes((key_number,)), data, CommMode.FULL, ends_session=ends_session
    )


def get_file_settings(channel: CardChannel, file_number: int) -> CardDialogue[FileSettings | None]:
    """Return a file's settings; None if they are of a kind that no card of ours has."""
    data = yield from _send(channel, GET_FILE_SETTINGS, bytes((file_number,)), b"", CommMode.MAC)
    try:
        return parse_file_state(data)
    except EncodingError:
        return None


def change_file_settings(
    channel: CardChannel, file_number: int, settings: FileSettings
) -> CardDialogue[None]:
    """Give a file new settings; switching mirroring on sets the link's counter to zero."""
    data = dump_file_settings(settings)
    yield from _send(channel, CHANGE_FILE_SETTINGS, bytes((file_number,)), data, CommMode.FULL)


def enable_random_uid(channel: CardChannel) -> CardDialogue[None]:
    """Have the card show another UID at every power-up, for ever."""
    option = bytes((PICC_CONFIGURATION,))
    yield from _send(channel, SET_CONFIGURATION, option, bytes((RANDOM_UID,)), CommMode.FULL)


def get_card_uid(channel: CardChannel) -> CardDialogue[bytes]:
    """Return the card's real UID of 7 bytes, under any key's session."""
    uid = yield from _send(channel, GET_CARD_UID, b"", b"", CommMode.FULL)
    if len(uid) != UID_BYTES:
        raise CardError(f"a UID has {UID_BYTES} bytes")
    return uid


def read_plain_file(channel: CardChannel, file_number: int, offset: int, length: int) -> CardDialogue[bytes]:
    """Return bytes of a file in plain mode; under a session they come without mirrors."""
    header = bytes((file_number,)) + offset.to_bytes(3, "little") + length.to_bytes(3, "little")
    data = yield from _send(channel, READ_DATA, header, b"", CommMode.PLAIN)
    if len(data) != length:
        raise CardError("the card returned another length")
    return data


def write_plain_file(channel: CardChannel, file_number: int, offset: int, data: bytes) -> CardDialogue[None]:
    """Write bytes of a file in plain mode, in one frame."""
    assert len(data) <= WRITE_BYTES_MAX, "longer writes can be torn in the middle"
    header = bytes((file_number,)) + offset.to_bytes(3, "little") + len(data).to_bytes(3, "little")
    yield from _send(channel, WRITE_DATA, header, data, CommMode.PLAIN)


def key_checksum(key: bytes) -> bytes:
    """Return the CRC-32 of a new key as ChangeKey carries it: inverted, lowest byte first.

    >>> key_checksum(bytes.fromhex("F3847D627727ED3BC9C4CC050489B966")).hex()
    '789dfadc'
    """
    return (zlib.crc32(key) ^ 0xFFFFFFFF).to_bytes(4, "little")


def _send(
    channel: CardChannel,
    instruction: int,
    header: bytes,
    data: bytes,
    mode: CommMode,
    *,
    ends_session: bool = False,
) -> CardDialogue[bytes]:
    """Send one command as the channel's state wants it, and return what was answered."""
    session = channel.session
    if session is None:
        return (yield from _frame(instruction, NativeStatus.OPERATION_OK, header + data))
    field = protect_command(session, instruction, header, data, mode)
    response = yield from exchange(CommandApdu(NATIVE_CLASS, instruction, 0, 0, field, LE_MAX))
    channel.session = session.counted()
    if response.status_word != NativeStatus.OPERATION_OK or ends_session:
        # Any refusal ends the chip's side too (section 9.1.9).
        channel.forget()
    _require(response, NativeStatus.OPERATION_OK)
    if ends_session:
        # Answered without a MAC: the key it would be made with is gone (AN12196 section 6.16.2).
        return b""
    try:
        return open_answer(session.counted(), response.status_word & 0xFF, response.data, mode)
    except EncodingError as error:
        channel.forget()
        raise CardError(str(error)) from None


def _frame(instruction: int, status: NativeStatus, data: bytes = b"") -> CardDialogue[bytes]:
    response = yield from exchange(CommandApdu(NATIVE_CLASS, instruction, 0, 0, data, LE_MAX))
    _require(response, status)
    return response.data


def _require(response: ResponseApdu, status: NativeStatus) -> None:
    if response.status_word != status:
        word = response.status_word
        raise CardError(NativeStatus.describe(word), code=NativeStatus.refusal_of(word))


def _rotate(random: bytes) -> bytes:
    return random[1:] + random[:1]
