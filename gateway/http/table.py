"""The one table of addresses: which method and path lead to which handler, and what is read before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.http.answers import Answer
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.http.resources.cards import CardResource
from gateway.http.resources.confirmations import ConfirmationResource
from gateway.http.resources.events import EventResource
from gateway.http.resources.health import HealthResource
from gateway.http.resources.intents import IntentResource
from gateway.http.resources.lives import LifeResource
from gateway.http.resources.offline import OfflineResource
from gateway.http.resources.payments import PaymentResource
from gateway.http.resources.receipts import ReceiptResource
from gateway.http.resources.shifts import ShiftResource
from gateway.http.resources.staff import StaffResource
from gateway.http.resources.terminals import TerminalResource
from gateway.http.resources.wallet import WalletResource
from wire.messages.cards import CARD_SESSIONS_TARGET
from wire.messages.offline import BATCHES_TARGET, CREDENTIALS_TARGET, ISSUER_TARGET, STATUS_LIST_TARGET
from wire.messages.shifts import OPEN_SHIFT_TARGET, SHIFTS_TARGET
from wire.messages.staff import SIGN_IN_TARGET, STAFF_TARGET

Handler = Callable[[SignedCall, Mapping[str, str], Exchange], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One address."""

    method: str
    pattern: str
    """A path whose segments may be parameters, `/v1/payments/{payment_id}`; without a query."""
    handle: Handler
    has_body: bool = False
    """Whether a JSON body is read, within its bounds, before the handler runs."""
    is_admitted: bool = False
    """Whether it counts among the payments that are decided at once (gateway/http/admission.py)."""
    answers_head: bool = False
    """Whether HEAD is answered as GET is, without the body."""


def make_table(desk: Desk) -> tuple[Route, ...]:
    """Return every address of the interface."""
    payments, terminals = PaymentResource(desk), TerminalResource(desk)
    lives, events = LifeResource(desk), EventResource(desk)
    wallet, confirmations = WalletResource(desk), ConfirmationResource(desk)
    intents, offline = IntentResource(desk), OfflineResource(desk)
    cards, staff, shifts = CardResource(desk), StaffResource(desk), ShiftResource(desk)
    health, receipts = HealthResource(desk), ReceiptResource(desk)
    return (
        Route("POST", "/v1/payments", payments.decide, has_body=True, is_admitted=True),
        Route("GET", "/v1/payments", payments.find_by_attempt),
        Route("GET", "/v1/payments/{payment_id}", payments.find),
        Route("POST", "/v1/payments/{payment_id}/captures", lives.capture, has_body=True),
        Route("POST", "/v1/payments/{payment_id}/voids", lives.void, has_body=True),
        Route("POST", "/v1/payments/{payment_id}/confirmations", lives.confirm, has_body=True),
        Route("POST", "/v1/payments/{payment_id}/refunds", lives.refund, has_body=True),
        Route("POST", "/v1/reversals", lives.reverse, has_body=True),
        Route("GET", "/v1/terminals/events", events.list),
        Route("POST", "/v1/terminals/enrol", terminals.enrol, has_body=True),
        Route("POST", "/v1/terminals/sessions", terminals.open_session, has_body=True),
        Route("GET", STAFF_TARGET, staff.list),
        Route("POST", SIGN_IN_TARGET, staff.sign_in, has_body=True),
        Route("POST", SHIFTS_TARGET, shifts.open, has_body=True),
        Route("GET", OPEN_SHIFT_TARGET, shifts.find_open),
        Route("GET", f"{SHIFTS_TARGET}/{{shift_id}}", shifts.find),
        Route("POST", f"{SHIFTS_TARGET}/{{shift_id}}/close", shifts.close, has_body=True),
        Route("POST", "/v1/wallet/payment-codes", wallet.create_payment_code, has_body=True),
        Route("POST", CREDENTIALS_TARGET, offline.issue_credential, has_body=True),
        Route("GET", ISSUER_TARGET, offline.find_issuer),
        Route("GET", STATUS_LIST_TARGET, offline.find_status_list),
        Route("POST", BATCHES_TARGET, offline.take_batch, has_body=True),
        Route("GET", "/v1/wallet/confirmations", confirmations.list),
        Route("POST", "/v1/wallet/confirmations", confirmations.decide, has_body=True),
        Route("POST", "/v1/intents", intents.create, has_body=True),
        Route("GET", "/v1/intents/{intent_id}", intents.view),
        Route("POST", "/v1/intents/{intent_id}/payments", intents.pay, has_body=True),
        Route("GET", "/v1/counters/{terminal_id}", intents.view_counter),
        Route("POST", "/v1/counters/{terminal_id}/payments", intents.pay_counter, has_body=True),
        Route("POST", CARD_SESSIONS_TARGET, cards.begin, has_body=True),
        Route("POST", f"{CARD_SESSIONS_TARGET}/{{session_id}}/answers", cards.take_answer, has_body=True),
        Route("GET", "/r/{name}", receipts.show, answers_head=True),
        Route("GET", "/health/live", health.live, answers_head=True),
        Route("GET", "/health/ready", health.ready, answers_head=True),
    )
