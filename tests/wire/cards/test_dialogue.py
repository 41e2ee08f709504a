"""Dialogues: what they pass on, what they refuse, and that they are closed whatever happens."""

from __future__ import annotations

import pytest

from wire.cards.apdu import CommandApdu
from wire.cards.dialogue import CardDialogue, exchange, expect_success, hold_dialogue
from wire.errors import CardError

READ = CommandApdu(0x00, 0xB0, 0x00, 0x00, le=4)


def test_expect_success_returns_the_data_of_9000() -> None:
    sent = []

    def transmit(command: bytes) -> bytes:
        sent.append(command)
        return bytes.fromhex("010203049000")

    assert hold_dialogue(expect_success(READ), transmit) == bytes.fromhex("01020304")
    assert sent == [bytes.fromhex("00b0000004")]


def test_expect_success_carries_the_refusal_of_the_status() -> None:
    with pytest.raises(CardError) as refused:
        hold_dialogue(expect_success(READ), lambda _: bytes.fromhex("6985"))
    assert refused.value.code == "card_locked"


def test_expect_success_asks_its_caller_what_a_status_means_there() -> None:
    with pytest.raises(CardError) as refused:
        hold_dialogue(
            expect_success(READ, refusal=lambda _: "card_not_supported"), lambda _: bytes.fromhex("6982")
        )
    assert refused.value.code == "card_not_supported"


@pytest.mark.parametrize("answer_hex", ["", "90", "01020304059000", "00" * 259])
def test_exchange_refuses_what_is_no_answer_to_this_command(answer_hex: str) -> None:
    with pytest.raises(CardError) as refused:
        hold_dialogue(exchange(READ), lambda _: bytes.fromhex(answer_hex))
    assert refused.value.code == "card_answer_invalid"


def test_hold_dialogue_closes_the_dialogue_when_the_card_is_torn() -> None:
    closed = []

    def dialogue() -> CardDialogue[None]:
        try:
            yield READ.encode()
        finally:
            closed.append(True)

    def torn(_: bytes) -> bytes:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        hold_dialogue(dialogue(), torn)
    assert closed == [True]
