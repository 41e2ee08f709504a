"""The strict door before cbor2."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import EncodingError
from wire.tokens.cbor import (
    CBOR_BYTES_MAX,
    DEPTH_MAX,
    dump_cbor,
    expect_array,
    expect_bytes,
    expect_int,
    expect_map,
    parse_cbor,
)

_INTS = st.integers(-(1 << 64), (1 << 64) - 1)
_STRINGS = st.binary(max_size=40) | st.text(max_size=20)
_TOKEN_ITEMS = st.recursive(
    _INTS | _STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_INTS | _STRINGS, inner, max_size=3),
    max_leaves=6,
).filter(lambda item: _depth(item) <= DEPTH_MAX)
# Everything cbor2 can write, tags with a decoder of their own among it.
_FOREIGN_ITEMS = st.recursive(
    _INTS | _STRINGS | st.floats() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_INTS, inner, max_size=3)
        | st.builds(cbor2.CBORTag, st.sampled_from([0, 2, 4, 5, 18, 28, 29, 30, 35, 36, 258]), inner)
    ),
    max_leaves=6,
)


def _depth(item: object) -> int:
    inner = item if isinstance(item, list) else list(item.values()) if isinstance(item, dict) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


@given(st.binary(max_size=200))
def test_parse_cbor_gives_one_spelling_or_a_typed_error_for_any_bytes(data: bytes) -> None:
    _assert_one_spelling_or_typed_error(data)


@given(_FOREIGN_ITEMS, st.integers(0, 60), st.binary(max_size=2))
def test_parse_cbor_gives_one_spelling_or_a_typed_error_for_patched_cbor(
    item: object, offset: int, patch: bytes
) -> None:
    data = cbor2.dumps(item)
    _assert_one_spelling_or_typed_error(data[:offset] + patch + data[offset + len(patch) :])


def _assert_one_spelling_or_typed_error(data: bytes) -> None:
    try:
        item = parse_cbor(data)
    except EncodingError:
        return
    assert dump_cbor(item) == data


@given(_TOKEN_ITEMS)
def test_parse_cbor_reads_what_dump_cbor_wrote(item: object) -> None:
    assert parse_cbor(dump_cbor(item)) == item


@pytest.mark.parametrize(
    ("hostile_hex", "why"),
    [
        ("", "empty"),
        ("0100", "trailing byte"),
        ("a201010102", "duplicate key"),
        ("1801", "longer than needed"),
        ("190001", "longer than needed"),
        ("5801aa", "length longer than needed"),
        ("9fff", "indefinite array"),
        ("5f41aaff", "indefinite byte string"),
        ("a204000100", "keys out of order"),
        ("f5", "boolean"),
        ("f6", "null"),
        ("f93c00", "float"),
        ("c11a00000000", "tag with a decoder of its own"),
        ("d28440a04040", "tag 18 is the envelope's, not the decoder's"),
        ("c5821a3b9aca0001", "tag 5 that makes cbor2 raise decimal.Overflow"),
        ("d8238101", "tag 35 that makes cbor2 raise TypeError"),
        ("c249010000000000000000", "bignum"),
        ("61ff", "text that is no UTF-8"),
        ("9b7fffffffffffffff", "array longer than the input"),
        ("5b7fffffffffffffff", "string longer than the input"),
        ("a1810102", "a key that is an array"),
        ("8202", "cut short"),
        ("1c", "reserved argument"),
        ("ff", "break outside"),
    ],
)
def test_parse_cbor_refuses_what_is_not_strict(hostile_hex: str, why: str) -> None:
    with pytest.raises(EncodingError):
        parse_cbor(bytes.fromhex(hostile_hex))
    assert why


def test_parse_cbor_takes_the_longest_input_and_refuses_a_byte_more() -> None:
    longest = dump_cbor(bytes(CBOR_BYTES_MAX - 3))
    assert len(longest) == CBOR_BYTES_MAX
    assert parse_cbor(longest) == bytes(CBOR_BYTES_MAX - 3)
    with pytest.raises(EncodingError):
        parse_cbor(dump_cbor(bytes(CBOR_BYTES_MAX - 2)))


def test_parse_cbor_takes_the_deepest_nest_and_refuses_one_deeper() -> None:
    assert parse_cbor(b"\x81" * DEPTH_MAX + b"\x00")
    with pytest.raises(EncodingError):
        parse_cbor(b"\x81" * (DEPTH_MAX + 1) + b"\x00")


@pytest.mark.parametrize("item", [[], {1: 2}, {1: 2, 4: 3, 5: 4}, {1: 2, "4": 3}, b"", 7])
def test_expect_map_refuses_other_keys_than_the_agreed(item: object) -> None:
    with pytest.raises(EncodingError):
        expect_map(item, (1, 4))


@pytest.mark.parametrize("item", [True, 1.0, "1", b"\x01", 0, 11, None])
def test_expect_int_refuses_other_types_and_ranges(item: object) -> None:
    with pytest.raises(EncodingError):
        expect_int(item, 1, 10)


def test_expect_int_takes_both_ends_of_the_range() -> None:
    assert (expect_int(1, 1, 10), expect_int(10, 1, 10)) == (1, 10)


@pytest.mark.parametrize("item", [b"1234567", b"123456789", "12345678", [0] * 8])
def test_expect_bytes_refuses_other_types_and_lengths(item: object) -> None:
    with pytest.raises(EncodingError):
        expect_bytes(item, 8)


@pytest.mark.parametrize("item", [[1, 2], [1, 2, 3, 4], {0: 1, 1: 2, 2: 3}, b"123"])
def test_expect_array_refuses_other_types_and_lengths(item: object) -> None:
    with pytest.raises(EncodingError):
        expect_array(item, 3)
