"""One sale, from armed readers to its end; everything it does to its state goes through the table.

All methods run in the daemon's event loop. The order inside an attempt is what makes it safe: the id is
made once, the attempt is on disk before it is sent, and every resend carries the same bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import Final, Unpack

import msgspec
import structlog

from terminal.errors import GatewayRefused, GatewayUnreachable, SaleRefused
from terminal.journal.records import AttemptRecord
from terminal.presentations import Noticed, PresentationEvent, Presented, PresentedInVain
from terminal.readers.card_line import CardLine
from terminal.sale.attempt import (
    Answered,
    AttemptOutcome,
    NotStored,
    Refused,
    Unanswered,
    is_approval,
    run_attempt,
)
from terminal.sale.attempt_book import AttemptBook
from terminal.sale.confirmation import HolderConfirmation
from terminal.sale.events import EventDetails
from terminal.sale.offline_tap import accept_offline, is_for_offline
from terminal.sale.ports import SaleFacts, SalePorts
from terminal.sale.requests import make_payment, make_terms
from terminal.sale.sale_code import SaleCode
from terminal.sale.states import OPEN, READERS_ON, SaleStep, next_state
from terminal.sale.wording import make_decline, make_refusal
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import Decline, PaymentAnswer, PaymentRequest, entry_mode_of
from wire.messages.till import (
    AttemptStage,
    OfflinePayment,
    SaleEvent,
    SaleEventKind,
    SaleState,
    SaleView,
)
from wire.money import Money, find_currency

ATTEMPTS_MAX: Final = 5
"""Attempts in one sale; after the last decline a cashier should look up and start again."""

_ORDER_DECLINES: Final = frozenset({"order_already_paid", "merchant_suspended"})
"""Declines that no other card or code can change."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class SaleSession:
    """One sale and its attempts."""

    def __init__(self, facts: SaleFacts, ports: SalePorts) -> None:
        self._facts = facts
        self._ports = ports
        self._book = AttemptBook(ports)
        self._state = SaleState.ARMED
        self._attempt_count = 0
        self._attempt_id: str | None = None
        self._answer: PaymentAnswer | None = None
        self._reverses_ms: int | None = None
        self._offline: OfflinePayment | None = None
        self._armed_ns = 0
        self._tried: set[bytes] = set()
        self._deadline: asyncio.TimerHandle | None = None
        self._is_overdue = False
        self._has_left_till = False
        self._submission: asyncio.Task[None] | None = None
        self._request: PaymentRequest | None = None
        self._line: CardLine | None = None
        self._confirmation: HolderConfirmation | None = None
        self._code = SaleCode(
            facts,
            ports,
            on_shown=lambda: self._publish(SaleEventKind.CODE_SHOWN),
            on_word=self._take_code_answer,
        )
        self._paid_by_code: PaymentAnswer | None = None

    @classmethod
    def restore(cls, record: AttemptRecord, ports: SalePorts) -> SaleSession:
        """Return the sale of an attempt that was open when the daemon ended; it goes on where it was.

        Nothing is published: whoever watches has been told, and is told the end.
        """
        request = record.request
        amount = Money(request.amount_minor, find_currency(request.currency))
        session = cls(SaleFacts(record.sale_id, request.order_id, amount, record.at_ms, record.at_ms), ports)
        session._request, session._attempt_id, session._attempt_count = request, record.attempt_id, 1
        session._has_left_till = session._is_overdue = True
        session._reverses_ms = ports.times.reverses_ms(record)
        session._state = SaleState.UNKNOWN
        if record.stage is AttemptStage.REVERSING:
            session._state = SaleState.REVERSING
        elif record.stage is AttemptStage.CONFIRMING and record.answer is not None:
            session._state, session._answer = SaleState.CONFIRMING, record.answer
            session._confirmation = session._await_holder(record.answer)
        return session

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
            offline=self._offline,
            code_text=None if self._code.shown is None else self._code.shown.code_text,
            code_expires_ms=None if self._code.shown is None else self._code.shown.expires_ms,
            attempt_id=self._attempt_id,
            reverses_ms=self._reverses_ms if self._state is SaleState.UNKNOWN else None,
        )

    @property
    def is_open(self) -> bool:
        """Whether this sale still holds the till."""
        return self._state in OPEN

    @property
    def is_waiting_for_word(self) -> bool:
        """Whether the gateway's final word on its attempt is still to come, and not on its way."""
        return self._state in (SaleState.UNKNOWN, SaleState.REVERSING, SaleState.CONFIRMING)

    def is_submitting(self, attempt_id: str) -> bool:
        """Say whether this very attempt is on its way at the moment, or its answer to the journal."""
        is_running = self._submission is not None and not self._submission.done()
        return is_running and self._attempt_id == attempt_id

    def open(self) -> None:
        """Arm the readers and begin to wait."""
        wait_ms = self._facts.deadline_ms - self._facts.created_ms
        self._deadline = asyncio.get_running_loop().call_later(wait_ms / 1000, self._pass_deadline)
        self._arm()
        self._publish(SaleEventKind.ARMED)
        door = self._ports.offline
        self._code.show()
        code = door.refusal_before_tap(self._facts.amount) if door is not None and door.is_offline else None
        if code is not None:
            # Said before anybody holds out a phone in vain; the connection may still come back.
            self._refuse(code)

    def present(self, event: PresentationEvent) -> None:
        """Take what a reader noticed since it was armed; what does not fit the state is ignored."""
        if event.noticed_ns < self._armed_ns:
            return
        match event:
            case Noticed() if self._state is SaleState.ARMED:
                self._step(SaleStep.NOTICED, SaleEventKind.READING, reader=event.reader)
            case PresentedInVain():
                self._refuse(event.code, event.reader)
            case Presented():
                self._take(event)

    def cancel(self) -> None:
        """End the sale, unless something is on its way or it is over.

        Raises:
            SaleRefused: `sale_submitting` or `sale_finished`.
        """
        if next_state(self._state, SaleStep.CANCELLED) is None:
            raise SaleRefused(code=self._why_not())
        self._step(SaleStep.CANCELLED, SaleEventKind.CANCELLED)

    async def enter_pin(self, pin: str) -> None:
        """Have the holder's PIN judged; the gateway's word was taken when this returns.

        Raises:
            SaleRefused: `sale_not_confirming`; and as HolderConfirmation.enter_pin.
            GatewayRefused, GatewayUnreachable: as there; the sale waits on.
        """
        if self._confirmation is None or self._state is not SaleState.CONFIRMING:
            raise SaleRefused(code="sale_not_confirming")
        try:
            await self._confirmation.enter_pin(pin)
        except (GatewayRefused, GatewayUnreachable) as error:
            self._refuse(error.code)
            raise

    async def order_reversal(self) -> None:
        """Have the attempt taken back whose outcome is unknown or whose holder is waited for.

        It is on disk when this returns.

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
        if self.is_waiting_for_word and answer.attempt_id == self._attempt_id:
            self._take_answer(answer, EventDetails())

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
        self.stop_waiting()
        submission = self._submission
        if submission is None or submission.done():
            return
        await asyncio.wait({submission}, timeout=grace_ms / 1000)
        submission.cancel()
        await asyncio.wait({submission})
        is_unanswered = self._state is SaleState.SUBMITTING and self._attempt_id is not None
        if is_unanswered and await self._store_unknown():
            self._step(SaleStep.UNANSWERED, SaleEventKind.UNKNOWN)

    def stop_waiting(self) -> None:
        """Wait for no holder any more, because the daemon stops; the journal knows that one is waited for."""
        if self._confirmation is not None:
            self._confirmation.stop()

    async def _order(self, stage: AttemptStage, step: SaleStep, kind: SaleEventKind) -> None:
        if self._state is SaleState.REVERSING and stage is AttemptStage.KEPT:
            raise SaleRefused(code="attempt_reversing")
        is_judging = self._confirmation is not None and self._confirmation.is_judging
        if next_state(self._state, step) is None or is_judging:
            raise SaleRefused(code=self._why_not())
        assert self._attempt_id is not None, "an unknown outcome is an attempt's"
        # On disk before the cashier is told: what was promised holds through a power loss.
        if not await self._book.store_stage(self._attempt_id, stage):
            raise SaleRefused(code="sale_finished")
        if stage is AttemptStage.KEPT:
            self._reverses_ms = None
        # Its final word may have come while the disk was written; then that was told, and stays.
        if next_state(self._state, step) is not None:
            self._step(step, kind)

    def _why_not(self) -> str:
        return "sale_submitting" if self.is_open else "sale_finished"

    async def _store_unknown(self) -> bool:
        """Store that the cashier is about to be told so; False where that must not be told any more."""
        assert self._attempt_id is not None, "an unknown outcome is an attempt's"
        is_open, self._reverses_ms = await self._book.store_unknown(self._attempt_id)
        return is_open

    def _take_code_answer(self, answer: PaymentAnswer) -> None:
        """Take the word on the shown code; a decline uses the code up, and a fresh one is shown."""
        may_end = next_state(self._state, SaleStep.PAID_BY_CODE) is not None
        if answer.outcome == "approved":
            self._paid_by_code = answer
            if may_end:
                self._end_paid_by_code(answer)
            return
        if may_end and answer.decline is not None:
            self._publish(SaleEventKind.DECLINED, entry_mode=answer.entry_mode, decline=answer.decline)
        if self.is_open:
            self._code.show()

    def _end_paid_by_code(self, answer: PaymentAnswer) -> None:
        self._answer, self._attempt_id = answer, answer.attempt_id
        self._step(SaleStep.PAID_BY_CODE, SaleEventKind.APPROVED, entry_mode=answer.entry_mode)

    def _refuse(self, code: str, reader: str = "") -> None:
        """Tell why something is of no use here, unless something else is on its way; the sale waits on."""
        refusal = make_refusal(reader, code)
        if next_state(self._state, SaleStep.NOT_CONFIRMED) is not None:
            self._step(SaleStep.NOT_CONFIRMED, SaleEventKind.NOT_CONFIRMED, reader=reader, refusal=refusal)
        elif next_state(self._state, SaleStep.CANCELLED) is not None:
            self._step(SaleStep.REFUSED, SaleEventKind.REFUSED, reader=reader, refusal=refusal)

    def _take(self, presented: Presented) -> None:
        if self._state is SaleState.CONFIRMING and self._confirmation is not None:
            self._confirmation.meet_card(presented.line)
            return
        if next_state(self._state, SaleStep.PRESENTED) is None:
            return
        digest = hashlib.sha256(msgspec.json.encode(presented.presentation)).digest()
        if digest in self._tried:
            self._refuse("already_presented", presented.reader)
        elif is_for_offline(presented, self._ports.offline):
            self._change_state(SaleStep.PRESENTED)
            self._submission = asyncio.create_task(self._accept_offline(presented))
        else:
            self._submit(presented, digest)

    async def _accept_offline(self, presented: Presented) -> None:
        door = self._ports.offline
        assert door is not None, "it said that this is for it"
        # An id of its own: what was sent to the gateway under another is never accepted here.
        accepted = await accept_offline(
            presented,
            door,
            attempt_id=make_ulid(self._ports.now_ms(), self._ports.entropy(ENTROPY_BYTES)),
            order_id=self._facts.order_id,
            amount=self._facts.amount,
            is_plain=self._facts.is_plain,
            enrolment=self._ports.enrolment,
            run_blocking=self._ports.run_blocking,
        )
        details = EventDetails(reader=presented.reader, entry_mode=entry_mode_of(presented.presentation))
        if isinstance(accepted, str):
            details["refusal"] = make_refusal(presented.reader, accepted)
            self._step(SaleStep.REFUSED, SaleEventKind.REFUSED, **details)
            if self._is_overdue:
                self._pass_deadline()
            return
        self._attempt_count += 1
        self._attempt_id, self._offline = accepted.attempt_id, accepted
        details["tap_to_answer_ms"] = self._since_ms(presented.noticed_ns)
        self._step(SaleStep.ACCEPTED_OFFLINE, SaleEventKind.ACCEPTED_OFFLINE, **details)
        door.note_accepted()

    def _submit(self, presented: Presented, digest: bytes) -> None:
        # The state changes before anything is awaited: a second presentation finds it SUBMITTING.
        self._change_state(SaleStep.PRESENTED)
        self._tried.add(digest)
        request = make_payment(presented, self._facts, self._ports)
        self._attempt_id, self._request, self._line = request.attempt_id, request, presented.line
        self._submission = asyncio.create_task(self._run_attempt(request, presented, digest))

    async def _run_attempt(self, request: PaymentRequest, presented: Presented, digest: bytes) -> None:
        outcome: AttemptOutcome = Unanswered()
        try:
            outcome = await run_attempt(
                request,
                self._ports.journal,
                self._ports.gateway,
                deadline_ms=self._ports.answer_deadline_ms,
                now_ms=self._ports.now_ms,
                sale_id=self._facts.sale_id,
                on_stored=lambda: self._announce_submission(presented),
                run_blocking=self._ports.run_blocking,
            )
        except Exception:
            # Whatever broke, the till must not stay in SUBMITTING; the outcome is unknown.
            log.exception("attempt_failed", attempt_id=request.attempt_id)
        if isinstance(outcome, Unanswered) and self._paid_by_code is not None:
            # Whatever became of what was presented is given back.
            await self._book.store_stage(request.attempt_id, AttemptStage.REVERSING)
        elif isinstance(outcome, Unanswered) and not await self._store_unknown():
            word = self._book.find_word(request.attempt_id)
            outcome = outcome if word is None else Answered(word)
        self._conclude(outcome, presented, digest)
        if isinstance(outcome, Answered) and not await self._book.settle(outcome.answer):
            # Told of by an event before the answer itself came.
            word = self._book.find_word(request.attempt_id)
            if word is not None:
                self.settle_late(word)

    def _announce_submission(self, presented: Presented) -> None:
        self._attempt_count += 1
        details = EventDetails(reader=presented.reader, entry_mode=entry_mode_of(presented.presentation))
        self._publish(SaleEventKind.SUBMITTING, **details)

    def _conclude(self, outcome: AttemptOutcome, presented: Presented, digest: bytes) -> None:
        if self._paid_by_code is not None and not is_approval(outcome):
            # Somebody scanned the till's code meanwhile; what was presented has taken nothing.
            self._end_paid_by_code(self._paid_by_code)
            return
        details = EventDetails(reader=presented.reader, entry_mode=entry_mode_of(presented.presentation))
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

    def _take_answer(self, answer: PaymentAnswer, details: EventDetails) -> None:
        if answer.outcome == "requires_confirmation":
            self._ask_holder(answer, details)
            return
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

    def _ask_holder(self, answer: PaymentAnswer, details: EventDetails) -> None:
        if next_state(self._state, SaleStep.CONFIRMATION_ASKED) is None:
            return
        self._answer = answer
        self._change_state(SaleStep.CONFIRMATION_ASKED)
        self._confirmation = self._await_holder(answer)
        self._publish(SaleEventKind.CONFIRMING, **details)
        if not self._has_left_till:
            # What was held to a reader before is no answer to this.
            self._armed_ns = self._ports.monotonic_ns()
            self._confirmation.expect_card(self._line)

    def _await_holder(self, answer: PaymentAnswer) -> HolderConfirmation:
        assert self._request is not None, "a confirmation is an attempt's"
        return HolderConfirmation(
            self._request,
            answer,
            self._ports,
            on_word=self._hear,
            on_silence=self._lose_holder,
            on_refusal=self._refuse,
        )

    async def _hear(self, answer: PaymentAnswer) -> None:
        # In the journal first: what is being taken back must not be told as approved.
        if await self._book.settle(answer):
            self.settle_late(answer)

    async def _lose_holder(self) -> None:
        if await self._store_unknown() and next_state(self._state, SaleStep.UNANSWERED) is not None:
            self._step(SaleStep.UNANSWERED, SaleEventKind.UNKNOWN)

    def _can_go_on(self, decline: Decline) -> bool:
        return (
            next_state(self._state, SaleStep.DECLINED_FOR_NOW) is not None
            and self._attempt_count < ATTEMPTS_MAX
            and not self._is_overdue
            and not self._has_left_till
            and (decline.code not in _ORDER_DECLINES or self._code.may_explain(decline))
        )

    def _pass_deadline(self) -> None:
        self._is_overdue = True
        if next_state(self._state, SaleStep.DEADLINE_PASSED) is not None:
            self._step(SaleStep.DEADLINE_PASSED, SaleEventKind.TIMED_OUT)

    def _step(self, step: SaleStep, kind: SaleEventKind, **details: Unpack[EventDetails]) -> None:
        self._change_state(step)
        self._publish(kind, **details)

    def _change_state(self, step: SaleStep) -> None:
        after = next_state(self._state, step)
        assert after is not None, f"{step} is impossible in {self._state}"
        before, self._state = self._state, after
        if before is SaleState.CONFIRMING is not after and self._confirmation is not None:
            self._confirmation.stop()
        if before in READERS_ON and after not in READERS_ON:
            # At once, before anybody is told: a tap on a result screen must not be taken for a payment.
            self._ports.readers.disarm()
        elif after in READERS_ON and before not in READERS_ON:
            self._arm()
        if after not in OPEN:
            # From now on another sale may have the till, and this one must leave its readers alone.
            self._has_left_till = True
            self._code.stop()
            if self._deadline is not None:
                self._deadline.cancel()

    def _arm(self) -> None:
        self._armed_ns = self._ports.monotonic_ns()
        self._ports.readers.arm(partial(make_terms, self._facts, self._ports))

    def _publish(self, kind: SaleEventKind, **details: Unpack[EventDetails]) -> None:
        log.info("sale", sale_id=self._facts.sale_id, what=kind.value, attempt_id=self._attempt_id)
        event = SaleEvent(sequence=0, at_ms=self._ports.now_ms(), kind=kind, sale=self.view, **details)
        self._ports.publish(event)

    def _since_ms(self, moment_ns: int) -> int:
        return max(0, self._ports.monotonic_ns() - moment_ns) // 1_000_000
