"""A check, who carries out what it needs, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Generic, Protocol, TypeVar

from wire.notices import CHINESE, ENGLISH


class Action(Enum):
    """What somebody must do with a card, a code or a cable, said in English and Chinese."""

    CLEAR = ("Take everything away from the reader.", "请移开读卡器上的所有物品。")
    HOLD_CARD = ("Hold a card or an unlocked phone to the reader.", "请将卡片或已解锁的手机贴近读卡器。")
    TAKE_AWAY = ("Take it away.", "请移开。")
    TEAR = ("Take the card away quickly while it is being read.", "请在读取过程中迅速移开卡片。")
    HOLD_TAG = (
        "Hold a simple tag (a sticker, an old access card) to the reader.",
        "请将普通标签（贴纸或旧门禁卡）贴近读卡器。",
    )
    HOLD_TWO = ("Hold two cards to the reader at once.", "请同时将两张卡贴近读卡器。")
    UNPLUG = ("Pull the device's cable.", "请拔下设备连线。")
    PLUG_IN = ("Plug the device in again.", "请重新插上设备。")
    SHOW_CODE = ("Show or scan a code.", "请出示或扫描一个码。")
    SHOW_OTHER = ("Show or scan another code.", "请出示或扫描另一个码。")
    HIDE_CODE = ("Take the code away.", "请移开该码。")
    SHOW_LONG = (
        "Show or scan a code of more than 1,024 characters.",
        "请出示或扫描一个超过 1024 个字符的码。",
    )
    SHOW_FOREIGN = ("Show or scan a code that is no payment code.", "请出示或扫描一个非付款码。")
    SCAN_HALF = ("Have the scanner send half a code.", "请让扫码枪只发送半个码。")

    def text(self, language: str) -> str:
        """Return the sentence in a language of wire/notices."""
        return {ENGLISH: self.value[0], CHINESE: self.value[1]}[language]


class Hands(Protocol):
    """Whoever holds cards, codes and cables."""

    is_certain: bool
    """Whether what it did has surely happened; a person may have walked away."""

    def do(self, action: Action) -> str | None:
        """Do it, or begin to; return None where that can't be done here.

        Returns:
            The text of the code that is shown, where it is known; else an empty text.
        """


class Verdict(StrEnum):
    """What a check says of a device."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class CheckFailed(Exception):
    """The device does not do what it must; the text says what it did."""


class CheckSkipped(Exception):
    """It could not be tried; the text says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check; holds nothing of what a card or a code said."""

    name: str
    verdict: Verdict
    reason: str = ""
    """Why it failed or was skipped."""
    measured: dict[str, int] = field(default_factory=dict)
    """Figures by name, the unit last."""


BenchT = TypeVar("BenchT")


@dataclass(frozen=True, slots=True)
class Check(Generic[BenchT]):
    """One thing a device must do."""

    name: str
    proves: str
    """In English, for whoever reads a report."""
    run: Callable[[BenchT], dict[str, int]]
    """Returns what it measured; raises CheckFailed or CheckSkipped."""
