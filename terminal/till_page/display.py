"""What the customer's display shows: of a sale only what its payer may see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from terminal.sale.desk import SaleDesk
from terminal.sale.events import TillEvent
from wire.messages.enrolment import EnrolmentAnswer
from wire.messages.payments import ConfirmationWay, OrderDetails, PaymentState
from wire.messages.till import SaleEvent, SaleEventKind, SaleState, SaleView
from wire.messages.till_page import DisplayView
from wire.money import find_currency

_NOT_TAKEN = frozenset({SaleEventKind.REFUSED, SaleEventKind.DECLINED})


@dataclass(frozen=True, slots=True)
class Display:
    """Makes the display's view; the till's own events say when it has changed."""

    desk: SaleDesk
    enrolment: EnrolmentAnswer
    language: str
    now_ms: Callable[[], int]

    def describe(self, event: TillEvent | None) -> DisplayView:
        """Return what to show now.

        Args:
            event: the last one that `is_about_presenting`, if any: it says whether something was just
                presented in vain.
        """
        newest = self.desk.find_newest()
        if newest is None:
            return self._make_view()
        sale, order = newest
        return self._make_view(sale, order, was_refused=_was_refused(sale, event))

    def _make_view(
        self, sale: SaleView | None = None, order: OrderDetails | None = None, *, was_refused: bool = False
    ) -> DisplayView:
        currency = self.enrolment.currency if sale is None else sale.currency
        idle = DisplayView(
            merchant_name=self.enrolment.merchant_name,
            location_name=self.enrolment.location_name,
            currency=currency,
            exponent=find_currency(currency).exponent,
            language=self.language,
            now_ms=self.now_ms(),
        )
        return idle if sale is None else _with_sale(idle, sale, order, was_refused=was_refused)


def _with_sale(
    idle: DisplayView, sale: SaleView, order: OrderDetails | None, *, was_refused: bool
) -> DisplayView:
    answer = sale.answer
    asked = answer.confirmation if answer is not None and sale.state is SaleState.CONFIRMING else None
    approved = answer if sale.state is SaleState.APPROVED else None
    return msgspec.structs.replace(
        idle,
        sale_id=sale.sale_id,
        state=sale.state,
        amount_minor=sale.amount_minor,
        lines=() if order is None else order.lines,
        is_held=approved is not None and approved.state is PaymentState.AUTHORISED,
        has_code=sale.state is SaleState.ARMED and sale.code_text is not None,
        has_receipt=find_receipt_url(sale) is not None,
        must_present_again=was_refused,
        by_pin=asked is not None and ConfirmationWay.PIN in asked.ways,
        by_card=asked is not None and ConfirmationWay.CARD in asked.ways,
        by_device=asked is not None and ConfirmationWay.DEVICE in asked.ways,
    )


def find_receipt_url(sale: SaleView) -> str | None:
    """Return where the receipt of a sale that was approved is shown to whoever has the address."""
    receipt = None if sale.answer is None else sale.answer.receipt
    return receipt.page_url if receipt is not None and sale.state is SaleState.APPROVED else None


def is_about_presenting(event: TillEvent | None) -> bool:
    """Say whether an event changes what was said of the last card or code: a fresh code to scan does not."""
    return isinstance(event, SaleEvent) and event.kind is not SaleEventKind.CODE_SHOWN


def _was_refused(sale: SaleView, event: TillEvent | None) -> bool:
    return (
        isinstance(event, SaleEvent)
        and event.sale.sale_id == sale.sale_id
        and sale.state is SaleState.ARMED
        and event.kind in _NOT_TAKEN
    )
