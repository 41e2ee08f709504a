"""Command and response APDUs in their short forms, read strictly (ISO/IEC 7816-4, section 5.1).

Everything our dialogues say fits the short forms, so extended length is refused, not guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wire.errors import EncodingError

COMMAND_BYTES_MAX: Final = 261
"""Header of four bytes, Lc, 255 data bytes, Le."""
RESPONSE_BYTES_MAX: Final = 258
"""256 data bytes and the status word."""
DATA_BYTES_MAX: Final = 255
LE_MAX: Final = 256
"""Written as 00; "all you have, up to 256 bytes"."""

_HEADER_BYTES: Final = 4
_STATUS_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class CommandApdu:
    """What a terminal asks of a card."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None
    """Longest answer wanted, 1 to 256 bytes; None asks for none (cases 1 and 3)."""

    def encode(self) -> bytes:
        """Write the command.

        Raises:
            EncodingError: more than 255 data bytes, or Le outside 1 to 256.
        """
        if len(self.data) > DATA_BYTES_MAX:
            raise EncodingError(f"a short command holds at most {DATA_BYTES_MAX} data bytes")
        if self.le is not None and not 1 <= self.le <= LE_MAX:
            raise EncodingError(f"Le is 1 to {LE_MAX}")
        body = bytes((len(self.data),)) + self.data if self.data else b""
        trailer = b"" if self.le is None else bytes((self.le % LE_MAX,))
        return bytes((self.cla, self.ins, self.p1, self.p2)) + body + trailer


@dataclass(frozen=True, slots=True)
class ResponseApdu:
    """What a card answers."""

    data: bytes
    status_word: int
    """SW1 and SW2 as one number; any value, since a card may answer anything (status_words.py)."""

    def encode(self) -> bytes:
        """Write the response, status word last.

        Raises:
            EncodingError: more than 256 data bytes.
        """
        if len(self.data) > LE_MAX:
            raise EncodingError(f"a short response holds at most {LE_MAX} data bytes")
        return self.data + self.status_word.to_bytes(_STATUS_BYTES, "big")


def parse_command(command: bytes) -> CommandApdu:
    """Read a command; the inverse of `CommandApdu.encode`.

    Raises:
        EncodingError: shorter than a header, longer than Lc and Le account for, or extended length.

    >>> parse_command(bytes.fromhex("00B0000002")).le
    2
    """
    if not _HEADER_BYTES <= len(command) <= COMMAND_BYTES_MAX:
        raise EncodingError(f"a short command has {_HEADER_BYTES} to {COMMAND_BYTES_MAX} bytes")
    data, le = _parse_body(command[_HEADER_BYTES:])
    return CommandApdu(command[0], command[1], command[2], command[3], data, le)


def parse_response(response: bytes) -> ResponseApdu:
    """Read a response; the inverse of `ResponseApdu.encode`.

    Raises:
        EncodingError: no status word, or longer than a short response can be.

    >>> parse_response(bytes.fromhex("6A82")).status_word == 0x6A82
    True
    """
    if not _STATUS_BYTES <= len(response) <= RESPONSE_BYTES_MAX:
        raise EncodingError(f"a short response has {_STATUS_BYTES} to {RESPONSE_BYTES_MAX} bytes")
    return ResponseApdu(response[:-_STATUS_BYTES], int.from_bytes(response[-_STATUS_BYTES:], "big"))


def _parse_body(body: bytes) -> tuple[bytes, int | None]:
    if not body:
        return b"", None
    if len(body) == 1:
        return b"", body[0] or LE_MAX
    lc = body[0]
    # Lc of zero with more behind it opens an extended length.
    if lc == 0 or len(body) not in (1 + lc, 2 + lc):
        raise EncodingError("Lc and Le do not account for the command's length")
    data = body[1 : 1 + lc]
    return data, None if len(body) == 1 + lc else body[-1] or LE_MAX
