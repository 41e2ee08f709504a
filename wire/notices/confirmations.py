"""Why the gateway wants the holder to agree before anything is charged."""

from __future__ import annotations

from typing import Final

from wire.notices.model import Notice, NoticeKind

_ROWS: Final = (
    (
        "confirm_above_limit",
        "Above the limit without confirmation: the customer confirms by PIN, phone or card.",
        "超过免确认限额，请顾客用密码、手机或卡片确认。",
        "This amount needs your confirmation.",
        "该金额需要您确认。",
    ),
    (
        "confirm_velocity",
        "Many payments within minutes: the customer confirms by PIN, phone or card.",
        "短时间内付款次数较多，请顾客用密码、手机或卡片确认。",
        "There were many payments within minutes. Please confirm that this one is yours.",
        "短时间内付款次数较多，请确认是您本人操作。",
    ),
    (
        "confirm_new_terminal",
        "This till is new: the customer confirms by PIN, phone or card.",
        "该收银机为新登记，请顾客用密码、手机或卡片确认。",
        "This till is new. Please confirm the payment.",
        "该收银机为新登记，请确认该笔付款。",
    ),
    (
        "confirm_unusual_amount",
        "An unusual amount: the customer confirms by PIN, phone or card.",
        "金额与平时不同，请顾客用密码、手机或卡片确认。",
        "This is more than you usually pay. Please confirm it.",
        "该金额高于您平时的消费，请确认。",
    ),
)
"""Code, then cashier's and holder's texts, each in English and Chinese."""


def list_confirmations() -> list[Notice]:
    """Return every reason to ask a holder."""
    return [
        Notice(code, NoticeKind.CONFIRMATION, False, cashier_en, cashier_zh, holder_en, holder_zh)
        for code, cashier_en, cashier_zh, holder_en, holder_zh in _ROWS
    ]
