"""A sale on the command line: what happens, live, and a result that can't be misread."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from terminal.console.till_client import DaemonGone, TillClient
from terminal.errors import SaleRefused
from wire.messages.payments import CaptureMode, ConfirmationWay, OrderDetails
from wire.messages.till import SaleEvent, SaleEventKind, SaleRequest, SaleState, SaleView
from wire.money import find_currency, format_minor, parse_money
from wire.notices import CHINESE, ENGLISH, NOTICES

RECONNECTS_MAX: Final = 5
RECONNECT_DELAY_MS: Final = 500

_OVER: Final = frozenset(SaleState) - {
    SaleState.ARMED,
    SaleState.READING,
    SaleState.SUBMITTING,
    SaleState.CONFIRMING,
}
_STYLES: Final = {
    SaleState.APPROVED: "bold white on green",
    SaleState.ACCEPTED_OFFLINE: "bold black on green",
    SaleState.UNKNOWN: "bold black on yellow",
    SaleState.REVERSING: "bold black on yellow",
}
_STYLE_OF_NO_SALE: Final = "bold white on red"
_PROMPTS: Final = {
    ENGLISH: {
        SaleEventKind.ARMED: "{amount}: present a card, a phone or a code",
        SaleEventKind.CODE_SHOWN: "Or scan the till's code: {code}",
        SaleEventKind.READING: "Reading: hold it still",
        SaleEventKind.SUBMITTING: "Asking the payment system",
        SaleEventKind.CANCELLED: "CANCELLED",
        SaleEventKind.TIMED_OUT: "NOTHING WAS PRESENTED IN TIME",
        SaleEventKind.APPROVED: "APPROVED  {amount}",
        SaleEventKind.ACCEPTED_OFFLINE: "ACCEPTED OFFLINE  {amount}\nCharged when the connection is back.",
        SaleEventKind.DECLINED: "DECLINED  {amount}",
        SaleEventKind.UNKNOWN: (
            "OUTCOME UNKNOWN  {amount}\n"
            "Do not take the money again: the till goes on asking what became of it."
        ),
        SaleEventKind.CONFIRMING: "WAITING FOR THE CUSTOMER  {amount}",
        SaleEventKind.NOT_CONFIRMED: "NOT CONFIRMED YET",
        SaleEventKind.KEPT: "OUTCOME UNKNOWN  {amount}\nThe till goes on asking and does not take it back.",
        SaleEventKind.REVERSING: "TAKING BACK  {amount}\nThe customer will not be charged for this attempt.",
        SaleEventKind.CLOSED: "NOT PAID  {amount}",
    },
    CHINESE: {
        SaleEventKind.ARMED: "{amount}：请出示卡片、手机或付款码",
        SaleEventKind.CODE_SHOWN: "或扫描收款码：{code}",
        SaleEventKind.READING: "正在读取，请保持不动",
        SaleEventKind.SUBMITTING: "正在请求支付系统",
        SaleEventKind.CANCELLED: "已取消",
        SaleEventKind.TIMED_OUT: "超时：未出示任何付款方式",
        SaleEventKind.APPROVED: "收款成功  {amount}",
        SaleEventKind.ACCEPTED_OFFLINE: "离线受理  {amount}\n恢复联网后扣款。",
        SaleEventKind.DECLINED: "收款失败  {amount}",
        SaleEventKind.UNKNOWN: "结果未知  {amount}\n请勿重复收款：收银机会继续查询结果。",
        SaleEventKind.CONFIRMING: "等待顾客确认  {amount}",
        SaleEventKind.NOT_CONFIRMED: "尚未确认",
        SaleEventKind.KEPT: "结果未知  {amount}\n收银机会继续查询，不会撤销。",
        SaleEventKind.REVERSING: "正在撤销  {amount}\n顾客不会为本次付款被扣款。",
        SaleEventKind.CLOSED: "未付款  {amount}",
    },
}

_WAY_HINTS: Final = {
    ENGLISH: {
        ConfirmationWay.PIN: "By PIN until {until}: tapscan-terminal pin {sale_id}",
        ConfirmationWay.DEVICE: "Or on the customer's phone until {until}; Ctrl-C cancels",
        ConfirmationWay.CARD: "Or by the card itself: leave it on the reader, or hold it there again",
    },
    CHINESE: {
        ConfirmationWay.PIN: "{until} 前输入密码：tapscan-terminal pin {sale_id}",
        ConfirmationWay.DEVICE: "或于 {until} 前在顾客手机上确认；按 Ctrl-C 取消",
        ConfirmationWay.CARD: "或由卡片自身确认：请将卡片留在读卡器上，或再次靠近",
    },
}
_ORDER_HINTS: Final = {
    ENGLISH: (
        "The customer left or paid otherwise: tapscan-terminal journal reverse {attempt_id}\n"
        "The goods were handed over:           tapscan-terminal journal keep {attempt_id}"
    ),
    CHINESE: (
        "顾客已离开或已用其他方式付款：tapscan-terminal journal reverse {attempt_id}\n"
        "商品已交付：tapscan-terminal journal keep {attempt_id}"
    ),
}


@dataclass(frozen=True, slots=True)
class SaleWish:
    """What was asked for on the command line; amounts in major units."""

    amount: str
    currency: str | None = None
    order_id: str | None = None
    order_total: str | None = None
    is_hold: bool = False
    tip_max: str | None = None


async def sell(client: TillClient, wish: SaleWish, *, language: str) -> SaleState:
    """Run one sale through the daemon and show it; the first Ctrl-C cancels it.

    Returns:
        The state the sale ended in.

    Raises:
        SaleRefused: the daemon refused the sale, or does not answer; the amounts don't fit together.
        MoneyError: no such amount.
    """
    screen = _Screen(language)
    async with client:
        code = wish.currency or (await client.find_daemon()).currency
        currency = find_currency(code)
        tip_max, total = wish.tip_max, wish.order_total
        try:
            request = SaleRequest(
                amount_minor=parse_money(wish.amount, currency).minor,
                currency=code,
                order_id=wish.order_id,
                capture=CaptureMode.MANUAL if wish.is_hold else CaptureMode.AUTOMATIC,
                tip_max_minor=0 if tip_max is None else parse_money(tip_max, currency).minor,
                order=None if total is None else OrderDetails(parse_money(total, currency).minor),
            )
        except ValueError as error:
            raise SaleRefused(str(error), code="amount_invalid") from None
        view = await _follow(client, request, screen)
        screen.show_result(view)
        if view.state in (SaleState.APPROVED, SaleState.ACCEPTED_OFFLINE):
            screen.show_receipt(await client.find_receipt(view.sale_id))
    return view.state


class _Screen:
    """What the cashier sees."""

    def __init__(self, language: str) -> None:
        self._console = Console(highlight=False)
        self._language = language

    def show_event(self, event: SaleEvent) -> None:
        notice = event.refusal or event.decline
        if notice is not None:
            self._console.print(Text(notice.cashier_text.get(self._language, notice.code), style="yellow"))
        elif event.sale.state not in _OVER:
            self._console.print(self._text(event.kind, event.sale))
            if event.kind is SaleEventKind.CONFIRMING:
                self._show_ways(event.sale)

    def show_result(self, view: SaleView) -> None:
        text = self._text(SaleEventKind(view.state.value), view)
        if view.state is SaleState.UNKNOWN:
            text += f"\n{view.order_id}\n{_ORDER_HINTS[self._language].format(attempt_id=view.attempt_id)}"
        style = _STYLES.get(view.state, _STYLE_OF_NO_SALE)
        self._console.print(Panel(Text(text, justify="center"), style=style, padding=(1, 4)))

    def show_receipt(self, receipt: str) -> None:
        self._console.print(Text(receipt))

    def show_refusal(self, error: SaleRefused) -> None:
        notice = NOTICES.get(error.code)
        text = notice.cashier_text[self._language] if notice else error.code
        self._console.print(Text(text, style="yellow"))

    def _show_ways(self, view: SaleView) -> None:
        asked = None if view.answer is None else view.answer.confirmation
        if asked is None:
            return
        until = datetime.fromtimestamp(asked.confirm_by_ms / 1000).astimezone().strftime("%H:%M:%S")
        self._console.print(Text(asked.cashier_text.get(self._language, asked.code), style="yellow"))
        for way in asked.ways:
            hint = _WAY_HINTS[self._language][way]
            self._console.print(hint.format(sale_id=view.sale_id, until=until))

    def _text(self, kind: SaleEventKind, view: SaleView) -> str:
        amount = f"{format_minor(view.amount_minor, find_currency(view.currency))} {view.currency}"
        return _PROMPTS[self._language][kind].format(amount=amount, code=view.code_text or "")


async def _follow(client: TillClient, request: SaleRequest, screen: _Screen) -> SaleView:
    async with aclosing(_watch_steadily(client)) as events:
        # Watching begins before the sale does, so that not even its first event is missed.
        await anext(events)
        view = await client.start_sale(request)
        with _CancelOnInterrupt(client, view.sale_id, screen):
            async for event in events:
                if event is None or event.sale.sale_id != view.sale_id:
                    continue
                screen.show_event(event)
                if event.sale.state in _OVER:
                    return event.sale
    raise DaemonGone


async def _watch_steadily(client: TillClient) -> AsyncGenerator[SaleEvent | None]:
    """Yield None once watching, then events; after a break go on where it was."""
    last: int | None = None
    async for event in client.watch():
        last = event.sequence if event else last
        yield event
    for _ in range(RECONNECTS_MAX):
        await asyncio.sleep(RECONNECT_DELAY_MS / 1000)
        with suppress(DaemonGone):
            async for event in client.watch(last or 0):
                last = event.sequence if event else last
                yield event


class _CancelOnInterrupt:
    """While active, Ctrl-C asks the daemon to cancel instead of ending this command."""

    def __init__(self, client: TillClient, sale_id: str, screen: _Screen) -> None:
        self._client = client
        self._sale_id = sale_id
        self._screen = screen
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        self._task = asyncio.create_task(self._cancel())

    async def _cancel(self) -> None:
        try:
            await self._client.cancel_sale(self._sale_id)
        except SaleRefused as error:
            self._screen.show_refusal(error)
