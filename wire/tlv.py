"""BER-TLV as cards and consumer codes use it: tags of one or two bytes, definite lengths, nothing else.

EMV Book 3, annex B defines the subset (ISO/IEC 8825-1 is the whole). It is read strictly, so that a value
has exactly one spelling: the shortest length form, no padding, no trailing bytes.
"""

from __future__ import annotations

from typing import Final

from wire.errors import EncodingError

TLV_VALUE_BYTES_MAX: Final = 0xFFFF
"""Longest value: what a length of the form 82 LL LL can state."""

_TAG_CONTINUES: Final = 0x1F
"""The low five bits of a first tag byte that say that a second one follows."""


def parse_tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """Read data objects that fill the input exactly; one level, templates stay bytes.

    Returns:
        Tag and value of each object in its order; a tag of two bytes reads as one number (0x9F36).

    Raises:
        EncodingError: a tag of three bytes or of value zero, a length that is indefinite, longer than
            three bytes or not in its shortest form, or an object that ends behind the input.

    >>> parse_tlvs(bytes.fromhex("9F36020007C10155"))
    [(40758, b'\\x00\\x07'), (193, b'U')]
    """
    items = []
    offset = 0
    while offset < len(data):
        tag, offset = _read_tag(data, offset)
        length, offset = _read_length(data, offset)
        if offset + length > len(data):
            raise EncodingError(f"a value ends behind the input, its content begins at byte {offset}")
        items.append((tag, data[offset : offset + length]))
        offset += length
    return items


def dump_tlv(tag: int, value: bytes) -> bytes:
    """Write one data object.

    Raises:
        EncodingError: the tag is none of one or two bytes, or the value is longer than
            TLV_VALUE_BYTES_MAX.

    >>> dump_tlv(0x9F36, b"\\x00\\x07").hex()
    '9f36020007'
    """
    return _dump_tag(tag) + _dump_length(len(value)) + value


def find_tlv(items: list[tuple[int, bytes]], tag: int) -> bytes:
    """Return the value of the one object with this tag.

    Raises:
        EncodingError: there is none, or more than one: taking either of two would let two readers of
            the same bytes disagree.
    """
    values = [value for found, value in items if found == tag]
    if len(values) != 1:
        raise EncodingError(f"tag {tag:X} is there {len(values)} times, not once")
    return values[0]


def _read_tag(data: bytes, offset: int) -> tuple[int, int]:
    first = data[offset]
    if first == 0:
        raise EncodingError(f"no tag is zero, at byte {offset}")
    if first & _TAG_CONTINUES != _TAG_CONTINUES:
        return first, offset + 1
    if offset + 1 >= len(data):
        raise EncodingError(f"the tag at byte {offset} is cut short")
    second = data[offset + 1]
    if second & 0x80:
        raise EncodingError(f"the tag at byte {offset} has more than two bytes")
    return first << 8 | second, offset + 2


def _read_length(data: bytes, offset: int) -> tuple[int, int]:
    if offset >= len(data):
        raise EncodingError(f"the length at byte {offset} is missing")
    first = data[offset]
    if first < 0x80:
        return first, offset + 1
    byte_count = first - 0x80
    if byte_count not in (1, 2):
        raise EncodingError(f"the length at byte {offset} is neither short nor of the form 81 or 82")
    end = offset + 1 + byte_count
    length = int.from_bytes(data[offset + 1 : end], "big")
    # A length cut short by the input's end reads too small or is caught here; both are refused.
    if end > len(data) or _dump_length(length) != data[offset:end]:
        raise EncodingError(f"the length at byte {offset} is cut short or not the shortest form")
    return length, end


def _dump_tag(tag: int) -> bytes:
    if 0 < tag <= 0xFF and tag & _TAG_CONTINUES != _TAG_CONTINUES:
        return bytes((tag,))
    two_bytes = 0xFF < tag <= 0xFFFF and tag >> 8 & _TAG_CONTINUES == _TAG_CONTINUES
    if not two_bytes or tag & 0x80:
        raise EncodingError("a tag has one or two bytes")
    return tag.to_bytes(2, "big")


def _dump_length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    if length <= 0xFF:
        return bytes((0x81, length))
    if length <= TLV_VALUE_BYTES_MAX:
        return b"\x82" + length.to_bytes(2, "big")
    raise EncodingError(f"a value has at most {TLV_VALUE_BYTES_MAX} bytes")
