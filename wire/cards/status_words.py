"""What a card's two status bytes mean, and what the cashier is told of them.

Meanings are those of ISO/IEC 7816-4, section 5.6, narrowed by protocol section 3a where our payment
application says something more exact. Refusal codes are those of wire/notices.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Self

INVALID_ANSWER: Final = "card_answer_invalid"
"""The refusal for every status without one of its own: the card broke the dialogue."""


class CardStatus(IntEnum):
    """The status words of one kind of card: each says what it means and which refusal, if any, it is."""

    meaning: str
    refusal: str | None

    def __new__(cls, value: int, meaning: str, refusal: str | None = None) -> Self:
        """Make a member that knows what it means and which refusal, if any, it is."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.refusal = refusal
        return member

    @classmethod
    def refusal_of(cls, status_word: int) -> str:
        """Return the refusal code for a status that was answered.

        Promises a code of wire/notices for every number; an unknown or unmapped one is INVALID_ANSWER.

        >>> StatusWord.refusal_of(0x6985), StatusWord.refusal_of(0x1234)
        ('card_locked', 'card_answer_invalid')
        """
        status = cls._find(status_word)
        return (status and status.refusal) or INVALID_ANSWER

    @classmethod
    def describe(cls, status_word: int) -> str:
        """Return a status in words, for a log or an error's text; it is safe to show."""
        status = cls._find(status_word)
        return status.meaning if status else f"status {status_word:04X}"

    @classmethod
    def _find(cls, status_word: int) -> Self | None:
        return next((status for status in cls if status == status_word), None)


class StatusWord(CardStatus):
    """Every status word our cards answer or our terminal knows."""

    SUCCESS = 0x9000, "done"
    END_OF_FILE = 0x6282, "the file ended before Le bytes"
    SELECTED_FILE_INVALIDATED = 0x6283, "the application is blocked", "card_blocked"
    WRONG_LENGTH = 0x6700, "Lc or Le is wrong"
    SECURITY_STATUS_NOT_SATISFIED = 0x6982, "the holder must confirm first", "card_confirmation_required"
    AUTHENTICATION_BLOCKED = 0x6983, "the wallet is blocked", "card_blocked"
    # ISO calls it "reference data not usable". Ours for offline terms: 6982 and 6985 would have the cashier
    # ask for a confirmation or an unlocked phone, and neither helps against an allowance that is used up.
    ALLOWANCE_EXCEEDED = 0x6984, "the offline allowance does not cover this", "card_allowance_exceeded"
    CONDITIONS_NOT_SATISFIED = 0x6985, "the device is locked or consent is missing", "card_locked"
    APPLET_SELECT_FAILED = 0x6999, "the applet refuses to be selected", "card_not_supported"
    WRONG_DATA = 0x6A80, "the data field is bad or its currency unsupported", "card_not_supported"
    FUNCTION_NOT_SUPPORTED = 0x6A81, "this version or function is not supported", "card_not_supported"
    FILE_NOT_FOUND = 0x6A82, "no such application or file", "card_not_supported"
    WRONG_P1_P2 = 0x6A86, "P1 or P2 is wrong"
    LC_INCONSISTENT = 0x6A87, "Lc does not fit P1 and P2"
    INSTRUCTION_UNKNOWN = 0x6D00, "no such instruction"
    CLASS_UNKNOWN = 0x6E00, "no such class"
    NO_DIAGNOSIS = 0x6F00, "something went wrong in the card"
