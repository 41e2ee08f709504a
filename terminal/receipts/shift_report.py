"""What the slip of a shift says: from when to when, by whom, what was taken, and what is not in it yet."""

from __future__ import annotations

from typing import Final

from terminal.receipts.content import ENTRY_MODES, ReceiptContent, Row, Wording, fact, format_time, printable
from wire.messages.shifts import ShiftView, StaffName
from wire.money import Money, find_currency

_OPEN: Final = Wording("SHIFT OPEN", "班次进行中")
_CLOSED: Final = Wording("SHIFT CLOSED", "班次已结")
_PROVISIONAL: Final = Wording(
    "PROVISIONAL: the till's own figures, the gateway does not answer.",
    "暂计：未联网，为本机统计，仅供参考。",
)
_OPENED: Final = Wording("Opened", "开班")
_ENDED: Final = Wording("Closed", "结班")
_BY: Final = Wording("by", "操作人")
_PAYMENTS: Final = Wording("Payments", "收款")
_TIPS: Final = Wording("of it tips", "其中小费")
_REFUNDS: Final = Wording("Refunds", "退款")
_REVERSED: Final = Wording("Taken back", "撤销")
_FEES: Final = Wording("Fees", "手续费")
_VOIDED: Final = Wording("Cancelled", "取消")
_DECLINED: Final = Wording("Declined", "拒绝")
_OFFLINE: Final = Wording("of it taken offline", "其中离线受理")
_WAITING: Final = Wording("Offline, not handed in", "离线待上传")
_SHIFT: Final = Wording("Shift", "班次号")


def make_shift_content(shift: ShiftView, headings: tuple[str, ...]) -> ReceiptContent:
    """Return what the slip of a shift says.

    Args:
        headings: whose till it is of.
    """
    totals = shift.totals
    taken_minor = totals.charged_minor - totals.refunded_minor - totals.reversed_minor
    return ReceiptContent(
        headings=tuple(printable(heading) for heading in headings if heading.strip()),
        is_paid=not shift.is_provisional and shift.closed_ms is not None,
        verdict=_OPEN if shift.closed_ms is None else _CLOSED,
        amount=_money(shift, taken_minor),
        reason=_PROVISIONAL if shift.is_provisional else None,
        rows=(*_times(shift), *_sums(shift), Row(_SHIFT, fact(shift.shift_id))),
        closing=None,
        qr_text="",
    )


def _times(shift: ShiftView) -> list[Row]:
    rows = [Row(_OPENED, fact(format_time(shift.opened_ms))), *_by(shift.opened_by)]
    if shift.closed_ms is not None:
        rows += [Row(_ENDED, fact(format_time(shift.closed_ms))), *_by(shift.closed_by)]
    return rows


def _by(who: StaffName | None) -> list[Row]:
    return [] if who is None else [Row(_BY, fact(who.name))]


def _sums(shift: ShiftView) -> list[Row]:
    totals = shift.totals
    rows = [_sum(shift, _PAYMENTS, totals.payment_count, totals.charged_minor)]
    rows += [
        _sum(shift, ENTRY_MODES[one.entry_mode], one.payment_count, one.charged_minor)
        for one in totals.by_entry_mode
    ]
    if totals.offline_count:
        rows.append(_sum(shift, _OFFLINE, totals.offline_count, totals.offline_minor))
    rows += [
        Row(_TIPS, fact(_money(shift, totals.tip_minor))),
        _sum(shift, _REFUNDS, totals.refund_count, totals.refunded_minor),
        _sum(shift, _REVERSED, totals.reversed_count, totals.reversed_minor),
    ]
    if not shift.is_provisional:
        rows.append(Row(_FEES, fact(_money(shift, totals.fee_minor))))
    rows += [
        Row(_VOIDED, fact(str(totals.voided_count))),
        Row(_DECLINED, fact(str(totals.declined_count))),
    ]
    if shift.waiting_count:
        rows.append(_sum(shift, _WAITING, shift.waiting_count, shift.waiting_minor))
    return rows


def _sum(shift: ShiftView, label: Wording, count: int, minor: int) -> Row:
    return Row(label, fact(f"{count} x  {_money(shift, minor)}"))


def _money(shift: ShiftView, minor: int) -> str:
    return str(Money(minor, find_currency(shift.currency)))
