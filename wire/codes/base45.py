"""Base45: bytes as text of the QR alphanumeric alphabet, two bytes to three characters (RFC 9285).

Read strictly: upper case only, no value above its bytes, no stray character; so decoding what encodes
gives the same text back.
"""

from __future__ import annotations

from typing import Final

from wire.errors import EncodingError

TEXT_CHARS_MAX: Final = 4096
"""More than the largest QR code holds in alphanumeric mode (4,296 at level L, 3,391 at level M)."""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}


def encode(data: bytes) -> str:
    """Write bytes as base45.

    >>> encode(b"base-45")
    'UJCLQE7W581'
    """
    pairs = (data[start : start + 2] for start in range(0, len(data), 2))
    return "".join(_encode_chunk(pair) for pair in pairs)


def decode(text: str) -> bytes:
    """Read base45; the inverse of `encode`.

    Raises:
        EncodingError: longer than TEXT_CHARS_MAX, a character outside the alphabet, a length that no
            bytes have, or a group above its bytes' range.

    >>> decode("UJCLQE7W581")
    b'base-45'
    """
    if len(text) > TEXT_CHARS_MAX or len(text) % 3 == 1:
        raise EncodingError("no bytes have base45 of this length")
    return b"".join(_decode_chunk(text, start) for start in range(0, len(text), 3))


def _encode_chunk(chunk: bytes) -> str:
    number = int.from_bytes(chunk, "big")
    # The least significant digit comes first; one byte takes two digits, two bytes take three.
    return "".join(_ALPHABET[number // 45**place % 45] for place in range(len(chunk) + 1))


def _decode_chunk(text: str, start: int) -> bytes:
    chunk = text[start : start + 3]
    try:
        number = 0
        for character in reversed(chunk):
            number = number * 45 + _VALUES[character]
        return number.to_bytes(len(chunk) - 1, "big")
    except KeyError:
        raise EncodingError(f"a character outside base45, in the group at {start}") from None
    except OverflowError:
        raise EncodingError(f"the group at {start} is above what its bytes hold") from None
