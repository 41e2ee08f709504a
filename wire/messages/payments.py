"""A payment as a till asks for it, and the answer the gateway stands by."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from wire.messages.base import Message

# Python's `$` also matches before a final newline; max_length closes that gap in a form that the
# generated schema can carry too.
UlidText = Annotated[str, msgspec.Meta(pattern="^[0-7][0-9A-HJKMNP-TV-Z]{25}$", max_length=26)]
OrderId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$(?!\n)")]
CurrencyCode = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$", max_length=3)]
AmountMinor = Annotated[int, msgspec.Meta(ge=1, le=999_999_999_999)]
UnixMs = Annotated[int, msgspec.Meta(ge=0, le=(1 << 48) - 1)]
TokenBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=1024)]


class EntryMode(StrEnum):
    """How a payment was presented; the order is from the strongest proof to the weakest."""

    NFC_APP = "nfc_app"
    """A phone or applet card signed this amount at this terminal."""
    QR_CONSUMER = "qr_consumer"
    """A code on the payer's screen, signed by the payer's device, capped, short-lived."""
    NFC_SDM = "nfc_sdm"
    """An NTAG 424 DNA card's one-time link: fresh, but bound to no amount."""
    CODE_NUMERIC = "code_numeric"
    """Eighteen digits issued by the gateway: a bearer code."""


class NfcAppPresentation(Message, frozen=True, tag_field="entry_mode", tag="nfc_app"):
    """The bound token a payment application returned."""

    token: TokenBytes


class QrConsumerPresentation(Message, frozen=True, tag_field="entry_mode", tag="qr_consumer"):
    """The unbound token taken out of the payer's QR code."""

    token: TokenBytes


class NfcSdmPresentation(Message, frozen=True, tag_field="entry_mode", tag="nfc_sdm"):
    """The two dynamic parameters of an NTAG 424 DNA link, as upper-case hexadecimal text."""

    picc_data_hex: Annotated[str, msgspec.Meta(pattern="^[0-9A-F]{32}$", max_length=32)]
    mac_hex: Annotated[str, msgspec.Meta(pattern="^[0-9A-F]{16}$", max_length=16)]


class CodeNumericPresentation(Message, frozen=True, tag_field="entry_mode", tag="code_numeric"):
    """A numeric payment code as scanned or typed."""

    code: Annotated[str, msgspec.Meta(pattern="^[0-9]{18}$", max_length=18)]


Presentation = NfcAppPresentation | QrConsumerPresentation | NfcSdmPresentation | CodeNumericPresentation

_ENTRY_MODES: Final[dict[type[Presentation], EntryMode]] = {
    kind: EntryMode(str(kind.__struct_config__.tag))
    for kind in (NfcAppPresentation, QrConsumerPresentation, NfcSdmPresentation, CodeNumericPresentation)
}


def entry_mode_of(presentation: Presentation) -> EntryMode:
    """Return how this presentation was made."""
    return _ENTRY_MODES[type(presentation)]


class PaymentRequest(Message, frozen=True):
    """One attempt to pay an order with what was presented.

    `attempt_id` is made once per presentation, stored before the first send, and resent unchanged.
    """

    attempt_id: UlidText
    order_id: OrderId
    amount_minor: AmountMinor
    currency: CurrencyCode
    presentation: Presentation
    presented_ms: UnixMs
    """Unix milliseconds, by the terminal's clock, at which the presentation was complete."""
    card_exchange_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = None
    """Round-trip time of the card's signing command, where there was one (relay scoring)."""


class Decline(Message, frozen=True):
    """Why a payment was declined, for whoever reads it."""

    code: str
    retryable: bool
    """Whether this same request, unchanged, may succeed later."""
    cashier_text: dict[str, str]
    """By language tag: `en`, `zh-Hans`."""
    holder_text: dict[str, str]


class ReceiptFacts(Message, frozen=True):
    """What a receipt of an approved payment states."""

    receipt_number: str
    merchant_name: str
    location_name: str
    instrument_label: str
    """Enough for the payer to know which card it was, too little for anybody else: `Card ·· 4821`."""


class PaymentAnswer(Message, frozen=True):
    """The gateway's final word on an attempt; the same attempt id always gets the same answer."""

    payment_id: UlidText
    attempt_id: UlidText
    order_id: OrderId
    outcome: Literal["approved", "declined"]
    amount_minor: AmountMinor
    currency: CurrencyCode
    entry_mode: EntryMode
    terminal_id: str
    decided_ms: UnixMs
    decline: Decline | None = None
    receipt: ReceiptFacts | None = None
