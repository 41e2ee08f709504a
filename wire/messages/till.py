"""What till software asks of the terminal daemon beside it, and what the daemon tells it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from wire.messages.base import Message
from wire.messages.payments import (
    AmountMinor,
    CurrencyCode,
    Decline,
    EntryMode,
    OrderId,
    PaymentAnswer,
    UlidText,
    UnixMs,
)


class SaleState(StrEnum):
    """Where a sale stands; terminal/sale/states.py has the table of transitions."""

    ARMED = "armed"
    """Readers are on: present a card, a phone or a code."""
    READING = "reading"
    """Something is being read; keep it there."""
    SUBMITTING = "submitting"
    """The attempt is in the journal and on its way to the gateway."""
    APPROVED = "approved"
    DECLINED = "declined"
    """The last attempt was declined and no further one is possible in this sale."""
    UNKNOWN = "unknown"
    """The gateway's answer is missing; the attempt id is kept and asked about until it is known."""
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class SaleRequest(Message, frozen=True):
    """Start a sale. Without an order id the daemon makes one."""

    amount_minor: AmountMinor
    currency: CurrencyCode | None = None
    order_id: OrderId | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1_000, le=600_000)] | None = None
    """How long readers stay armed, in milliseconds from now."""


class SaleEventKind(StrEnum):
    """What happened in a sale; also the `event:` name of the server-sent event."""

    ARMED = "armed"
    READING = "reading"
    REFUSED = "refused"
    """What was presented can't be used here; the sale goes on."""
    SUBMITTING = "submitting"
    DECLINED = "declined"
    APPROVED = "approved"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class Refusal(Message, frozen=True):
    """Why something presented was not even sent to the gateway."""

    code: str
    cashier_text: dict[str, str]
    reader: str


class SaleView(Message, frozen=True):
    """A sale as its till sees it."""

    sale_id: UlidText
    order_id: OrderId
    amount_minor: AmountMinor
    currency: CurrencyCode
    state: SaleState
    created_ms: UnixMs
    deadline_ms: UnixMs
    attempt_count: int = 0
    answer: PaymentAnswer | None = None
    """The gateway's answer to the last attempt, once there is one."""


class SaleEvent(Message, frozen=True):
    """One thing that happened; `sequence` rises by one per daemon and is the SSE `id:`."""

    sequence: int
    at_ms: UnixMs
    kind: SaleEventKind
    sale: SaleView
    reader: str | None = None
    """Path of the reader concerned."""
    entry_mode: EntryMode | None = None
    refusal: Refusal | None = None
    decline: Decline | None = None
    tap_to_answer_ms: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """From the moment the reader noticed the card or code to the gateway's answer."""


class ReaderState(StrEnum):
    """Health of a reader or scanner."""

    STARTING = "starting"
    READY = "ready"
    FAULTY = "faulty"
    """It does not work now; the daemon goes on trying."""
    OFF = "off"
    """Its library or device is not installed; nothing is tried."""


class ReaderView(Message, frozen=True):
    """A reader's health, with the reason in words when it is not ready."""

    path: str
    state: ReaderState
    since_ms: UnixMs
    reason: str = ""
    presentation_count: int = 0


class DaemonView(Message, frozen=True):
    """Who this daemon is and whether it can sell."""

    terminal_id: str
    merchant_name: str
    location_name: str
    currency: CurrencyCode
    gateway_reachable: bool
    unresolved_attempt_count: int
    readers: list[ReaderView]
