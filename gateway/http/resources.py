"""The handlers: payments, enrolment, payment codes, health."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.entropy import Entropy, draw_ulid
from gateway.errors import GatewayError, NotFound
from gateway.holders.service import HolderService
from gateway.http.authentication import Authenticator
from gateway.http.bodies import Intake, respond
from gateway.http.exchange import CALLER, OUTCOME
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
from wire.messages.wallet import PaymentCodeAnswer, PaymentCodeRequest


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers work with; made once by the composition root."""

    store: Store
    payments: PaymentService
    merchants: MerchantService
    holders: HolderService
    authenticator: Authenticator
    intake: Intake
    now_ms: Callable[[], int]
    entropy: Entropy


class PaymentResource:
    """`/v1/payments`: a terminal pays, and asks what became of it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, request: web.Request) -> web.Response:
        """Decide an attempt: 201 with the answer, approved or declined; 200 if it was decided before."""
        desk = self._desk
        body = await desk.intake.read_body(request)
        now_ms = desk.now_ms()
        enrolled, signed = await desk.authenticator.identify_terminal(request, body, now_ms=now_ms)
        request[CALLER] = enrolled.terminal.terminal_id
        message = parse_message(body, PaymentRequest)
        if signed.idempotency_key != message.attempt_id:
            raise WireError("Idempotency-Key must be the attempt_id")
        payment_id = draw_ulid(desk.entropy, now_ms)
        answer = await desk.payments.pay(message, enrolled, payment_id=payment_id, now_ms=now_ms)
        # An answer under another payment id is the first decision, told again.
        return _respond_with_payment(request, answer, status=201 if answer.payment_id == payment_id else 200)

    async def find(self, request: web.Request) -> web.Response:
        """Return a payment of the caller's merchant by its id."""
        enrolled = await self._authenticate(request)
        payment_id = check_ulid(request.match_info["payment_id"])
        answer = await self._desk.payments.find(payment_id, enrolled)
        return _respond_with_payment(request, _found(answer))

    async def find_by_attempt(self, request: web.Request) -> web.Response:
        """Return what became of an attempt of the caller, by `?attempt_id=`."""
        enrolled = await self._authenticate(request)
        if list(request.query) != ["attempt_id"]:
            raise WireError("ask with ?attempt_id= and nothing else")
        attempt_id = check_ulid(request.query["attempt_id"])
        answer = await self._desk.payments.find_by_attempt(attempt_id, enrolled)
        return _respond_with_payment(request, _found(answer))

    async def _authenticate(self, request: web.Request) -> EnrolledTerminal:
        desk = self._desk
        enrolled = await desk.authenticator.authenticate_terminal(request, b"", now_ms=desk.now_ms())
        request[CALLER] = enrolled.terminal.terminal_id
        return enrolled


class TerminalResource:
    """`/v1/terminals/enrol`: a new terminal trades its one-time code for trust in its key."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def enrol(self, request: web.Request) -> web.Response:
        """Activate a pending terminal; the same code with the same key answers again."""
        desk = self._desk
        body = await desk.intake.read_body(request)
        now_ms = desk.now_ms()
        # Before the body is parsed: an unsigned request is told so, whatever else is wrong with it.
        signed = desk.authenticator.parse_possession(request, body)
        message = parse_message(body, EnrolmentRequest)
        public_key = es256.load_public_key(message.public_key)
        desk.authenticator.verify_possession(signed, public_key, now_ms=now_ms)
        enrolled = await desk.merchants.enrol_terminal(
            message.code, public_key, message.software, now_ms=now_ms
        )
        request[CALLER] = enrolled.terminal.terminal_id
        request[OUTCOME] = "enrolled"
        return respond(
            EnrolmentAnswer(
                terminal_id=enrolled.terminal.terminal_id,
                merchant_id=enrolled.merchant.merchant_id,
                merchant_name=enrolled.merchant.name,
                location_name=enrolled.location.name,
                currency=enrolled.merchant.currency,
                gateway_time_ms=now_ms,
            )
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
        instrument = await desk.authenticator.authenticate_device(request, body, now_ms=now_ms)
        request[CALLER] = instrument.instrument_id
        parse_message(body, PaymentCodeRequest)
        issued = await desk.holders.issue_payment_code(instrument, now_ms=now_ms)
        request[OUTCOME] = "code_issued"
        return respond(PaymentCodeAnswer(code=issued.code, expires_ms=issued.expires_ms), status=201)


class HealthResource:
    """`/health`: for whoever restarts the process, and for whoever sends it requests."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def live(self, request: web.Request) -> web.Response:
        """Answer as long as the event loop turns."""
        return respond({"status": "live"})

    async def ready(self, request: web.Request) -> web.Response:
        """Answer if a payment would be decided now."""
        if self._desk.intake.is_draining:
            raise GatewayError("the gateway is stopping", code="not_ready")
        await self._desk.store.check_health()
        return respond({"status": "ready"})


def _found(answer: PaymentAnswer | None) -> PaymentAnswer:
    if answer is None:
        raise NotFound("no such payment")
    return answer


def _respond_with_payment(request: web.Request, answer: PaymentAnswer, *, status: int = 200) -> web.Response:
    request[OUTCOME] = answer.outcome if answer.decline is None else answer.decline.code
    return respond(answer, status=status)
