"""A till's own code: what it asks for, what a wallet is shown of it, and how a wallet pays it.

An intent's id is the attempt id under which it is paid (docs/adr/0007, decision 9), so asking what became of
it, giving it up and paying it twice are what they are for every attempt.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from wire.messages.base import Message
from wire.messages.payments import (
    AmountMinor,
    CurrencyCode,
    OrderDetails,
    OrderId,
    TokenBytes,
    UlidText,
    UnixMs,
)
from wire.messages.wallet import MerchantId

INTENTS_TARGET = "/v1/intents"
COUNTERS_TARGET = "/v1/counters"
INTENT_LINK = "/i/"
COUNTER_LINK = "/c/"
"""What follows the gateway's host in a code: then the intent's id, or the terminal's."""


class IntentRequest(Message, frozen=True):
    """Ask to be paid by code."""

    intent_id: UlidText
    """The attempt id; made once by the till, stored before it is sent; the Idempotency-Key too."""
    order_id: OrderId
    amount_minor: AmountMinor
    currency: CurrencyCode
    life_ms: Annotated[int, msgspec.Meta(ge=10_000, le=3_600_000)] | None = None
    """How long the code asks, from now; None leaves it to the gateway."""
    order: OrderDetails | None = None


class IntentAnswer(Message, frozen=True):
    """The code to show."""

    intent_id: UlidText
    code_text: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    """What the QR says: EMVCo merchant-presented, with a link to the intent."""
    expires_ms: UnixMs


class IntentView(Message, frozen=True):
    """What a till's code asks of whoever scans it, with the names as they are registered."""

    intent_id: UlidText
    """The attempt id under which it is paid, once."""
    merchant_id: MerchantId
    merchant_name: str
    location_name: str
    terminal_id: str
    amount_minor: AmountMinor
    currency: CurrencyCode
    expires_ms: UnixMs
    order: OrderDetails | None = None


class CounterView(Message, frozen=True):
    """What a counter's sticker leads to: the till's open intent, or a free amount up to a cap."""

    terminal_id: str
    merchant_id: MerchantId
    merchant_name: str
    location_name: str
    currency: CurrencyCode
    open_amount_max_minor: Annotated[int, msgspec.Meta(ge=0)]
    """What a payer may enter where the till asks for nothing; 0: nothing."""
    intent: IntentView | None = None


class IntentPayment(Message, frozen=True):
    """Pay what a till's code asks for; the token is bound to all of it."""

    attempt_id: UlidText
    """The intent's id; the Idempotency-Key too."""
    token: TokenBytes
    """As wire/tokens/bound_token.py makes it, by the key that signs the request."""


class CounterPayment(Message, frozen=True):
    """Pay a free amount at a counter's sticker; the token is bound to all of it."""

    attempt_id: UlidText
    """Made by the phone; the Idempotency-Key too."""
    amount_minor: AmountMinor
    currency: CurrencyCode
    token: TokenBytes
    """As wire/tokens/bound_token.py makes it, by the key that signs the request."""
