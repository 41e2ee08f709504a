"""A link on a card: the NDEF read dialogue of NFC Forum Type 4 tags, and the one URI record inside.

Sources: NFC Forum Type 4 Tag specification 2.0, sections 5 and 7; NDEF 1.0; URI Record Type Definition 1.0.
A tag that is well-formed but not one of ours is `card_not_supported`; one whose bytes contradict each other
is `card_answer_invalid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wire.application_id import NDEF_AID
from wire.cards.apdu import LE_MAX, CommandApdu
from wire.cards.dialogue import CardDialogue, expect_success
from wire.cards.status_words import INVALID_ANSWER, StatusWord
from wire.errors import CardError

CAPABILITY_FILE_ID: Final = 0xE103
NDEF_FILE_ID: Final = 0xE104
"""Where the file usually lies, and always does on NTAG 424 DNA; the capability container has the word."""
NDEF_BYTES_MAX: Final = 254
"""Longest message read: the whole NDEF file of an NTAG 424 DNA but its length."""
READ_BYTES_MIN: Final = 15
"""Smallest MLe the Type 4 specification allows; it bounds how many reads a message can take."""
READ_BYTES_MAX: Final = 255
"""Largest read asked for, whatever the tag offers."""
NDEF_APDUS_MAX: Final = 5 + -(-NDEF_BYTES_MAX // READ_BYTES_MIN)
"""Three SELECTs, two reads for capability container and length, and the reads of the message."""

URI_PREFIXES: Final = (
    "",
    "http://www.",
    "https://www.",
    "http://",
    "https://",
    "tel:",
    "mailto:",
    "ftp://anonymous:anonymous@",
    "ftp://ftp.",
    "ftps://",
    "sftp://",
    "smb://",
    "nfs://",
    "ftp://",
    "dav://",
    "news:",
    "telnet://",
    "imap:",
    "rtsp://",
    "urn:",
    "pop:",
    "sip:",
    "sips:",
    "tftp:",
    "btspp://",
    "btl2cap://",
    "btgoep://",
    "tcpobex://",
    "irdaobex://",
    "file://",
    "urn:epc:id:",
    "urn:epc:tag:",
    "urn:epc:pat:",
    "urn:epc:raw:",
    "urn:epc:",
    "urn:nfc:",
)
"""By URI identifier code (URI RTD, table 3)."""

_NOT_OURS: Final = "card_not_supported"
_NO_LINK_HERE: Final = frozenset(
    {
        StatusWord.FILE_NOT_FOUND,
        StatusWord.FUNCTION_NOT_SUPPORTED,
        StatusWord.APPLET_SELECT_FAILED,
        StatusWord.SECURITY_STATUS_NOT_SATISFIED,
        StatusWord.INSTRUCTION_UNKNOWN,
        StatusWord.CLASS_UNKNOWN,
    }
)
"""Statuses by which an honest card says that it has no NDEF link to read."""
_CAPABILITY_BYTES: Final = 15
_NLEN_BYTES: Final = 2
_NDEF_FILE_TLV: Final = bytes.fromhex("0406")
_RESERVED_FILE_IDS: Final = frozenset({0x0000, 0x3F00, 0x3FFF, 0xE102, CAPABILITY_FILE_ID, 0xFFFF})
_URI_TYPE: Final = b"U"
_WELL_KNOWN: Final = 0x01
_MESSAGE_BEGIN, _MESSAGE_END, _CHUNKED, _SHORT, _WITH_ID, _TYPE_NAME_FORMAT = (
    0x80,
    0x40,
    0x20,
    0x10,
    0x08,
    0x07,
)
"""Bits of an NDEF record's first byte."""


@dataclass(frozen=True, slots=True)
class CapabilityContainer:
    """What a Type 4 tag says of its NDEF file."""

    file_id: int
    file_bytes: int
    """Size of the file, its two length bytes included."""
    read_bytes: int
    """MLe: the longest answer of one READ BINARY."""


def read_ndef_message() -> CardDialogue[bytes]:
    """Select the NDEF application and read its message, in at most NDEF_APDUS_MAX commands.

    Raises:
        CardError: `card_not_supported`; no NDEF application, not readable, empty or too long for ours.
            `card_answer_invalid`; the answers contradict each other.
    """
    yield from _ask(CommandApdu(0x00, 0xA4, 0x04, 0x00, NDEF_AID, LE_MAX))
    yield from _select_file(CAPABILITY_FILE_ID)
    container = parse_capability_container((yield from _read(0, _CAPABILITY_BYTES)))
    yield from _select_file(container.file_id)
    nlen = int.from_bytes((yield from _read(0, _NLEN_BYTES)), "big")
    if nlen > container.file_bytes - _NLEN_BYTES:
        raise CardError("NLEN is longer than the file")
    if not 0 < nlen <= NDEF_BYTES_MAX:
        raise CardError("the message is empty or too long to be ours", code=_NOT_OURS)
    return (yield from _read_message(nlen, min(container.read_bytes, READ_BYTES_MAX)))


def parse_capability_container(container: bytes) -> CapabilityContainer:
    """Read the first fifteen bytes of file E103.

    Raises:
        CardError: `card_answer_invalid`; lengths or the file id are impossible. `card_not_supported`; a
            mapping version we do not know, no plain NDEF file, or one that may not be read freely.

    Source: Type 4 Tag specification 2.0, section 5.1.1.
    """
    if len(container) < _CAPABILITY_BYTES:
        raise CardError("the capability container is cut short")
    length, version, read_bytes = container[0:2], container[2], int.from_bytes(container[3:5], "big")
    if int.from_bytes(length, "big") < _CAPABILITY_BYTES or read_bytes < READ_BYTES_MIN:
        raise CardError("the capability container states impossible lengths")
    if version >> 4 not in (1, 2) or container[7:9] != _NDEF_FILE_TLV or container[13] != 0:
        raise CardError("the capability container offers no free NDEF file", code=_NOT_OURS)
    file_id, file_bytes = int.from_bytes(container[9:11], "big"), int.from_bytes(container[11:13], "big")
    if file_id in _RESERVED_FILE_IDS or file_bytes < _NLEN_BYTES:
        raise CardError("the capability container names an impossible file")
    return CapabilityContainer(file_id, file_bytes, read_bytes)


def parse_uri_message(message: bytes) -> str:
    """Return the URI of a message that is one URI record and nothing else.

    Raises:
        CardError: `card_not_supported`; a good message of another kind. `card_answer_invalid`; lengths
            that do not fill the message, an unknown prefix, or text that is not UTF-8.

    >>> parse_uri_message(bytes.fromhex("d1010a55036e666370792e6f7267"))
    'http://nfcpy.org'
    """
    record_type, payload = _parse_only_record(message)
    if record_type != _URI_TYPE:
        raise CardError("the record is no URI", code=_NOT_OURS)
    if not payload or payload[0] >= len(URI_PREFIXES):
        raise CardError("the URI has no known prefix")
    try:
        return URI_PREFIXES[payload[0]] + payload[1:].decode("utf-8")
    except UnicodeDecodeError:
        raise CardError("the URI is not UTF-8") from None


def dump_uri_message(uri: str) -> bytes:
    """Write a URI as one short record, under the longest prefix that fits.

    Raises:
        CardError: longer than NDEF_BYTES_MAX.
    """
    code = max(
        (code for code, prefix in enumerate(URI_PREFIXES) if uri.startswith(prefix)),
        key=lambda code: len(URI_PREFIXES[code]),
    )
    payload = bytes((code,)) + uri[len(URI_PREFIXES[code]) :].encode("utf-8")
    header = _MESSAGE_BEGIN | _MESSAGE_END | _SHORT | _WELL_KNOWN
    message = bytes((header, len(_URI_TYPE), len(payload) & 0xFF)) + _URI_TYPE + payload
    if len(message) > NDEF_BYTES_MAX:
        raise CardError(f"a message has at most {NDEF_BYTES_MAX} bytes")
    return message


def dump_ndef_file(message: bytes) -> bytes:
    """Put NLEN in front of a message, as the NDEF file holds it."""
    return len(message).to_bytes(_NLEN_BYTES, "big") + message


def _parse_only_record(message: bytes) -> tuple[bytes, bytes]:
    if not message:
        raise CardError("the message is empty", code=_NOT_OURS)
    flags, length_bytes = message[0], 1 if message[0] & _SHORT else 4
    if not flags & _MESSAGE_BEGIN or flags & _CHUNKED:
        raise CardError("the message does not begin with a whole record")
    if not flags & _MESSAGE_END or flags & _WITH_ID or flags & _TYPE_NAME_FORMAT != _WELL_KNOWN:
        raise CardError("the message is not one plain well-known record", code=_NOT_OURS)
    type_start = 2 + length_bytes
    if len(message) < type_start:
        raise CardError("the record is cut short")
    payload_start = type_start + message[1]
    if payload_start + int.from_bytes(message[2:type_start], "big") != len(message):
        raise CardError("the record does not fill the message")
    return message[type_start:payload_start], message[payload_start:]


def _select_file(file_id: int) -> CardDialogue[bytes]:
    return _ask(CommandApdu(0x00, 0xA4, 0x00, 0x0C, file_id.to_bytes(2, "big")))


def _read_message(nlen: int, read_bytes: int) -> CardDialogue[bytes]:
    # A range, so that the number of reads is fixed before the first one, whatever the tag answers.
    message = b""
    for start in range(0, nlen, read_bytes):
        message += yield from _read(_NLEN_BYTES + start, min(read_bytes, nlen - start))
    return message


def _read(offset: int, length: int) -> CardDialogue[bytes]:
    data = yield from _ask(CommandApdu(0x00, 0xB0, offset >> 8, offset & 0xFF, le=length))
    if len(data) != length:
        raise CardError("the file ended before its stated length")
    return data


def _ask(command: CommandApdu) -> CardDialogue[bytes]:
    return expect_success(command, refusal=_refusal_of)


def _refusal_of(status_word: int) -> str:
    return _NOT_OURS if status_word in _NO_LINK_HERE else INVALID_ANSWER
