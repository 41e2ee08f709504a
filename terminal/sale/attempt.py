"""One attempt to pay: on disk, then sent, then known or unknown; never two ids for one presentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from terminal.blocking import RunBlocking, ask_blocking
from terminal.errors import GatewayRefused, GatewayUnreachable, JournalUnwritable
from terminal.gateway_client.client import GatewayClient
from terminal.journal.journal import Journal
from wire.messages.payments import PaymentAnswer, PaymentRequest

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answered:
    """The gateway's final word."""

    answer: PaymentAnswer


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway refused the attempt, nothing of it was booked, and nothing of it will be sent again."""

    code: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Whether it was paid is unknown; the journal keeps it."""


@dataclass(frozen=True, slots=True)
class NotStored:
    """The journal could not be written, so nothing was sent."""


AttemptOutcome = Answered | Refused | Unanswered | NotStored


def is_approval(outcome: AttemptOutcome) -> bool:
    """Say whether the gateway's word is that the money is there."""
    return isinstance(outcome, Answered) and outcome.answer.outcome == "approved"


async def run_attempt(
    request: PaymentRequest,
    journal: Journal,
    gateway: GatewayClient,
    *,
    deadline_ms: int,
    now_ms: Callable[[], int],
    sale_id: str = "",
    on_stored: Callable[[], None],
    run_blocking: RunBlocking,
) -> AttemptOutcome:
    """Store an attempt, send it until it is answered or the deadline passes, and say what is known.

    An answer is not yet in the journal when this returns: give it to `settle_attempt` once the cashier
    has been told. Power loss in between only makes the daemon ask once more, and hear the same.

    A refusal is in the journal when this returns. What is not there is asked about and sent again: after a
    power loss, a payment that the cashier was told is refused would be taken after all.

    Args:
        now_ms: unix milliseconds, for the journal.
        sale_id: whose attempt it is, for the journal.
        on_stored: called when the attempt is on disk and just before it is sent.
    """
    try:
        await run_blocking(partial(journal.record_attempt, request, at_ms=now_ms(), sale_id=sale_id))
    except JournalUnwritable as error:
        log.error("attempt_not_stored", attempt_id=request.attempt_id, reason=str(error))
        return NotStored()
    on_stored()
    try:
        return Answered(await gateway.pay(request, deadline_ms=deadline_ms))
    except GatewayRefused as refusal:
        log.warning("attempt_refused_by_gateway", attempt_id=request.attempt_id, reason=str(refusal))
        return await _store_refusal(journal, request.attempt_id, refusal.code, now_ms(), run_blocking)
    except GatewayUnreachable as failure:
        log.warning("attempt_outcome_unknown", attempt_id=request.attempt_id, reason=str(failure))
        return Unanswered()


async def settle_attempt(
    journal: Journal, answer: PaymentAnswer, *, at_ms: int, run_blocking: RunBlocking
) -> bool:
    """Write an answer to the journal; if the disk fails, the attempt is asked about again later.

    Returns:
        Whether this answer may be told; False where the journal knows better: another word came first, or the
        attempt is being taken back.
    """
    is_waiting = answer.outcome == "requires_confirmation"
    write = journal.record_confirmation if is_waiting else journal.record_answer
    try:
        return await ask_blocking(run_blocking, partial(write, answer, at_ms=at_ms))
    except JournalUnwritable as error:
        log.error("answer_not_stored", attempt_id=answer.attempt_id, reason=str(error))
        return True


async def _store_refusal(
    journal: Journal, attempt_id: str, code: str, at_ms: int, run_blocking: RunBlocking
) -> AttemptOutcome:
    """Return the refusal once it is on disk; where it can't be, the attempt will be sent again."""
    try:
        await run_blocking(partial(journal.record_refusal, attempt_id, code, at_ms=at_ms))
    except JournalUnwritable as error:
        log.error("refusal_not_stored", attempt_id=attempt_id, reason=str(error))
        return Unanswered()
    return Refused(code)
