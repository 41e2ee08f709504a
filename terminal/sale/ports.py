"""What a sale is about, and what it needs of the world around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from terminal.blocking import RunBlocking
from terminal.cards.gateway import CardGateway
from terminal.gateway_client.client import GatewayClient
from terminal.journal.journal import Journal
from terminal.presentations import TermsSource
from terminal.sale.offline_tap import OfflineDoor
from terminal.sale.resolver import DEFAULT_TIMES, UnknownTimes
from terminal.sale.till_codes import CodeDoor
from wire.messages.enrolment import EnrolmentAnswer
from wire.messages.payments import CaptureMode, OrderDetails
from wire.messages.till import SaleEvent
from wire.money import Money


class ArmedReaders(Protocol):
    """The readers as a sale sees them (terminal/supervision/)."""

    def arm(self, terms: TermsSource) -> None:
        """Let every reader accept presentations for these terms."""

    def disarm(self) -> None:
        """Let no reader accept anything; may be called twice."""


@dataclass(frozen=True, slots=True)
class SalePorts:
    """What a sale needs of the world around it."""

    enrolment: EnrolmentAnswer
    readers: ArmedReaders
    journal: Journal
    gateway: GatewayClient
    publish: Callable[[SaleEvent], object]
    """Takes events whose sequence is still 0."""
    now_ms: Callable[[], int]
    monotonic_ns: Callable[[], int]
    entropy: Callable[[int], bytes]
    answer_deadline_ms: int
    run_blocking: RunBlocking = asyncio.to_thread
    offline: OfflineDoor | None = None
    """None where payments without a connection are not taken."""
    codes: CodeDoor | None = None
    """None where the till shows no codes of its own."""
    cards: CardGateway | None = None
    """None where no card can be asked to confirm."""
    times: UnknownTimes = DEFAULT_TIMES
    """Must be the resolver's own."""


@dataclass(frozen=True, slots=True)
class SaleFacts:
    """What is sold; fixed for the whole sale."""

    sale_id: str
    order_id: str
    amount: Money
    created_ms: int
    deadline_ms: int
    """Unix milliseconds at which readers are disarmed."""
    capture: CaptureMode = CaptureMode.AUTOMATIC
    tip_max_minor: int = 0
    order: OrderDetails | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is charged at once; only such a sale is paid by code, or without a connection."""
        return self.capture is CaptureMode.AUTOMATIC
