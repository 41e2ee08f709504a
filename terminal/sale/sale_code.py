"""The code of the till's own that one sale shows, and the fresh one after each that was declined."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from terminal.sale.ports import SaleFacts, SalePorts
from wire.messages.intents import IntentAnswer
from wire.messages.payments import Decline, PaymentAnswer

CODES_MAX: Final = 5
"""Codes shown in one sale: one, and a fresh one after each that was declined."""


class SaleCode:
    """Shows codes until told to stop; all methods run in the daemon's event loop."""

    def __init__(
        self,
        facts: SaleFacts,
        ports: SalePorts,
        *,
        on_shown: Callable[[], None],
        on_word: Callable[[PaymentAnswer], None],
    ) -> None:
        """Prepare; nothing is asked for yet.

        Args:
            on_shown: called when there is a code to show.
            on_word: takes the gateway's word on a payment of the shown code.
        """
        self._facts = facts
        self._ports = ports
        self._on_shown = on_shown
        self._on_word = on_word
        self._count = 0
        self._is_wanted = False
        self._asking: asyncio.Task[None] | None = None
        self.shown: IntentAnswer | None = None
        """The code to show now."""

    def show(self) -> None:
        """Ask for a code, unless the till has none, can't ask, or has shown CODES_MAX."""
        is_offline = self._ports.offline is not None and self._ports.offline.is_offline
        can_ask = self._facts.is_plain and not is_offline
        if self._ports.codes is None or not can_ask or self._count >= CODES_MAX:
            return
        self._count += 1
        self._is_wanted = True
        self._asking = asyncio.create_task(self._ask())

    def stop(self) -> None:
        """Show none any more; whoever pays the last one from now on gets the money back."""
        self._is_wanted = False
        if self.shown is not None and self._ports.codes is not None:
            self._ports.codes.give_up(self.shown.intent_id)
        self.shown = None

    def may_explain(self, decline: Decline) -> bool:
        """Say whether a decline may come of somebody's having just paid the shown code."""
        return decline.code == "order_already_paid" and self.shown is not None

    async def _ask(self) -> None:
        assert self._ports.codes is not None, "looked at before"
        code = await self._ports.codes.offer(
            self._facts.order_id,
            self._facts.amount,
            order=self._facts.order,
            life_ms=self._facts.deadline_ms - self._ports.now_ms(),
            on_answer=self._take_word,
        )
        if code is None:
            return
        self.shown = code
        if self._is_wanted:
            self._on_shown()
        else:
            self.stop()

    def _take_word(self, answer: PaymentAnswer) -> None:
        self.shown = None
        self._on_word(answer)
