"""The card side of ISO/IEC 14443-3 and -4, frame by frame, as a reader would drive it."""

from __future__ import annotations

import threading
from functools import reduce
from operator import xor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.cards.card import CardTorn
from simulators.cards.uid_tag import UidTag
from simulators.fields.iso_dep import IsoDepTraits
from simulators.fields.type_a import REQA, WUPA, TypeACard

QUICK = IsoDepTraits(fwi=4)
"""Frame waiting time of 5 ms: asks for more time at once."""
USUAL = IsoDepTraits()
RATS = bytes.fromhex("E080")


def _select(card: TypeACard, uid: bytes) -> bytes:
    """Select a four-byte UID and return the last SAK."""
    assert card.answer(REQA) == bytes.fromhex("0400")
    own = uid + bytes((reduce(xor, uid),))
    assert card.answer(bytes.fromhex("9320")) == own
    sak = card.answer(bytes.fromhex("9370") + own)
    assert sak is not None
    return sak


def _activated(card: Any, traits: IsoDepTraits = USUAL, rats: bytes = RATS) -> TypeACard:
    in_field = TypeACard(card, traits)
    in_field.power_on()
    assert _select(in_field, card.uid) == b"\x20"
    assert in_field.answer(rats)
    return in_field


def test_card_without_power_is_silent(card: Any) -> None:
    assert TypeACard(card, QUICK).answer(REQA) is None


def test_ats_states_frame_size_and_waiting_time(card: Any) -> None:
    in_field = TypeACard(card, IsoDepTraits(fwi=11, fsci=2))
    in_field.power_on()
    _select(in_field, card.uid)

    # TL, T0 with FSCI 2, TA, TB with FWI 11, TC, one historical byte (ISO/IEC 14443-4, section 5.2).
    assert in_field.answer(RATS) == bytes.fromhex("067280B00080")


def test_seven_byte_uid_takes_two_cascade_levels() -> None:
    tag = UidTag(bytes.fromhex("05112233445566"))
    in_field = TypeACard(tag, QUICK)
    in_field.power_on()

    assert in_field.answer(REQA) == bytes.fromhex("4400")
    first = in_field.answer(bytes.fromhex("9320"))
    assert first == bytes.fromhex("88051122BE")
    assert in_field.answer(bytes.fromhex("9370") + first) == b"\x04"
    second = in_field.answer(bytes.fromhex("9520"))
    assert second == bytes.fromhex("3344556644")
    assert in_field.answer(bytes.fromhex("9570") + second) == b"\x00"


def test_other_uid_selected_sends_the_card_back_to_idle(card: Any) -> None:
    in_field = TypeACard(card, QUICK)
    in_field.power_on()
    in_field.answer(REQA)

    assert in_field.answer(bytes.fromhex("9370DEADBEEF22")) is None
    assert in_field.answer(bytes.fromhex("9320")) is None


def test_halted_card_wakes_to_wupa_only(card: Any) -> None:
    in_field = _activated(card)
    assert in_field.answer(b"\xc2") == b"\xc2"

    assert in_field.answer(REQA) is None
    assert in_field.answer(WUPA) == bytes.fromhex("0400")


def test_block_carries_a_command_and_toggles_its_number(card: Any) -> None:
    in_field = _activated(card)

    assert in_field.answer(b"\x02\x00\xa4") == b"\x02\x00\xa4\x90\x00"
    assert in_field.answer(b"\x03\x00\xb0") == b"\x03\x00\xb0\x90\x00"


def test_chained_command_is_joined(card: Any) -> None:
    in_field = _activated(card)

    assert in_field.answer(b"\x12\x01\x02") == b"\xa2"
    assert in_field.answer(b"\x13\x03") == b"\xa3"
    assert in_field.answer(b"\x02\x04") == b"\x02\x01\x02\x03\x04\x90\x00"
    assert card.received == [b"\x01\x02\x03\x04"]


def test_long_answer_is_chained_in_frames_the_reader_takes(card: Any) -> None:
    # FSDI 0 is 16 bytes, so 13 of information.
    in_field = _activated(card, rats=bytes.fromhex("E000"))
    card.answers = [bytes(range(30))]

    assert in_field.answer(b"\x02\x00") == b"\x12" + bytes(range(13))
    assert in_field.answer(b"\xa3") == b"\x13" + bytes(range(13, 26))
    assert in_field.answer(b"\xa2") == b"\x02" + bytes(range(26, 30))


def test_lost_answer_is_sent_again_and_not_computed_again(card: Any) -> None:
    in_field = _activated(card)
    answer = in_field.answer(b"\x02\x00")

    assert in_field.answer(b"\xb2") == answer
    assert len(card.received) == 1


def test_lost_command_is_reported_by_the_other_block_number(card: Any) -> None:
    in_field = _activated(card)
    in_field.answer(b"\x02\x00")

    # The reader's next block, number 1, never came; its R(NAK) carries that number.
    assert in_field.answer(b"\xb3") == b"\xa2"


def test_presence_check_is_answered_before_any_command(card: Any) -> None:
    assert _activated(card).answer(b"\xb2") == b"\xa3"


def test_thinking_card_asks_for_time(card: Any) -> None:
    in_field = _activated(card, QUICK)
    card.may_answer.clear()

    assert in_field.answer(b"\x02\x00") == b"\xf2\x01"
    assert in_field.answer(b"\xf2\x01") == b"\xf2\x01"
    card.may_answer.set()
    answer = in_field.answer(b"\xf2\x01")
    while answer == b"\xf2\x01":
        answer = in_field.answer(b"\xf2\x01")
    assert answer == b"\x02\x00\x90\x00"


def test_tear_ends_the_exchange(card: Any) -> None:
    in_field = _activated(card)
    card.torn = True

    with pytest.raises(CardTorn):
        in_field.answer(b"\x02\x00")


def test_losing_power_forgets_the_session(card: Any) -> None:
    in_field = _activated(card)
    in_field.power_off()
    assert not card.powered

    in_field.power_on()
    assert in_field.answer(b"\x02\x00") is None


def test_card_that_never_answers_does_not_hold_its_removal(card: Any) -> None:
    in_field = _activated(card, QUICK)
    card.may_answer.clear()
    in_field.answer(b"\x02\x00")

    removal = threading.Thread(target=in_field.leave)
    removal.start()
    removal.join(timeout=5)
    assert not removal.is_alive()
    card.may_answer.set()


def test_memory_tag_falls_silent_after_a_halt_until_selected_again() -> None:
    tag = UidTag(bytes.fromhex("05112233445566"))
    in_field = TypeACard(tag, QUICK)
    in_field.power_on()
    in_field.answer(REQA)
    for code in (b"\x93", b"\x95"):
        own = in_field.answer(code + b"\x20")
        assert own is not None
        in_field.answer(code + b"\x70" + own)

    assert in_field.answer(bytes.fromhex("3000"))
    assert in_field.answer(bytes.fromhex("5000")) is None
    assert in_field.answer(bytes.fromhex("3000")) is None


@given(frames=st.lists(st.binary(max_size=12), max_size=20), activated=st.booleans())
def test_any_frames_are_answered_or_met_with_silence(frames: list[bytes], activated: bool) -> None:
    tag = UidTag(bytes.fromhex("05112233445566"))
    in_field = TypeACard(tag, QUICK)
    in_field.power_on()
    if activated:
        in_field.answer(REQA)
    for frame in frames:
        answer = in_field.answer(frame)
        assert answer is None or isinstance(answer, bytes)


@given(blocks=st.lists(st.binary(max_size=12), max_size=20))
def test_any_blocks_are_answered_or_met_with_silence(blocks: list[bytes]) -> None:
    class Mirror:
        uid = bytes.fromhex("08010203")
        historical_bytes = b""

        def power_on(self) -> None: ...

        def power_off(self) -> None: ...

        def transmit(self, command: bytes) -> bytes:
            return command

    in_field = _activated(Mirror())
    for block in blocks:
        answer = in_field.answer(block)
        assert answer is None or isinstance(answer, bytes)
    in_field.leave()
