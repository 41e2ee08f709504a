"""What a code tells: kinds, texts, next steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ENGLISH: Final = "en"
CHINESE: Final = "zh-Hans"


class NoticeKind(StrEnum):
    """Who speaks, and what it means for the payment."""

    DECLINE = "decline"
    CONFIRMATION = "confirmation"
    REFUSAL = "refusal"
    PROBLEM = "problem"
    CONDITION = "condition"


class NextStep(StrEnum):
    """What is to be done after a payment was declined or closed."""

    NONE = "none"
    """Nothing: what was wanted has happened already."""
    PRESENT_AGAIN = "present_again"
    OTHER_MEANS = "other_means"
    START_AGAIN = "start_again"
    CONFIRM_OTHERWISE = "confirm_otherwise"
    CONTACT_SUPPORT = "contact_support"


NEXT_STEP_TEXTS: Final[dict[NextStep, tuple[str, str]]] = {
    NextStep.NONE: ("Nothing to do.", "无需操作。"),
    NextStep.PRESENT_AGAIN: ("Ask the customer to present it again.", "请顾客重新出示。"),
    NextStep.OTHER_MEANS: ("Ask for another way to pay.", "请更换付款方式。"),
    NextStep.START_AGAIN: ("Start the sale again.", "请重新收款。"),
    NextStep.CONFIRM_OTHERWISE: ("Use a phone, or a card with a PIN.", "请使用手机或有密码的卡。"),
    NextStep.CONTACT_SUPPORT: ("Call support before trying again.", "请先联系客服，再重试。"),
}
"""English and Chinese, for whoever stands at the till."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One code and its texts; `holder` texts are empty where the payer is never told."""

    code: str
    kind: NoticeKind
    retryable: bool
    cashier_en: str
    cashier_zh: str
    holder_en: str = ""
    holder_zh: str = ""
    next_step: NextStep = NextStep.NONE

    @property
    def next_step_text(self) -> dict[str, str]:
        """What to do now, by language tag."""
        english, chinese = NEXT_STEP_TEXTS[self.next_step]
        return {ENGLISH: english, CHINESE: chinese}

    @property
    def cashier_text(self) -> dict[str, str]:
        """Text for the cashier by language tag."""
        return {ENGLISH: self.cashier_en, CHINESE: self.cashier_zh}

    @property
    def holder_text(self) -> dict[str, str]:
        """Text for the payer by language tag; empty where there is none."""
        return {ENGLISH: self.holder_en, CHINESE: self.holder_zh} if self.holder_en else {}
