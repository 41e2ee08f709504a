"""The fifty bytes a terminal asks a card to sign: this amount, at this till, now.

The layout is the PDOL our payment application publishes; tags and formats are EMV Book 3, annex A.
The card signs these very bytes, so there is no re-encoding gap between shown, sent and signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from wire.errors import CardError, MoneyError
from wire.ids import check_merchant_id, check_terminal_id
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency_by_numeric

NONCE_BYTES: Final = 8
TERMS_BYTES: Final = 50
QUALIFIERS_BYTES: Final = 4
AT_S_MIN: Final = 946_684_800
AT_S_MAX: Final = 4_102_444_799
"""9A has two digits for the year: 2000 to 2099, in unix seconds."""
PURCHASE: Final = 0x00
"""Transaction type of 9C: goods and services (ISO 8583 processing code)."""
QUALIFIERS_ONLINE: Final = bytes.fromhex("00000000")
"""9F66 with no bit set: the terminal is online and asks for no offline credential."""

PDOL: Final = bytes.fromhex("9F0206 5F2A02 9F3708 9F160F 9F1C08 9A03 9F2103 9C01 9F6604")
"""Tags and lengths of the block, in order, as the application's SELECT answer lists them."""


@dataclass(frozen=True, slots=True)
class PaymentTerms:
    """What a payer's card is asked to authorise."""

    amount: Money
    nonce: bytes
    """Eight bytes, fresh for every SELECT (9F37)."""
    merchant_id: str
    terminal_id: str
    at_s: int
    """Unix seconds by the terminal's clock, written as UTC date and time (9A, 9F21)."""
    transaction_type: int = PURCHASE
    qualifiers: bytes = QUALIFIERS_ONLINE

    def encode(self) -> bytes:
        """Write the block in PDOL order.

        Raises:
            CardError: a field does not fit its place.
            IdError: the merchant or terminal id is not of its form.
        """
        _check_amount(self.amount.minor)
        if len(self.nonce) != NONCE_BYTES or len(self.qualifiers) != QUALIFIERS_BYTES:
            raise CardError(f"9F37 has {NONCE_BYTES} bytes and 9F66 has {QUALIFIERS_BYTES}")
        if not AT_S_MIN <= self.at_s <= AT_S_MAX or not 0 <= self.transaction_type <= 0xFF:
            raise CardError("9A holds a date of this century and 9C one byte")
        moment = datetime.fromtimestamp(self.at_s, UTC)
        return b"".join(
            (
                bytes.fromhex(f"{self.amount.minor:012d}"),
                bytes.fromhex(f"{self.amount.currency.numeric:04d}"),
                self.nonce,
                check_merchant_id(self.merchant_id).encode("ascii"),
                check_terminal_id(self.terminal_id).encode("ascii"),
                bytes.fromhex(moment.strftime("%y%m%d")),
                bytes.fromhex(moment.strftime("%H%M%S")),
                bytes((self.transaction_type,)),
                self.qualifiers,
            )
        )


def parse_payment_terms(block: bytes) -> PaymentTerms:
    """Read a block; the inverse of `PaymentTerms.encode`, byte for byte.

    Raises:
        CardError: wrong length, a nibble that is no digit, an amount of zero, an impossible date, an
            unknown currency.
        IdError: the merchant or terminal id is not of its form.
    """
    if len(block) != TERMS_BYTES:
        raise CardError(f"the terms have {TERMS_BYTES} bytes")
    try:
        currency = find_currency_by_numeric(_digits(block[6:8]))
    except MoneyError as error:
        raise CardError("5F2A names no currency", code=error.code) from None
    return PaymentTerms(
        amount=Money(_check_amount(_digits(block[0:6])), currency),
        nonce=block[8:16],
        merchant_id=check_merchant_id(_ascii(block[16:31])),
        terminal_id=check_terminal_id(_ascii(block[31:39])),
        at_s=_moment(block[39:42], block[42:45]),
        transaction_type=block[45],
        qualifiers=block[46:50],
    )


def _check_amount(minor: int) -> int:
    if not 0 < minor <= AMOUNT_MINOR_MAX:
        raise CardError("9F02 holds 1 to 12 digits and is above zero", code="amount_invalid")
    return minor


def _digits(packed: bytes) -> int:
    text = packed.hex()
    if not text.isdecimal():
        raise CardError("a numeric field holds a nibble above 9")
    return int(text)


def _ascii(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise CardError("an id is ASCII") from None


def _moment(date: bytes, clock: bytes) -> int:
    digits = (date + clock).hex()
    if not digits.isdecimal():
        raise CardError("a numeric field holds a nibble above 9")
    year, month, day = 2000 + int(digits[0:2]), int(digits[2:4]), int(digits[4:6])
    try:
        # Two digits of a year mean this century; terminals of this protocol live in no other.
        moment = datetime(
            year, month, day, int(digits[6:8]), int(digits[8:10]), int(digits[10:12]), tzinfo=UTC
        )
    except ValueError:
        raise CardError("9A and 9F21 are no date and time") from None
    return int(moment.timestamp())
