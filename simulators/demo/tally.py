"""What came of every sale, counted; and whether it was what the scenario said."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

import msgspec

from wire.messages.payments import EntryMode
from wire.messages.till import SaleEvent, SaleEventKind

APPROVED: Final = "approved"
LATENCIES_MAX: Final = 100_000
"""Latencies kept for the median; a demo left alone for a week stays small."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one thing presented."""

    till: str
    carrier: str
    """Name of the card, phone or tag."""
    code: str
    """`approved`, a decline's or refusal's code, or how else the sale ended, such as `timed_out`."""
    amount_minor: int
    mode: EntryMode | None = None
    reader: str | None = None
    tap_to_answer_ms: int | None = None
    """By the daemon's clock, from the moment its reader noticed the card or code."""
    shopper_ms: float | None = None
    """By the shopper's, from holding it out to hearing the outcome: the simulated device, what pcscd or a
    camera takes to notice, and the way of the news are in it."""
    receipt: str = ""

    @property
    def is_approved(self) -> bool:
        """Whether money moved."""
        return self.code == APPROVED


@dataclass(slots=True)
class Tally:
    """Counts and sums since the demo began."""

    payments: Counter[EntryMode] = field(default_factory=Counter)
    declined: Counter[str] = field(default_factory=Counter)
    taken_minor: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By till."""
    spent_minor: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By the card, phone or tag that paid."""
    latencies_ms: list[int] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        if outcome.tap_to_answer_ms is not None and len(self.latencies_ms) < LATENCIES_MAX:
            self.latencies_ms.append(outcome.tap_to_answer_ms)
        if not outcome.is_approved or outcome.mode is None:
            self.declined[outcome.code] += 1
            return
        self.payments[outcome.mode] += 1
        self.taken_minor[outcome.till] += outcome.amount_minor
        self.spent_minor[outcome.carrier] += outcome.amount_minor

    @property
    def p50_tap_to_answer_ms(self) -> int | None:
        """Median of the times from tap to answer; None before the first."""
        return round(statistics.median(self.latencies_ms)) if self.latencies_ms else None

    def dump_json(self, audit: str) -> str:
        """Return the summary the demo ends with, as one line."""
        summary = {
            "payments": {mode.value: self.payments[mode] for mode in _SUMMARY_ORDER},
            "declined": dict(sorted(self.declined.items())),
            "audit": audit,
            "p50_tap_to_answer_ms": self.p50_tap_to_answer_ms,
        }
        return msgspec.json.encode(summary).decode("ascii")


_SUMMARY_ORDER: Final = (
    EntryMode.NFC_APP,
    EntryMode.NFC_SDM,
    EntryMode.QR_CONSUMER,
    EntryMode.CODE_NUMERIC,
)

_WITHOUT_RESULT: Final = frozenset(
    {
        SaleEventKind.ARMED,
        SaleEventKind.CODE_SHOWN,
        SaleEventKind.READING,
        SaleEventKind.SUBMITTING,
        SaleEventKind.CONFIRMING,
        SaleEventKind.NOT_CONFIRMED,
        SaleEventKind.KEPT,
        SaleEventKind.REVERSING,
    }
)


def code_of(event: SaleEvent) -> str | None:
    """Return what an event says came of a sale, or None while nothing has."""
    if event.kind in _WITHOUT_RESULT:
        return None
    if event.kind is SaleEventKind.REFUSED and event.refusal is not None:
        return event.refusal.code
    if event.kind in (SaleEventKind.DECLINED, SaleEventKind.CLOSED) and event.decline is not None:
        return event.decline.code
    return event.kind.value
