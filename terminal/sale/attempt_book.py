"""What a sale writes to the journal about its attempt after it was sent, and reads there."""

from __future__ import annotations

from functools import partial

import structlog

from terminal.blocking import ask_blocking
from terminal.errors import JournalUnwritable
from terminal.journal.records import SettledRecord
from terminal.sale.attempt import settle_attempt
from terminal.sale.ports import SalePorts
from wire.messages.payments import PaymentAnswer
from wire.messages.till import AttemptStage

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class AttemptBook:
    """The journal as one sale uses it; nothing here holds up the event loop."""

    def __init__(self, ports: SalePorts) -> None:
        self._ports = ports

    async def store_stage(self, attempt_id: str, stage: AttemptStage) -> bool:
        """Write what is to become of the attempt; durable when this returns. See Journal.change_stage.

        Raises:
            JournalUnwritable: nothing has changed.
        """
        ports = self._ports
        write = partial(ports.journal.change_stage, attempt_id, stage, at_ms=ports.now_ms())
        return await ask_blocking(ports.run_blocking, write)

    async def store_unknown(self, attempt_id: str) -> tuple[bool, int | None]:
        """Write that the cashier is about to be told "unknown": from then on it is taken back in the end.

        Returns:
            Whether that may be told, which it may not where the attempt has its final word; and when it is
            taken back, in unix milliseconds, None where that could not be written.
        """
        told_ms = self._ports.now_ms()
        try:
            is_open = await self.store_stage(attempt_id, AttemptStage.UNKNOWN)
        except JournalUnwritable as error:
            # It is asked about all the same, and can be taken back by an order.
            log.error("unknown_not_stored", attempt_id=attempt_id, reason=str(error))
            return True, None
        return is_open, told_ms + self._ports.times.reverse_after_ms

    async def settle(self, answer: PaymentAnswer) -> bool:
        """Write an answer; False where it must not be told, because the journal knows better."""
        ports = self._ports
        return await settle_attempt(
            ports.journal, answer, at_ms=ports.now_ms(), run_blocking=ports.run_blocking
        )

    def find_word(self, attempt_id: str) -> PaymentAnswer | None:
        """Return the final word on an attempt; None where there is none yet, or it was a refusal."""
        known = self._ports.journal.find(attempt_id)
        return known.answer if isinstance(known, SettledRecord) else None
