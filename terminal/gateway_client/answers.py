"""What a reply must be to be believed: of the agreed form, about what was asked, at one with itself."""

from __future__ import annotations

from typing import Final, TypeVar

from terminal.errors import GatewayUnreachable
from terminal.gateway_client.transport import Reply
from wire.errors import WireError
from wire.ids import check_merchant_id, check_terminal_id
from wire.messages.base import parse_message
from wire.messages.enrolment import EnrolmentAnswer
from wire.messages.payments import (
    OUTCOME_OF,
    PaymentAnswer,
    PaymentRequest,
    ReversalRequest,
    entry_mode_of,
)
from wire.messages.problem import PROBLEM_CONTENT_TYPE
from wire.messages.terminals import TerminalNotice
from wire.money import find_currency

JSON_CONTENT_TYPE: Final = "application/json"

_OF_NO_FORM: Final = "the gateway's answer is not of the agreed form"

T = TypeVar("T")


def is_an_answer(reply: Reply) -> bool:
    """Say whether a gateway spoke, and no proxy or page in its place."""
    if reply.content_type == PROBLEM_CONTENT_TYPE:
        return True
    return reply.status in (200, 201) and reply.content_type == JSON_CONTENT_TYPE


def is_alive(reply: Reply) -> bool:
    """Say whether a probe found it."""
    return reply.status == 200


def read_reply(reply: Reply, kind: type[T]) -> T:
    """Return a reply as a message of this kind.

    Raises:
        GatewayUnreachable: it is not of the agreed form: nothing was learnt.
    """
    return _read(reply.body, kind)


def believe_answer(reply: Reply, request: PaymentRequest | ReversalRequest) -> PaymentAnswer:
    """Return what a reply says of an attempt.

    Raises:
        GatewayUnreachable: it is about something else, or contradicts itself: nothing was learnt.
    """
    answer = read_reply(reply, PaymentAnswer)
    if not is_about(answer, request):
        raise GatewayUnreachable("the gateway's answer is about something else than was sent")
    if not is_consistent(answer):
        raise GatewayUnreachable("the gateway's answer contradicts itself")
    return answer


def is_about(answer: PaymentAnswer, request: PaymentRequest | ReversalRequest) -> bool:
    """Say whether an answer is about this very attempt, word for word."""
    if isinstance(request, PaymentRequest):
        entry_mode = entry_mode_of(request.presentation)
    else:
        entry_mode = request.entry_mode
    echoed = (answer.attempt_id, answer.order_id, answer.amount_minor, answer.currency, answer.entry_mode)
    return echoed == (
        request.attempt_id,
        request.order_id,
        request.amount_minor,
        request.currency,
        entry_mode,
    )


def is_consistent(answer: PaymentAnswer) -> bool:
    """Say whether an answer's outcome, state and reasons fit together."""
    return (
        OUTCOME_OF.get(answer.state) == answer.outcome
        and (answer.outcome in ("declined", "closed")) == (answer.decline is not None)
        and (answer.outcome == "requires_confirmation") == (answer.confirmation is not None)
    )


def believe_enrolment(reply: Reply) -> EnrolmentAnswer:
    """Return who the gateway says this terminal is.

    Raises:
        GatewayUnreachable: it is not of the agreed form.
    """
    answer = read_reply(reply, EnrolmentAnswer)
    try:
        check_terminal_id(answer.terminal_id)
        check_merchant_id(answer.merchant_id)
        find_currency(answer.currency)
    except WireError:
        raise GatewayUnreachable(_OF_NO_FORM) from None
    return answer


def parse_notice(data: bytes) -> TerminalNotice:
    """Return an event of the gateway's stream; raises as `read_reply`."""
    return _read(data, TerminalNotice)


def _read(data: bytes, kind: type[T]) -> T:
    try:
        return parse_message(data, kind)
    except WireError:
        raise GatewayUnreachable(_OF_NO_FORM) from None
