"""What whoever makes a card reads: which step, whether to hold still, and what to do after a lift."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

from wire.messages.cards import CardPurpose, CardSessionAnswer, CardStage
from wire.notices import CHINESE, ENGLISH, NOTICES

_WAITING: Final = {
    ENGLISH: "Put the card on the reader and leave it there",
    CHINESE: "请将卡片放在读卡器上，不要移动",
}
_LIFTED: Final = {
    ENGLISH: "The card left the reader. Put it back: it goes on where it stopped.",
    CHINESE: "卡片已离开读卡器。请放回：将从中断处继续。",
}
_HOLD_STILL: Final = {ENGLISH: "hold the card still", CHINESE: "请勿移动卡片"}
_STEP: Final = {
    ENGLISH: "Step {number} of {count}: {stage} – {still}",
    CHINESE: "第 {number}/{count} 步：{stage}，{still}",
}
_STAGES: Final = {
    ENGLISH: {
        CardStage.LOOK: "looking at the chip",
        CardStage.LINK: "the link",
        CardStage.KEYS: "the keys",
        CardStage.HIDE_UID: "hiding its number",
        CardStage.MASTER_KEY: "the master key",
        CardStage.PROOF: "proving it",
    },
    CHINESE: {
        CardStage.LOOK: "检查芯片",
        CardStage.LINK: "链接",
        CardStage.KEYS: "密钥",
        CardStage.HIDE_UID: "隐藏编号",
        CardStage.MASTER_KEY: "主密钥",
        CardStage.PROOF: "验证",
    },
}
_DONE: Final = {
    ENGLISH: {
        CardPurpose.PERSONALISE: "READY  {label} can pay. Key version {version}.",
        CardPurpose.RECOVER: "WHOLE  {label} is complete. Key version {version}.",
        CardPurpose.VERIFY: "GENUINE  {label}, {status}. Key version {version}.",
        CardPurpose.WIPE: "WIPED  The card is as delivered, but for its number, which stays hidden.",
    },
    CHINESE: {
        CardPurpose.PERSONALISE: "制卡完成  {label} 可以付款。密钥版本 {version}。",
        CardPurpose.RECOVER: "恢复完成  {label} 已完整。密钥版本 {version}。",
        CardPurpose.VERIFY: "真卡  {label}，{status}。密钥版本 {version}。",
        CardPurpose.WIPE: "已清除  卡片已恢复出厂状态，但编号仍保持隐藏。",
    },
}
_STATUS: Final = {
    ENGLISH: {"active": "can pay", "suspended": "is suspended and can't pay"},
    CHINESE: {"active": "可付款", "suspended": "已停用，不能付款"},
}
_OUTDATED: Final = {
    ENGLISH: "There are newer keys: `tapscan-terminal card recover` brings it to them.",
    CHINESE: "有更新的密钥：可用恢复命令更新此卡。",
}
_REFUSED: Final = {ENGLISH: "NOT DONE  {text}", CHINESE: "未完成  {text}"}


class CardScreen:
    """One command's lines; a step is told once."""

    def __init__(self, language: str, console: Console | None = None) -> None:
        self._language = language
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._told: object = None

    def show_waiting(self) -> None:
        """Ask for the card."""
        self._say("waiting", _WAITING[self._language])

    def show_stage(self, stage: CardStage, number: int, count: int) -> None:
        """Tell a step, and to hold still."""
        text = _STEP[self._language].format(
            number=number,
            count=count,
            stage=_STAGES[self._language][stage],
            still=_HOLD_STILL[self._language],
        )
        self._say(stage, text)

    def show_lifted(self) -> None:
        """Tell that nothing is lost."""
        self._say("lifted", _LIFTED[self._language], style="yellow")

    def show_refused(self, code: str) -> None:
        """Tell why what is there can't be used."""
        self._say(code, self._sentence(code), style="yellow")

    def show_end(self, purpose: CardPurpose, ended: CardSessionAnswer) -> None:
        """Tell how it ended."""
        language = self._language
        if ended.code is not None:
            text = _REFUSED[language].format(text=self._sentence(ended.code))
            self._say("end", text, style="bold white on red")
            return
        card = ended.card
        status = "" if card is None or card.status is None else _STATUS[language][card.status]
        text = _DONE[language][purpose].format(
            label="" if card is None else card.label or "",
            status=status,
            version=0 if card is None else card.key_version,
        )
        self._say("end", text, style="bold white on green")
        if card is not None and not card.is_newest:
            self._say("outdated", _OUTDATED[language])

    def _sentence(self, code: str) -> str:
        notice = NOTICES.get(code)
        return code if notice is None else notice.cashier_text[self._language]

    def _say(self, what: object, text: str, *, style: str = "") -> None:
        if what != self._told:
            self._told = what
            self._console.print(Text(text, style=style))
