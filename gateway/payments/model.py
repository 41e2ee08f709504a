"""What a payment is while it is decided and once it is.

Structs rather than dataclasses: they are made once or more for every payment, and travel between the
processes of one gateway as they are. They travel as arrays, without the names of their fields, since both
ends are one program: half the bytes, and two thirds of the time.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from wire.messages.payments import CaptureMode, ConfirmationWay, EntryMode, PaymentState

Decided = Literal["approved", "authorised", "requires_confirmation", "declined"]
"""What an attempt was decided to be, for ever; what became of it later is its `Life`."""

STATE_WHEN_DECIDED = {
    "approved": PaymentState.SUCCEEDED,
    "authorised": PaymentState.AUTHORISED,
    "requires_confirmation": PaymentState.REQUIRES_CONFIRMATION,
    "declined": PaymentState.DECLINED,
}
"""The state in which each decision leaves a payment."""


class TokenUse(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The single use of a signed token, UNIQUE on (key_id, counter) in the store.

    Never keyed on the token's bytes: ECDSA is malleable, so one token has two valid spellings.
    `claims_digest` (SHA-256 of the signed payload) only tells a replay from a clone: the same counter
    over other claims means that two devices hold one key.
    """

    key_id: bytes
    counter: int
    claims_digest: bytes
    terminal_nonce: bytes | None
    """For NFC: good once at a terminal; a repeated nonce is refused as a replay. It is remembered for at
    least a day; what was signed longer ago is refused for its age."""


class CardCounter(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """An NTAG 424 tap: the stored counter must rise to this, in one conditional statement."""

    counter: int


class PaymentCodeUse(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A numeric code: taken in one conditional statement, or refused."""

    code_hash: bytes


SingleUse = TokenUse | CardCounter | PaymentCodeUse


class Verified(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The presentation is authentic and fits the request; money and limits are still to be judged."""

    instrument_id: str
    single_use: SingleUse


class Refused(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The presentation must be declined with this code (wire/notices.py, kind decline).

    `spent` is the use that this refusal consumes: an authentic token is spent by the attempt that
    carried it, whatever the outcome, so that it cannot be tried elsewhere.
    """

    code: str
    instrument_id: str | None = None
    spent: SingleUse | None = None


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """On what terms an attempt is made, beyond its amount; a plain sale has the defaults."""

    capture: CaptureMode = CaptureMode.AUTOMATIC
    tip_max_minor: int = 0
    """What of the amount is kept for a tip at the capture."""
    order_amount_minor: int = 0
    """What the whole order is for; 0: the amount without the tip's part."""
    order_details: bytes | None = None
    """Tax and line items as JSON, kept with the order if this attempt begins it."""
    confirmed: bool = False
    """Its holder agreed to this amount and merchant already, on a device of theirs."""
    confirm_for: str | None = None
    """Why the holder has to agree whatever the limits say: a code of wire/notices.py."""
    payments_per_window_max: int = 0
    """More payments of an instrument than this within VELOCITY_WINDOW_MS need its holder; 0: any number."""
    confirm_by_ms: int = 0
    """Unix milliseconds until which a confirmation is waited for, should one be needed."""
    capture_by_ms: int = 0
    """Unix milliseconds until which a hold stands, should it be one."""


PLAIN = Terms()
ATTEMPT_REVERSED = "attempt_reversed"
"""Declined because its till gave the attempt up before it was seen (docs/adr/0007, decision 7)."""
VELOCITY_WINDOW_MS = 600_000


class PaymentBooking(msgspec.Struct, frozen=True, array_like=True):
    """One attempt, verified or refused, ready to become durable in one transaction."""

    payment_id: str
    attempt_id: str
    request_digest: bytes
    """SHA-256 of the request message in its one canonical spelling; compared on a repeat."""
    terminal_id: str
    merchant_id: str
    order_id: str
    amount_minor: int
    currency: str
    entry_mode: EntryMode
    presented_ms: int
    card_exchange_ms: int | None
    verdict: Verified | Refused
    now_ms: int
    terms: Terms = PLAIN

    @property
    def goods_minor(self) -> int:
        """What this attempt takes of its order: its amount without the tip's part."""
        return self.amount_minor - self.terms.tip_max_minor

    @property
    def order_amount_minor(self) -> int:
        """What its order is for."""
        return self.terms.order_amount_minor or self.goods_minor

    @property
    def single_use(self) -> SingleUse | None:
        """What this attempt uses up if it is new, approved or not."""
        return self.verdict.single_use if isinstance(self.verdict, Verified) else self.verdict.spent


class Life(msgspec.Struct, frozen=True, array_like=True):
    """What became of a payment after it was decided, as it stands now."""

    state: PaymentState
    step_count: int = 0
    code: str | None = None
    """Why it was declined or closed, if that was later: a code of wire/notices.py."""
    charged_minor: int = 0
    """Taken from the payer, tip included, refunds not deducted."""
    tip_minor: int = 0
    fee_minor: int = 0
    """What of it the operator kept, refunds not deducted."""
    refunded_minor: int = 0
    due_ms: int | None = None
    """While it is open: unix milliseconds at which it ends by itself."""


class PaymentRecord(msgspec.Struct, frozen=True, array_like=True):
    """A decided attempt, as it is stored for ever, and what became of it."""

    payment_id: str
    attempt_id: str
    terminal_id: str
    merchant_id: str
    order_id: str
    outcome: Decided
    decline_code: str | None
    amount_minor: int
    currency: str
    entry_mode: EntryMode
    instrument_id: str | None
    instrument_label: str | None
    merchant_name: str
    location_name: str
    receipt_number: str | None
    """Rises by one per merchant, charged payments only; None for the others."""
    decided_ms: int
    life: Life
    capture: CaptureMode = CaptureMode.AUTOMATIC
    tip_max_minor: int = 0
    confirm_code: str | None = None
    """Why its holder had to agree; None if nobody had to."""
    confirm_ways: tuple[ConfirmationWay, ...] = ()
    is_offline: bool = False
    """Its terminal accepted it without a connection, and handed it in later (docs/adr/0008)."""

    @property
    def goods_minor(self) -> int:
        """What it takes of its order: its amount without the tip's part."""
        return self.amount_minor - self.tip_max_minor


class TerminalEvent(msgspec.Struct, frozen=True, array_like=True):
    """That something happened to a payment of a terminal without its asking."""

    sequence: int
    """Rises; never given twice."""
    payment_id: str
    at_ms: int


class PaymentAct(msgspec.Struct, frozen=True, array_like=True):
    """What happened to a payment after its decision, and who at the shop answered for it."""

    at_ms: int
    act: str
    """A step of gateway/payments/states.py, or `refunded`."""
    amount_minor: int
    """Charged by a step, or given back by a refund; 0 for what moves nothing."""
    code: str | None
    """Why it ended, where it did."""
    staff_id: str | None
    """None where nobody was asked."""
    staff_name: str | None
