"""One tap in a sale while the gateway does not answer: judged by this till's rules, sealed and stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import structlog

from terminal.blocking import RunBlocking, ask_blocking
from terminal.offline.acceptance import AcceptedOffline, RefusedOffline
from terminal.presentations import Presented
from wire.messages.enrolment import EnrolmentAnswer
from wire.messages.payments import NfcAppPresentation
from wire.messages.till import OfflinePayment
from wire.money import Money

NEEDS_CONNECTION: Final = "card_needs_connection"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class OfflineDoor(Protocol):
    """Payments without a connection as a sale sees them (terminal/offline/desk.py)."""

    @property
    def is_offline(self) -> bool:
        """Whether payments are judged here instead of asked about; read from any thread."""

    def refusal_before_tap(self, amount: Money) -> str | None:
        """Return why no tap for this amount could be accepted now, None if one could; may block."""

    def accept(
        self, token: bytes, credential: bytes, *, attempt_id: str, order_id: str, amount: Money
    ) -> AcceptedOffline | RefusedOffline:
        """Judge and store a tap; may block."""

    def note_accepted(self) -> None:
        """Have what was just stored handed in, should the gateway be there after all."""


def is_for_offline(presented: Presented, door: OfflineDoor | None) -> bool:
    """Say whether something presented must not be sent to the gateway.

    What a card signed for an offline terminal is judged here even if the gateway has just come back; and
    while it is away, nothing is sent that could then neither be charged nor taken back.
    """
    return door is not None and (presented.credential is not None or door.is_offline)


async def accept_offline(
    presented: Presented,
    door: OfflineDoor,
    *,
    attempt_id: str,
    order_id: str,
    amount: Money,
    is_plain: bool,
    enrolment: EnrolmentAnswer,
    run_blocking: RunBlocking,
) -> OfflinePayment | str:
    """Judge and store a tap; what is returned as a payment is on disk.

    Args:
        attempt_id: a ULID that was never sent to the gateway.
        is_plain: whether it is to be charged at once; nothing is held without a connection.

    Returns:
        The payment, or the code of its refusal: nothing was stored then.
    """
    tapped = presented.presentation
    if presented.credential is None or not is_plain or not isinstance(tapped, NfcAppPresentation):
        return NEEDS_CONNECTION
    judge: Callable[[], AcceptedOffline | RefusedOffline] = partial(
        door.accept,
        tapped.token,
        presented.credential,
        attempt_id=attempt_id,
        order_id=order_id,
        amount=amount,
    )
    try:
        verdict = await ask_blocking(run_blocking, judge)
    except Exception:
        # Nobody is told "accepted", so nothing counts as accepted; a record that was stored all the same is
        # handed in, as one whose till lost power just then.
        log.exception("offline_tap_failed", attempt_id=attempt_id)
        return "internal"
    if isinstance(verdict, RefusedOffline):
        return verdict.code
    record = verdict.payment.record
    return OfflinePayment(
        attempt_id=record.attempt_id,
        order_id=record.order_id,
        amount_minor=record.amount.minor,
        currency=record.amount.currency.code,
        accepted_ms=record.accepted_ms,
        sequence=record.sequence,
        terminal_id=enrolment.terminal_id,
        merchant_name=enrolment.merchant_name,
        location_name=enrolment.location_name,
    )
