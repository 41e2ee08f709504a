"""A payment as a till asks for it, the answer the gateway stands by, and what may happen to it later."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from wire.messages.base import Message
from wire.notices import NextStep

LINES_MAX: Final = 50
"""Line items of one order."""

# Python's `$` also matches before a final newline; max_length closes that gap in a form that the
# generated schema can carry too.
UlidText = Annotated[str, msgspec.Meta(pattern="^[0-7][0-9A-HJKMNP-TV-Z]{25}$", max_length=26)]
OrderId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$(?!\n)")]
CurrencyCode = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$", max_length=3)]
AmountMinor = Annotated[int, msgspec.Meta(ge=1, le=999_999_999_999)]
AmountOrNothing = Annotated[int, msgspec.Meta(ge=0, le=999_999_999_999)]
Pin = Annotated[str, msgspec.Meta(pattern="^[0-9]{4,12}$", max_length=12)]
UnixMs = Annotated[int, msgspec.Meta(ge=0, le=(1 << 48) - 1)]
PiccDataHex = Annotated[str, msgspec.Meta(pattern="^[0-9A-F]{32}$", max_length=32)]
SunMacHex = Annotated[str, msgspec.Meta(pattern="^[0-9A-F]{16}$", max_length=16)]
TokenBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=1024)]


class EntryMode(StrEnum):
    """How a payment was presented; the order is from the strongest proof to the weakest."""

    NFC_APP = "nfc_app"
    """A phone or applet card signed this amount at this terminal."""
    QR_MERCHANT = "qr_merchant"
    """The till's code, paid on the holder's own device, which showed and signed merchant and amount."""
    QR_CONSUMER = "qr_consumer"
    """A code on the payer's screen, signed by the payer's device, capped, short-lived."""
    NFC_SDM = "nfc_sdm"
    """An NTAG 424 DNA card's one-time link: fresh, but bound to no amount."""
    CODE_NUMERIC = "code_numeric"
    """Eighteen digits issued by the gateway: a bearer code."""


class PaymentState(StrEnum):
    """Where a payment stands; gateway/payments/states.py has the table of transitions."""

    CREATED = "created"
    """A merchant's code is shown and nobody has paid it yet."""
    REQUIRES_CONFIRMATION = "requires_confirmation"
    """The money is held until its holder agrees, or the time for that is over."""
    AUTHORISED = "authorised"
    """The money is held until it is captured, voided, or the hold is over."""
    SUCCEEDED = "succeeded"
    """Paid. Refunds are objects of their own and don't change this."""
    DECLINED = "declined"
    VOIDED = "voided"
    """Let go by the till before it was paid."""
    EXPIRED = "expired"
    """Nobody confirmed or captured it in time; everything held was given back."""
    REVERSED = "reversed"
    """Paid, then given back whole because its till could not know that it was paid."""


class CaptureMode(StrEnum):
    """When an approved payment is charged."""

    AUTOMATIC = "automatic"
    """At once."""
    MANUAL = "manual"
    """Held first, charged by a capture."""


class ConfirmationWay(StrEnum):
    """How a holder can agree to a payment that requires it."""

    PIN = "pin"
    """Entered at the till, judged by the gateway."""
    DEVICE = "device"
    """Signed on the holder's own phone, over payment, amount and merchant."""
    CARD = "card"
    """Proven by the card itself, which the gateway challenges at the till: no copy of its link can."""


class NfcAppPresentation(Message, frozen=True, tag_field="entry_mode", tag="nfc_app"):
    """The bound token a payment application returned."""

    token: TokenBytes


class QrConsumerPresentation(Message, frozen=True, tag_field="entry_mode", tag="qr_consumer"):
    """The unbound token taken out of the payer's QR code."""

    token: TokenBytes


class NfcSdmPresentation(Message, frozen=True, tag_field="entry_mode", tag="nfc_sdm"):
    """The two dynamic parameters of an NTAG 424 DNA link, as upper-case hexadecimal text."""

    picc_data_hex: PiccDataHex
    mac_hex: SunMacHex


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


class LineItem(Message, frozen=True):
    """One line of an order, as its receipt shows it; all money includes its tax."""

    total_minor: AmountOrNothing
    """Of the whole line."""
    name: Annotated[str, msgspec.Meta(max_length=80)] = ""
    """Empty: an amount that somebody keyed in; whoever shows the line says so in the reader's language."""
    quantity: Annotated[int, msgspec.Meta(ge=1, le=99_999)] = 1
    tax_minor: AmountOrNothing = 0
    """What of it is tax."""


class OrderDetails(Message, frozen=True):
    """What an order is for. Several attempts may share one: together they never pass its amount."""

    amount_minor: AmountMinor
    """All of it, tax included, tips not."""
    tax_minor: AmountOrNothing = 0
    lines: Annotated[tuple[LineItem, ...], msgspec.Meta(max_length=LINES_MAX)] = ()
    """Where there are any, they add up to the amount."""

    def __post_init__(self) -> None:
        if self.tax_minor > self.amount_minor:
            raise ValueError("tax_minor is more than amount_minor")
        if self.lines and sum(line.total_minor for line in self.lines) != self.amount_minor:
            raise ValueError("the lines don't add up to amount_minor")
        if any(line.tax_minor > line.total_minor for line in self.lines):
            raise ValueError("a line's tax_minor is more than its total_minor")


class PaymentRequest(Message, frozen=True):
    """One attempt to pay an order with what was presented.

    `attempt_id` is made once per presentation, stored before the first send, and resent unchanged.
    """

    attempt_id: UlidText
    order_id: OrderId
    amount_minor: AmountMinor
    """What the payer agreed to: the most that can ever be taken by this attempt."""
    currency: CurrencyCode
    presentation: Presentation
    presented_ms: UnixMs
    """Unix milliseconds, by the terminal's clock, at which the presentation was complete."""
    card_exchange_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] | None = None
    """Round-trip time of the card's signing command, where there was one (relay scoring)."""
    capture: CaptureMode = CaptureMode.AUTOMATIC
    tip_max_minor: AmountOrNothing = 0
    """How much of amount_minor is kept for a tip at the capture; only with a manual capture."""
    order: OrderDetails | None = None
    """None: the order is for amount_minor without the tip's part, and for nothing said of it."""

    def __post_init__(self) -> None:
        if self.tip_max_minor >= self.amount_minor:
            raise ValueError("tip_max_minor leaves nothing of amount_minor")
        if self.tip_max_minor and self.capture is not CaptureMode.MANUAL:
            raise ValueError("tip_max_minor asks for a manual capture")


class Decline(Message, frozen=True):
    """Why a payment was declined, or what closed it, for whoever reads it."""

    code: str
    retryable: bool
    """Whether this same request, unchanged, may succeed later."""
    cashier_text: dict[str, str]
    """By language tag: `en`, `zh-Hans`."""
    holder_text: dict[str, str]
    next_step: str = NextStep.NONE
    """What to do now, one of wire.notices.NextStep."""
    next_step_text: dict[str, str] = msgspec.field(default_factory=dict)


class Confirmation(Message, frozen=True):
    """Why the holder has to agree, how that can be done, and until when."""

    code: str
    """`confirm_…` of wire.notices."""
    ways: tuple[ConfirmationWay, ...]
    confirm_by_ms: UnixMs
    cashier_text: dict[str, str]
    holder_text: dict[str, str]


class ReceiptFacts(Message, frozen=True):
    """What a receipt of an approved payment states."""

    receipt_number: str
    merchant_name: str
    location_name: str
    instrument_label: str
    """Enough for the payer to know which card it was, too little for anybody else: `Card ·· 4821`."""
    page_url: Annotated[str, msgspec.Meta(pattern="^https?://[!-~]+$", max_length=300)] | None = None
    """Where anybody who has the receipt sees what became of the payment; None where there is no such page."""


Outcome = Literal["approved", "declined", "requires_confirmation", "closed"]

OUTCOME_OF: Final[Mapping[PaymentState, Outcome]] = MappingProxyType(
    {
        PaymentState.AUTHORISED: "approved",
        PaymentState.SUCCEEDED: "approved",
        PaymentState.DECLINED: "declined",
        PaymentState.REQUIRES_CONFIRMATION: "requires_confirmation",
        PaymentState.VOIDED: "closed",
        PaymentState.EXPIRED: "closed",
        PaymentState.REVERSED: "closed",
    }
)
"""What a state means to a till: whether it has its money, won't get it, or has to wait. There is no answer
about `created`, since nobody has attempted to pay yet."""


class PaymentAnswer(Message, frozen=True):
    """The gateway's word on an attempt: what was decided for ever, and where the payment stands now."""

    payment_id: UlidText
    attempt_id: UlidText
    order_id: OrderId
    outcome: Outcome
    """As OUTCOME_OF has it for the state."""
    state: PaymentState
    amount_minor: AmountMinor
    """As it was attempted."""
    currency: CurrencyCode
    entry_mode: EntryMode
    terminal_id: str
    decided_ms: UnixMs
    charged_minor: AmountOrNothing = 0
    """Taken from the payer, tip included, refunds not deducted."""
    tip_minor: AmountOrNothing = 0
    """How much of it is a tip."""
    refunded_minor: AmountOrNothing = 0
    capture_by_ms: UnixMs | None = None
    """While authorised: when the hold is over."""
    confirmation: Confirmation | None = None
    """While the holder's confirmation is waited for."""
    decline: Decline | None = None
    """When declined or closed."""
    receipt: ReceiptFacts | None = None
    """Once charged."""


class StaffTag(Message, frozen=True):
    """The one-time link of a staff tag (NTAG 424 DNA), read just now; good for one thing."""

    picc_data_hex: PiccDataHex
    mac_hex: SunMacHex


class StaffProof(Message, frozen=True):
    """Who at the shop answers for this: by PIN, or by a tag of theirs. Judged and never stored."""

    staff_id: UlidText | None = None
    pin: Pin | None = None
    tag: StaffTag | None = None

    def __post_init__(self) -> None:
        given = (self.staff_id is not None, self.pin is not None, self.tag is not None)
        if given not in ((True, True, False), (False, False, True)):
            raise ValueError("a proof is staff_id and pin, or tag")


class CaptureRequest(Message, frozen=True):
    """Charge a hold: goods up to the hold without the tip's part, and a tip up to that part."""

    capture_id: UlidText
    """Made once by the till, the Idempotency-Key too: the same capture again changes nothing."""
    amount_minor: AmountMinor
    """Of the goods; what of the hold is left is let go."""
    tip_minor: AmountOrNothing = 0


class VoidRequest(Message, frozen=True):
    """Let go of a payment that is not charged yet; asking again changes nothing."""

    void_id: UlidText
    staff: StaffProof | None = None
    """Who lets go of it; asked for where the merchant has written down who may (`staff rights`)."""


class ConfirmRequest(Message, frozen=True):
    """The holder's PIN, entered at the till for a payment that requires confirmation."""

    confirmation_id: UlidText
    pin: Pin


class RefundRequest(Message, frozen=True):
    """Give back money of a charged payment, up to a total."""

    refund_id: UlidText
    """Made once by the till, the Idempotency-Key too."""
    total_minor: AmountMinor
    """What is to be refunded of the payment in all, this refund included; a retry is therefore a no-op."""
    staff: StaffProof
    reason: Annotated[str, msgspec.Meta(max_length=140)] = ""


class RefundAnswer(Message, frozen=True):
    """A refund as it stands, and the payment after it."""

    refund_id: UlidText
    """Of the refund that reached the total; another one's, where it had been reached before."""
    amount_minor: AmountMinor
    total_minor: AmountMinor
    refunded_ms: UnixMs
    payment: PaymentAnswer


class ReversalRequest(Message, frozen=True):
    """Close an attempt whose outcome the till could not learn, whatever it was.

    What it was about is said again, because an attempt that was never seen is decided as declined under
    its id, so that a late arrival finds it decided.
    """

    attempt_id: UlidText
    order_id: OrderId
    amount_minor: AmountMinor
    currency: CurrencyCode
    entry_mode: EntryMode
