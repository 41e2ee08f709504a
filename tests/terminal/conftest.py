"""A daemon in the test's own event loop, readers driven by hand, and a gateway that can misbehave.

The gateway here is a stand-in at the HTTP level only, for what a real one can't be made to do: lose
answers, reset connections, speak garbage. It checks every signature and books idempotently, so that what
a test counts in `booked` is what a holder would have been charged.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from cryptography.hazmat.primitives.asymmetric import ec

from terminal.config import (
    GatewaySettings,
    ResolverSettings,
    SaleSettings,
    TerminalConfig,
    TillApiSettings,
)
from terminal.daemon import run_daemon
from terminal.gateway_client.client import GatewayClient, GatewayTimings
from terminal.gateway_client.http_transport import HttpTransport
from terminal.identity import Identity, prepare_enrolment_key, store_identity
from terminal.presentations import Noticed, PresentationEvent, Presented, PresentedInVain, TermsSource
from wire import es256
from wire.cards.dialogue import hold_dialogue
from wire.cards.presentation_dialogue import OfflineTap, read_presentation
from wire.errors import CardError, SignatureError
from wire.http_signatures import (
    SignatureTag,
    parse_signed_request,
    verify_session_request,
    verify_signed_request,
)
from wire.ids import make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.enrolment import EnrolmentAnswer, EnrolmentRequest
from wire.messages.intents import IntentAnswer, IntentRequest
from wire.messages.payments import (
    CaptureMode,
    CaptureRequest,
    Confirmation,
    ConfirmationWay,
    ConfirmRequest,
    Decline,
    EntryMode,
    NfcAppPresentation,
    PaymentAnswer,
    PaymentRequest,
    PaymentState,
    Presentation,
    QrConsumerPresentation,
    ReceiptFacts,
    RefundAnswer,
    RefundRequest,
    ReversalRequest,
    entry_mode_of,
)
from wire.messages.problem import PROBLEM_CONTENT_TYPE, Problem
from wire.messages.sessions import SessionAnswer, SessionRequest
from wire.messages.shifts import ShiftAnswer, ShiftClosing, ShiftOpening, ShiftTotals, StaffName
from wire.messages.staff import SignInAnswer, SignInRequest, StaffEntry, StaffPage, StaffRight
from wire.messages.terminals import TerminalEvents, TerminalNotice
from wire.messages.till import (
    DaemonEvent,
    DaemonEventKind,
    DaemonView,
    ReaderState,
    ReaderView,
    SaleEvent,
    SaleEventKind,
    SaleRequest,
    SaleView,
)
from wire.notices import find_notice
from wire.request_sessions import SEED_BYTES, SESSION_ID_BYTES_MIN, agree_on_key, make_agreement_key

READER = "contactless:hand"
ENROLMENT = EnrolmentAnswer(
    terminal_id="TERM0001",
    merchant_id="MERCHANT0000001",
    merchant_name="Corner Shop",
    location_name="High Street",
    currency="EUR",
    gateway_time_ms=1_800_000_000_000,
)
EVENT_TIMEOUT_S = 30.0
"""Far more than anything needs; only what never comes is waited for so long."""
IMPATIENT = SaleSettings(deadline_ms=30_000, answer_deadline_ms=600)
"""For sales whose outcome is to become unknown; others are given the time of a loaded machine."""

Fault = Callable[["GatewayStandIn", web.Request, "Process"], Awaitable[web.StreamResponse]]
Process = Callable[[], PaymentAnswer]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells: look again and again, for a bounded time."""
    async with asyncio.timeout(EVENT_TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 -- files and another's list change without an event
            await asyncio.sleep(0.005)


def make_presentation(number: int = 1) -> Presentation:
    return QrConsumerPresentation(token=b"SECRET-TOKEN-%06d" % number)


def make_request(number: int = 1, **changes: object) -> PaymentRequest:
    request = PaymentRequest(
        attempt_id=make_ulid(1_800_000_000_000 + number, bytes(10)),
        order_id=f"order-{number}",
        amount_minor=1250,
        currency="EUR",
        presentation=make_presentation(number),
        presented_ms=1_800_000_000_000,
    )
    return msgspec.structs.replace(request, **changes)


def make_answer(request: PaymentRequest, decline_code: str | None = None) -> PaymentAnswer:
    return PaymentAnswer(
        payment_id=make_ulid(now_ms(), os.urandom(10)),
        attempt_id=request.attempt_id,
        order_id=request.order_id,
        outcome="approved" if decline_code is None else "declined",
        state=PaymentState.SUCCEEDED if decline_code is None else PaymentState.DECLINED,
        amount_minor=request.amount_minor,
        currency=request.currency,
        entry_mode=entry_mode_of(request.presentation),
        terminal_id=ENROLMENT.terminal_id,
        decided_ms=now_ms(),
        decline=None if decline_code is None else make_decline(decline_code),
        receipt=ReceiptFacts(
            receipt_number="R-1",
            merchant_name=ENROLMENT.merchant_name,
            location_name=ENROLMENT.location_name,
            instrument_label="Phone ·· 4821",
        )
        if decline_code is None
        else None,
    )


def make_decline(code: str) -> Decline:
    notice = find_notice(code)
    return Decline(
        code=code,
        retryable=notice.retryable,
        cashier_text=notice.cashier_text,
        holder_text=notice.holder_text,
    )


def take_back(reversal: ReversalRequest, known: PaymentAnswer | None) -> PaymentAnswer:
    """Answer a reversal as the gateway does: what is paid is given back, what was never seen is declined."""
    if known is None:
        return PaymentAnswer(
            payment_id=make_ulid(now_ms(), os.urandom(10)),
            attempt_id=reversal.attempt_id,
            order_id=reversal.order_id,
            outcome="declined",
            state=PaymentState.DECLINED,
            amount_minor=reversal.amount_minor,
            currency=reversal.currency,
            entry_mode=reversal.entry_mode,
            terminal_id=ENROLMENT.terminal_id,
            decided_ms=now_ms(),
            decline=make_decline("attempt_reversed"),
        )
    if known.outcome in ("declined", "closed"):
        return known
    is_paid = known.state is PaymentState.SUCCEEDED
    return msgspec.structs.replace(
        known,
        outcome="closed",
        state=PaymentState.REVERSED if is_paid else PaymentState.VOIDED,
        decline=make_decline("payment_reversed" if is_paid else "payment_voided"),
        confirmation=None,
    )


def ask_for_confirmation(
    answer: PaymentAnswer, ways: tuple[ConfirmationWay, ...], confirm_by_ms: int
) -> PaymentAnswer:
    """Turn an approval into a payment that waits for its holder."""
    notice = find_notice("confirm_above_limit")
    return msgspec.structs.replace(
        answer,
        outcome="requires_confirmation",
        state=PaymentState.REQUIRES_CONFIRMATION,
        receipt=None,
        confirmation=Confirmation(
            code=notice.code,
            ways=ways,
            confirm_by_ms=confirm_by_ms,
            cashier_text=notice.cashier_text,
            holder_text=notice.holder_text,
        ),
    )


def make_problem(code: str, status: int, headers: dict[str, str] | None = None) -> web.Response:
    notice = find_notice(code)
    problem = Problem(
        type=f"urn:tapscan:problem:{code}",
        title=notice.cashier_en,
        status=status,
        code=code,
        retryable=notice.retryable,
    )
    return web.Response(
        status=status,
        body=dump_message(problem),
        headers={"Content-Type": PROBLEM_CONTENT_TYPE, **(headers or {})},
    )


def make_json(message: object, status: int = 201) -> web.Response:
    return web.Response(status=status, body=dump_message(message), content_type="application/json")


class RepeatedRequest(Exception):
    """The same signed request came twice."""


class SessionUnknown(Exception):
    """A request names a session that was not opened here, or is over."""


@dataclass
class Received:
    """One request as it reached the stand-in."""

    method: str
    path: str
    body: bytes
    nonce: str
    at_s: float
    is_in_session: bool = False


class GatewayStandIn:
    """The gateway's HTTP, idempotent like the real one, with a queue of faults for payments."""

    def __init__(self) -> None:
        self.url = ""
        self.public_key: es256.PublicKey | None = None
        self.faults: deque[Fault] = deque()
        self.find_faults: deque[Fault] = deque()
        self.reversal_faults: deque[Fault] = deque()
        self.confirm_faults: deque[Fault] = deque()
        self.change_faults: deque[Fault] = deque()
        self.confirms: deque[tuple[ConfirmationWay, ...]] = deque()
        """Ways of the next payments that require confirmation; empty for none."""
        self.confirm_ms = 60_000
        self.pin = "2468"
        self.events: list[TerminalNotice] = []
        self.happened = asyncio.Condition()
        self.streams = True
        self.intents: list[IntentRequest] = []
        self.intent_faults: deque[Fault] = deque()
        self.listeners: list[str | None] = []
        """The Last-Event-ID of every stream that was opened."""
        self.decline_codes: deque[str | None] = deque()
        self.received: list[Received] = []
        self.booked: dict[str, tuple[bytes, PaymentAnswer]] = {}
        self.enrolled: dict[str, bytes] = {}
        self.complaints: list[str] = []
        self.sessions: dict[bytes, bytes] = {}
        self.session_lifetime_ms = 3_600_000
        self.opens_sessions = True
        self.staff: dict[str, tuple[StaffEntry, str, list[StaffRight]]] = {}
        """Who works here, by id, with PIN and rights."""
        self.tags: dict[str, str] = {}
        """Staff ids by the first parameter of a tag's link; each is good once."""
        self.shifts: dict[str, ShiftAnswer] = {}
        self.shift_faults: deque[Callable[[], web.StreamResponse]] = deque()
        """Answer openings and closings instead."""
        self.is_down = False
        """Whether every connection is reset before anything is read."""
        self.answer_offline: Callable[[web.Request, bytes], web.StreamResponse] | None = None
        """Answers what is asked under /v1/offline."""
        self.held = asyncio.Event()
        self.release = asyncio.Event()

    @property
    def payments(self) -> list[Received]:
        return [one for one in self.received if (one.method, one.path) == ("POST", "/v1/payments")]

    @property
    def attempt_ids(self) -> list[str]:
        return [parse_message(one.body, PaymentRequest).attempt_id for one in self.payments]

    def make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._refuse_repeats])
        app.add_routes(
            [
                web.post("/v1/payments", self._pay),
                web.get("/v1/payments", self._find),
                web.post("/v1/reversals", self._reverse),
                web.post("/v1/payments/{payment_id}/confirmations", self._confirm),
                web.post("/v1/payments/{payment_id}/captures", self._change),
                web.post("/v1/payments/{payment_id}/voids", self._change),
                web.post("/v1/payments/{payment_id}/refunds", self._change),
                web.get("/v1/terminals/events", self._list_events),
                web.get("/v1/terminals/events/stream", self._stream_events),
                web.post("/v1/terminals/enrol", self._enrol),
                web.post("/v1/terminals/sessions", self._open_session),
                web.post("/v1/intents", self._offer),
                web.get("/v1/staff", self._list_staff),
                web.post("/v1/staff/sign-in", self._sign_in),
                web.post("/v1/shifts", self._open_shift),
                web.get("/v1/shifts/{shift_id}", self._find_shift),
                web.post("/v1/shifts/{shift_id}/close", self._close_shift),
                web.get("/health/live", self._live),
                web.route("*", "/v1/offline/{what}", self._offline),
            ]
        )
        return app

    @web.middleware
    async def _refuse_repeats(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.is_down:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        try:
            return await handler(request)
        except RepeatedRequest:
            return make_problem("nonce_replayed", 401)
        except SessionUnknown:
            return make_problem("session_unknown", 401)
        except SignatureError as error:
            return make_problem(error.code, 401)

    async def _pay(self, request: web.Request) -> web.StreamResponse:
        body = await self._receive(request)
        fault = self.faults.popleft() if self.faults else None
        payment = parse_message(body, PaymentRequest)
        if request.headers["Idempotency-Key"] != payment.attempt_id:
            self.complaints.append("the idempotency key is not the attempt id")

        def process() -> PaymentAnswer:
            return self._book(body, payment)

        if fault is not None:
            return await fault(self, request, process)
        return make_json(process())

    def _book(self, body: bytes, payment: PaymentRequest) -> PaymentAnswer:
        known = self.booked.get(payment.attempt_id)
        if known is not None:
            # A late arrival of a reversed attempt finds it decided.
            if known[0] not in (body, b""):
                self.complaints.append("the same attempt id came with another body")
            return known[1]
        decline_code = self.decline_codes.popleft() if self.decline_codes else None
        answer = make_answer(payment, decline_code)
        if payment.capture is CaptureMode.MANUAL and decline_code is None:
            held = {"state": PaymentState.AUTHORISED, "receipt": None, "capture_by_ms": now_ms() + 3_600_000}
            answer = msgspec.structs.replace(answer, **held)
        if self.confirms:
            answer = ask_for_confirmation(answer, self.confirms.popleft(), now_ms() + self.confirm_ms)
        self.booked[payment.attempt_id] = (body, answer)
        return answer

    async def _find(self, request: web.Request) -> web.StreamResponse:
        await self._receive(request)
        attempt_id = request.query["attempt_id"]
        if self.find_faults:
            return await self.find_faults.popleft()(self, request, lambda: self.booked[attempt_id][1])
        known = self.booked.get(attempt_id)
        return make_json(known[1], 200) if known else make_problem("not_found", 404)

    async def _confirm(self, request: web.Request) -> web.StreamResponse:
        entry = parse_message(await self._receive(request), ConfirmRequest)
        if request.headers["Idempotency-Key"] != entry.confirmation_id:
            self.complaints.append("the idempotency key is not the confirmation id")
        (answer,) = [
            one for _, one in self.booked.values() if one.payment_id == request.match_info["payment_id"]
        ]
        if answer.outcome not in ("requires_confirmation", "approved"):
            return make_problem("payment_not_open", 409)
        if entry.pin != self.pin:
            return make_problem("pin_wrong", 403)

        def process() -> PaymentAnswer:
            return self.decide(answer.attempt_id)

        if self.confirm_faults:
            return await self.confirm_faults.popleft()(self, request, process)
        return make_json(process(), 200)

    async def _change(self, request: web.Request) -> web.StreamResponse:
        body = await self._receive(request)
        ((attempt_id, (sent, answer)),) = [
            (attempt_id, one)
            for attempt_id, one in self.booked.items()
            if one[1].payment_id == request.match_info["payment_id"]
        ]
        if self.change_faults:
            return await self.change_faults.popleft()(self, request, lambda: answer)
        what = request.path.rpartition("/")[2]
        if what == "captures":
            order = parse_message(body, CaptureRequest)
            if order.amount_minor > answer.amount_minor:
                return make_problem("capture_exceeds_hold", 422)
            answer = msgspec.structs.replace(
                answer,
                state=PaymentState.SUCCEEDED,
                charged_minor=order.amount_minor + order.tip_minor,
                tip_minor=order.tip_minor,
            )
        elif what == "voids":
            answer = msgspec.structs.replace(
                answer, outcome="closed", state=PaymentState.VOIDED, decline=make_decline("payment_voided")
            )
        else:
            refund = parse_message(body, RefundRequest)
            answer = msgspec.structs.replace(answer, refunded_minor=refund.total_minor)
        self.booked[attempt_id] = (sent, answer)
        if what == "refunds":
            return make_json(
                RefundAnswer(
                    refund_id=refund.refund_id,
                    amount_minor=refund.total_minor,
                    total_minor=refund.total_minor,
                    refunded_ms=now_ms(),
                    payment=answer,
                )
            )
        return make_json(answer, 200)

    def decide(self, attempt_id: str, decline_code: str | None = None, outcome: str = "") -> PaymentAnswer:
        """Let a payment that waits be confirmed, or end it for a reason."""
        body, waiting = self.booked[attempt_id]
        request = parse_message(body, PaymentRequest)
        answer = msgspec.structs.replace(make_answer(request, decline_code), payment_id=waiting.payment_id)
        if outcome == "closed":
            answer = msgspec.structs.replace(answer, outcome="closed", state=PaymentState.EXPIRED)
        self.booked[attempt_id] = (body, answer)
        return answer

    async def tell(self, answer: PaymentAnswer) -> None:
        """Tell the terminal of one of its payments."""
        async with self.happened:
            self.events.append(TerminalNotice(sequence=len(self.events) + 1, payment=answer))
            self.happened.notify_all()

    async def _list_events(self, request: web.Request) -> web.StreamResponse:
        await self._receive(request)
        after = request.query.get("after")
        events = [] if after is None else self.events[int(after) :]
        return make_json(TerminalEvents(events=events, last=len(self.events)), 200)

    async def _stream_events(self, request: web.Request) -> web.StreamResponse:
        await self._receive(request)
        if not self.streams:
            return make_problem("not_ready", 503)
        self.listeners.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": listening\n\n")
        told = int(request.headers["Last-Event-ID"])
        while self.streams:
            async with self.happened:
                while len(self.events) <= told and self.streams:
                    await self.happened.wait()
            for notice in self.events[told:]:
                text = b"id: %d\nevent: payment\ndata: %s\n\n"
                await response.write(text % (notice.sequence, dump_message(notice)))
            told = len(self.events)
        return response

    async def stop_streams(self) -> None:
        """End every stream and open none any more."""
        async with self.happened:
            self.streams = False
            self.happened.notify_all()

    async def _reverse(self, request: web.Request) -> web.StreamResponse:
        body = await self._receive(request)
        reversal = parse_message(body, ReversalRequest)
        if request.headers["Idempotency-Key"] != reversal.attempt_id:
            self.complaints.append("the idempotency key is not the attempt id")

        def process() -> PaymentAnswer:
            before, known = self.booked.get(reversal.attempt_id, (b"", None))
            self.booked[reversal.attempt_id] = (before, take_back(reversal, known))
            return self.booked[reversal.attempt_id][1]

        if self.reversal_faults:
            return await self.reversal_faults.popleft()(self, request, process)
        return make_json(process(), 200)

    async def _enrol(self, request: web.Request) -> web.StreamResponse:
        body = parse_message(await request.read(), EnrolmentRequest)
        self.public_key = es256.load_public_key(body.public_key)
        await self._receive(request)
        if self.enrolled.setdefault(body.code, body.public_key) != body.public_key:
            return make_problem("enrolment_code_invalid", 403)
        if self.faults:
            return await self.faults.popleft()(self, request, lambda: make_answer(make_request()))
        return make_json(ENROLMENT)

    async def _open_session(self, request: web.Request) -> web.StreamResponse:
        body = await self._receive(request)
        if not self.opens_sessions:
            return make_problem("not_found", 404)
        session_id, own = os.urandom(SESSION_ID_BYTES_MIN), make_agreement_key(os.urandom(SEED_BYTES))
        their_key = es256.load_public_key(parse_message(body, SessionRequest).public_key)
        self.sessions[session_id] = agree_on_key(own, their_key, session_id)
        public_key = es256.dump_public_key(own.public_key())
        return make_json(
            SessionAnswer(
                session_id=session_id,
                public_key=public_key,
                lifetime_ms=self.session_lifetime_ms,
                gateway_time_ms=now_ms(),
            )
        )

    async def _offer(self, request: web.Request) -> web.StreamResponse:
        intent = parse_message(await self._receive(request), IntentRequest)
        if request.headers["Idempotency-Key"] != intent.intent_id:
            self.complaints.append("the idempotency key is not the intent id")
        self.intents.append(intent)
        if self.intent_faults:
            return await self.intent_faults.popleft()(self, request, lambda: None)
        answer = IntentAnswer(
            intent_id=intent.intent_id, code_text=f"CODE-{intent.intent_id}", expires_ms=now_ms() + 60_000
        )
        return make_json(answer)

    async def pay_code(self, intent: IntentRequest, decline_code: str | None = None) -> PaymentAnswer:
        """Have a wallet pay a till's code, and tell the till."""
        request = make_request(
            attempt_id=intent.intent_id,
            order_id=intent.order_id,
            amount_minor=intent.amount_minor,
            currency=intent.currency,
        )
        answer = msgspec.structs.replace(make_answer(request, decline_code), entry_mode=EntryMode.QR_MERCHANT)
        self.booked[intent.intent_id] = (b"", answer)
        await self.tell(answer)
        return answer

    async def _list_staff(self, request: web.Request) -> web.StreamResponse:
        await self._receive(request)
        members = [member for member, _, _ in self.staff.values()]
        return make_json(StaffPage(members=members, is_last=True), 200)

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        entry = parse_message(await self._receive(request), SignInRequest)
        if request.headers["Idempotency-Key"] != entry.sign_in_id:
            self.complaints.append("the idempotency key is not the sign-in id")
        if entry.staff.tag is not None:
            staff_id = self.tags.pop(entry.staff.tag.picc_data_hex, "")
            if not staff_id:
                return make_problem("staff_tag_invalid", 403)
        else:
            staff_id = entry.staff.staff_id or ""
            if staff_id not in self.staff or self.staff[staff_id][1] != entry.staff.pin:
                return make_problem("staff_not_allowed", 403)
        member, _, rights = self.staff[staff_id]
        return make_json(SignInAnswer(member=member, rights=rights), 200)

    @property
    def open_shift(self) -> ShiftAnswer | None:
        return next((one for one in self.shifts.values() if one.closed_ms is None), None)

    async def _open_shift(self, request: web.Request) -> web.StreamResponse:
        order = parse_message(await self._receive(request), ShiftOpening)
        if self.shift_faults:
            return self.shift_faults.popleft()()
        if self.open_shift is not None and order.shift_id not in self.shifts:
            return make_problem("shift_is_open", 409)
        opened = ShiftAnswer(
            shift_id=order.shift_id,
            currency="EUR",
            opened_ms=now_ms() - order.age_ms,
            totals=ShiftTotals(),
            opened_by=self._name_of(order.staff_id),
        )
        return make_json(self.shifts.setdefault(order.shift_id, opened))

    async def _close_shift(self, request: web.Request) -> web.StreamResponse:
        order = parse_message(await self._receive(request), ShiftClosing)
        if self.shift_faults:
            return self.shift_faults.popleft()()
        shift = self.shifts.get(order.shift_id)
        if shift is None:
            return make_problem("not_found", 404)
        if shift.closed_ms is None:
            charged_minor = sum(answer.amount_minor for _, answer in self.booked.values())
            shift = msgspec.structs.replace(
                shift,
                closed_ms=now_ms() - order.age_ms,
                closed_by=self._name_of(order.staff_id),
                totals=ShiftTotals(payment_count=len(self.booked), charged_minor=charged_minor),
            )
            self.shifts[shift.shift_id] = shift
        return make_json(shift, 200)

    async def _find_shift(self, request: web.Request) -> web.StreamResponse:
        await self._receive(request)
        what = request.match_info["shift_id"]
        shift = self.open_shift if what == "open" else self.shifts.get(what)
        return make_problem("not_found", 404) if shift is None else make_json(shift, 200)

    def _name_of(self, staff_id: str | None) -> StaffName | None:
        known = self.staff.get(staff_id or "")
        return None if known is None else StaffName(staff_id=known[0].staff_id, name=known[0].name)

    async def _offline(self, request: web.Request) -> web.StreamResponse:
        body = await self._receive(request)
        return (
            make_problem("not_found", 404)
            if self.answer_offline is None
            else self.answer_offline(request, body)
        )

    async def go_down(self) -> None:
        """Answer nobody any more, and break what is open."""
        self.is_down = True
        await self.stop_streams()

    async def come_back(self) -> None:
        """Answer again."""
        self.is_down, self.streams = False, True

    async def _live(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _receive(self, request: web.Request) -> bytes:
        body = await request.read()
        assert self.public_key is not None
        signed = parse_signed_request(
            method=request.method,
            target_uri=f"{self.url}{request.path_qs}",
            headers=request.headers.items(),
            body=body,
            tags={SignatureTag.TERMINAL, SignatureTag.SESSION},
        )
        if not signed.is_in_session:
            verify_signed_request(signed, self.public_key, now_ms=now_ms())
        elif signed.key_id in self.sessions:
            verify_session_request(signed, self.sessions[signed.key_id], now_ms=now_ms())
        else:
            raise SessionUnknown
        if any(one.nonce == signed.nonce for one in self.received):
            # aiohttp itself repeats a GET, byte for byte, when a kept connection turns out to be broken.
            raise RepeatedRequest
        self.received.append(
            Received(request.method, request.path, body, signed.nonce, time.monotonic(), signed.is_in_session)
        )
        return body


async def lose_answer(_: GatewayStandIn, request: web.Request, process: Process) -> web.StreamResponse:
    """Book, then reset the connection instead of answering."""
    process()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def reset_unread(_: GatewayStandIn, request: web.Request, __: Process) -> web.StreamResponse:
    """Reset the connection without having booked anything."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hold(gateway: GatewayStandIn, _: web.Request, process: Process) -> web.StreamResponse:
    """Book only when the test says `release`."""
    gateway.held.set()
    await gateway.release.wait()
    return make_json(process())


async def be_busy(_: GatewayStandIn, __: web.Request, ___: Process) -> web.StreamResponse:
    return make_problem("gateway_busy", 503, {"Retry-After": "0"})


class TapCard(Protocol):
    """A simulated card."""

    def power_on(self) -> None:
        """Come into the field."""

    def transmit(self, command: bytes) -> bytes:
        """Answer one command."""


class HandReaders:
    """Readers that present what the test says, through the same contract as the supervisor."""

    def __init__(self, deliver: Callable[[PresentationEvent], None]) -> None:
        self._deliver = deliver
        self.terms: TermsSource | None = None
        self.was_stopped = False

    @property
    def is_armed(self) -> bool:
        return self.terms is not None

    def start(self) -> None:
        """There is no thread to start: the test delivers."""

    def arm(self, terms: TermsSource) -> None:
        self.terms = terms

    def disarm(self) -> None:
        self.terms = None

    def views(self) -> list[ReaderView]:
        return [ReaderView(path=READER, state=ReaderState.READY, since_ms=0)]

    def stop(self) -> None:
        self.was_stopped = True

    def notice(self) -> None:
        self._deliver(Noticed(READER, time.monotonic_ns()))

    def present(self, presentation: Presentation, *, noticed_ns: int | None = None) -> None:
        noticed_ns = time.monotonic_ns() if noticed_ns is None else noticed_ns
        self._deliver(Noticed(READER, noticed_ns))
        self._deliver(Presented(READER, presentation, noticed_ns, noticed_ns, 12))

    def tap(self, card: TapCard) -> None:
        """Hold the whole dialogue with a card, as a reader's thread does."""
        assert self.terms is not None, "armed"
        noticed_ns = time.monotonic_ns()
        self._deliver(Noticed(READER, noticed_ns))
        card.power_on()
        try:
            read = hold_dialogue(read_presentation(self.terms), card.transmit)
        except CardError as error:
            self._deliver(PresentedInVain(READER, error.code, noticed_ns))
            return
        credential = read.credential if isinstance(read, OfflineTap) else None
        tapped = NfcAppPresentation(token=read.token) if isinstance(read, OfflineTap) else read
        self._deliver(Presented(READER, tapped, noticed_ns, time.monotonic_ns(), 12, credential))

    def refuse(self, code: str, *, noticed_ns: int | None = None) -> None:
        noticed_ns = time.monotonic_ns() if noticed_ns is None else noticed_ns
        self._deliver(Noticed(READER, noticed_ns))
        self._deliver(PresentedInVain(READER, code, noticed_ns))


@dataclass
class Till:
    """A running daemon, and till software beside it."""

    url: str
    folder: Path
    config: TerminalConfig
    readers: HandReaders
    session: aiohttp.ClientSession
    stack: AsyncExitStack
    watcher: asyncio.Task[None] | None = None
    events: asyncio.Queue[SaleEvent] = field(default_factory=asyncio.Queue)
    daemon_events: asyncio.Queue[DaemonEvent] = field(default_factory=asyncio.Queue)

    def take_event(self, event: SaleEvent | DaemonEvent) -> None:
        (self.events if isinstance(event, SaleEvent) else self.daemon_events).put_nowait(event)

    async def wait_for_daemon(self, kind: DaemonEventKind) -> DaemonEvent:
        """Return the next event of this kind outside sales."""
        async with asyncio.timeout(EVENT_TIMEOUT_S):
            while True:
                event = await self.daemon_events.get()
                if event.kind is kind:
                    return event

    async def start_sale(self, amount_minor: int = 1250, **fields: object) -> SaleView:
        body = dump_message(SaleRequest(amount_minor=amount_minor, **fields))
        async with self.session.post("/v1/sales", data=body) as response:
            assert response.status == 201, await response.text()
            return parse_message(await response.read(), SaleView)

    async def find_sale(self, sale_id: str) -> SaleView:
        async with self.session.get(f"/v1/sales/{sale_id}") as response:
            return parse_message(await response.read(), SaleView)

    async def find_daemon(self) -> DaemonView:
        async with self.session.get("/v1/daemon") as response:
            return parse_message(await response.read(), DaemonView)

    async def refusal_of(self, method: str, path: str, **arguments: object) -> Problem:
        """Send a request that must be refused and return the problem."""
        async with self.session.request(method, path, **arguments) as response:
            body = await response.read()
            assert response.content_type == PROBLEM_CONTENT_TYPE, body
            problem = parse_message(body, Problem)
            assert problem.status == response.status
            return problem

    async def wait_for(self, *kinds: SaleEventKind) -> SaleEvent:
        """Return the next event of one of these kinds."""
        async with asyncio.timeout(EVENT_TIMEOUT_S):
            while True:
                event = await self.events.get()
                if event.kind in kinds:
                    return event

    async def stop(self) -> None:
        await self.stack.aclose()
        if self.watcher is not None:
            # A stopped daemon ends its event streams by itself.
            await asyncio.wait({self.watcher}, timeout=EVENT_TIMEOUT_S)
        await self.session.close()


async def watch(
    session: aiohttp.ClientSession, ready: asyncio.Event, put: Callable[[SaleEvent], None]
) -> None:
    """Read server-sent events until the daemon ends them."""
    async with session.get("/v1/events") as response:
        name = b""
        async for line in response.content:
            ready.set()
            if line.startswith(b"event: "):
                name = line[7:].strip()
            if line.startswith(b"data: "):
                is_of_daemon = name.decode() in set(DaemonEventKind)
                put(parse_message(line[6:], DaemonEvent if is_of_daemon else SaleEvent))


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayStandIn]:
    """A gateway on loopback that knows no terminal yet."""
    stand_in = GatewayStandIn()
    runner = web.AppRunner(stand_in.make_app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stand_in
    stand_in.release.set()
    await stand_in.stop_streams()
    await runner.cleanup()
    assert stand_in.complaints == []


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., TerminalConfig]:
    """Configurations with short times, for a daemon in the test's folder."""

    def make(**changes: object) -> TerminalConfig:
        config = TerminalConfig(
            data_folder=str(tmp_path / "till"),
            gateway=GatewaySettings(
                try_timeout_ms=5_000,
                retry_delay_ms=5,
                retry_delay_ms_max=40,
                event_poll_ms=20,
                event_poll_ms_max=100,
            ),
            till_api=TillApiSettings(port=0),
            sale=SaleSettings(deadline_ms=30_000, answer_deadline_ms=15_000),
            resolver=ResolverSettings(retry_delay_ms=10, retry_delay_ms_max=50),
        )
        return msgspec.structs.replace(config, **changes)

    return make


@pytest.fixture
def enrol_till(gateway: GatewayStandIn) -> Callable[[TerminalConfig], es256.PrivateKey]:
    """Give a data folder the identity of an enrolled terminal that the stand-in knows."""

    def enrol(config: TerminalConfig) -> es256.PrivateKey:
        config.data_path.mkdir(parents=True, exist_ok=True)
        key = prepare_enrolment_key(config.data_path, lambda: ec.generate_private_key(ec.SECP256R1()))
        store_identity(config.data_path, Identity(key, gateway.url, ENROLMENT))
        gateway.public_key = key.public_key()
        return key

    return enrol


@pytest.fixture
async def start_till(
    enrol_till: Callable[[TerminalConfig], es256.PrivateKey], make_config: Callable[..., TerminalConfig]
) -> AsyncIterator[Callable[..., Awaitable[Till]]]:
    """Start daemons, with overrides of the configuration; a second start is a restart on the same disk."""
    tills: list[Till] = []

    async def start(**changes: object) -> Till:
        config = make_config(**changes)
        if not (config.data_path / "identity.json").exists():
            enrol_till(config)
        stack = AsyncExitStack()
        made: list[HandReaders] = []

        def make_readers(deliver: Callable[[PresentationEvent], None]) -> HandReaders:
            made.append(HandReaders(deliver))
            return made[0]

        daemon = await stack.enter_async_context(run_daemon(config, make_readers=make_readers))
        key = config.till_api.access_key
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        session = aiohttp.ClientSession(daemon.url, headers=headers)
        till = Till(daemon.url, config.data_path, config, made[0], session, stack)
        ready = asyncio.Event()
        till.watcher = asyncio.create_task(watch(session, ready, till.take_event))

        await ready.wait()
        tills.append(till)
        return till

    yield start
    for till in tills:
        await till.stop()


def make_client(url: str, key: es256.PrivateKey) -> GatewayClient:
    """A client with short times."""
    timings = GatewayTimings(
        retry_delay_ms=5,
        retry_delay_ms_max=40,
        session_pause_ms=20,
    )
    transport = HttpTransport(connect_timeout_ms=400, try_timeout_ms=300)
    return GatewayClient(url, key, transport, timings, now_ms=now_ms, entropy=os.urandom, jitter=lambda: 0.5)


@pytest.fixture
def terminal_key(gateway: GatewayStandIn) -> es256.PrivateKey:
    """A terminal's key that the stand-in knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    gateway.public_key = key.public_key()
    return key


@pytest.fixture
async def client(gateway: GatewayStandIn, terminal_key: es256.PrivateKey) -> AsyncIterator[GatewayClient]:
    """A gateway client of a terminal the stand-in knows."""
    async with make_client(gateway.url, terminal_key) as made:
        yield made
