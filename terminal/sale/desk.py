"""The sales of this daemon: at most one open, the last ones kept, everything told to whoever watches."""

from __future__ import annotations

import asyncio
import queue
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog

from terminal.blocking import ask_blocking
from terminal.errors import SaleRefused
from terminal.journal.records import AttemptRecord
from terminal.presentations import PresentationEvent, TermsSource
from terminal.sale.ports import SaleFacts, SalePorts
from terminal.sale.session import SaleSession
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import OrderDetails, PaymentAnswer
from wire.messages.till import AttemptStage, SaleRequest, SaleState, SaleView
from wire.money import Money, find_currency

SALES_KEPT_MAX: Final = 200
PRESENTATIONS_WAITING_MAX: Final = 64
"""Between the readers' threads and the event loop; what comes on top is dropped."""
STOP_GRACE_MS: Final = 3_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ReaderLoan(Protocol):
    """Somebody who uses the readers while no sale does (terminal/people/tag_reads.py)."""

    @property
    def terms(self) -> TermsSource:
        """What the readers are armed with."""

    def present(self, event: PresentationEvent) -> None:
        """Take what a reader tells."""

    def give_back(self) -> None:
        """Let go of the readers: call `take_readers_back`."""


class SaleDesk:
    """Starts, finds and cancels sales; all but `present_from_thread` run in the event loop."""

    def __init__(self, ports: SalePorts, *, deadline_ms: int) -> None:
        """Open the desk.

        Args:
            deadline_ms: how long a sale's readers stay armed where its till does not say.
        """
        self._ports = ports
        self._deadline_ms = deadline_ms
        self._sales: OrderedDict[str, SaleSession] = OrderedDict()
        self._open: SaleSession | None = None
        self._newest_order: OrderDetails | None = None
        self._presentations: queue.Queue[PresentationEvent] = queue.Queue(PRESENTATIONS_WAITING_MAX)
        self._loop = asyncio.get_running_loop()
        self._is_stopping = False
        self._on_order: Callable[[], None] = lambda: None
        self._loan: ReaderLoan | None = None
        self._lent_ns = 0
        self._orders: OrderedDict[str, int] = OrderedDict()
        for record in ports.journal.unresolved():
            if record.sale_id:
                self._sales[record.sale_id] = SaleSession.restore(record, ports)

    def start_sale(self, request: SaleRequest) -> SaleView:
        """Start a sale and arm the readers.

        Raises:
            SaleRefused: `sale_in_progress`; one at a time. `not_ready` while the daemon stops.
            MoneyError: `currency_unknown`.
        """
        if self._is_stopping:
            raise SaleRefused(code="not_ready")
        if self._open is not None and self._open.is_open:
            raise SaleRefused(code="sale_in_progress")
        session = SaleSession(self._make_facts(request), self._ports)
        if self._loan is not None:
            self._loan.give_back()
        self._keep(session)
        self._orders[session.view.order_id] = _order_minor(request)
        while len(self._orders) > SALES_KEPT_MAX:
            self._orders.popitem(last=False)
        self._newest_order = request.order
        session.open()
        return session.view

    def lend_readers(self, loan: ReaderLoan) -> None:
        """Arm the readers for something else than a sale, until it gives them back or a sale starts.

        Raises:
            SaleRefused: `sale_in_progress`; also where they are lent already. `not_ready` while it stops.
        """
        if self._is_stopping:
            raise SaleRefused(code="not_ready")
        if self._loan is not None or (self._open is not None and self._open.is_open):
            raise SaleRefused(code="sale_in_progress")
        self._loan, self._lent_ns = loan, self._ports.monotonic_ns()
        self._ports.readers.arm(loan.terms)

    def take_readers_back(self, loan: ReaderLoan) -> None:
        """Disarm the readers that were lent."""
        if self._loan is loan:
            self._loan = None
            self._ports.readers.disarm()

    def is_another_amount(self, request: SaleRequest) -> bool:
        """Say whether the order of a request was asked for another amount here before."""
        before_minor = self._orders.get(request.order_id or "")
        return before_minor is not None and before_minor != _order_minor(request)

    def find_sale(self, sale_id: str) -> SaleView:
        """Return a sale as it stands.

        Raises:
            SaleRefused: `not_found`; never made here, or too long ago.
        """
        return self._find(sale_id).view

    def find_newest(self) -> tuple[SaleView, OrderDetails | None] | None:
        """Return the open sale or the last one, with what it is for; None before the first."""
        if not self._sales:
            return None
        return next(reversed(self._sales.values())).view, self._newest_order

    def cancel_sale(self, sale_id: str) -> SaleView:
        """Cancel a sale whose readers wait.

        Raises:
            SaleRefused: `not_found`, `sale_submitting`, `sale_finished`.
        """
        session = self._find(sale_id)
        session.cancel()
        return session.view

    async def give_up_sale(self, sale_id: str) -> SaleView:
        """Cancel a sale whose readers wait, or have the payment taken back whose holder is waited for.

        Raises:
            SaleRefused: `not_found`, `sale_submitting`, `sale_finished`.
            JournalUnwritable: nothing has changed.
        """
        if self._find(sale_id).view.state is SaleState.CONFIRMING:
            return await self.reverse_sale(sale_id)
        return self.cancel_sale(sale_id)

    async def enter_pin(self, sale_id: str, pin: str) -> SaleView:
        """Have the PIN judged that a holder typed, and return the sale after it.

        Raises:
            SaleRefused: `not_found`, `sale_not_confirming`, `sale_submitting`,
                `confirmation_way_not_allowed`.
            GatewayRefused: `pin_wrong`, `pin_is_locked` and others; the sale waits on.
            GatewayUnreachable: nobody answered; the same PIN may be tried again.
        """
        session = self._find(sale_id)
        await session.enter_pin(pin)
        return session.view

    async def reverse_sale(self, sale_id: str) -> SaleView:
        """Take back the attempt of a sale whose outcome is unknown or whose holder is waited for.

        The order is on disk when this returns.

        Raises:
            SaleRefused: `not_found`, `sale_submitting`, `sale_finished`.
            JournalUnwritable: nothing has changed.
        """
        session = self._find(sale_id)
        await session.order_reversal()
        self._on_order()
        return session.view

    async def keep_sale(self, sale_id: str) -> SaleView:
        """Go on asking what became of a sale's attempt, and never take it back; on disk when this returns.

        Raises:
            SaleRefused: `not_found`, `sale_submitting`, `sale_finished`, `attempt_reversing`.
            JournalUnwritable: nothing has changed.
        """
        session = self._find(sale_id)
        await session.order_keeping()
        self._on_order()
        return session.view

    async def reverse_attempt(self, attempt_id: str) -> None:
        """As `reverse_sale`, for an attempt that may be older than this run of the daemon."""
        await self._order_attempt(attempt_id, AttemptStage.REVERSING)
        self.note_given_up(attempt_id)

    async def keep_attempt(self, attempt_id: str) -> None:
        """As `keep_sale`, for an attempt that may be older than this run of the daemon."""
        await self._order_attempt(attempt_id, AttemptStage.KEPT)

    def tell_orders_to(self, on_order: Callable[[], None]) -> None:
        """Have this called after every order about an attempt, so that it is carried out at once."""
        self._on_order = on_order

    def note_given_up(self, attempt_id: str) -> None:
        """Tell the attempt's sale that the attempt is being taken back."""
        for session in self._sales.values():
            session.note_given_up(attempt_id)

    def is_on_its_way(self, attempt_id: str) -> bool:
        """Say whether the open sale is sending this attempt right now."""
        return self._open is not None and self._open.is_submitting(attempt_id)

    def settle_late(self, answer: PaymentAnswer) -> None:
        """Tell the sale that ended unknown what became of its attempt."""
        for session in self._sales.values():
            session.settle_late(answer)

    def present(self, event: PresentationEvent) -> None:
        """Hand what a reader tells to whom the readers are lent, or to the open sale; else it is ignored.

        What waited in between since the readers were somebody else's is nobody's any more.
        """
        if self._loan is not None:
            if event.noticed_ns >= self._lent_ns:
                self._loan.present(event)
        elif self._open is not None:
            self._open.present(event)

    def present_from_thread(self, event: PresentationEvent) -> None:
        """Hand over from a reader's own thread; never blocks."""
        try:
            self._presentations.put_nowait(event)
        except queue.Full:
            log.warning("presentation_dropped", reader=event.reader)
            return
        try:
            self._loop.call_soon_threadsafe(self._take_one)
        except RuntimeError:
            # The loop is closed: the daemon has stopped, and nobody waits for this any more.
            log.info("presentation_after_stop", reader=event.reader)

    async def stop(self) -> None:
        """Start nothing more and end the open sale; an attempt on its way gets STOP_GRACE_MS."""
        self._is_stopping = True
        if self._loan is not None:
            self._loan.give_back()
        if self._open is not None:
            await self._open.stop(STOP_GRACE_MS)
        for session in self._sales.values():
            session.stop_waiting()

    async def _order_attempt(self, attempt_id: str, stage: AttemptStage) -> None:
        session = next((one for one in self._sales.values() if one.view.attempt_id == attempt_id), None)
        if session is not None and session.is_waiting_for_word:
            is_reversal = stage is AttemptStage.REVERSING
            await (session.order_reversal() if is_reversal else session.order_keeping())
            self._on_order()
            return
        if self.is_on_its_way(attempt_id):
            raise SaleRefused(code="sale_submitting")
        ports = self._ports
        known = ports.journal.find(attempt_id)
        if known is None:
            raise SaleRefused(code="not_found")
        if isinstance(known, AttemptRecord) and known.stage is AttemptStage.REVERSING is not stage:
            raise SaleRefused(code="attempt_reversing")
        write = partial(ports.journal.change_stage, attempt_id, stage, at_ms=ports.now_ms())
        if not await ask_blocking(ports.run_blocking, write):
            raise SaleRefused(code="sale_finished")
        self._on_order()

    def _take_one(self) -> None:
        self.present(self._presentations.get_nowait())

    def _make_facts(self, request: SaleRequest) -> SaleFacts:
        now_ms = self._ports.now_ms()
        sale_id = make_ulid(now_ms, self._ports.entropy(ENTROPY_BYTES))
        currency = find_currency(request.currency or self._ports.enrolment.currency)
        return SaleFacts(
            sale_id=sale_id,
            order_id=request.order_id or sale_id,
            amount=Money(request.amount_minor, currency),
            created_ms=now_ms,
            deadline_ms=now_ms + (request.deadline_ms or self._deadline_ms),
            capture=request.capture,
            tip_max_minor=request.tip_max_minor,
            order=request.order,
        )

    def _keep(self, session: SaleSession) -> None:
        self._open = session
        self._sales[session.view.sale_id] = session
        while len(self._sales) > SALES_KEPT_MAX:
            self._sales.popitem(last=False)

    def _find(self, sale_id: str) -> SaleSession:
        try:
            return self._sales[sale_id]
        except KeyError:
            raise SaleRefused(code="not_found") from None


def _order_minor(request: SaleRequest) -> int:
    return (
        request.amount_minor - request.tip_max_minor if request.order is None else request.order.amount_minor
    )
