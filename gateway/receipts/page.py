"""A receipt page: what is said of a payment as it stands now, and no more of its payer than on paper."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Final

import jinja2

from gateway.payments.model import PaymentRecord
from gateway.receipts import words
from gateway.receipts.words import Language, Words
from wire.messages.payments import OrderDetails, PaymentState
from wire.money import Money, find_currency
from wire.notices import find_notice

_TEMPLATES: Final = resources.files(__package__) / "templates"
STYLE: Final = (_TEMPLATES / "receipt.css").read_text(encoding="utf-8")
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Nothing is loaded, nothing is sent, nothing runs; the one style is known by its hash."""

# Autoescape: names of shops and goods come from outside. Undefined names are our own bug.
_ENVIRONMENT: Final = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATE: Final = _ENVIRONMENT.from_string((_TEMPLATES / "receipt.html").read_text(encoding="utf-8"))

_SIGNS: Final = {"good": "✓", "open": "…", "back": "↩", "bad": "✕"}
"""A shape beside the words, so that colour is never the only sign."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    kind: str
    words: Words
    hint: Words | None = None


def render_receipt(payment: PaymentRecord, order: OrderDetails | None, language: Language) -> bytes:
    """Return the page of a payment as it stands, with what its order was for."""
    verdict = _verdict_of(payment)
    shown = payment.life.charged_minor or payment.amount_minor
    return _render(
        language,
        kind=verdict.kind,
        headings=[payment.merchant_name, payment.location_name],
        verdict=verdict.words.in_language(language),
        hint=None if verdict.hint is None else verdict.hint.in_language(language),
        amount=_money(payment, shown),
        sums=[(label.in_language(language), text) for label, text in _sums(payment, order)],
        items_title=words.ITEMS.in_language(language),
        item_title=words.ITEM.in_language(language),
        price_title=words.PRICE.in_language(language),
        items=_items(payment, order, language),
        facts_title=words.DETAILS.in_language(language),
        facts=_facts(payment, language),
    )


def render_problem(title: Words, hint: Words, language: Language) -> bytes:
    """Return the page that stands where no receipt can be shown."""
    return _render(
        language,
        kind="bad",
        headings=[],
        verdict=title.in_language(language),
        hint=hint.in_language(language),
        amount="",
        sums=[],
        items=[],
        facts=[],
    )


def _render(language: Language, *, kind: str, **content: object) -> bytes:
    page = _TEMPLATE.render(
        content,
        language=language.value,
        title=words.TITLE.in_language(language),
        as_of=words.AS_OF.in_language(language),
        kind=kind,
        sign=_SIGNS[kind],
        style=STYLE,
    )
    return page.encode("utf-8")


def _verdict_of(payment: PaymentRecord) -> _Verdict:
    life = payment.life
    if life.state is PaymentState.SUCCEEDED:
        if life.refunded_minor >= life.charged_minor:
            return _Verdict("back", words.REFUNDED)
        offline = words.OFFLINE if payment.is_offline else None
        return _Verdict("good", words.PARTLY_REFUNDED if life.refunded_minor else words.PAID, offline)
    if life.state is PaymentState.DECLINED:
        code = payment.decline_code or life.code
        notice = None if code is None else find_notice(code)
        hint = None if notice is None else Words(notice.holder_text["en"], notice.holder_text["zh-Hans"])
        return _Verdict("bad", words.DECLINED, hint)
    return _OTHERS[life.state]


_OTHERS: Final = {
    PaymentState.REQUIRES_CONFIRMATION: _Verdict("open", words.WAITING),
    PaymentState.AUTHORISED: _Verdict("open", words.HELD),
    PaymentState.VOIDED: _Verdict("back", words.CANCELLED),
    PaymentState.EXPIRED: _Verdict("back", words.EXPIRED),
    PaymentState.REVERSED: _Verdict("back", words.REVERSED),
}


def _sums(payment: PaymentRecord, order: OrderDetails | None) -> list[tuple[Words, str]]:
    sums = [
        (words.TIP, payment.life.tip_minor),
        (words.TAX, 0 if order is None else order.tax_minor),
        (words.REFUNDED_MINOR, payment.life.refunded_minor),
    ]
    return [(label, _money(payment, minor)) for label, minor in sums if minor]


def _items(payment: PaymentRecord, order: OrderDetails | None, language: Language) -> list[tuple[str, str]]:
    lines = () if order is None else order.lines
    keyed = words.AMOUNT.in_language(language)
    named = [(line, line.name or keyed) for line in lines]
    return [
        (f"{line.quantity} × {name}" if line.quantity > 1 else name, _money(payment, line.total_minor))
        for line, name in named
    ]


def _facts(payment: PaymentRecord, language: Language) -> list[tuple[str, str]]:
    facts = [
        (words.NUMBER, payment.receipt_number or ""),
        (words.TIME, datetime.fromtimestamp(payment.decided_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")),
        (words.PRESENTED_BY, words.ENTRY_MODES[payment.entry_mode].in_language(language)),
        (words.PAID_WITH, payment.instrument_label or ""),
        (words.ORDER, payment.order_id),
        (words.TILL, payment.terminal_id),
        (words.PAYMENT, payment.payment_id),
    ]
    return [(label.in_language(language), text) for label, text in facts if text]


def _money(payment: PaymentRecord, minor: int) -> str:
    return str(Money(minor, find_currency(payment.currency)))
