"""What a payment is while it is decided and once it is.

Structs rather than dataclasses: they are made once or more for every payment, and travel between the
processes of one gateway as they are. They travel as arrays, without the names of their fields, since both
ends are one program: half the bytes, and two thirds of the time.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from wire.messages.payments import EntryMode


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

    @property
    def single_use(self) -> SingleUse | None:
        """What this attempt uses up if it is new, approved or not."""
        return self.verdict.single_use if isinstance(self.verdict, Verified) else self.verdict.spent


class PaymentRecord(msgspec.Struct, frozen=True, array_like=True):
    """A decided attempt, as it is stored and answered for ever."""

    payment_id: str
    attempt_id: str
    terminal_id: str
    merchant_id: str
    order_id: str
    outcome: Literal["approved", "declined"]
    decline_code: str | None
    amount_minor: int
    currency: str
    entry_mode: EntryMode
    instrument_id: str | None
    instrument_label: str | None
    merchant_name: str
    location_name: str
    receipt_number: str | None
    """Rises by one per merchant, approved payments only; None when declined."""
    decided_ms: int
