"""The plain tag: a readable number, a little memory, and NAK to the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.cards.apdu_card import RECEIVED_MAX
from simulators.cards.card import MemoryTag
from simulators.cards.uid_tag import ACK, NAK, PAGE_COUNT, UidTag
from wire.cards.ndef import dump_uri_message, parse_uri_message

UID = bytes.fromhex("5F112233445566")


def _read(tag: MemoryTag, page: int) -> bytes | None:
    return tag.exchange(bytes((0x30, page)))


def _write(tag: MemoryTag, page: int, content_hex: str) -> bytes | None:
    return tag.exchange(bytes((0xA2, page)) + bytes.fromhex(content_hex))


def test_read_shows_the_uid_with_its_check_bytes_and_the_capability_container() -> None:
    first_pages = _read(UidTag(UID), 0)
    assert first_pages is not None
    assert first_pages[:3] + first_pages[4:8] == UID
    assert first_pages[3] == 0x88 ^ 0x5F ^ 0x11 ^ 0x22
    assert first_pages[8] == 0x33 ^ 0x44 ^ 0x55 ^ 0x66
    assert first_pages[12:].hex() == "e1100600"


def test_read_rolls_over_at_the_end_of_the_memory() -> None:
    tag = UidTag(UID)
    assert _write(tag, 15, "0a0b0c0d") == ACK
    last = _read(tag, 15)
    assert last is not None
    assert last[:4].hex() == "0a0b0c0d"
    assert last[4:7] == UID[:3]


def test_written_page_is_read_back_after_losing_power() -> None:
    tag = UidTag(UID)
    assert _write(tag, 4, "01020304") == ACK
    tag.power_off()
    tag.power_on()
    shown = _read(tag, 4)
    assert shown is not None
    assert shown[:4].hex() == "01020304"


@pytest.mark.parametrize(
    "frame_hex",
    ["", "30", "3010", "300000", "a200", "a20001020304", "a20101020304", "a21001020304", "a204010203", "60"],
)
def test_tag_refuses_what_it_does_not_have(frame_hex: str) -> None:
    assert UidTag(UID).exchange(bytes.fromhex(frame_hex)) == NAK


def test_halt_is_answered_by_silence() -> None:
    assert UidTag(UID).exchange(bytes.fromhex("5000")) is None


def test_one_time_bits_stay_set() -> None:
    tag = UidTag(UID, ndef_message=None)
    assert _write(tag, 3, "00000001") == ACK
    assert _write(tag, 3, "00000000") == ACK
    shown = _read(tag, 3)
    assert shown is not None
    assert shown[:4].hex() == "e1100601"


def test_locked_page_is_not_written_again() -> None:
    tag = UidTag(UID)
    assert _write(tag, 2, "ffff1000") == ACK
    assert _write(tag, 4, "01020304") == NAK
    assert _write(tag, 5, "01020304") == ACK
    identity = _read(tag, 0)
    assert identity is not None
    assert identity[8] == 0x33 ^ 0x44 ^ 0x55 ^ 0x66


def test_ndef_message_lies_in_the_user_memory() -> None:
    message = dump_uri_message("https://example.com")
    tag = UidTag(UID, ndef_message=message)
    memory = b"".join(_read(tag, page) or b"" for page in range(4, PAGE_COUNT, 4))
    assert memory[0] == 0x03
    assert parse_uri_message(memory[2 : 2 + memory[1]]) == "https://example.com"
    assert memory[2 + memory[1]] == 0xFE


@pytest.mark.parametrize("uid_hex", ["5f112233", "04112233445566", ""])
def test_tag_is_not_made_with_a_uid_drivers_take_for_a_known_chip(uid_hex: str) -> None:
    with pytest.raises(ValueError, match="UID"):
        UidTag(bytes.fromhex(uid_hex))


def test_tag_is_not_made_with_a_message_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="at most"):
        UidTag(UID, ndef_message=bytes(46))


def test_received_keeps_the_newest_frames_only() -> None:
    tag = UidTag(UID)
    for _ in range(RECEIVED_MAX):
        _read(tag, 0)
    _read(tag, 4)
    assert len(tag.received) == RECEIVED_MAX
    assert tag.received[-1].hex() == "3004"


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_tag_keeps_its_number_whatever_it_is_sent(frames: list[bytes]) -> None:
    tag = UidTag(UID)
    for frame in frames:
        tag.exchange(frame)
    identity = _read(tag, 0)
    assert identity is not None
    assert identity[:3] + identity[4:8] == UID
