"""A shift's totals as this till can reckon them itself, from the last word it heard on each payment.

Provisional: what was refunded later is counted with its payment, fees are not known here, and only the last
payments of the till are remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

from wire.messages.payments import EntryMode, PaymentAnswer, PaymentState
from wire.messages.shifts import EntryModeTotal, ShiftTotals


def reckon_provisionally(answers: Iterable[PaymentAnswer], from_ms: int, to_ms: int) -> ShiftTotals:
    """Return what came of payments that were decided from a time on and before another."""
    within = [answer for answer in answers if from_ms <= answer.decided_ms < to_ms]
    charged = [answer for answer in within if answer.charged_minor]
    reversed_ones = [answer for answer in charged if answer.state is PaymentState.REVERSED]
    refunded = [
        answer for answer in charged if answer.refunded_minor and answer.state is not PaymentState.REVERSED
    ]
    return ShiftTotals(
        payment_count=len(charged),
        charged_minor=sum(answer.charged_minor for answer in charged),
        tip_minor=sum(answer.tip_minor for answer in charged),
        refund_count=len(refunded),
        refunded_minor=sum(answer.refunded_minor for answer in refunded),
        reversed_count=len(reversed_ones),
        reversed_minor=sum(answer.charged_minor for answer in reversed_ones),
        voided_count=sum(answer.state is PaymentState.VOIDED for answer in within),
        declined_count=sum(answer.state is PaymentState.DECLINED for answer in within),
        by_entry_mode=[
            EntryModeTotal(
                entry_mode=mode,
                payment_count=sum(answer.entry_mode is mode for answer in charged),
                charged_minor=sum(answer.charged_minor for answer in charged if answer.entry_mode is mode),
            )
            for mode in EntryMode
            if any(answer.entry_mode is mode for answer in charged)
        ],
    )
