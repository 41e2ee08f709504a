"""What a sale asks: terms of a card, a payment of the gateway."""

from __future__ import annotations

from typing import Final

from terminal.presentations import Presented
from terminal.sale.ports import SaleFacts, SalePorts
from wire.cards.payment_terms import NONCE_BYTES, QUALIFIERS_OFFLINE, QUALIFIERS_ONLINE, PaymentTerms
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import PaymentRequest

CARD_EXCHANGE_MS_MAX: Final = 60_000


def make_terms(facts: SaleFacts, ports: SalePorts) -> PaymentTerms:
    """Return terms for one SELECT, with a fresh nonce; may be called in the readers' own threads."""
    is_offline = ports.offline is not None and ports.offline.is_offline
    return PaymentTerms(
        amount=facts.amount,
        nonce=ports.entropy(NONCE_BYTES),
        merchant_id=ports.enrolment.merchant_id,
        terminal_id=ports.enrolment.terminal_id,
        at_s=ports.now_ms() // 1000,
        qualifiers=QUALIFIERS_OFFLINE if is_offline else QUALIFIERS_ONLINE,
    )


def make_payment(presented: Presented, facts: SaleFacts, ports: SalePorts) -> PaymentRequest:
    """Return the attempt to pay a sale with what was presented, under an id of its own."""
    now_ms = ports.now_ms()
    age_ms = max(0, ports.monotonic_ns() - presented.complete_ns) // 1_000_000
    exchange_ms = presented.card_exchange_ms
    return PaymentRequest(
        attempt_id=make_ulid(now_ms, ports.entropy(ENTROPY_BYTES)),
        order_id=facts.order_id,
        amount_minor=facts.amount.minor,
        currency=facts.amount.currency.code,
        presentation=presented.presentation,
        presented_ms=now_ms - age_ms,
        card_exchange_ms=None if exchange_ms is None else min(max(exchange_ms, 0), CARD_EXCHANGE_MS_MAX),
        capture=facts.capture,
        tip_max_minor=facts.tip_max_minor,
        order=facts.order,
    )
