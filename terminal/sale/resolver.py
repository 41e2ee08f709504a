"""The daemon's repair worker: attempts whose outcome is unknown, one by one, until each has its final word.

    PAYING      ask; never seen: send it again, for `resend_ms`; still never seen then: take it back
    UNKNOWN     the same; where nobody answers, after `reverse_after_ms` take it back whatever became of it
    CONFIRMING  ask; take it back where the gateway still waits so long after its own deadline
    KEPT        ask; never seen: send it again, for as long as it takes
    REVERSING   take it back

The difference between the first two is what a cashier may have been told: an attempt that was approved, and
told so, just before power failed is still PAYING. What is to be done is read from the journal alone, so a
restart goes on where the last run was. One attempt that fails, whatever the reason, is put off for longer
each time and never stops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from terminal.blocking import RunBlocking, ask_blocking
from terminal.errors import TerminalError
from terminal.gateway_client.answers import is_about, is_consistent
from terminal.gateway_client.client import GatewayClient
from terminal.journal.journal import Journal
from terminal.journal.records import AttemptRecord
from wire.messages.payments import Confirmation, PaymentAnswer
from wire.messages.till import UNRESOLVED_SHOWN_MAX, AttemptStage, UnresolvedAttempt

RESEND_DEADLINE_MS: Final = 10_000
DOUBLINGS_MAX: Final = 20

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class UnknownTimes:
    """How long an attempt without an answer is sent again, and when it is given up."""

    resend_ms: int = 45_000
    """From the attempt on. Later, a payer who has left would be charged by a card they no longer hold out."""
    reverse_after_ms: int = 180_000
    """From the moment the cashier was told: then the daemon takes it back, unless it was told to keep it."""

    def reverses_ms(self, record: AttemptRecord) -> int | None:
        """Return the unix milliseconds at which an attempt is given up; None where that time never comes."""
        return record.stage_ms + self.reverse_after_ms if record.stage is AttemptStage.UNKNOWN else None


DEFAULT_TIMES: Final = UnknownTimes()


@dataclass(slots=True)
class _Schedule:
    """When to see to one attempt again."""

    stage: AttemptStage
    try_count: int = 0
    due_ns: int = 0
    failure_count: int = 0
    trouble: str = ""


class AttemptResolver:
    """Works through the journal's unresolved attempts."""

    def __init__(
        self,
        journal: Journal,
        gateway: GatewayClient,
        *,
        is_on_its_way: Callable[[str], bool],
        on_answer: Callable[[PaymentAnswer], None],
        retry_delay_ms: int,
        retry_delay_ms_max: int,
        now_ms: Callable[[], int],
        monotonic_ns: Callable[[], int],
        jitter: Callable[[], float],
        run_blocking: RunBlocking = asyncio.to_thread,
        times: UnknownTimes = DEFAULT_TIMES,
        on_given_up: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare a resolver; `run` starts it.

        Args:
            is_on_its_way: whether an open sale is sending this attempt id; such are left alone.
            on_answer: told each final word, once it is in the journal.
            retry_delay_ms: before an attempt is asked about a second time; doubled from there on.
            now_ms: unix milliseconds, by the clock that dates attempts.
            on_given_up: told the attempt id, once the journal says that it is being taken back.
        """
        self._journal = journal
        self._gateway = gateway
        self._is_on_its_way = is_on_its_way
        self._on_answer = on_answer
        self._retry_delay_ms = retry_delay_ms
        self._retry_delay_ms_max = retry_delay_ms_max
        self._now_ms = now_ms
        self._monotonic_ns = monotonic_ns
        self._jitter = jitter
        self._run_blocking = run_blocking
        self._times = times
        self._on_given_up = on_given_up
        self._schedules: dict[str, _Schedule] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Have `run` look at once: the till gave an order. To be called in the event loop's thread."""
        self._woken.set()

    async def run(self) -> None:
        """Resolve what is due, again and again, until cancelled."""
        while True:
            self._woken.clear()
            await self.resolve_due()
            try:
                async with asyncio.timeout(self._retry_delay_ms / 1000):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def resolve_due(self) -> None:
        """See once to every unresolved attempt that is due; never raises for one of them.

        Those that are to be taken back come first: somebody waits for their money.
        """
        unresolved = self._journal.unresolved()
        waiting = {record.attempt_id for record in unresolved}
        self._schedules = {key: value for key, value in self._schedules.items() if key in waiting}
        for seen in sorted(unresolved, key=lambda one: one.stage is not AttemptStage.REVERSING):
            # Its sale may have had the final word, or its till an order, while others were asked about: an
            # attempt that the cashier was told is refused would be booked if it were sent again now.
            record = self._journal.find(seen.attempt_id)
            if not isinstance(record, AttemptRecord) or self._is_on_its_way(record.attempt_id):
                continue
            schedule = self._schedule_of(record)
            if self._monotonic_ns() >= schedule.due_ns:
                await self._resolve(record, schedule)

    def describe(self) -> list[UnresolvedAttempt]:
        """Return the oldest of the attempts without an outcome, and what is being done about them."""
        return [self._describe(record) for record in self._journal.unresolved()[:UNRESOLVED_SHOWN_MAX]]

    async def take(self, answer: PaymentAnswer) -> bool:
        """Write an answer to the journal and tell of it, if it says something new of an open attempt.

        Raises:
            JournalUnwritable: the attempt stays open, and is asked about again.
        """
        confirmation = answer.confirmation
        if confirmation is not None and self._is_no_news(answer.attempt_id, confirmation):
            return False
        record = self._journal.record_answer if confirmation is None else self._journal.record_confirmation
        if not await ask_blocking(self._run_blocking, partial(record, answer, at_ms=self._now_ms())):
            return False
        log.info("attempt_resolved", attempt_id=answer.attempt_id, outcome=answer.outcome)
        self._on_answer(answer)
        return True

    async def hear(self, answer: PaymentAnswer) -> bool:
        """Take what the gateway tells of a payment unasked; False where it is not about an open attempt.

        Raises:
            JournalUnwritable: as `take`.
        """
        record = self._journal.find(answer.attempt_id)
        if not isinstance(record, AttemptRecord):
            return False
        if not (is_about(answer, record.request) and is_consistent(answer)):
            log.warning("event_not_believed", attempt_id=answer.attempt_id)
            return False
        return await self.take(answer)

    def _schedule_of(self, record: AttemptRecord) -> _Schedule:
        schedule = self._schedules.get(record.attempt_id)
        if schedule is None or schedule.stage is not record.stage:
            # A new order is carried out at once, however long the last pause had become.
            schedule = self._schedules[record.attempt_id] = _Schedule(record.stage)
        return schedule

    async def _resolve(self, record: AttemptRecord, schedule: _Schedule) -> None:
        attempt_id = record.attempt_id
        # Before anything is awaited: what is woken meanwhile must not find it due.
        self._postpone(schedule, record)
        try:
            answer = await self._learn(record)
            if answer is not None:
                await self.take(answer)
        except TerminalError as error:
            schedule.failure_count, schedule.trouble = schedule.failure_count + 1, error.code
            log.warning("attempt_unresolved", attempt_id=attempt_id, code=error.code, reason=str(error))
        except Exception:
            # One poisoned attempt must not stop the others.
            schedule.failure_count, schedule.trouble = schedule.failure_count + 1, "internal"
            log.exception("attempt_unresolvable", attempt_id=attempt_id)

    async def _learn(self, record: AttemptRecord) -> PaymentAnswer | None:
        """Do what the attempt's stage asks for; None where nothing is known of it yet."""
        reverses_ms = self._times.reverses_ms(record)
        is_over = reverses_ms is not None and self._now_ms() >= reverses_ms
        if record.stage is AttemptStage.REVERSING or (is_over and await self._give_up(record)):
            return await self._gateway.reverse(record.request)
        answer = await self._gateway.find_by_attempt(record.request)
        if self._waits_for_too_long(record, answer) and await self._give_up(record):
            return await self._gateway.reverse(record.request)
        if answer is not None:
            return answer
        if not self._may_be_sent(record):
            # Never seen and not to be sent again, so nobody was or will be told that it was paid. It may
            # still be on some way and come late: only taking it back makes that certain.
            is_stale = record.stage in (AttemptStage.PAYING, AttemptStage.UNKNOWN)
            is_given_up = is_stale and await self._give_up(record)
            return await self._gateway.reverse(record.request) if is_given_up else None
        # Once: every further send is decided anew, since the till may order it to be taken back.
        return await self._gateway.pay(
            record.request, deadline_ms=RESEND_DEADLINE_MS, sent_before=True, sends_max=1
        )

    async def _give_up(self, record: AttemptRecord) -> bool:
        """Say in the journal that the attempt is taken back; not if the till has just said to keep it."""
        # On disk before the reversal is sent: after a power loss in between, it is not sent as a payment.
        write = partial(
            self._journal.change_stage,
            record.attempt_id,
            AttemptStage.REVERSING,
            at_ms=self._now_ms(),
            only_from=record.stage,
        )
        if not await ask_blocking(self._run_blocking, write):
            return False
        log.warning("attempt_given_up", attempt_id=record.attempt_id)
        self._on_given_up(record.attempt_id)
        return True

    def _waits_for_too_long(self, record: AttemptRecord, answer: PaymentAnswer | None) -> bool:
        """Say whether a payment still waits for its holder long after the gateway should have ended that."""
        if answer is None or answer.confirmation is None or record.stage is AttemptStage.KEPT:
            return False
        return self._now_ms() >= answer.confirmation.confirm_by_ms + self._times.reverse_after_ms

    def _is_no_news(self, attempt_id: str, confirmation: Confirmation) -> bool:
        """Say whether it is known that a holder is waited for, or the time for that is over."""
        known = self._journal.find(attempt_id)
        is_known = isinstance(known, AttemptRecord) and known.stage is AttemptStage.CONFIRMING
        return is_known or confirmation.confirm_by_ms <= self._now_ms()

    def _may_be_sent(self, record: AttemptRecord) -> bool:
        # Read again: while the gateway was asked, the till may have ordered that it be taken back.
        now = self._journal.find(record.attempt_id)
        never_sent = (AttemptStage.REVERSING, AttemptStage.CONFIRMING)
        if not isinstance(now, AttemptRecord) or now.stage in never_sent:
            return False
        return now.stage is AttemptStage.KEPT or self._now_ms() < record.at_ms + self._times.resend_ms

    def _postpone(self, schedule: _Schedule, record: AttemptRecord) -> None:
        doublings = min(schedule.try_count, DOUBLINGS_MAX)
        delay_ms = min(self._retry_delay_ms << doublings, self._retry_delay_ms_max)
        pause_ms = int(delay_ms * (0.5 + 0.5 * self._jitter()))
        reverses_ms = self._times.reverses_ms(record)
        if reverses_ms is not None:
            # Never past the moment at which it is to be given up.
            pause_ms = min(pause_ms, max(reverses_ms - self._now_ms(), self._retry_delay_ms))
        schedule.try_count += 1
        schedule.due_ns = self._monotonic_ns() + pause_ms * 1_000_000

    def _describe(self, record: AttemptRecord) -> UnresolvedAttempt:
        schedule = self._schedules.get(record.attempt_id)
        until_ms = 0 if schedule is None else max(0, schedule.due_ns - self._monotonic_ns()) // 1_000_000
        return UnresolvedAttempt(
            attempt_id=record.attempt_id,
            order_id=record.request.order_id,
            amount_minor=record.request.amount_minor,
            currency=record.request.currency,
            at_ms=record.at_ms,
            stage=record.stage,
            reverses_ms=self._times.reverses_ms(record),
            failure_count=0 if schedule is None else schedule.failure_count,
            trouble="" if schedule is None else schedule.trouble,
            next_try_ms=self._now_ms() + until_ms,
        )
