"""BER-TLV: one spelling for each value, and no input that breaks the parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import EncodingError
from wire.tlv import TLV_VALUE_BYTES_MAX, dump_tlv, find_tlv, parse_tlvs

_ONE_BYTE_TAGS = st.integers(1, 0xFF).filter(lambda tag: tag & 0x1F != 0x1F)
_TWO_BYTE_TAGS = st.builds(
    lambda first, second: (first | 0x1F) << 8 | second, st.integers(0, 0xFF), st.integers(0, 0x7F)
)
_TAGS = _ONE_BYTE_TAGS | _TWO_BYTE_TAGS
_ITEMS = st.lists(st.tuples(_TAGS, st.binary(max_size=300)), max_size=6)


@given(st.binary(max_size=400))
def test_parse_tlvs_gives_one_spelling_or_a_typed_error_for_any_bytes(data: bytes) -> None:
    try:
        items = parse_tlvs(data)
    except EncodingError:
        return
    assert b"".join(dump_tlv(tag, value) for tag, value in items) == data


@given(_ITEMS)
def test_parse_tlvs_reads_what_dump_tlv_wrote(items: list[tuple[int, bytes]]) -> None:
    assert parse_tlvs(b"".join(dump_tlv(tag, value) for tag, value in items)) == items


@pytest.mark.parametrize(
    ("value_bytes", "length_hex"),
    [(0, "00"), (127, "7f"), (128, "8180"), (255, "81ff"), (256, "820100"), (65535, "82ffff")],
)
def test_dump_tlv_writes_the_shortest_length_at_each_boundary(value_bytes: int, length_hex: str) -> None:
    written = dump_tlv(0xC1, bytes(value_bytes))
    assert written[: 1 + len(length_hex) // 2].hex() == "c1" + length_hex
    assert parse_tlvs(written) == [(0xC1, bytes(value_bytes))]


@pytest.mark.parametrize(
    "hostile_hex",
    [
        "c1",  # no length
        "c102aa",  # value cut short
        "9f",  # tag cut short
        "9f818101aa",  # tag of three bytes
        "0000",  # padding
        "c18101aa",  # 81 where the short form serves
        "c182007f" + "00" * 127,  # 82 where the short form serves
        "c18200ff" + "00" * 255,  # 82 where 81 serves
        "c180aa0000",  # indefinite
        "c183000001aa",  # four-byte length
        "c181",  # length cut short
        "c18201",  # length cut short
        "c101aaff",  # trailing byte
    ],
)
def test_parse_tlvs_refuses_what_is_not_strict(hostile_hex: str) -> None:
    with pytest.raises(EncodingError):
        parse_tlvs(bytes.fromhex(hostile_hex))


@pytest.mark.parametrize("tag", [-1, 0, 0x1F, 0x9F, 0x9F80, 0x1234, 0x1F0001])
def test_dump_tlv_refuses_a_tag_it_could_not_read_back(tag: int) -> None:
    with pytest.raises(EncodingError):
        dump_tlv(tag, b"")


def test_dump_tlv_refuses_a_value_above_the_bound() -> None:
    with pytest.raises(EncodingError):
        dump_tlv(0xC1, bytes(TLV_VALUE_BYTES_MAX + 1))


def test_find_tlv_returns_the_one_value() -> None:
    assert find_tlv([(0x9F36, b"\x01"), (0xC1, b"\x02")], 0xC1) == b"\x02"


@pytest.mark.parametrize("items", [[], [(0xC1, b"a"), (0xC1, b"a")]])
def test_find_tlv_refuses_an_absent_or_repeated_tag(items: list[tuple[int, bytes]]) -> None:
    with pytest.raises(EncodingError):
        find_tlv(items, 0xC1)
