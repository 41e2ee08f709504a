"""CBOR as tokens may use it: whole numbers, byte and text strings, arrays and maps; one spelling each.

cbor2 does the decoding, behind a door that lets little through, because by itself it accepts trailing
bytes, duplicate keys, indefinite and longer-than-needed forms, and because its decoders of tagged values
raise errors of the standard library (a bad tag 5 gives decimal.Overflow) and compile regular expressions.
No tag, float or null has a place in a token, and a boolean only in a key, so no other reaches it. Source:
RFC 8949, section 4.2.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, TypeVar

import cbor2

from wire.errors import EncodingError

CBOR_BYTES_MAX: Final = 1024
DEPTH_MAX: Final = 4
"""Arrays and maps inside one another; a token needs two."""

_BYTE_STRING: Final = 2
_TEXT_STRING: Final = 3
_ARRAY: Final = 4
_MAP: Final = 5
_BOOLEANS: Final = (b"\xf4", b"\xf5")

Key = TypeVar("Key", int, str)


def parse_cbor(data: bytes, *, bytes_max: int = CBOR_BYTES_MAX, booleans_allowed: bool = False) -> object:
    """Decode one data item that fills the input exactly and is in its canonical form.

    Args:
        data: the whole input.
        bytes_max: the longest input; a list of many statuses is longer than any token.
        booleans_allowed: let false and true through, which a compressed COSE_Key has.

    Returns:
        Nested int, bytes, str, list and dict, and nothing else but bool where it is allowed; narrow it
        with `expect_map` and its kin.

    Raises:
        EncodingError: longer than `bytes_max`, deeper than DEPTH_MAX, another kind of item, cut
            short, trailing bytes, or a spelling that re-encoding would change.
    """
    if len(data) > bytes_max:
        raise EncodingError(f"the input is longer than {bytes_max} bytes")
    _check_item_kinds(data, booleans_allowed=booleans_allowed)
    try:
        item: object = cbor2.loads(data)
    except cbor2.CBORDecodeError as error:
        raise EncodingError(f"this is no CBOR: {type(error).__name__}") from None
    if dump_cbor(item) != data:
        raise EncodingError("this CBOR is not in its canonical form")
    return item


def dump_cbor(item: object) -> bytes:
    """Encode an item in its canonical form; the inverse of `parse_cbor`."""
    return cbor2.dumps(item, canonical=True)


def expect_map(item: object, keys: Collection[Key]) -> dict[Key, object]:
    """Return the item if it is a map with exactly these keys.

    Raises:
        EncodingError: it is not; a key more is refused like a key less.
    """
    if not isinstance(item, dict) or len(item) != len(keys) or any(key not in item for key in keys):
        raise EncodingError("this is no map with exactly the agreed keys")
    return item


def expect_array(item: object, length: int) -> list[object]:
    """Return the item if it is an array of this many items, else raise `EncodingError`."""
    if not isinstance(item, list) or len(item) != length:
        raise EncodingError(f"this is no array of {length}")
    return item


def expect_int(item: object, minimum: int, maximum: int) -> int:
    """Return the item if it is a whole number of this range, both ends in, else raise `EncodingError`."""
    # A bool is an int to isinstance; `type` takes nothing but an int.
    if type(item) is not int or not minimum <= item <= maximum:
        raise EncodingError(f"this is no whole number from {minimum} to {maximum}")
    return item


def expect_bytes(item: object, length: int) -> bytes:
    """Return the item if it is a byte string of this length, else raise `EncodingError`."""
    if not isinstance(item, bytes) or len(item) != length:
        raise EncodingError(f"this is no byte string of {length}")
    return item


def expect_bytes_up_to(item: object, length_max: int) -> bytes:
    """Return the item if it is a byte string of 1 to this many bytes, else raise `EncodingError`."""
    if not isinstance(item, bytes) or not 1 <= len(item) <= length_max:
        raise EncodingError(f"this is no byte string of 1 to {length_max}")
    return item


def expect_text(item: object, length_max: int) -> str:
    """Return the item if it is a text of 1 to this many characters, else raise `EncodingError`."""
    if not isinstance(item, str) or not 1 <= len(item) <= length_max:
        raise EncodingError(f"this is no text of 1 to {length_max}")
    return item


def expect_bool(item: object) -> bool:
    """Return the item if it is true or false, else raise `EncodingError`."""
    if not isinstance(item, bool):
        raise EncodingError("this is neither true nor false")
    return item


def _check_item_kinds(data: bytes, *, booleans_allowed: bool) -> None:
    """Walk the heads of all items and refuse every kind that no token has."""
    # Items still to come in each open array or map; the outermost is the input itself.
    open_counts, in_map = [1], [False]
    offset = 0
    while open_counts:
        if open_counts[-1] == 0:
            open_counts.pop()
            in_map.pop()
            continue
        is_key = in_map[-1] and open_counts[-1] % 2 == 0
        open_counts[-1] -= 1
        if booleans_allowed and not is_key and data[offset : offset + 1] in _BOOLEANS:
            offset += 1
            continue
        major, argument, offset = _read_head(data, offset, highest_major=_TEXT_STRING if is_key else _MAP)
        if major in (_BYTE_STRING, _TEXT_STRING):
            offset += argument
        elif major in (_ARRAY, _MAP):
            open_counts.append(argument if major == _ARRAY else 2 * argument)
            in_map.append(major == _MAP)
        if len(open_counts) > DEPTH_MAX + 1:
            raise EncodingError(f"arrays and maps are nested deeper than {DEPTH_MAX}")
    if offset != len(data):
        raise EncodingError(f"the item ends at byte {offset}, the input does not")


def _read_head(data: bytes, offset: int, *, highest_major: int) -> tuple[int, int, int]:
    """Return major type, argument and the offset behind the head."""
    if offset >= len(data):
        raise EncodingError(f"the input ends at byte {len(data)}, inside an item")
    major, short = data[offset] >> 5, data[offset] & 0x1F
    # 24 to 27 announce an argument of 1, 2, 4 or 8 bytes; above that lie indefinite lengths.
    if major > highest_major or short > 27:
        raise EncodingError(f"the item at byte {offset} is of a kind that no token has there")
    if short < 24:
        return major, short, offset + 1
    end = offset + 1 + (1 << short - 24)
    return major, int.from_bytes(data[offset + 1 : end], "big"), end
