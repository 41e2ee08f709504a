"""What is this text? From what a camera or scanner read to a presentation, or a typed refusal.

    hQVDUFY…    EMVCo consumer-presented code with our application in it
    P1:…        the bare token in base45, a smaller code for our own terminals
    P2:…        the bare token in base32, for scanners that type on a keyboard
    47…         eighteen digits: a numeric payment code

The forms differ in their first characters, so nothing is guessed. Nothing is verified here either: the
gateway judges the token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wire.codes import base32, base45
from wire.codes.consumer_qr import (
    CONSUMER_QR_CHARS_MAX,
    CONSUMER_QR_PREFIX,
    TOKEN_BYTES_MAX,
    parse_consumer_qr,
)
from wire.codes.numeric import CODE_DIGIT_COUNT, check_numeric_code
from wire.errors import EncodingError, PaymentCodeError
from wire.messages.payments import CodeNumericPresentation, QrConsumerPresentation

SCANNED_CHARS_MAX: Final = CONSUMER_QR_CHARS_MAX
"""Longest text that can be a payment code of ours."""
BASE45_PREFIX: Final = "P1:"
BASE32_PREFIX: Final = "P2:"


def recognise(text: str) -> QrConsumerPresentation | CodeNumericPresentation:
    """Return what a scanned text presents.

    Args:
        text: as read, at most with the line end that scanners append; nothing else is trimmed.

    Raises:
        PaymentCodeError: `code_too_long` or `code_not_recognised`.
    """
    text = text.rstrip("\r\n")
    if len(text) > SCANNED_CHARS_MAX:
        raise PaymentCodeError(f"longer than {SCANNED_CHARS_MAX} characters", code="code_too_long")
    if text.startswith(CONSUMER_QR_PREFIX):
        return QrConsumerPresentation(token=parse_consumer_qr(text).token)
    if text.startswith(BASE45_PREFIX):
        return _bare_token(text.removeprefix(BASE45_PREFIX), base45.decode)
    if text.startswith(BASE32_PREFIX):
        return _bare_token(text.removeprefix(BASE32_PREFIX), base32.decode)
    if len(text) == CODE_DIGIT_COUNT:
        return CodeNumericPresentation(code=check_numeric_code(text))
    raise PaymentCodeError("the text begins like no payment code")


def is_payment_code(text: str) -> bool:
    """Say whether a scanned text presents anything.

    >>> is_payment_code("https://example.com/poster")
    False
    """
    try:
        recognise(text)
    except PaymentCodeError:
        return False
    return True


def _bare_token(text: str, decode: Callable[[str], bytes]) -> QrConsumerPresentation:
    try:
        token = decode(text)
    except EncodingError as error:
        raise PaymentCodeError(str(error)) from None
    if not 0 < len(token) <= TOKEN_BYTES_MAX:
        raise PaymentCodeError("there is no token behind the prefix")
    return QrConsumerPresentation(token=token)
