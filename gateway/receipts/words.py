"""What a receipt page says, in English and Simplified Chinese."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wire.messages.payments import EntryMode

ACCEPTED_MAX: Final = 10
"""Languages looked at in what a browser asks for."""

_QUALITY: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


class Language(StrEnum):
    """As BCP 47 tags, which a page's address and its `lang` carry."""

    ENGLISH = "en"
    CHINESE = "zh-Hans"


@dataclass(frozen=True, slots=True)
class Words:
    """One thing in both languages."""

    english: str
    chinese: str

    def in_language(self, language: Language) -> str:
        """Return the words of a language."""
        return self.chinese if language is Language.CHINESE else self.english


PAID: Final = Words("Paid", "已付款")
PARTLY_REFUNDED: Final = Words("Paid, refunded in part", "已付款，部分退款")
REFUNDED: Final = Words("Refunded in full", "已全额退款")
HELD: Final = Words("Held, not charged yet", "预授权，尚未扣款")
WAITING: Final = Words("Waiting for confirmation", "等待确认")
DECLINED: Final = Words("Not paid", "未付款")
CANCELLED: Final = Words("Cancelled, nothing was charged", "已取消，未扣款")
EXPIRED: Final = Words("Over, nothing was charged", "已过期，未扣款")
REVERSED: Final = Words("Given back in full", "已全额退回")

TITLE: Final = Words("Receipt", "收据")
AS_OF: Final = Words("As it stands now.", "以上为当前状态。")
AMOUNT: Final = Words("Amount", "金额")
"""What a line is called that was keyed in and has no name."""
TIP: Final = Words("of it tip", "其中小费")
TAX: Final = Words("Tax included", "含税额")
REFUNDED_MINOR: Final = Words("Refunded", "已退款")
ITEM: Final = Words("Item", "商品")
PRICE: Final = Words("Price", "价格")
ITEMS: Final = Words("What it is for", "商品明细")
DETAILS: Final = Words("Details", "详情")
NUMBER: Final = Words("Receipt number", "收据号")
TIME: Final = Words("Time", "时间")
ORDER: Final = Words("Order", "订单号")
TILL: Final = Words("Till", "收银机")
PRESENTED_BY: Final = Words("Presented by", "付款方式")
PAID_WITH: Final = Words("Paid with", "付款工具")
PAYMENT: Final = Words("Payment", "付款编号")
OFFLINE: Final = Words("Accepted without a connection, charged since.", "离线受理，现已扣款。")
NO_PAGE: Final = Words("There is no such receipt.", "未找到该收据。")
NO_PAGE_HINT: Final = Words(
    "Scan the code on the paper again. If it stays so, ask the shop.",
    "请重新扫描收据上的二维码；如仍无法打开，请联系商户。",
)
BUSY: Final = Words("Too many at this moment.", "当前访问过多。")
BUSY_HINT: Final = Words("Wait a moment and load the page again.", "请稍候并重新加载本页。")

ENTRY_MODES: Final = {
    EntryMode.NFC_APP: Words("tap", "感应"),
    EntryMode.NFC_SDM: Words("card tap", "刷卡感应"),
    EntryMode.QR_MERCHANT: Words("shop's QR code", "商户收款码"),
    EntryMode.QR_CONSUMER: Words("QR code", "付款码"),
    EntryMode.CODE_NUMERIC: Words("number code", "数字码"),
}


def choose_language(asked: str | None, accepted: str | None) -> Language:
    """Return the language of a page.

    Args:
        asked: what the switch on the page says; None: it was not used.
        accepted: the browser's Accept-Language (RFC 9110 section 12.5.4).

    >>> choose_language(None, "fr, zh-CN;q=0.8, en;q=0.5").value
    'zh-Hans'
    """
    for known in Language:
        if asked == known.value:
            return known
    best, best_quality = Language.ENGLISH, 0.0
    for part in (accepted or "").split(",")[:ACCEPTED_MAX]:
        tag, _, parameter = (piece.strip().lower() for piece in part.partition(";"))
        language = {"zh": Language.CHINESE, "en": Language.ENGLISH}.get(tag.split("-")[0])
        match = _QUALITY.fullmatch(parameter)
        quality = 1.0 if not parameter else float(match[1]) if match else 0.0
        if language is not None and quality > best_quality:
            best, best_quality = language, quality
    return best
