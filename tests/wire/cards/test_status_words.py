"""Status words: every one says something, and every refusal is one the cashier has words for."""

from __future__ import annotations

import pytest

from wire.cards.ntag424.native_status import NativeStatus
from wire.cards.status_words import CardStatus, StatusWord
from wire.notices import NoticeKind, find_notice


@pytest.mark.parametrize("status", [*StatusWord, *NativeStatus])
def test_refusal_of_names_a_refusal_for_every_known_status(status: CardStatus) -> None:
    assert find_notice(type(status).refusal_of(status)).kind is NoticeKind.REFUSAL
    assert type(status).describe(status) == status.meaning


@pytest.mark.parametrize(
    ("status_word", "refusal"),
    [
        (0x6985, "card_locked"),
        (0x6983, "card_blocked"),
        (0x6982, "card_confirmation_required"),
        (0x6A80, "card_not_supported"),
        (0x6A81, "card_not_supported"),
        (0x6A82, "card_not_supported"),
        (0x6F00, "card_answer_invalid"),
        (0x6D00, "card_answer_invalid"),
        (0x0000, "card_answer_invalid"),
    ],
)
def test_refusal_of_tells_a_phone_that_needs_its_owner_from_a_broken_one(
    status_word: int, refusal: str
) -> None:
    assert StatusWord.refusal_of(status_word) == refusal


@pytest.mark.parametrize(
    ("status_word", "refusal"),
    [
        (0x91AE, "card_keys_unknown"),
        (0x91AD, "card_resting"),
        (0x911E, "card_answer_invalid"),
        (0x6985, "card_answer_invalid"),
    ],
)
def test_a_chips_own_words_are_read_by_its_own_list(status_word: int, refusal: str) -> None:
    assert NativeStatus.refusal_of(status_word) == refusal


def test_describe_writes_an_unknown_one_as_hex() -> None:
    assert StatusWord.describe(0x63C2) == "status 63C2"
