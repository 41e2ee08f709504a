"""Base45 against RFC 9285, and strict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.codes import base45
from wire.errors import EncodingError


@given(st.binary(max_size=200))
def test_decode_reads_what_encode_wrote(data: bytes) -> None:
    assert base45.decode(base45.encode(data)) == data


@given(st.text(max_size=60) | st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", max_size=60))
def test_decode_gives_one_spelling_or_a_typed_error_for_any_text(text: str) -> None:
    try:
        data = base45.decode(text)
    except EncodingError:
        return
    assert base45.encode(data) == text


@pytest.mark.parametrize(
    ("text", "raw"), [("BB8", b"AB"), ("UJCLQE7W581", b"base-45"), ("QED8WEX0", b"ietf!")]
)
def test_the_examples_of_rfc_9285_hold(text: str, raw: bytes) -> None:
    assert base45.encode(raw) == text
    assert base45.decode(text) == raw


@pytest.mark.parametrize(
    "text",
    ["GGW", ":::", "::", "A", "BB8A", "bb8", "BB8\n", "ÄB8", "٣B8", "0" * (base45.TEXT_CHARS_MAX + 2)],
    ids=lambda text: text[:6],
)
def test_decode_refuses_what_no_bytes_encode_to(text: str) -> None:
    with pytest.raises(EncodingError):
        base45.decode(text)


def test_every_stored_vector_holds(vectors: Path) -> None:
    stored = json.loads((vectors / "base45_rfc9285.json").read_text(encoding="utf-8"))
    for each in stored["encode"]:
        assert base45.encode(each["utf8"].encode()) == each["base45"]
        assert base45.decode(each["base45"]) == each["utf8"].encode()
    assert base45.decode(stored["decode_max"]["base45"]).hex() == stored["decode_max"]["hex"]
    for each in stored["must_fail"]:
        with pytest.raises(EncodingError):
            base45.decode(each["base45"])
