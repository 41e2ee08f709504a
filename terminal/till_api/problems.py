"""Every failure of the till's interface as RFC 9457 problem details, with its HTTP status."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from wire.messages.base import dump_message
from wire.messages.problem import PROBLEM_CONTENT_TYPE, Problem
from wire.notices import NOTICES

STATUS_OF: Final = {
    "malformed": 400,
    "id_invalid": 400,
    "unauthorised": 401,
    "page_link_needed": 401,
    "host_not_allowed": 403,
    "origin_not_allowed": 403,
    "page_link_invalid": 403,
    "offline_not_offered": 403,
    "terminal_revoked": 403,
    "staff_not_allowed": 403,
    "staff_locked": 403,
    "staff_tag_invalid": 403,
    "staff_proof_needed": 403,
    "staff_sign_in_needed": 403,
    "staff_right_missing": 403,
    "tag_read_waiting": 409,
    "shift_is_open": 409,
    "shift_not_open": 409,
    "staff_sign_in_offline": 503,
    "shift_orders_full": 503,
    "printer_unavailable": 503,
    "pin_wrong": 403,
    "pin_is_locked": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "sale_in_progress": 409,
    "sale_submitting": 409,
    "sale_finished": 409,
    "attempt_reversing": 409,
    "sale_not_confirming": 409,
    "payment_not_open": 409,
    "idempotency_conflict": 409,
    "merchant_funds_insufficient": 409,
    "refund_total_passed": 409,
    "refund_limit_exceeded": 409,
    "payer_wallet_frozen": 409,
    "confirmation_way_not_allowed": 409,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "amount_invalid": 422,
    "capture_exceeds_hold": 422,
    "refund_exceeds_payment": 422,
    "currency_unknown": 422,
    "internal": 500,
    "journal_unwritable": 503,
    "gateway_unreachable": 503,
    "gateway_busy": 503,
    "store_unavailable": 503,
    "too_many_watchers": 503,
    "not_ready": 503,
}
"""Status by code; a code that is not here is our bug and is told as `internal`."""

_CODE_OF_STATUS: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def make_problem(code: str, detail: str = "") -> web.Response:
    """Return the response for a code; unknown codes become `internal`, so that none leaks half-told."""
    known = code if code in STATUS_OF else "internal"
    notice = NOTICES[known]
    problem = Problem(
        type=f"urn:tapscan:problem:{known}",
        title=notice.cashier_en,
        status=STATUS_OF[known],
        code=known,
        retryable=notice.retryable,
        detail=detail or None,
        cashier_text=notice.cashier_text,
    )
    response = web.Response(
        status=problem.status, body=dump_message(problem), content_type=PROBLEM_CONTENT_TYPE
    )
    if problem.status == 401:
        # RFC 9110 section 15.5.2 asks for a challenge with every 401.
        response.headers["WWW-Authenticate"] = 'Bearer realm="till"'
    return response


def make_problem_of_http(error: web.HTTPException) -> web.Response:
    """Translate what the HTTP library raises by itself: no such route, wrong method, a body too large."""
    return make_problem(_CODE_OF_STATUS.get(error.status, "malformed"))
