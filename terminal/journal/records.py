"""What the journal holds of an attempt: while its outcome is open, and once it is known.

An open attempt is written again, whole, whenever its stage changes; the last line about it counts. So a
stage is one append and one sync, like the attempt itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from wire.messages.payments import EntryMode, PaymentAnswer, PaymentRequest, entry_mode_of
from wire.messages.till import AttemptStage

SettledOutcome = Literal["approved", "declined", "closed", "refused"]

STAGES_AFTER: Final[Mapping[AttemptStage, frozenset[AttemptStage]]] = MappingProxyType(
    {
        AttemptStage.PAYING: frozenset(set(AttemptStage) - {AttemptStage.PAYING}),
        AttemptStage.UNKNOWN: frozenset({AttemptStage.CONFIRMING, AttemptStage.KEPT, AttemptStage.REVERSING}),
        AttemptStage.CONFIRMING: frozenset({AttemptStage.UNKNOWN, AttemptStage.KEPT, AttemptStage.REVERSING}),
        AttemptStage.KEPT: frozenset({AttemptStage.REVERSING}),
        # Nothing leads out of it: a reversal may have been sent, so it can only be finished.
        AttemptStage.REVERSING: frozenset(),
    }
)
"""Which stage an open attempt can be given next."""


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt without a final word: all that is needed to send it, to ask about it and to reverse it."""

    at_ms: int
    """Unix milliseconds at which it was first written."""
    request: PaymentRequest
    stage: AttemptStage = AttemptStage.PAYING
    stage_ms: int = 0
    """Unix milliseconds at which it came to its stage; 0 in the first one."""
    sale_id: str = ""
    """Of the sale it belongs to, so that its till finds that after a restart."""
    answer: PaymentAnswer | None = None
    """What the gateway said when it asked for its holder's confirmation; nothing of it can be spent."""

    @property
    def attempt_id(self) -> str:
        """Its id, made once and never used for another."""
        return self.request.attempt_id


class SettledRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The final word on an attempt; holds nothing that could be spent."""

    attempt_id: str
    order_id: str
    at_ms: int
    settled_ms: int
    amount_minor: int
    currency: str
    entry_mode: EntryMode
    outcome: SettledOutcome
    code: str = ""
    answer: PaymentAnswer | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One attempt for a person to read."""

    attempt_id: str
    order_id: str
    at_ms: int
    amount_minor: int
    currency: str
    entry_mode: EntryMode
    outcome: Literal["unresolved", "approved", "declined", "closed", "refused"]
    code: str = ""
    stage: AttemptStage | None = None
    """What the daemon does about it while it is unresolved."""


def settled_by_answer(attempt: AttemptRecord, answer: PaymentAnswer, *, at_ms: int) -> SettledRecord | None:
    """Return what an answer settles; None where it is not the last word on the attempt.

    An attempt that is being reversed is not settled by hearing that it was approved: the reversal, which may
    be on its way, will take that back.
    """
    if answer.outcome == "requires_confirmation":
        return None
    if answer.outcome == "approved" and attempt.stage is AttemptStage.REVERSING:
        return None
    code = answer.decline.code if answer.decline else ""
    return _settled(attempt, answer.outcome, code, answer, at_ms)


def settled_by_refusal(attempt: AttemptRecord, code: str, *, at_ms: int) -> SettledRecord:
    """Return what the gateway's refusal settles: nothing of the attempt was booked."""
    return _settled(attempt, "refused", code, None, at_ms)


def settled_unasked(answer: PaymentAnswer, *, at_ms: int) -> SettledRecord | None:
    """Return what an answer settles that nothing was presented for; None where it is not the last word."""
    if answer.outcome == "requires_confirmation":
        return None
    return SettledRecord(
        attempt_id=answer.attempt_id,
        order_id=answer.order_id,
        at_ms=answer.decided_ms,
        settled_ms=at_ms,
        amount_minor=answer.amount_minor,
        currency=answer.currency,
        entry_mode=answer.entry_mode,
        outcome=answer.outcome,
        code=answer.decline.code if answer.decline else "",
        answer=answer,
    )


def changed_by(known: SettledRecord, answer: PaymentAnswer, *, at_ms: int) -> SettledRecord:
    """Return the record of a payment after something was done to it."""
    if answer.outcome == "requires_confirmation":
        return known
    code = answer.decline.code if answer.decline else ""
    return msgspec.structs.replace(known, outcome=answer.outcome, code=code, answer=answer, settled_ms=at_ms)


def settled_by_id(settled: Iterable[SettledRecord]) -> OrderedDict[str, SettledRecord]:
    """Return the settled records by attempt id, in the order in which they were written."""
    return OrderedDict((record.attempt_id, record) for record in settled)


def open_by_id(
    attempts: Iterable[AttemptRecord], settled: Mapping[str, SettledRecord]
) -> dict[str, AttemptRecord]:
    """Return what is open by attempt id, each as it was last written, the oldest first."""
    by_id = {record.attempt_id: record for record in attempts}
    return {attempt_id: record for attempt_id, record in by_id.items() if attempt_id not in settled}


def list_entries(attempts: Iterable[AttemptRecord], settled: Iterable[SettledRecord]) -> list[JournalEntry]:
    """Return everything for a person to read: unresolved first, then the newest first."""
    waiting = [
        JournalEntry(
            attempt_id=record.attempt_id,
            order_id=record.request.order_id,
            at_ms=record.at_ms,
            amount_minor=record.request.amount_minor,
            currency=record.request.currency,
            entry_mode=entry_mode_of(record.request.presentation),
            outcome="unresolved",
            stage=record.stage,
        )
        for record in attempts
    ]
    known = [
        JournalEntry(
            attempt_id=record.attempt_id,
            order_id=record.order_id,
            at_ms=record.at_ms,
            amount_minor=record.amount_minor,
            currency=record.currency,
            entry_mode=record.entry_mode,
            outcome=record.outcome,
            code=record.code,
        )
        for record in settled
    ]
    return waiting[::-1] + known[::-1]


def _settled(
    attempt: AttemptRecord, outcome: SettledOutcome, code: str, answer: PaymentAnswer | None, at_ms: int
) -> SettledRecord:
    request = attempt.request
    return SettledRecord(
        attempt_id=request.attempt_id,
        order_id=request.order_id,
        at_ms=attempt.at_ms,
        settled_ms=at_ms,
        amount_minor=request.amount_minor,
        currency=request.currency,
        entry_mode=entry_mode_of(request.presentation),
        outcome=outcome,
        code=code,
        answer=answer,
    )
