"""Payments without a connection at one till: when they are taken, what waits, how it is handed in.

One of these per daemon puts together what the modules beside it do alone. All methods run in the daemon's
event loop, except `refusal_before_tap` and `accept`, which may block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import structlog

from terminal.offline.acceptance import AcceptedOffline, OfflineAcceptance, RefusedOffline
from terminal.offline.mode import Mode, ModeKeeper, ModeRules
from terminal.offline.queue import OfflineQueue, SettledPayment, StoredPayment
from terminal.offline.status_list import TrustStore
from terminal.offline.uploader import OfflineUploader, UploadProgress
from wire.messages.enrolment import EnrolmentAnswer
from wire.messages.offline import RecordResult
from wire.messages.till import (
    RESULTS_SHOWN_MAX,
    DaemonEvent,
    DaemonEventKind,
    OfflineDrained,
    OfflineResult,
    OfflineView,
)
from wire.money import Money, find_currency
from wire.notices import NOTICES, find_notice

UNKNOWN_CODE_TEXT: Final = "offline_record_conflict"
Bearer = Literal["operator", "merchant"] | None

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class MakeUploader(Protocol):
    """Makes what hands records in, once the desk is there to be told of it."""

    def __call__(
        self,
        on_progress: Callable[[UploadProgress], None],
        on_result: Callable[[StoredPayment, RecordResult], None],
    ) -> OfflineUploader:
        """Return an uploader of the desk's queue."""


@dataclass(frozen=True, slots=True)
class OfflineParts:
    """What the desk stands on."""

    queue: OfflineQueue
    trust: TrustStore
    acceptance: OfflineAcceptance
    enrolment: EnrolmentAnswer
    make_uploader: MakeUploader


class OfflineDesk:
    """Decides when payments are judged here, and tells the cashier what became of them."""

    def __init__(
        self,
        parts: OfflineParts,
        rules: ModeRules,
        *,
        publish: Callable[[DaemonEvent], object],
        now_ms: Callable[[], int],
    ) -> None:
        """Begin online: the first exchanges will tell.

        Args:
            publish: takes events whose sequence is still 0.
            now_ms: unix milliseconds.
        """
        self._queue = parts.queue
        self._trust = parts.trust
        self._acceptance = parts.acceptance
        self._currency = find_currency(parts.enrolment.currency)
        self._publish = publish
        self._now_ms = now_ms
        self._since_ms = now_ms()
        self._keeper = ModeKeeper(rules, self._change_mode)
        self._set_aside_count = 0
        self.mode_changed = asyncio.Event()
        """Set at every change of mode; whoever waits for it clears it."""
        self.uploader = parts.make_uploader(self._tell_progress, self._tell_result)

    @property
    def is_offline(self) -> bool:
        """Whether payments are judged here instead of asked about; read by the readers' threads too."""
        return self._keeper.mode is Mode.OFFLINE

    def note_exchange(self, duration_ms: int | None) -> None:
        """Take how long the gateway's answer took; None where none came."""
        self._keeper.note(duration_ms)

    def refusal_before_tap(self, amount: Money) -> str | None:
        """Return why no tap for this amount could be accepted now, None if one could; may block."""
        return self._acceptance.refusal_before_tap(amount)

    def accept(
        self, token: bytes, credential: bytes, *, attempt_id: str, order_id: str, amount: Money
    ) -> AcceptedOffline | RefusedOffline:
        """Judge and store a tap; may block. See OfflineAcceptance.accept."""
        return self._acceptance.accept(
            token, credential, attempt_id=attempt_id, order_id=order_id, amount=amount
        )

    def note_accepted(self) -> None:
        """Have what was just stored handed in, should the gateway be there after all."""
        if not self.is_offline:
            self.uploader.wake()

    async def drain(self) -> OfflineDrained:
        """Hand in what waits, now.

        Raises:
            GatewayUnreachable, GatewayRefused, JournalUnwritable: it stopped; the rest waits on.
        """
        return _drained(await self.uploader.drain())

    def describe(self, *, with_results: bool = True) -> OfflineView:
        """Return how everything stands.

        Args:
            with_results: whether to tell of the payments that did not plainly end well.
        """
        waiting = self._queue.waiting()
        unwell = [one for one in self._queue.settled() if one.outcome != "settled" or one.loss_minor]
        smallest = Money(1, self._currency)
        shown = unwell[::-1][:RESULTS_SHOWN_MAX] if with_results else []
        return OfflineView(
            mode=self._keeper.mode.value,
            since_ms=self._since_ms,
            waiting_count=len(waiting),
            waiting_minor=sum(one.record.amount.minor for one in waiting),
            currency=self._currency.code,
            oldest_ms=min((one.record.accepted_ms for one in waiting), default=None),
            synced_ms=self._trust.trust.clock_set_ms,
            refusal=self.refusal_before_tap(smallest) or "",
            set_aside_count=self._set_aside_count,
            conflict_count=sum(one.outcome == "conflict" for one in unwell),
            declined_count=sum(one.outcome == "declined" for one in unwell),
            merchant_loss_minor=sum(_loss_of_merchant(one) for one in unwell),
            results=[_result_of_settled(one) for one in shown],
        )

    def _change_mode(self, mode: Mode) -> None:
        self._since_ms = self._now_ms()
        self.mode_changed.set()
        log.warning("offline_mode_changed", mode=mode.value)
        is_back = mode is Mode.ONLINE
        self._tell(DaemonEventKind.WENT_ONLINE if is_back else DaemonEventKind.WENT_OFFLINE)
        if is_back:
            self.uploader.wake()

    def _tell_progress(self, progress: UploadProgress) -> None:
        self._set_aside_count = progress.set_aside_count
        self._tell(DaemonEventKind.OFFLINE_PROGRESS, progress=_drained(progress))

    def _tell_result(self, stored: StoredPayment, result: RecordResult) -> None:
        if result.outcome != "settled" or result.loss_minor:
            self._tell(DaemonEventKind.OFFLINE_RESULT, result=_result_of(stored, result))

    def _tell(
        self,
        kind: DaemonEventKind,
        progress: OfflineDrained | None = None,
        result: OfflineResult | None = None,
    ) -> None:
        event = DaemonEvent(sequence=0, at_ms=self._now_ms(), kind=kind, progress=progress, result=result)
        self._publish(event)


def _drained(progress: UploadProgress) -> OfflineDrained:
    return OfflineDrained(
        settled_count=progress.settled_count,
        waiting_count=progress.waiting_count,
        set_aside_count=progress.set_aside_count,
    )


def _result_of(stored: StoredPayment, result: RecordResult) -> OfflineResult:
    record = stored.record
    return OfflineResult(
        attempt_id=record.attempt_id,
        order_id=record.order_id,
        amount_minor=record.amount.minor,
        currency=record.amount.currency.code,
        accepted_ms=record.accepted_ms,
        outcome=result.outcome,
        code=result.code,
        cashier_text=_text_of(result.code),
        loss_minor=result.loss_minor,
        loss_bearer=_bearer_of(result.outcome, result.loss_bearer),
    )


def _result_of_settled(settled: SettledPayment) -> OfflineResult:
    return OfflineResult(
        attempt_id=settled.attempt_id,
        order_id=settled.order_id,
        amount_minor=settled.amount_minor,
        currency=settled.currency,
        accepted_ms=settled.accepted_ms,
        outcome=settled.outcome,
        code=settled.code,
        cashier_text=_text_of(settled.code),
        loss_minor=settled.loss_minor,
        loss_bearer=_bearer_of(settled.outcome, settled.loss_bearer),
    )


def _bearer_of(outcome: str, told: Bearer) -> Bearer:
    # Nothing is booked for a declined record: whoever gave the goods away bears it.
    return told or ("merchant" if outcome == "declined" else None)


def _loss_of_merchant(settled: SettledPayment) -> int:
    if _bearer_of(settled.outcome, settled.loss_bearer) != "merchant":
        return 0
    return settled.loss_minor or settled.amount_minor


def _text_of(code: str) -> dict[str, str]:
    # A newer gateway may know codes that this terminal does not.
    return (NOTICES.get(code) or find_notice(UNKNOWN_CODE_TEXT)).cashier_text if code else {}
