"""The fifty bytes a terminal asks a card to sign: this amount, at this till, now.

The layout is the PDOL our payment application publishes; tags and formats are EMV Book 3, annex A.
The card signs these very bytes, so there is no re-encoding gap between shown, sent and signed.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

import msgspec

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
QUALIFIER_OFFLINE: Final = 0x08
"""Bit of the first byte of 9F66: nobody is asked now, so the card counts the amount in its running total.
The bit that terminal transaction qualifiers of contactless EMV use for an offline-only reader."""
QUALIFIERS_OFFLINE: Final = bytes((QUALIFIER_OFFLINE, 0, 0, 0))

PDOL: Final = bytes.fromhex("9F0206 5F2A02 9F3708 9F160F 9F1C08 9A03 9F2103 9C01 9F6604")
"""Tags and lengths of the block, in order, as the application's SELECT answer lists them."""

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
# EMV format n: a byte holds two decimal digits, so 0x59 is read as fifty-nine.
_NUMBER_OF: Final = {int(f"{number:02d}", 16): number for number in range(100)}


class PaymentTerms(msgspec.Struct, frozen=True):
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

    @property
    def is_offline(self) -> bool:
        """Whether the terminal says that it can't ask the gateway."""
        return are_offline_qualifiers(self.qualifiers)

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
    digits = (block[0:8] + block[39:45]).hex()
    if not digits.isdecimal():
        raise CardError("a numeric field holds a nibble above 9")
    try:
        currency = find_currency_by_numeric(int(digits[12:16]))
    except MoneyError as error:
        raise CardError("5F2A names no currency", code=error.code) from None
    return PaymentTerms(
        Money(_check_amount(int(digits[0:12])), currency),
        block[8:16],
        check_merchant_id(_ascii(block[16:31])),
        check_terminal_id(_ascii(block[31:39])),
        _moment(block[39:45]),
        block[45],
        block[46:50],
    )


def are_offline_qualifiers(qualifiers: bytes) -> bool:
    """Say whether four bytes of 9F66 carry the offline bit."""
    return bool(qualifiers[0] & QUALIFIER_OFFLINE)


def _check_amount(minor: int) -> int:
    if not 0 < minor <= AMOUNT_MINOR_MAX:
        raise CardError("9F02 holds 1 to 12 digits and is above zero", code="amount_invalid")
    return minor


def _ascii(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise CardError("an id is ASCII") from None


def _moment(raw: bytes) -> int:
    """Return the unix seconds of YYMMDDhhmmss in UTC, two digits to a byte, all of them decimal."""
    year, month, day, hour, minute, second = [_NUMBER_OF[byte] for byte in raw]
    try:
        # Two digits of a year mean this century; terminals of this protocol live in no other.
        days = date(2000 + year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        days = -1
    if days < 0 or hour > 23 or minute > 59 or second > 59:
        raise CardError("9A and 9F21 are no date and time")
    return days * 86_400 + hour * 3_600 + minute * 60 + second
