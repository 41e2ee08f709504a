"""ULIDs and EMV short ids: one id, one spelling."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import IdError
from wire.ids import (
    TIME_MS_MAX,
    check_merchant_id,
    check_terminal_id,
    check_ulid,
    make_merchant_id,
    make_terminal_id,
    make_ulid,
    ulid_from_bytes,
    ulid_time_ms,
    ulid_to_bytes,
)

_TIMES = st.integers(0, TIME_MS_MAX)
_ENTROPY = st.binary(min_size=10, max_size=10)


def test_the_time_of_the_reference_implementations_example() -> None:
    """github.com/ulid/javascript, README and tests: ulid(1469918176385) begins 01ARYZ6S41."""
    ulid = make_ulid(1_469_918_176_385, bytes(10))
    assert ulid[:10] == "01ARYZ6S41"
    assert ulid_time_ms(ulid) == 1_469_918_176_385


def test_the_largest_ulid_of_the_specification() -> None:
    assert make_ulid(TIME_MS_MAX, b"\xff" * 10) == "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"


@given(_TIMES, _ENTROPY)
def test_a_ulid_keeps_its_time_and_entropy(now_ms: int, entropy: bytes) -> None:
    ulid = make_ulid(now_ms, entropy)
    assert check_ulid(ulid) == ulid
    assert ulid_time_ms(ulid) == now_ms
    assert ulid_to_bytes(ulid) == now_ms.to_bytes(6, "big") + entropy


@given(st.binary(min_size=16, max_size=16))
def test_bytes_and_text_are_the_same_id(raw: bytes) -> None:
    assert ulid_to_bytes(ulid_from_bytes(raw)) == raw


@given(_TIMES, _TIMES, _ENTROPY, _ENTROPY)
def test_ulids_sort_by_the_time_they_were_made(early: int, late: int, first: bytes, second: bytes) -> None:
    if early < late:
        assert make_ulid(early, first) < make_ulid(late, second)


@given(st.text(max_size=30))
def test_any_text_is_a_ulid_or_a_typed_error(text: str) -> None:
    try:
        raw = ulid_to_bytes(text)
    except IdError:
        return
    assert ulid_from_bytes(raw) == text


@pytest.mark.parametrize(
    "ulid",
    [
        "",
        "01ARYZ6S41000000000000000",
        "01ARYZ6S4100000000000000000",
        "01aryz6s410000000000000000",
        "01ARYZ6S41000000000000000U",
        "01ARYZ6S41000000000000000O",
        "81ARYZ6S410000000000000000",
        "01ARYZ6S410000000000000000\n",
        "０1ARYZ6S410000000000000000",
    ],
)
def test_another_spelling_is_refused(ulid: str) -> None:
    with pytest.raises(IdError):
        check_ulid(ulid)


@pytest.mark.parametrize(
    ("now_ms", "entropy"), [(-1, bytes(10)), (TIME_MS_MAX + 1, bytes(10)), (0, bytes(9)), (0, bytes(11))]
)
def test_a_time_or_entropy_that_does_not_fit_is_refused(now_ms: int, entropy: bytes) -> None:
    with pytest.raises(IdError):
        make_ulid(now_ms, entropy)


@pytest.mark.parametrize("raw", [b"", bytes(15), bytes(17)], ids=len)
def test_a_ulid_has_sixteen_bytes(raw: bytes) -> None:
    with pytest.raises(IdError):
        ulid_from_bytes(raw)


_SHORT_IDS = [(make_terminal_id, check_terminal_id, 8), (make_merchant_id, check_merchant_id, 15)]


@pytest.mark.parametrize(("make", "check", "char_count"), _SHORT_IDS)
def test_a_short_id_has_the_length_of_its_emv_tag(
    make: Callable[[bytes], str], check: Callable[[str], str], char_count: int
) -> None:
    short_id = make(bytes(range(100, 100 + char_count)))
    assert len(short_id) == char_count
    assert check(short_id) == short_id
    with pytest.raises(IdError):
        make(bytes(char_count + 1))


@pytest.mark.parametrize(("make", "check", "char_count"), _SHORT_IDS)
@pytest.mark.parametrize("spoil", ["{}0", "{}\n", "\n{}", "{:.7}", "{:.6}é"])
def test_a_short_id_of_another_form_is_refused(
    make: Callable[[bytes], str], check: Callable[[str], str], char_count: int, spoil: str
) -> None:
    with pytest.raises(IdError):
        check(spoil.format(make(bytes(char_count))))


@given(st.text(max_size=16))
def test_any_text_is_a_short_id_or_a_typed_error(text: str) -> None:
    for check in (check_terminal_id, check_merchant_id):
        try:
            assert check(text) == text
        except IdError:
            continue
