"""61xx and 6Cxx are finished below the dialogue, within bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminal.errors import PresentationRefused
from terminal.readers.response_completion import PARTS_MAX, complete_response

SELECT = bytes.fromhex("00A4040007D276000085010100")
READ = bytes.fromhex("00B0000000")


class Scripted:
    """Gives its answers in order and remembers what it was sent."""

    def __init__(self, *answers: str) -> None:
        self._answers = [bytes.fromhex(answer) for answer in answers]
        self.sent: list[str] = []

    def __call__(self, command: bytes) -> bytes:
        self.sent.append(command.hex().upper())
        return self._answers[min(len(self.sent), len(self._answers)) - 1]


def test_whole_answer_is_passed_on() -> None:
    card = Scripted("01029000")
    assert complete_response(card, SELECT) == bytes.fromhex("01029000")
    assert len(card.sent) == 1


def test_parts_are_fetched_and_joined() -> None:
    card = Scripted("01026102", "03046101", "059000")
    assert complete_response(card, SELECT) == bytes.fromhex("01020304059000")
    assert card.sent[1:] == ["00C0000002", "00C0000001"]


def test_parts_of_a_proprietary_command_are_fetched_in_its_channel_only() -> None:
    card = Scripted("6101", "059000")
    complete_response(card, bytes.fromhex("81A80000028300"))
    assert card.sent[1] == "01C0000001"


@pytest.mark.parametrize(
    ("command", "repeated"),
    [
        pytest.param("00B00000", "00B0000010", id="neither data nor length"),
        pytest.param("00B0000000", "00B0000010", id="length only"),
        pytest.param("00A404000201 02".replace(" ", ""), "00A4040002010210", id="data only"),
        pytest.param("00A40400020102FF", "00A4040002010210", id="data and length"),
    ],
)
def test_command_is_repeated_with_the_length_the_card_wants(command: str, repeated: str) -> None:
    card = Scripted("6C10", "AA9000")
    assert complete_response(card, bytes.fromhex(command)) == bytes.fromhex("AA9000")
    assert card.sent == [command, repeated]


def test_length_wanted_twice_is_the_cards_answer() -> None:
    card = Scripted("6C10", "6C20")
    assert complete_response(card, READ) == bytes.fromhex("6C20")


def test_answer_without_end_is_refused() -> None:
    card = Scripted("AA6100")
    with pytest.raises(PresentationRefused) as refusal:
        complete_response(card, SELECT)
    assert refusal.value.code == "card_answer_invalid"
    assert len(card.sent) == PARTS_MAX + 1


@given(answers=st.lists(st.binary(max_size=40), min_size=1, max_size=20))
def test_any_answers_give_a_response_or_a_refusal(answers: list[bytes]) -> None:
    queue = iter(answers * 20)
    outcome = _outcome(lambda _: next(queue))
    assert outcome == "card_answer_invalid" or len(outcome) >= 2


def _outcome(exchange: Callable[[bytes], bytes]) -> bytes | str:
    try:
        return complete_response(exchange, SELECT)
    except PresentationRefused as refusal:
        return refusal.code
