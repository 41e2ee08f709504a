"""One sale, from armed readers to its end; everything it does to its state goes through the table.

All methods run in the daemon's event loop. The order inside an attempt is what makes it safe: the id is
made once, the attempt is on disk before it is sent, and every resend carries the same bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import Final, TypedDict, Unpack

import msgspec
import structlog

from terminal.errors import JournalUnwritable, SaleRefused
from terminal.presentations import Noticed, PresentationEvent, Presented, PresentedInVain
from terminal.sale.attempt import (
    Answered,
    AttemptOutcome,
    NotStored,
    Refused,
    Unanswered,
    ask_blocking,
    run_attempt,
    settle_attempt,
)
from terminal.sale.ports import SaleFacts, SalePorts
from terminal.sale.states import OPEN, SaleStep, next_state
from terminal.sale.wording import make_decline, make_refusal
from wire.cards.payment_terms import NONCE_BYTES, PaymentTerms
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import Decline, EntryMode, PaymentAnswer, PaymentRequest, entry_mode_of
from wire.messages.till import (
    AttemptStage,
    Refusal,
    SaleEvent,
    SaleEventKind,
    SaleState,
    SaleView,
)

ATTEMPTS_MAX: Final = 5
"""Attempts in one sale; after the last decline a cashier should look up and start again."""
CARD_EXCHANGE_MS_MAX: Final = 60_000

_ORDER_DECLINES: Final = frozenset({"order_already_paid", "merchant_suspended"})
"""Declines that no other card or code can change."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Details(TypedDict, total=False):
    """What an event says beyond its kind and its sale."""

    reader: str
    entry_mode: EntryMode
    refusal: Refusal
    decline: Decline
    tap_to_answer_ms: int


class SaleSession:
    """One sale and its attempts."""

    def __init__(self, facts: SaleFacts, ports: SalePorts) -> None:
        self._facts = facts
        self._ports = ports
        self._state = SaleState.ARMED
        self._attempt_count = 0
        self._attempt_id: str | None = None
        self._answer: PaymentAnswer | None = None
        self._reverses_ms: int | None = None
        self._armed_ns = 0
        self._tried: set[bytes] = set()
        self._deadline: asyncio.TimerHandle | None = None
        self._is_overdue = False
        self._submission: asyncio.Task[None] | None = None

    @property
    def view(self) -> SaleView:
        """The sale as its till sees it now."""
        return SaleView(
            sale_id=self._facts.sale_id,
            order_id=self._facts.order_id,
            amount_minor=self._facts.amount.minor,
            currency=self._facts.amount.currency.code,
            state=self._state,
            created_ms=self._facts.created_ms,
            deadline_ms=self._facts.deadline_ms,
            attempt_count=self._attempt_count,
            answer=self._answer,
            attempt_id=self._attempt_id,
            reverses_ms=self._reverses_ms if self._state is SaleState.UNKNOWN else None,
        )

    @property
    def is_open(self) -> bool:
        """Whether this sale still holds the till."""
        return self._state in OPEN

    @property
    def facts(self) -> SaleFacts:
        """What is sold."""
        return self._facts

    def is_submitting(self, attempt_id: str) -> bool:
        """Say whether this very attempt is on its way at the moment, or its answer to the journal."""
        is_running = self._submission is not None and not self._submission.done()
        return is_running and self._attempt_id == attempt_id

    def open(self) -> None:
        """Arm the readers and begin to wait."""
        wait_ms = self._facts.deadline_ms - self._facts.created_ms
        self._deadline = asyncio.get_running_loop().call_later(wait_ms / 1000, self._pass_deadline)
        self._armed_ns = self._ports.monotonic_ns()
        self._ports.readers.arm(self.make_terms)
        self._publish(SaleEventKind.ARMED)

    def make_terms(self) -> PaymentTerms:
        """Return terms for one SELECT, with a fresh nonce; called in the readers' own threads."""
        return PaymentTerms(
            amount=self._facts.amount,
            nonce=self._ports.entropy(NONCE_BYTES),
            merchant_id=self._ports.enrolment.merchant_id,
            terminal_id=self._ports.enrolment.terminal_id,
            at_s=self._ports.now_ms() // 1000,
        )

    def present(self, event: PresentationEvent) -> None:
        """Take what a reader tells; what does not fit the state is ignored."""
        match event:
            case Noticed():
                self._notice(event)
            case PresentedInVain():
                self._refuse(event.reader, event.code)
            case Presented():
                self._take(event)

    def cancel(self) -> None:
        """End the sale, unless something is on its way or it is over.

        Raises:
            SaleRefused: `sale_submitting` or `sale_finished`.
        """
        if next_state(self._state, SaleStep.CANCELLED) is None:
            raise SaleRefused(code="sale_submitting" if self.is_open else "sale_finished")
        self._step(SaleStep.CANCELLED, SaleEventKind.CANCELLED)

    async def order_reversal(self) -> None:
        """Have the attempt whose outcome is unknown taken back; it is on disk when this returns.

        Raises:
            SaleRefused: `sale_submitting`: wait for the answer. `sale_finished`: its outcome is known.
            JournalUnwritable: nothing has changed.
        """
        await self._order(AttemptStage.REVERSING, SaleStep.GIVEN_UP, SaleEventKind.REVERSING)

    async def order_keeping(self) -> None:
        """Have the attempt whose outcome is unknown asked about until it is known, and never taken back.

        Raises:
            SaleRefused: as `order_reversal`; `attempt_reversing`: it is being taken back already.
            JournalUnwritable: nothing has changed.
        """
        await self._order(AttemptStage.KEPT, SaleStep.KEPT, SaleEventKind.KEPT)

    def settle_late(self, answer: PaymentAnswer) -> None:
        """Take the final word on the attempt whose outcome was unknown; others are ignored."""
        is_awaited = self._state in (SaleState.UNKNOWN, SaleState.REVERSING)
        if is_awaited and answer.attempt_id == self._attempt_id:
            self._take_answer(answer, _Details())

    def note_given_up(self, attempt_id: str) -> None:
        """Take that the daemon takes an attempt back by itself; others' are ignored."""
        if attempt_id == self._attempt_id and next_state(self._state, SaleStep.GIVEN_UP) is not None:
            self._step(SaleStep.GIVEN_UP, SaleEventKind.REVERSING)

    async def stop(self, grace_ms: int) -> None:
        """End the sale because the daemon stops.

        An attempt on its way gets the grace time for its answer; after that the journal keeps it.
        """
        if next_state(self._state, SaleStep.CANCELLED) is not None:
            self.cancel()
        submission = self._submission
        if submission is None or submission.done():
            return
        await asyncio.wait({submission}, timeout=grace_ms / 1000)
        submission.cancel()
        await asyncio.wait({submission})
        if self.is_open:
            await self._store_unknown()
            self._step(SaleStep.UNANSWERED, SaleEventKind.UNKNOWN)

    async def _order(self, stage: AttemptStage, step: SaleStep, kind: SaleEventKind) -> None:
        if self._state is SaleState.REVERSING and stage is AttemptStage.KEPT:
            raise SaleRefused(code="attempt_reversing")
        if next_state(self._state, step) is None:
            raise SaleRefused(code="sale_submitting" if self.is_open else "sale_finished")
        assert self._attempt_id is not None, "an unknown outcome is an attempt's"
        # On disk before the cashier is told: what was promised holds through a power loss.
        if not await self._store_stage(self._attempt_id, stage):
            raise SaleRefused(code="sale_finished")
        if stage is AttemptStage.KEPT:
            self._reverses_ms = None
        # Its final word may have come while the disk was written; then that was told, and stays.
        if next_state(self._state, step) is not None:
            self._step(step, kind)

    async def _store_unknown(self) -> None:
        """Write that the cashier is about to be told: from then on the attempt is taken back in the end."""
        assert self._attempt_id is not None, "an unknown outcome is an attempt's"
        told_ms = self._ports.now_ms()
        try:
            if await self._store_stage(self._attempt_id, AttemptStage.UNKNOWN, told_ms):
                self._reverses_ms = told_ms + self._ports.times.reverse_after_ms
        except JournalUnwritable as error:
            # It is asked about all the same, and can be taken back by an order.
            log.error("unknown_not_stored", attempt_id=self._attempt_id, reason=str(error))

    async def _store_stage(self, attempt_id: str, stage: AttemptStage, at_ms: int | None = None) -> bool:
        moment_ms = self._ports.now_ms() if at_ms is None else at_ms
        write = partial(self._ports.journal.change_stage, attempt_id, stage, at_ms=moment_ms)
        return await ask_blocking(self._ports.run_blocking, write)

    def _notice(self, event: Noticed) -> None:
        if self._state is SaleState.ARMED:
            self._step(SaleStep.NOTICED, SaleEventKind.READING, reader=event.reader)

    def _refuse(self, reader: str, code: str) -> None:
        if next_state(self._state, SaleStep.CANCELLED) is None:
            return
        self._step(SaleStep.REFUSED, SaleEventKind.REFUSED, reader=reader, refusal=make_refusal(reader, code))

    def _take(self, presented: Presented) -> None:
        digest = hashlib.sha256(msgspec.json.encode(presented.presentation)).digest()
        if next_state(self._state, SaleStep.PRESENTED) is None or presented.complete_ns < self._armed_ns:
            return
        if digest not in self._tried:
            self._submit(presented, digest)
        else:
            self._refuse(presented.reader, "already_presented")

    def _submit(self, presented: Presented, digest: bytes) -> None:
        # The state changes before anything is awaited: a second presentation finds it SUBMITTING.
        self._change_state(SaleStep.PRESENTED)
        self._tried.add(digest)
        request = self._make_request(presented)
        self._attempt_id = request.attempt_id
        self._submission = asyncio.create_task(self._run_attempt(request, presented, digest))

    def _make_request(self, presented: Presented) -> PaymentRequest:
        now_ms = self._ports.now_ms()
        exchange_ms = presented.card_exchange_ms
        return PaymentRequest(
            attempt_id=make_ulid(now_ms, self._ports.entropy(ENTROPY_BYTES)),
            order_id=self._facts.order_id,
            amount_minor=self._facts.amount.minor,
            currency=self._facts.amount.currency.code,
            presentation=presented.presentation,
            presented_ms=now_ms - self._since_ms(presented.complete_ns),
            card_exchange_ms=None if exchange_ms is None else min(max(exchange_ms, 0), CARD_EXCHANGE_MS_MAX),
        )

    async def _run_attempt(self, request: PaymentRequest, presented: Presented, digest: bytes) -> None:
        outcome: AttemptOutcome = Unanswered()
        try:
            outcome = await run_attempt(
                request,
                self._ports.journal,
                self._ports.gateway,
                deadline_ms=self._ports.answer_deadline_ms,
                now_ms=self._ports.now_ms,
                on_stored=lambda: self._announce_submission(presented),
                run_blocking=self._ports.run_blocking,
            )
        except Exception:
            # Whatever broke, the till must not stay in SUBMITTING; the outcome is unknown.
            log.exception("attempt_failed", attempt_id=request.attempt_id)
        if isinstance(outcome, Unanswered):
            await self._store_unknown()
        self._conclude(outcome, presented, digest)
        if isinstance(outcome, Answered):
            ports = self._ports
            await settle_attempt(
                ports.journal, outcome.answer, at_ms=ports.now_ms(), run_blocking=ports.run_blocking
            )

    def _announce_submission(self, presented: Presented) -> None:
        self._attempt_count += 1
        self._publish(
            SaleEventKind.SUBMITTING,
            reader=presented.reader,
            entry_mode=entry_mode_of(presented.presentation),
        )

    def _conclude(self, outcome: AttemptOutcome, presented: Presented, digest: bytes) -> None:
        details = _Details(reader=presented.reader, entry_mode=entry_mode_of(presented.presentation))
        match outcome:
            case NotStored():
                # Nothing was sent, so the same card or code may be presented again.
                self._tried.discard(digest)
                details["refusal"] = make_refusal(presented.reader, "journal_unwritable")
                self._step(SaleStep.REFUSED, SaleEventKind.REFUSED, **details)
            case Unanswered():
                self._step(SaleStep.UNANSWERED, SaleEventKind.UNKNOWN, **details)
            case Refused(code):
                details["decline"] = make_decline(code)
                self._step(SaleStep.DECLINED, SaleEventKind.DECLINED, **details)
            case Answered(answer):
                details["tap_to_answer_ms"] = self._since_ms(presented.noticed_ns)
                self._take_answer(answer, details)
        if self._is_overdue:
            self._pass_deadline()

    def _take_answer(self, answer: PaymentAnswer, details: _Details) -> None:
        self._answer = answer
        if answer.decline is None:
            self._step(SaleStep.APPROVED, SaleEventKind.APPROVED, **details)
            return
        details["decline"] = answer.decline
        if answer.outcome == "closed":
            self._step(SaleStep.CLOSED, SaleEventKind.CLOSED, **details)
            return
        step = SaleStep.DECLINED_FOR_NOW if self._can_go_on(answer.decline) else SaleStep.DECLINED
        self._step(step, SaleEventKind.DECLINED, **details)

    def _can_go_on(self, decline: Decline) -> bool:
        return (
            next_state(self._state, SaleStep.DECLINED_FOR_NOW) is not None
            and self._attempt_count < ATTEMPTS_MAX
            and not self._is_overdue
            and decline.code not in _ORDER_DECLINES
        )

    def _pass_deadline(self) -> None:
        self._is_overdue = True
        if next_state(self._state, SaleStep.DEADLINE_PASSED) is not None:
            self._step(SaleStep.DEADLINE_PASSED, SaleEventKind.TIMED_OUT)

    def _step(self, step: SaleStep, kind: SaleEventKind, **details: Unpack[_Details]) -> None:
        self._change_state(step)
        self._publish(kind, **details)

    def _change_state(self, step: SaleStep) -> None:
        after = next_state(self._state, step)
        assert after is not None, f"{step} is impossible in {self._state}"
        self._state = after
        if after not in OPEN:
            # At once, before anybody is told: a tap on a result screen must not be taken for a payment.
            self._ports.readers.disarm()
            if self._deadline is not None:
                self._deadline.cancel()

    def _publish(self, kind: SaleEventKind, **details: Unpack[_Details]) -> None:
        log.info("sale", sale_id=self._facts.sale_id, what=kind.value, attempt_id=self._attempt_id)
        event = SaleEvent(sequence=0, at_ms=self._ports.now_ms(), kind=kind, sale=self.view, **details)
        self._ports.publish(event)

    def _since_ms(self, moment_ns: int) -> int:
        return max(0, self._ports.monotonic_ns() - moment_ns) // 1_000_000
