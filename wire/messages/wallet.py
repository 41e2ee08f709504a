"""What a holder's device asks of the gateway, signed with the device's own key."""

from __future__ import annotations

from typing import Annotated

import msgspec

from wire.ids import MERCHANT_ID_CHARS
from wire.messages.base import Message
from wire.messages.payments import (
    AmountMinor,
    CurrencyCode,
    PaymentState,
    UlidText,
    UnixMs,
)

MerchantId = Annotated[str, msgspec.Meta(min_length=MERCHANT_ID_CHARS, max_length=MERCHANT_ID_CHARS)]


class PaymentCodeRequest(Message, frozen=True):
    """Ask for a numeric payment code; the signing key says whose."""


class PaymentCodeAnswer(Message, frozen=True):
    """A numeric payment code, good for one payment until it expires."""

    code: Annotated[str, msgspec.Meta(pattern="^[0-9]{18}$", max_length=18)]
    expires_ms: UnixMs


class WaitingPayment(Message, frozen=True):
    """A payment that waits for its holder's yes or no."""

    payment_id: UlidText
    merchant_id: MerchantId
    merchant_name: str
    """As it is registered, whatever a sticker or a till says."""
    location_name: str
    amount_minor: AmountMinor
    currency: CurrencyCode
    instrument_label: str
    """What was tapped or shown."""
    code: str
    """Why it is asked, `confirm_…` of wire.notices."""
    confirm_by_ms: UnixMs


class WaitingPayments(Message, frozen=True):
    """Everything that waits for the holder of a wallet."""

    payments: list[WaitingPayment]


class HolderDecision(Message, frozen=True):
    """A holder's yes or no; the device's signature over the request covers every word of it."""

    decision_id: UlidText
    """The Idempotency-Key too."""
    payment_id: UlidText
    merchant_id: MerchantId
    amount_minor: AmountMinor
    currency: CurrencyCode
    agreed: bool


class WalletPayment(Message, frozen=True):
    """A payment as its holder sees it."""

    payment_id: UlidText
    state: PaymentState
    amount_minor: AmountMinor
    currency: CurrencyCode
    merchant_name: str
    location_name: str
    decided_ms: UnixMs
    holder_text: dict[str, str] = msgspec.field(default_factory=dict)
    """Why it was declined or closed, by language tag."""
