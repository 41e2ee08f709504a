"""What a counter's own machine says to the gateway: everything that can be done to a payment later.

It signs as the till it stands beside, sends whatever it has to say until there is a word, and writes into the
evidence what it asks before it asks, and what it hears when it hears it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from gateway.http.calls import SignedCall
from simulators.auditor.promises import Promise
from simulators.auditor.witness.dealings import PIN, Agreement, Heard, Terms, WrongPin
from simulators.auditor.witness.evidence import Asked
from simulators.networks.network import ConnectionBroken
from simulators.seeds import make_rng
from terminal.errors import GatewayRefused, GatewayUnreachable
from terminal.gateway_client.client import GatewayClient, GatewayTimings
from terminal.gateway_client.transport import Reply
from tests.simulation.people import Thing, use_of
from tests.simulation.till_node import TRY_TIMEOUT_S
from tests.simulation.town import GATEWAY_URL, STAFF_PIN, TillFacts
from wire.errors import WireError
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.intents import INTENTS_TARGET, IntentAnswer, IntentRequest
from wire.messages.offline import BATCHES_TARGET, BatchAnswer, BatchRequest
from wire.messages.payments import (
    CaptureRequest,
    ConfirmRequest,
    EntryMode,
    PaymentAnswer,
    PaymentRequest,
    RefundAnswer,
    RefundRequest,
    ReversalRequest,
    StaffProof,
    VoidRequest,
)
from wire.messages.terminals import TerminalEvents

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
PAUSE_S_MAX = 8.0
ASKED_AGAIN = ("signature_expired", "nonce_replayed")
"""Refusals of this very send, not of what it asks: the clock will be set, the next nonce is another."""


@dataclass(frozen=True)
class Refusal:
    """The gateway's last word on something: no."""

    code: str


class Station(Protocol):
    """The till that a counter stands beside, and signs as."""

    @property
    def name(self) -> str:
        """What traces call it."""

    @property
    def facts(self) -> TillFacts:
        """Who the gateway says it is, and its key."""

    def now_ms(self) -> int:
        """Return unix milliseconds by its clock."""


class Counter:
    """One counter's way to the gateway."""

    def __init__(self, world: World, till: Station) -> None:
        self._world = world
        self.till = till
        self.name = f"{till.name}-c"
        self._rng = make_rng(world.seed, "counter", till.name)
        self._dealings = world.evidence.dealings
        self._enrolment = till.facts.enrolment
        self._dealings.events[self._enrolment.terminal_id] = []
        self._last_event = 0
        self._client = GatewayClient(
            GATEWAY_URL,
            till.facts.private_key,
            self,
            GatewayTimings(retry_delay_ms=200, retry_delay_ms_max=3_000),
            now_ms=till.now_ms,
            entropy=self._rng.randbytes,
            jitter=self._rng.random,
        )

    def new_id(self) -> str:
        """Make an id for a request or an attempt."""
        return make_ulid(self.till.now_ms(), self._rng.randbytes(ENTROPY_BYTES))

    # What can be asked

    async def pay(self, request: PaymentRequest, *, tries_max: int | None = None) -> PaymentAnswer | Refusal:
        """Send an attempt until it is decided; with `tries_max`, give up after so many sends."""
        use = use_of(request.presentation)
        promise = Promise(self._enrolment.terminal_id, request.attempt_id, request.amount_minor, use=use)
        terms = Terms(
            request.capture == "manual",
            request.tip_max_minor,
            0 if request.order is None else request.order.amount_minor,
        )
        evidence, world = self._world.evidence, self._world
        asked = Asked(
            promise,
            self._enrolment.merchant_id,
            request.order_id,
            world.true_ms(),
            evidence.presented.get(use),
            terms,
        )
        evidence.ask(asked)
        return await self._ask(
            "POST",
            "/v1/payments",
            request,
            request.attempt_id,
            lambda answer: answer.attempt_id == request.attempt_id,
            tries_max=tries_max,
        )

    async def find(self, attempt_id: str) -> PaymentAnswer | Refusal:
        """Ask what became of an attempt."""
        target = f"/v1/payments?attempt_id={attempt_id}"
        return await self._ask("GET", target, None, None, lambda answer: answer.attempt_id == attempt_id)

    async def capture(self, payment_id: str, goods_minor: int, tip_minor: int) -> PaymentAnswer | Refusal:
        """Charge a hold, whole or in part."""
        capture_id = self.new_id()
        self._dealings.captures[payment_id, capture_id] = goods_minor, tip_minor
        request = CaptureRequest(capture_id=capture_id, amount_minor=goods_minor, tip_minor=tip_minor)
        return await self._change(payment_id, "captures", request, capture_id, capture_id=capture_id)

    async def void(self, payment_id: str) -> PaymentAnswer | Refusal:
        """Let go of what is not charged."""
        self._dealings.voids.add(payment_id)
        request_id = self.new_id()
        return await self._change(payment_id, "voids", VoidRequest(void_id=request_id), request_id, ends=True)

    async def enter_pin(self, payment: PaymentAnswer, thing: Thing, pin: str) -> PaymentAnswer | Refusal:
        """Let a holder enter a PIN for a payment that waits for it."""
        assert thing.facts is not None
        request_id, wallet_id = self.new_id(), thing.facts.payer.wallet_id
        world, dealings = self._world, self._dealings
        sent_ms = world.true_ms()
        if pin == thing.facts.pin:
            merchant_id = self._enrolment.merchant_id
            dealings.agreements[payment.payment_id].append(
                Agreement(PIN, True, payment.amount_minor, merchant_id, sent_ms)
            )

        def note_send() -> None:
            dealings.pin_sends[wallet_id] += 1

        request = ConfirmRequest(confirmation_id=request_id, pin=pin)
        answer = await self._change(
            payment.payment_id, "confirmations", request, request_id, note_send=note_send
        )
        code = answer.code if isinstance(answer, Refusal) else answer.decline and answer.decline.code
        if code in ("pin_wrong", "pin_is_locked", "pin_locked"):
            dealings.wrong_pins.append(WrongPin(wallet_id, sent_ms, code != "pin_wrong"))
        return answer

    async def refund(
        self,
        payment_id: str,
        total_minor: int,
        *,
        refund_id: str = "",
        is_manager: bool = True,
        pin: str = STAFF_PIN,
    ) -> PaymentAnswer | Refusal:
        """Give back up to a total."""
        refund_id = refund_id or self.new_id()
        facts = self.till.facts
        staff_id = facts.manager_id if is_manager else facts.cashier_id
        if pin == STAFF_PIN:
            self._dealings.refunds.add((payment_id, refund_id, total_minor, staff_id))
        request = RefundRequest(
            refund_id=refund_id, total_minor=total_minor, staff=StaffProof(staff_id=staff_id, pin=pin)
        )
        target = f"/v1/payments/{payment_id}/refunds"
        answer = await self._send(
            "POST",
            target,
            request,
            refund_id,
            RefundAnswer,
            lambda answer: answer.payment.payment_id == payment_id and answer.total_minor == total_minor,
        )
        if isinstance(answer, Refusal):
            return answer
        refund, sent_ms = answer
        self._hear(refund.payment, sent_ms, refund_total_minor=refund.total_minor)
        return refund.payment

    async def reverse(
        self, attempt_id: str, order_id: str, amount_minor: int, entry_mode: EntryMode
    ) -> PaymentAnswer | Refusal:
        """Close an attempt, whatever became of it."""
        key = self._enrolment.terminal_id, attempt_id
        promise = Promise(*key, amount_minor)
        evidence, merchant_id = self._world.evidence, self._enrolment.merchant_id
        evidence.take_back(Asked(promise, merchant_id, order_id, self._world.true_ms(), None))
        request = ReversalRequest(
            attempt_id=attempt_id,
            order_id=order_id,
            amount_minor=amount_minor,
            currency="EUR",
            entry_mode=entry_mode,
        )
        answer = await self._send(
            "POST",
            "/v1/reversals",
            request,
            attempt_id,
            PaymentAnswer,
            # An older answer in the place of this one says what was, not what is now.
            lambda answer: (
                answer.attempt_id == attempt_id
                and (self._is_fresh or answer.outcome in ("declined", "closed"))
            ),
        )
        if isinstance(answer, Refusal):
            return answer
        payment, sent_ms = answer
        self._hear(payment, sent_ms, ends=True)
        self._dealings.reversed.add(key)
        return payment

    async def make_code(self, request: IntentRequest) -> IntentAnswer | Refusal:
        """Ask to be paid by code."""
        promise = Promise(self._enrolment.terminal_id, request.intent_id, request.amount_minor)
        terms = Terms(order_amount_minor=0 if request.order is None else request.order.amount_minor)
        world, merchant_id = self._world, self._enrolment.merchant_id
        world.evidence.ask(Asked(promise, merchant_id, request.order_id, world.true_ms(), None, terms))
        answer = await self._send(
            "POST",
            INTENTS_TARGET,
            request,
            request.intent_id,
            IntentAnswer,
            lambda answer: answer.intent_id == request.intent_id,
        )
        return answer if isinstance(answer, Refusal) else answer[0]

    async def poll_events(self) -> None:
        """Read what happened without this counter's asking; all there is, when this returns."""
        after = self._last_event
        answer = await self._send(
            "GET", f"/v1/terminals/events?after={after}", None, None, TerminalEvents, lambda answer: True
        )
        if isinstance(answer, Refusal):
            return
        told, sent_ms = answer
        for notice in told.events:
            # What an earlier asking was answered may come again.
            if notice.sequence > self._last_event:
                self._dealings.events[self._enrolment.terminal_id].append(
                    (notice.sequence, notice.payment.payment_id)
                )
                self._last_event = notice.sequence
                self._hear(notice.payment, sent_ms)

    # How it is asked

    async def _change(
        self,
        payment_id: str,
        what: str,
        request: object,
        request_id: str,
        *,
        note_send: Callable[[], None] = lambda: None,
        ends: bool = False,
        capture_id: str | None = None,
    ) -> PaymentAnswer | Refusal:
        def fits(answer: PaymentAnswer) -> bool:
            is_it = answer.payment_id == payment_id
            # An older answer in the place of this one is not the answer to a void or a capture.
            is_older = ends and answer.state in ("authorised", "requires_confirmation")
            return is_it and (self._is_fresh or not is_older)

        target = f"/v1/payments/{payment_id}/{what}"
        return await self._ask(
            "POST", target, request, request_id, fits, note_send=note_send, ends=ends, capture_id=capture_id
        )

    async def _ask(
        self,
        method: str,
        target: str,
        message: object | None,
        request_id: str | None,
        fits: Callable[[PaymentAnswer], bool],
        *,
        note_send: Callable[[], None] = lambda: None,
        tries_max: int | None = None,
        ends: bool = False,
        capture_id: str | None = None,
    ) -> PaymentAnswer | Refusal:
        answer = await self._send(
            method, target, message, request_id, PaymentAnswer, fits, note_send=note_send, tries_max=tries_max
        )
        if isinstance(answer, Refusal):
            return answer
        payment, sent_ms = answer
        is_captured = self._is_fresh and payment.state == "succeeded"
        self._hear(
            payment,
            sent_ms,
            ends=ends and self._is_fresh,
            capture_id=capture_id if is_captured else None,
        )
        return payment

    async def hand_in(self, batch: BatchRequest) -> BatchAnswer | None:
        """Hand in records under the till's own key, once; None if there was no answer to it."""
        try:
            body = dump_message(batch)
            reply = await self._client.call("POST", BATCHES_TARGET, body, batch.batch_id, own_key=True)
            return parse_message(reply.body, BatchAnswer)
        except (GatewayRefused, GatewayUnreachable, WireError):
            return None

    async def _send(
        self,
        method: str,
        target: str,
        message: object | None,
        request_id: str | None,
        kind: type[T],
        fits: Callable[[T], bool],
        *,
        note_send: Callable[[], None] = lambda: None,
        tries_max: int | None = None,
    ) -> tuple[T, int] | Refusal:
        """Send something until the gateway has a word on it; return that, and when it was asked."""
        body = b"" if message is None else dump_message(message)
        pause_s, tries = 0.4, 0
        while tries_max is None or tries < tries_max:
            tries += 1
            sent_ms = self._world.true_ms()
            note_send()
            try:
                reply = await self._client.call(method, target, body, request_id)
                answer = parse_message(reply.body, kind)
                if fits(answer):
                    return answer, sent_ms
            except GatewayRefused as refusal:
                if not refusal.retryable and refusal.code not in ASKED_AGAIN:
                    return Refusal(refusal.code)
            except (GatewayUnreachable, WireError):
                pass
            await asyncio.sleep(pause_s * (0.5 + self._rng.random()))
            pause_s = min(pause_s * 2, PAUSE_S_MAX)
        return Refusal("given_up")

    @property
    def _is_fresh(self) -> bool:
        """Whether an answer is surely the one to its asking."""
        return self._world.plan.network.answer_repeated == 0.0

    def _hear(
        self,
        payment: PaymentAnswer,
        sent_ms: int,
        *,
        ends: bool = False,
        capture_id: str | None = None,
        refund_total_minor: int | None = None,
    ) -> None:
        self._dealings.heard.append(
            Heard(
                payment.payment_id,
                payment.state.value,
                payment.charged_minor,
                payment.tip_minor,
                payment.refunded_minor,
                sent_ms,
                self._is_fresh,
                capture_id,
                refund_total_minor,
                ends,
            )
        )

    # As terminal.gateway_client.transport.Transport

    async def exchange(self, method: str, uri: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Carry a request over the world's network."""
        world = self._world
        call = SignedCall(method, uri.removeprefix(GATEWAY_URL), headers, body)
        world.trace.note(self.name, f"sends {method} {call.raw_path[:60]}")
        try:
            async with asyncio.timeout(TRY_TIMEOUT_S):
                answer = await world.network.exchange(self.name, call)
        except (TimeoutError, ConnectionBroken) as error:
            raise GatewayUnreachable(f"no answer from the gateway ({type(error).__name__})") from None
        fields = {name.lower(): value for name, value in answer.fields}
        world.trace.note(self.name, f"hears {answer.status} to {method} {call.raw_path[:60]}")
        return Reply(answer.status, answer.content_type, answer.body, fields)

    async def close(self) -> None:
        """There is nothing open."""
