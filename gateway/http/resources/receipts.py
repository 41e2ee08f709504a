"""`/r/{name}`: the public page of a receipt. Nobody is asked who they are: who has the name has the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.http.answers import Answer
from gateway.http.calls import SignedCall, find_field, read_query
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.receipts import words
from gateway.receipts.page import POLICY, render_problem, render_receipt
from gateway.receipts.words import Language, choose_language
from wire.errors import WireError
from wire.messages.base import parse_message
from wire.messages.payments import OrderDetails

HTML: Final = "text/html; charset=utf-8"
_FIELDS: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Robots-Tag", "noindex, nofollow"),
)
"""A name that is known opens the page: no cache, no search engine and no other site is to learn it."""


class ReceiptResource:
    """Pages for people; every answer is one, also that there is none."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def show(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Show what became of a payment."""
        language = _language_of(call)
        payment_id = self._desk.receipt_pages.payment_of(parameters["name"])
        if payment_id is None:
            return _refuse(noted, language, 404)
        if not self._desk.page_rate.take(self._desk.now_ms()):
            return _refuse(noted, language, 503)
        found = await self._desk.store.find_receipt(payment_id)
        if found is None:
            return _refuse(noted, language, 404)
        details = found.order_details
        order = None if details is None else parse_message(details, OrderDetails)
        return Answer(200, HTML, render_receipt(found.payment, order, language), _FIELDS)


def _refuse(noted: Exchange, language: Language, status: int) -> Answer:
    if status == 404:
        noted.code = "not_found"
        return Answer(404, HTML, render_problem(words.NO_PAGE, words.NO_PAGE_HINT, language), _FIELDS)
    noted.code = "gateway_busy"
    page = render_problem(words.BUSY, words.BUSY_HINT, language)
    return Answer(503, HTML, page, (*_FIELDS, ("Retry-After", "1")))


def _language_of(call: SignedCall) -> Language:
    try:
        asked = read_query(call, ("lang",)).get("lang")
    except WireError:
        # Mail and chat programs add parameters of their own to addresses.
        asked = None
    return choose_language(asked, find_field(call.headers, "Accept-Language"))
