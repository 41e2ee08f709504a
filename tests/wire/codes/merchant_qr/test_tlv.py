"""Data objects whose lengths count characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.codes.merchant_qr.tlv import DataObject, dump_data_object, parse_data_objects
from wire.errors import PaymentCodeError

_IDS = st.integers(0, 99).map("{:02d}".format)
_OBJECTS = st.dictionaries(_IDS, st.text(min_size=1, max_size=99), max_size=5)


@given(_OBJECTS)
def test_parse_reads_what_dump_wrote(fields: dict[str, str]) -> None:
    text = "".join(dump_data_object(object_id, value) for object_id, value in fields.items())
    assert parse_data_objects(text) == [DataObject(object_id, value) for object_id, value in fields.items()]


@given(st.text(max_size=80) | st.text("0123456789ab", max_size=80))
def test_any_text_gives_one_spelling_or_a_typed_error(text: str) -> None:
    try:
        objects = parse_data_objects(text)
    except PaymentCodeError:
        return
    assert "".join(dump_data_object(each.id, each.value) for each in objects) == text


def test_lengths_count_characters_not_bytes() -> None:
    assert parse_data_objects("0104最佳运输0202北京") == [
        DataObject("01", "最佳运输"),
        DataObject("02", "北京"),
    ]


@pytest.mark.parametrize(
    "text", ["0", "000", "0001", "0000", "0002a", "0001a0001b", "0a01a", "٠٠01a", "-101a", "+001a", "0001a5"]
)
def test_a_text_that_is_not_objects_alone_is_refused(text: str) -> None:
    with pytest.raises(PaymentCodeError):
        parse_data_objects(text)


@pytest.mark.parametrize(
    ("object_id", "value"), [("0", "a"), ("000", "a"), ("ab", "a"), ("00", ""), ("00", "a" * 100)]
)
def test_dump_refuses_what_it_could_not_read_back(object_id: str, value: str) -> None:
    with pytest.raises(PaymentCodeError):
        dump_data_object(object_id, value)
