"""What makes a payment unusual enough to ask its holder, judged before it is booked.

None of it guards a balance: it only asks for a confirmation, so what is read here may be a moment old. How
many payments an instrument made within minutes is counted in the booking itself.
"""

from __future__ import annotations

from typing import Final

from gateway.config import RiskSettings
from gateway.merchants.model import EnrolledTerminal
from gateway.payments.settlement import utc_day_of
from gateway.storage.store import PolicyStore
from wire.money import find_currency

HABIT_DAYS: Final = 30
HABIT_PAYMENTS_MIN: Final = 5
"""Fewer payments than this are no habit."""


class Risk:
    """The rules, over what the store knows."""

    def __init__(self, store: PolicyStore, settings: RiskSettings) -> None:
        self._store = store
        self._settings = settings

    @property
    def payments_per_window_max(self) -> int:
        """How many payments of one instrument within ten minutes pass unasked; 0: any number."""
        return self._settings.payments_per_window_max

    async def judge(
        self, instrument_id: str, amount_minor: int, terminal: EnrolledTerminal, *, now_ms: int
    ) -> str | None:
        """Return why a holder has to agree to this payment, as a code of wire/notices.py; None: no reason."""
        floor_minor = self._settings.floor_units * 10 ** find_currency(terminal.merchant.currency).exponent
        if amount_minor <= floor_minor:
            return None
        enrolled_ms = terminal.terminal.enrolled_ms
        new_ms = self._settings.new_terminal_hours * 3_600_000
        if enrolled_ms is not None and now_ms - enrolled_ms < new_ms:
            return "confirm_new_terminal"
        if self._settings.unusual_times and await self._is_unusual(instrument_id, amount_minor, now_ms):
            return "confirm_unusual_amount"
        return None

    async def _is_unusual(self, instrument_id: str, amount_minor: int, now_ms: int) -> bool:
        today = utc_day_of(now_ms)
        habit = await self._store.read_habit(instrument_id, list(range(today - HABIT_DAYS, today)))
        if habit.payment_count < HABIT_PAYMENTS_MIN:
            return False
        return amount_minor * habit.payment_count > self._settings.unusual_times * habit.spent_minor
