"""What terminals did not ask for themselves: a wallet paid their code, a holder confirmed, time ran out."""

from __future__ import annotations

from gateway.merchants.model import EnrolledTerminal
from gateway.payments.answers import answer_of
from gateway.receipts.names import ReceiptPages
from gateway.storage.store import PaymentStore
from wire.messages.terminals import TerminalEvents, TerminalNotice


class TerminalEventService:
    """A terminal's events, in the order in which they happened."""

    def __init__(self, store: PaymentStore, pages: ReceiptPages | None = None) -> None:
        self._pages = pages
        self._store = store

    async def read(self, terminal: EnrolledTerminal, after: int | None) -> TerminalEvents:
        """Return what happened after an event, each with its payment as it stands now.

        Args:
            after: the last event that was taken; None asks only where the events stand.
        """
        terminal_id = terminal.terminal.terminal_id
        if after is None:
            return TerminalEvents(events=[], last=await self._store.find_last_event(terminal_id))
        notices = []
        last = after
        for event in await self._store.list_terminal_events(terminal_id, after):
            payment = await self._store.find_payment(terminal_id, event.payment_id)
            last = event.sequence
            if payment is not None:
                notices.append(
                    TerminalNotice(sequence=event.sequence, payment=answer_of(payment, self._pages))
                )
        return TerminalEvents(events=notices, last=last)
