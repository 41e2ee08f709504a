"""Every failure as RFC 9457 problem details; the one table from code to HTTP status."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from aiohttp import web

from gateway.errors import GatewayError
from gateway.http.answers import Answer, make_response
from wire.errors import WireError
from wire.messages.base import dump_message
from wire.messages.problem import PROBLEM_CONTENT_TYPE, Problem
from wire.notices import NOTICES

PROBLEM_TYPE_PREFIX: Final = "urn:tapscan:problem:"
REQUEST_URN_PREFIX: Final = "urn:tapscan:request:"
RETRY_AFTER_S: Final = 1
INTERNAL: Final = "internal"
MALFORMED: Final = "malformed"

STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        MALFORMED: 400,
        "id_invalid": 400,
        "digest_mismatch": 400,
        "signature_missing": 401,
        "signature_invalid": 401,
        "signature_expired": 401,
        "nonce_replayed": 401,
        "session_unknown": 401,
        "terminal_unknown": 401,
        "device_unknown": 401,
        "terminal_revoked": 403,
        "device_suspended": 403,
        "offline_not_offered": 403,
        "enrolment_code_invalid": 403,
        "not_found": 404,
        "method_not_allowed": 405,
        "staff_not_allowed": 403,
        "staff_locked": 403,
        "staff_tag_invalid": 403,
        "staff_proof_needed": 403,
        "shift_is_open": 409,
        "pin_wrong": 403,
        "pin_is_locked": 403,
        "idempotency_conflict": 409,
        "payment_not_open": 409,
        "payer_wallet_frozen": 409,
        "merchant_funds_insufficient": 409,
        "refund_total_passed": 409,
        "refund_limit_exceeded": 409,
        "confirmation_way_not_allowed": 409,
        "confirmation_differs": 409,
        "intent_expired": 409,
        "counter_closed": 409,
        "key_already_enrolled": 409,
        "card_code_invalid": 403,
        "card_session_over": 409,
        "card_session_out_of_step": 409,
        "body_too_large": 413,
        "unsupported_media_type": 415,
        "amount_invalid": 422,
        "capture_exceeds_hold": 422,
        "refund_exceeds_payment": 422,
        "currency_unknown": 422,
        "allowance_not_covered": 422,
        INTERNAL: 500,
        "gateway_busy": 503,
        "store_unavailable": 503,
        "not_ready": 503,
    }
)
_CODE_OF_HTTP_ERROR: Final = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


class MethodNotAllowed(GatewayError):
    """The path is known, and not for this method."""

    code = "method_not_allowed"

    def __init__(
        self, detail: str = "", *, code: str | None = None, allowed_methods: Collection[str] = ()
    ) -> None:
        super().__init__(detail, code=code)
        self.allowed_methods = allowed_methods


def code_of(error: Exception) -> str:
    """Return the problem code an exception is answered with; always a key of STATUS.

    What is neither ours nor aiohttp's, and what of ours is no business of the caller's, is `internal`.
    """
    match error:
        case GatewayError():
            return error.code if error.code in STATUS else INTERNAL
        case WireError():
            return error.code if error.code in STATUS else MALFORMED
        case web.HTTPException():
            fallback = MALFORMED if 400 <= error.status < 500 else INTERNAL
            return _CODE_OF_HTTP_ERROR.get(error.status, fallback)
        case _:
            return INTERNAL


def problem_of(error: Exception, *, request_id: str) -> Problem:
    """Return the problem details of an exception; they hold nothing the caller did not send."""
    code = code_of(error)
    notice = NOTICES[code]
    return Problem(
        type=f"{PROBLEM_TYPE_PREFIX}{code}",
        title=notice.cashier_en,
        status=STATUS[code],
        code=code,
        retryable=notice.retryable,
        detail=_detail_of(error, code),
        instance=f"{REQUEST_URN_PREFIX}{request_id}",
        cashier_text=notice.cashier_text,
        holder_text=notice.holder_text,
    )


def answer_problem(error: Exception, *, request_id: str) -> Answer:
    """Return the answer to a request that failed."""
    problem = problem_of(error, request_id=request_id)
    fields: tuple[tuple[str, str], ...] = ()
    if problem.status == 401:
        # RFC 9110 section 15.5.2 asks for a challenge with every 401.
        fields += (("WWW-Authenticate", 'Signature realm="tapscan"'),)
    if problem.retryable:
        fields += (("Retry-After", str(RETRY_AFTER_S)),)
    if isinstance(error, web.HTTPMethodNotAllowed | MethodNotAllowed):
        fields += (("Allow", ", ".join(sorted(error.allowed_methods))),)
    return Answer(problem.status, PROBLEM_CONTENT_TYPE, dump_message(problem), fields)


def respond_with_problem(error: Exception, *, request_id: str) -> web.Response:
    """Return the answer to a request that failed, as aiohttp sends it."""
    return make_response(answer_problem(error, request_id=request_id))


def _detail_of(error: Exception, code: str) -> str | None:
    # Above 499 the words are about our insides; below, WireError and GatewayError never hold input.
    if STATUS[code] >= 500 or not isinstance(error, WireError | GatewayError):
        return None
    detail = str(error)
    return detail if detail and detail != error.code else None
