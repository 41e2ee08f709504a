"""Base32 without padding against RFC 4648, and strict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.codes import base32
from wire.errors import EncodingError


@given(st.binary(max_size=200))
def test_decode_reads_what_encode_wrote(data: bytes) -> None:
    assert base32.decode(base32.encode(data)) == data


@given(st.text(max_size=60) | st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567=", max_size=60))
def test_decode_gives_one_spelling_or_a_typed_error_for_any_text(text: str) -> None:
    try:
        data = base32.decode(text)
    except EncodingError:
        return
    assert base32.encode(data) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"f", "MY"),
        (b"fo", "MZXQ"),
        (b"foo", "MZXW6"),
        (b"foob", "MZXW6YQ"),
        (b"fooba", "MZXW6YTB"),
        (b"foobar", "MZXW6YTBOI"),
    ],
)
def test_the_examples_of_rfc_4648_hold_without_their_padding(raw: bytes, text: str) -> None:
    assert base32.encode(raw) == text
    assert base32.decode(text) == raw


@pytest.mark.parametrize(
    "text",
    [
        "MY======",
        "my",
        "MZ",
        "M",
        "MZXW6Y",
        "MZXW6YTBO",
        "MY\n",
        "M1",
        "ＭＹ",
        "A" * (base32.TEXT_CHARS_MAX + 1),
    ],
    ids=lambda text: text[:8],
)
def test_decode_refuses_what_is_not_canonical(text: str) -> None:
    with pytest.raises(EncodingError):
        base32.decode(text)
