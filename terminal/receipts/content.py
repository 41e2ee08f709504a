"""What a receipt says, before it has a form: words in both languages, facts in one.

An approved answer says PAID and what a payer needs to find the payment again; a declined one says NOT
PAID and why, so that nobody leaves believing the opposite.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wire.messages.payments import EntryMode, PaymentAnswer, PaymentState
from wire.messages.till import OfflinePayment
from wire.money import Money, find_currency
from wire.notices import CHINESE, ENGLISH

FACT_CHARS_MAX: Final = 120
"""Longest fact printed; a longer one, which only a broken gateway sends, is cut."""
RECEIPT_QR_PREFIX: Final = "R1:"
OFFLINE_QR_PREFIX: Final = "RO1:"
"""Then the attempt id: the payment has no id of the gateway's yet."""

_TIME_S_MAX: Final = 253_402_300_799
"""The end of the year 9999, after which a calendar of Python has no dates; ids go on to 10889."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One thing in both languages."""

    english: str
    chinese: str

    def in_language(self, language: str) -> str:
        """Return the Chinese words for `zh` and its kinds, the English ones for everything else."""
        return self.chinese if language.lower().startswith("zh") else self.english


@dataclass(frozen=True, slots=True)
class Row:
    """A label and its fact."""

    label: Wording
    fact: Wording


@dataclass(frozen=True, slots=True)
class ReceiptContent:
    """Everything a receipt says, in reading order."""

    headings: tuple[str, ...]
    """Merchant and location; empty when declined, since the answer does not name them then."""
    is_paid: bool
    verdict: Wording
    amount: str
    reason: Wording | None
    rows: tuple[Row, ...]
    closing: Wording | None
    qr_text: str
    """Empty where there is no code."""


_PAID: Final = Wording("PAID", "已付款")
_NOT_PAID: Final = Wording("NOT PAID", "未付款")
_ACCEPTED_OFFLINE: Final = Wording("ACCEPTED OFFLINE", "离线受理")
_CHARGED_LATER: Final = Wording(
    "Accepted without a connection: charged when it is back.", "离线受理：恢复联网后扣款。"
)
_RECORD: Final = Wording("Record", "离线序号")
_ATTEMPT: Final = Wording("Attempt", "付款请求号")
_HELD: Final = Wording("HELD", "预授权")
_NOT_CHARGED_YET: Final = Wording("Held, not charged yet.", "仅为预授权，尚未扣款。")
_THANKS: Final = Wording("Thank you", "谢谢惠顾")
_PAID_WITH: Final = Wording("Paid with", "付款工具")
_PRESENTED_BY: Final = Wording("Presented by", "付款方式")
_RECEIPT_NUMBER: Final = Wording("Receipt", "收据号")
_ORDER: Final = Wording("Order", "订单号")
_TERMINAL: Final = Wording("Till", "收银机")
_TIME: Final = Wording("Time", "时间")
_PAYMENT: Final = Wording("Payment", "付款编号")

ENTRY_MODES: Final = {
    EntryMode.NFC_APP: Wording("tap", "感应"),
    EntryMode.NFC_SDM: Wording("card tap", "刷卡感应"),
    EntryMode.QR_MERCHANT: Wording("shop's QR code", "商户收款码"),
    EntryMode.QR_CONSUMER: Wording("QR code", "付款码"),
    EntryMode.CODE_NUMERIC: Wording("number code", "数字码"),
}


def make_content(answer: PaymentAnswer | OfflinePayment) -> ReceiptContent:
    """Return what the receipt of this answer, or of what was accepted without asking, says.

    Texts from outside lose their control characters: a printer would obey them.
    """
    return _accepted_content(answer) if isinstance(answer, OfflinePayment) else _answer_content(answer)


def _accepted_content(payment: OfflinePayment) -> ReceiptContent:
    headings = (payment.merchant_name, payment.location_name)
    return ReceiptContent(
        headings=tuple(printable(heading) for heading in headings if heading.strip()),
        is_paid=True,
        verdict=_ACCEPTED_OFFLINE,
        amount=str(Money(payment.amount_minor, find_currency(payment.currency))),
        reason=_CHARGED_LATER,
        rows=(
            Row(_PRESENTED_BY, ENTRY_MODES[EntryMode.NFC_APP]),
            Row(_TIME, fact(format_time(payment.accepted_ms))),
            Row(_ORDER, fact(payment.order_id)),
            Row(_TERMINAL, fact(payment.terminal_id)),
            Row(_RECORD, fact(str(payment.sequence))),
            Row(_ATTEMPT, fact(payment.attempt_id)),
        ),
        closing=_THANKS,
        qr_text=f"{OFFLINE_QR_PREFIX}{payment.attempt_id}",
    )


def _answer_content(answer: PaymentAnswer) -> ReceiptContent:
    facts = answer.receipt
    is_paid = answer.outcome == "approved"
    is_held = answer.state is PaymentState.AUTHORISED
    headings = (facts.merchant_name, facts.location_name) if facts else ()
    return ReceiptContent(
        headings=tuple(printable(heading) for heading in headings if heading.strip()),
        is_paid=is_paid,
        verdict=_HELD if is_held else _PAID if is_paid else _NOT_PAID,
        # What was charged, where that is less than what was held.
        amount=str(Money(answer.charged_minor or answer.amount_minor, find_currency(answer.currency))),
        reason=_NOT_CHARGED_YET if is_held else None if is_paid else _reason(answer),
        rows=tuple(_rows(answer)),
        closing=_THANKS if is_paid else None,
        qr_text=make_qr_text(answer),
    )


def make_qr_text(answer: PaymentAnswer) -> str:
    """Return what the QR code says: where the receipt's page is.

    Where the gateway has none: `R1:`, payment id and, if paid, a colon and the receipt number.

    >>> from wire.messages.payments import EntryMode, PaymentAnswer, PaymentState
    >>> make_qr_text(PaymentAnswer(payment_id="01ARYZ6S410000000000000000",
    ...     attempt_id="01ARYZ6S410000000000000001", order_id="A-1", outcome="declined",
    ...     state=PaymentState.DECLINED, amount_minor=1,
    ...     currency="EUR", entry_mode=EntryMode.NFC_APP, terminal_id="T0000001", decided_ms=0))
    'R1:01ARYZ6S410000000000000000'
    """
    if answer.receipt is not None and answer.receipt.page_url is not None:
        return answer.receipt.page_url
    number = f":{printable(answer.receipt.receipt_number)}" if answer.receipt else ""
    return f"{RECEIPT_QR_PREFIX}{answer.payment_id}{number}"


def _rows(answer: PaymentAnswer) -> list[Row]:
    rows = [
        Row(_PRESENTED_BY, ENTRY_MODES[answer.entry_mode]),
        Row(_TIME, fact(format_time(answer.decided_ms))),
        Row(_ORDER, fact(answer.order_id)),
        Row(_TERMINAL, fact(answer.terminal_id)),
        Row(_PAYMENT, fact(answer.payment_id)),
    ]
    if answer.receipt is None:
        return rows
    return [
        Row(_RECEIPT_NUMBER, fact(answer.receipt.receipt_number)),
        Row(_PAID_WITH, fact(answer.receipt.instrument_label)),
        *rows,
    ]


def format_time(at_ms: int) -> str:
    """Write a moment as every slip does, in UTC."""
    return datetime.fromtimestamp(min(at_ms // 1000, _TIME_S_MAX), UTC).strftime("%Y-%m-%d %H:%M UTC")


def _reason(answer: PaymentAnswer) -> Wording | None:
    if answer.decline is None:
        return None
    # The receipt is the payer's, so it speaks as to them; the cashier has read their text on the till.
    texts = answer.decline.holder_text or answer.decline.cashier_text
    english = printable(texts.get(ENGLISH, answer.decline.code))
    return Wording(english, printable(texts.get(CHINESE, english)))


def fact(text: str) -> Wording:
    """Return a text that is the same in every language, fit for paper."""
    shown = printable(text)
    return Wording(shown, shown)


def printable(text: str) -> str:
    """Return a text from outside without what a printer would obey, cut to FACT_CHARS_MAX."""
    cut = text if len(text) <= FACT_CHARS_MAX else text[: FACT_CHARS_MAX - 1] + "…"
    return "".join(character if character.isprintable() else " " for character in cut)
