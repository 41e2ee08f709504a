"""The terminal's side of the gateway's HTTP interface: signed, bounded, and never sure too early.

One send of an attempt ends in one of three ways: an answer that is believed because it is about this very
attempt; a refusal, in which the gateway says that nothing was booked; or no word at all, after which only
the same attempt id may be sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import structlog

from terminal.errors import GatewayRefused, GatewayUnreachable
from terminal.gateway_client.answers import (
    believe_answer,
    believe_enrolment,
    is_alive,
    is_an_answer,
    parse_notice,
    read_reply,
)
from terminal.gateway_client.problems import log_safe, read_problem, retry_after_ms_of
from terminal.gateway_client.request_signer import RequestSigner
from terminal.gateway_client.transport import EventTransport, Reply, Transport
from wire import es256
from wire.errors import WireError
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.base import dump_message
from wire.messages.enrolment import EnrolmentAnswer, EnrolmentRequest
from wire.messages.intents import INTENTS_TARGET, IntentAnswer, IntentRequest
from wire.messages.payments import (
    ConfirmRequest,
    PaymentAnswer,
    PaymentRequest,
    ReversalRequest,
    entry_mode_of,
)
from wire.messages.problem import PROBLEM_CONTENT_TYPE
from wire.messages.sessions import SessionAnswer
from wire.messages.terminals import TerminalEvents, TerminalNotice
from wire.request_sessions import RequestSession

SENDS_MAX: Final = 100
"""Sends of one attempt within one call; the deadline ends the call long before."""
UNCERTAIN_REFUSALS: Final = frozenset({"store_unavailable"})
"""A gateway that loses its store, or the process that holds it, can't know what became of a commit that was
on its way (docs/operations.md): it has refused, and may have booked."""
SESSION_REFUSALS: Final = frozenset({"session_unknown", "signature_invalid"})
"""The gateway does not know the session, or another key for it, as when the answer that opened it was not the
one to our asking."""
REVERSALS_TARGET: Final = "/v1/reversals"
EVENTS_TARGET: Final = "/v1/terminals/events"
EVENTS_STREAM_TARGET: Final = "/v1/terminals/events/stream"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GatewayTimings:
    """The pauses between two sends, and between two sessions."""

    retry_delay_ms: int
    retry_delay_ms_max: int
    session_pause_ms: int = 60_000
    """At least so long between two sessions, and after one could not be opened."""


class GatewayClient:
    """One enrolled (or enrolling) terminal's way to its gateway; use as an async context manager."""

    def __init__(
        self,
        url: str,
        private_key: es256.PrivateKey,
        transport: Transport,
        timings: GatewayTimings,
        *,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
        jitter: Callable[[], float],
        on_exchange: Callable[[int | None], None] = lambda _: None,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: base address without a trailing slash, spelt as the gateway's own configuration spells it.
            transport: carries what is sent; the client closes it.
            now_ms: unix milliseconds.
            entropy: returns that many random bytes, for nonces and the keys of sessions.
            jitter: returns a number in [0, 1), to spread the resends of many tills.
            on_exchange: told how many milliseconds the gateway's answer took, favourable or not; None where
                none came.
        """
        self._url = url
        self._signer = RequestSigner(private_key, now_ms, entropy)
        self._transport = transport
        self._timings = timings
        self._now_ms = now_ms
        self._entropy = entropy
        self._jitter = jitter
        self._on_exchange = on_exchange
        self.is_reachable = False
        """Whether the last thing sent was answered by the gateway, favourably or not."""

    async def __aenter__(self) -> GatewayClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the transport; may be called twice."""
        await self._transport.close()

    async def pay(
        self,
        request: PaymentRequest,
        *,
        deadline_ms: int,
        sent_before: bool = False,
        sends_max: int = SENDS_MAX,
    ) -> PaymentAnswer:
        """Send an attempt, and send the same attempt again, until it is answered or the deadline ends it.

        Args:
            deadline_ms: how long from now, all sends together.
            sends_max: 1 to SENDS_MAX.
            sent_before: an earlier send of this attempt is unaccounted for, so that a refusal of this
                one does not prove that nothing was booked.

        Raises:
            GatewayRefused: the gateway refused it, and no send of it can have been booked.
            GatewayUnreachable: the outcome is unknown; resend the same attempt id, never a new one.
        """
        delivery = _Delivery(request.attempt_id, is_uncertain=sent_before)
        try:
            async with asyncio.timeout(deadline_ms / 1000):
                return await self._deliver(delivery, request, sends_max)
        except TimeoutError:
            raise delivery.give_up() from None

    async def find_by_attempt(self, request: PaymentRequest) -> PaymentAnswer | None:
        """Ask what became of an attempt; None if the gateway has never seen it.

        Raises:
            GatewayUnreachable, GatewayRefused: still unknown.
        """
        try:
            reply = await self.call("GET", f"/v1/payments?attempt_id={request.attempt_id}")
        except GatewayRefused as refusal:
            if refusal.code == "not_found":
                return None
            raise
        return believe_answer(reply, request)

    async def reverse(self, request: PaymentRequest) -> PaymentAnswer:
        """Take an attempt back, whatever became of it, also if the gateway has never seen it; sends once.

        Safe to repeat. Once this has returned, nothing of the attempt is charged or held, and nothing ever
        will be, even if an earlier send of it arrives only now.

        Returns:
            An answer that is declined or closed.

        Raises:
            GatewayUnreachable, GatewayRefused: it may be charged still; ask again.
        """
        return await self.take_back(
            ReversalRequest(
                attempt_id=request.attempt_id,
                order_id=request.order_id,
                amount_minor=request.amount_minor,
                currency=request.currency,
                entry_mode=entry_mode_of(request.presentation),
            )
        )

    async def take_back(self, reversal: ReversalRequest) -> PaymentAnswer:
        """As `reverse`, where nothing was presented: a code of the till's that nobody is to pay any more."""
        reply = await self.call("POST", REVERSALS_TARGET, dump_message(reversal), reversal.attempt_id)
        answer = believe_answer(reply, reversal)
        if answer.outcome not in ("declined", "closed"):
            raise GatewayUnreachable("the gateway's answer to a reversal says that the payment stands")
        return answer

    async def offer(self, intent: IntentRequest) -> IntentAnswer:
        """Ask for a code that a wallet pays under the intent's id; sends once, safe to repeat.

        Raises:
            GatewayUnreachable: the code may be open; take it back. GatewayRefused: there is none.
        """
        reply = await self.call("POST", INTENTS_TARGET, dump_message(intent), intent.intent_id)
        answer = read_reply(reply, IntentAnswer)
        if answer.intent_id != intent.intent_id:
            raise GatewayUnreachable("the gateway's answer is about something else than was sent")
        return answer

    async def confirm(
        self, attempt: PaymentRequest, payment_id: str, entry: ConfirmRequest, *, deadline_ms: int
    ) -> PaymentAnswer:
        """Have the gateway judge a PIN, and send the same entry again until it is answered.

        Args:
            attempt: what the payment is about; only an answer about it is believed.
            deadline_ms: how long from now, all sends together.

        Raises:
            GatewayRefused: `pin_wrong`: try again; `pin_is_locked`, `payment_not_open` and others.
            GatewayUnreachable: the PIN may have been judged; ask about the attempt.
        """
        target, body = f"/v1/payments/{payment_id}/confirmations", dump_message(entry)
        last: GatewayRefused | GatewayUnreachable = GatewayUnreachable("no answer to the confirmation")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_ms / 1000):
                for delay_ms in self._delays_ms():
                    try:
                        reply = await self.call("POST", target, body, entry.confirmation_id)
                        return believe_answer(reply, attempt)
                    except GatewayRefused as refusal:
                        if not refusal.retryable:
                            raise
                        last, delay_ms = refusal, max(delay_ms, retry_after_ms_of(refusal))
                    except GatewayUnreachable as failure:
                        last = failure
                    await asyncio.sleep(delay_ms / 1000)
        raise last

    async def list_events(self, after: int | None) -> TerminalEvents:
        """Ask what happened to this terminal's payments after an event; None only asks where events stand.

        Raises:
            GatewayUnreachable, GatewayRefused: nothing was learnt.
        """
        query = "" if after is None else f"?after={after}"
        return read_reply(await self.call("GET", EVENTS_TARGET + query), TerminalEvents)

    async def listen(self, after: int) -> AsyncGenerator[TerminalNotice]:
        """Yield what happens to this terminal's payments as it happens; ends at once where that can't be had.

        Args:
            after: the last event that was taken.

        Raises:
            GatewayUnreachable: the stream broke, was refused, or makes no sense; ask by `list_events`.
        """
        transport = self._transport
        if not isinstance(transport, EventTransport):
            return
        uri = self._url + EVENTS_STREAM_TARGET
        headers = self._signer.sign("GET", uri, b"", None, self._signer.session)
        async with transport.listen(uri, {**headers, "Last-Event-ID": str(after)}) as lines:
            async for line in lines:
                # JSON has no raw line break, so one data line is the whole event.
                if line.startswith(b"data: "):
                    yield parse_notice(line[len(b"data: ") :])

    async def enrol(self, request: EnrolmentRequest, *, idempotency_key: str) -> EnrolmentAnswer:
        """Introduce this terminal; safe to repeat with the same code and key.

        Raises:
            GatewayRefused: wrong, used or old code; a clock that is wrong; and the like.
            GatewayUnreachable: no answer that makes sense.
        """
        reply = await self._send_signed("POST", "/v1/terminals/enrol", dump_message(request), idempotency_key)
        return believe_enrolment(reply)

    async def call(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        idempotency_key: str | None = None,
        *,
        own_key: bool = False,
    ) -> Reply:
        """Send one signed request, once, and return the gateway's answer to it: status 200 or 201, JSON.

        It is signed under the session there is; should the gateway not take that signature, it is signed once
        more by the terminal's own key.

        Args:
            target: path and query, already encoded.
            body: JSON, empty for none.
            idempotency_key: a ULID; repeat it to repeat the request.
            own_key: sign by the terminal's own key in any case, where the till's word is evidence afterwards.

        Raises:
            GatewayRefused: it answered with a problem, and has done nothing.
            GatewayUnreachable: no answer that makes sense; it may have done what was asked.
        """
        session = None if own_key else self._signer.session
        try:
            return await self._send_signed(method, target, body, idempotency_key, session)
        except GatewayRefused as refusal:
            if session is None or refusal.code not in SESSION_REFUSALS:
                raise
        # Refused before anything was looked at: the same request, signed by the terminal's own key.
        self._signer.drop_session(session)
        return await self._send_signed(method, target, body, idempotency_key)

    async def keep_session(self) -> None:
        """Open a session, and another one whenever it ends, for as long as this runs.

        Nothing waits for it: whatever is sent without a session is signed by the terminal's own key.
        """
        while True:
            pause_s = self._timings.session_pause_ms / 1000
            try:
                pause_s = max(pause_s, await self._open_session())
            except (GatewayRefused, GatewayUnreachable) as error:
                log.info("session_not_opened", reason=str(error))
            self._signer.session_dropped.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._signer.session_dropped.wait()

    async def probe(self) -> bool:
        """Ask whether the gateway is there, for the till's display; never raises for its absence."""
        try:
            await self._exchange("GET", f"{self._url}/health/live", b"", {}, is_alive)
        except GatewayUnreachable:
            return False
        return True

    async def _deliver(self, delivery: _Delivery, request: PaymentRequest, sends_max: int) -> PaymentAnswer:
        body = dump_message(request)
        for send_number, delay_ms in enumerate(self._delays_ms(), start=1):
            delivery.is_in_flight = True
            try:
                reply = await self.call("POST", "/v1/payments", body, request.attempt_id)
                return believe_answer(reply, request)
            except GatewayRefused as refusal:
                delivery.note_refusal(refusal)
                delay_ms = max(delay_ms, retry_after_ms_of(refusal))
            except GatewayUnreachable as failure:
                delivery.note_silence(failure)
            if send_number >= sends_max:
                break
            await asyncio.sleep(delay_ms / 1000)
        raise delivery.give_up()

    def _delays_ms(self) -> Iterator[int]:
        # Half of each pause is fixed and half is drawn: tills that lost one gateway together do not
        # come back together.
        delay_ms = self._timings.retry_delay_ms
        for _ in range(SENDS_MAX):
            yield int(delay_ms * (0.5 + 0.5 * self._jitter()))
            delay_ms = min(delay_ms * 2, self._timings.retry_delay_ms_max)

    async def _open_session(self) -> float:
        opening = self._signer.begin_session()
        key = make_ulid(self._now_ms(), self._entropy(ENTROPY_BYTES))
        reply = await self._send_signed("POST", "/v1/terminals/sessions", dump_message(opening.request), key)
        answer = read_reply(reply, SessionAnswer)
        try:
            return self._signer.take_session(opening, answer)
        except WireError:
            raise GatewayUnreachable("the gateway's answer is not of the agreed form") from None

    async def _send_signed(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        idempotency_key: str | None = None,
        session: RequestSession | None = None,
    ) -> Reply:
        uri = self._url + target
        headers = self._signer.sign(method, uri, body, idempotency_key, session)
        reply = await self._exchange(method, uri, body, headers, is_an_answer)
        if reply.content_type == PROBLEM_CONTENT_TYPE:
            raise read_problem(reply, now_ms=self._now_ms())
        return reply

    async def _exchange(
        self,
        method: str,
        uri: str,
        body: bytes,
        headers: dict[str, str],
        is_of_gateway: Callable[[Reply], bool],
    ) -> Reply:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            reply = await self._transport.exchange(method, uri, body, headers)
            if not is_of_gateway(reply):
                raise GatewayUnreachable(f"HTTP status {reply.status} without an answer of the gateway")
        except GatewayUnreachable:
            self.is_reachable = False
            self._on_exchange(None)
            raise
        self.is_reachable = True
        self._on_exchange(int((loop.time() - started_s) * 1000))
        return reply


class _Delivery:
    """What is known about the sends of one attempt, which decides what its end means."""

    def __init__(self, attempt_id: str, *, is_uncertain: bool) -> None:
        self._attempt_id = attempt_id
        self._is_uncertain = is_uncertain
        self._refusal: GatewayRefused | None = None
        self.is_in_flight = False

    def note_refusal(self, refusal: GatewayRefused) -> None:
        """A send came back refused: raise if that is final, else remember it and go on."""
        self.is_in_flight = False
        self._refusal = refusal
        self._is_uncertain |= refusal.code in UNCERTAIN_REFUSALS
        log.info("attempt_refused", attempt_id=self._attempt_id, code=log_safe(refusal.code))
        if not refusal.retryable:
            raise self.give_up()

    def note_silence(self, failure: GatewayUnreachable) -> None:
        """A send came to nothing: it may have been booked."""
        self.is_in_flight = False
        self._is_uncertain = True
        log.info("attempt_unanswered", attempt_id=self._attempt_id, reason=str(failure))

    def give_up(self) -> GatewayRefused | GatewayUnreachable:
        """Return what to raise when no further send will be made."""
        if self._is_uncertain or self.is_in_flight or self._refusal is None:
            return GatewayUnreachable("no answer to the attempt; its outcome is unknown")
        return self._refusal
