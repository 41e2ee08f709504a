"""The handlers: payments, enrolment, payment codes, health."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.entropy import Entropy, draw_ulid
from gateway.errors import GatewayError, NotFound
from gateway.holders.service import HolderService
from gateway.http.admission import Admission
from gateway.http.answers import Answer, answer_with, make_response
from gateway.http.authentication import Authenticator, SignedCall, call_of
from gateway.http.bodies import Intake
from gateway.http.exchange import EXCHANGE, Exchange, RequestIds
from gateway.http.sessions import SESSION_LIFETIME_MS, TerminalSessions
from gateway.logs import RequestLog
from gateway.merchants.model import EnrolledTerminal
from gateway.merchants.service import MerchantService
from gateway.payments.service import PaymentService
from gateway.storage.store import Store
from wire import es256
from wire.errors import WireError
from wire.ids import check_ulid
from wire.messages.base import parse_message
from wire.messages.enrolment import EnrolmentAnswer, EnrolmentRequest
from wire.messages.payments import PaymentAnswer, PaymentRequest
from wire.messages.sessions import SessionAnswer, SessionRequest
from wire.messages.wallet import PaymentCodeAnswer, PaymentCodeRequest


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers work with; made once by the composition root."""

    store: Store
    payments: PaymentService
    merchants: MerchantService
    holders: HolderService
    authenticator: Authenticator
    sessions: TerminalSessions
    intake: Intake
    admission: Admission
    request_ids: RequestIds
    request_log: RequestLog
    now_ms: Callable[[], int]
    entropy: Entropy


class PaymentResource:
    """`/v1/payments`: a terminal pays, and asks what became of it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, request: web.Request) -> web.Response:
        """Decide an attempt that did not come the short way (gateway/http/door.py)."""
        admission = self._desk.admission
        admission.check()
        body = await self._desk.intake.read_body(request)
        admission.enter()
        try:
            return make_response(await self.decide(call_of(request, body), request[EXCHANGE]))
        finally:
            admission.leave()

    async def decide(self, call: SignedCall, noted: Exchange) -> Answer:
        """Decide an attempt: 201 with the answer, approved or declined; 200 if it was decided before."""
        desk = self._desk
        now_ms = desk.now_ms()
        enrolled, signed = await desk.authenticator.identify_terminal(call, now_ms=now_ms)
        noted.caller = enrolled.terminal.terminal_id
        message = parse_message(call.body, PaymentRequest)
        if signed.idempotency_key != message.attempt_id:
            raise WireError("Idempotency-Key must be the attempt_id")
        payment_id = draw_ulid(desk.entropy, now_ms)
        payment = await desk.payments.pay(message, enrolled, payment_id=payment_id, now_ms=now_ms)
        # An answer under another payment id is the first decision, told again.
        return _answer_payment(payment, noted, status=201 if payment.payment_id == payment_id else 200)

    async def find(self, request: web.Request) -> web.Response:
        """Return a payment of the caller's merchant by its id."""
        enrolled = await self._authenticate(request)
        payment_id = check_ulid(request.match_info["payment_id"])
        answer = await self._desk.payments.find(payment_id, enrolled)
        return make_response(_answer_payment(_found(answer), request[EXCHANGE]))

    async def find_by_attempt(self, request: web.Request) -> web.Response:
        """Return what became of an attempt of the caller, by `?attempt_id=`."""
        enrolled = await self._authenticate(request)
        if list(request.query) != ["attempt_id"]:
            raise WireError("ask with ?attempt_id= and nothing else")
        attempt_id = check_ulid(request.query["attempt_id"])
        answer = await self._desk.payments.find_by_attempt(attempt_id, enrolled)
        return make_response(_answer_payment(_found(answer), request[EXCHANGE]))

    async def _authenticate(self, request: web.Request) -> EnrolledTerminal:
        desk = self._desk
        enrolled = await desk.authenticator.authenticate_terminal(call_of(request), now_ms=desk.now_ms())
        request[EXCHANGE].caller = enrolled.terminal.terminal_id
        return enrolled


class TerminalResource:
    """`/v1/terminals`: a new one trades its one-time code for trust in its key; any opens sessions."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def enrol(self, request: web.Request) -> web.Response:
        """Activate a pending terminal; the same code with the same key answers again."""
        desk = self._desk
        body = await desk.intake.read_body(request)
        now_ms = desk.now_ms()
        # Before the body is parsed: an unsigned request is told so, whatever else is wrong with it.
        signed = desk.authenticator.parse_possession(call_of(request, body))
        message = parse_message(body, EnrolmentRequest)
        public_key = es256.load_public_key(message.public_key)
        desk.authenticator.verify_possession(signed, public_key, now_ms=now_ms)
        enrolled = await desk.merchants.enrol_terminal(
            message.code, public_key, message.software, now_ms=now_ms
        )
        request[EXCHANGE].caller = enrolled.terminal.terminal_id
        request[EXCHANGE].code = "enrolled"
        return _respond(
            EnrolmentAnswer(
                terminal_id=enrolled.terminal.terminal_id,
                merchant_id=enrolled.merchant.merchant_id,
                merchant_name=enrolled.merchant.name,
                location_name=enrolled.location.name,
                currency=enrolled.merchant.currency,
                gateway_time_ms=now_ms,
            )
        )

    async def open_session(self, request: web.Request) -> web.Response:
        """Agree on a key for the requests of the coming hours; asking again opens another session."""
        desk = self._desk
        body = await desk.intake.read_body(request)
        now_ms = desk.now_ms()
        enrolled = await desk.authenticator.authenticate_opening(call_of(request, body), now_ms=now_ms)
        request[EXCHANGE].caller = enrolled.terminal.terminal_id
        their_key = es256.load_public_key(parse_message(body, SessionRequest).public_key)
        assert enrolled.terminal.key_id is not None, "who has signed has a key"
        session_id = desk.sessions.open(enrolled.terminal.key_id, their_key, now_ms=now_ms)
        request[EXCHANGE].code = "session_opened"
        return _respond(
            SessionAnswer(
                session_id=session_id,
                public_key=desk.sessions.public_key,
                lifetime_ms=SESSION_LIFETIME_MS,
                gateway_time_ms=now_ms,
            ),
            status=201,
        )


class WalletResource:
    """`/v1/wallet`: what a holder's phone asks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create_payment_code(self, request: web.Request) -> web.Response:
        """Issue a numeric code, good for one payment within a minute."""
        desk = self._desk
        body = await desk.intake.read_body(request)
        now_ms = desk.now_ms()
        call = call_of(request, body)
        instrument, nonce = await desk.authenticator.authenticate_device(call, now_ms=now_ms)
        request[EXCHANGE].caller = instrument.instrument_id
        parse_message(body, PaymentCodeRequest)
        issued = await desk.holders.issue_payment_code(instrument, now_ms=now_ms, nonce=nonce)
        request[EXCHANGE].code = "code_issued"
        return _respond(PaymentCodeAnswer(code=issued.code, expires_ms=issued.expires_ms), status=201)


class HealthResource:
    """`/health`: for whoever restarts the process, and for whoever sends it requests."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def live(self, request: web.Request) -> web.Response:
        """Answer as long as the event loop turns."""
        return _respond({"status": "live"})

    async def ready(self, request: web.Request) -> web.Response:
        """Answer if a payment would be decided now."""
        if self._desk.intake.is_draining:
            raise GatewayError("the gateway is stopping", code="not_ready")
        await self._desk.store.check_health()
        return _respond({"status": "ready"})


def _found(answer: PaymentAnswer | None) -> PaymentAnswer:
    if answer is None:
        raise NotFound("no such payment")
    return answer


def _answer_payment(payment: PaymentAnswer, noted: Exchange, *, status: int = 200) -> Answer:
    noted.code = payment.outcome if payment.decline is None else payment.decline.code
    return answer_with(payment, status=status)


def _respond(message: object, *, status: int = 200) -> web.Response:
    return make_response(answer_with(message, status=status))
