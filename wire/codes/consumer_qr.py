"""The code on a payer's screen: EMVCo consumer-presented mode, with our token in its transparent template.

    85 "CPV01"   61 { 4F our AID   5A token PAN   63 { C1 token } }     in base64, 220 characters

Two layers: the container of EMVCo CPM 1.1 as anybody writes it, and our profile of it. Any CPM terminal
routes the code on the AID and forwards 63 unread, which is why the token rides there (protocol section 4).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from wire.application_id import PAYMENT_AID
from wire.codes.luhn import check_luhn
from wire.errors import EncodingError, PaymentCodeError
from wire.tlv import dump_tlv, find_tlv, parse_tlvs

CONSUMER_QR_PREFIX: Final = "hQVDUFY"
"""How every code of this kind begins: tag 85, length 5, "CPV", in base64."""
CONSUMER_QR_CHARS_MAX: Final = 512
"""All that a reader of this mode is obliged to take (EMVCo CPM 1.1, section 3)."""
TOKEN_PAN_DIGITS_MAX: Final = 19
TOKEN_BYTES_MAX: Final = 1024

_VERSION: Final = b"CPV01"
_PAYLOAD_FORMAT: Final = 0x85
_APPLICATION: Final = 0x61
_AID: Final = 0x4F
_PAN: Final = 0x5A
_TRACK_2: Final = 0x57
_TRANSPARENT: Final = 0x63
_TOKEN: Final = 0xC1
_AID_BYTES_MIN: Final = 5
_AID_BYTES_MAX: Final = 16

# Compressed numeric: digits to the left, filled up with at most one F to whole bytes (EMV Book 3, 4.3).
_PAN_FORM: Final = re.compile(r"([0-9]{8,19})f?", re.ASCII)
_TRACK_2_FORM: Final = re.compile(r"([0-9]{8,19})d[0-9]*f?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CpmApplication:
    """One application template (61): whose it is, and its other objects unread."""

    aid: bytes
    objects: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class ConsumerQr:
    """What our profile takes out of a code."""

    token: bytes
    """The signed token, not yet verified."""
    token_pan: str
    """A number that stands for the payer towards other people's terminals; never the account."""


def dump_consumer_qr(token: bytes, token_pan: str) -> str:
    """Write a token as the text of a consumer-presented QR code.

    Raises:
        PaymentCodeError: the token PAN has not 8 to 19 digits and a right check digit, or the code
            would be longer than CONSUMER_QR_CHARS_MAX (`code_too_long`).
    """
    application = (
        dump_tlv(_AID, PAYMENT_AID)
        + dump_tlv(_PAN, _pack_pan(token_pan))
        + dump_tlv(_TRANSPARENT, dump_tlv(_TOKEN, token))
    )
    payload = dump_tlv(_PAYLOAD_FORMAT, _VERSION) + dump_tlv(_APPLICATION, application)
    return _within_limit(base64.b64encode(payload).decode("ascii"))


def parse_consumer_qr(text: str) -> ConsumerQr:
    """Read our token out of a consumer-presented code; tags we do not know are passed over.

    Raises:
        PaymentCodeError: `code_too_long`, or `code_not_recognised`: no such container, another version,
            nobody's application of ours in it, neither PAN nor track 2, or no token.
    """
    applications = [found for found in parse_cpm_payload(text) if found.aid == PAYMENT_AID]
    if len(applications) != 1:
        raise PaymentCodeError("the code does not hold our application once")
    objects = list(applications[0].objects)
    try:
        token = find_tlv(parse_tlvs(find_tlv(objects, _TRANSPARENT)), _TOKEN)
        token_pan = _find_pan(objects)
    except EncodingError as error:
        raise PaymentCodeError(str(error)) from None
    if not 0 < len(token) <= TOKEN_BYTES_MAX:
        raise PaymentCodeError("the token's template is empty")
    return ConsumerQr(token, token_pan)


def parse_cpm_payload(text: str) -> list[CpmApplication]:
    """Read the application templates of any EMVCo consumer-presented code.

    Objects inside a template stay unread, 63 above all: the standard makes it an opaque blob.

    Raises:
        PaymentCodeError: `code_too_long` or `code_not_recognised`; not base64 in its canonical form, no
            85 first, a version other than CPV01, no template 61, or one without an AID.
    """
    try:
        objects = parse_tlvs(_decode_base64(_within_limit(text)))
        if objects[:1] != [(_PAYLOAD_FORMAT, _VERSION)]:
            raise PaymentCodeError("this is no consumer-presented code of version 01")
        applications = [_parse_application(value) for tag, value in objects[1:] if tag == _APPLICATION]
    except EncodingError as error:
        raise PaymentCodeError(str(error)) from None
    if not applications:
        raise PaymentCodeError("the code holds no application")
    return applications


def _parse_application(template: bytes) -> CpmApplication:
    objects = parse_tlvs(template)
    aid = find_tlv(objects, _AID)
    if not _AID_BYTES_MIN <= len(aid) <= _AID_BYTES_MAX:
        raise EncodingError(f"an AID has {_AID_BYTES_MIN} to {_AID_BYTES_MAX} bytes")
    return CpmApplication(aid, tuple(item for item in objects if item[0] != _AID))


def _find_pan(objects: list[tuple[int, bytes]]) -> str:
    """Return the digits of 5A, or of the track 2 data that may stand in its place."""
    tag, form = (_PAN, _PAN_FORM) if any(tag == _PAN for tag, _ in objects) else (_TRACK_2, _TRACK_2_FORM)
    match = form.fullmatch(find_tlv(objects, tag).hex())
    if match is None:
        raise PaymentCodeError(f"tag {tag:X} holds no number of a card")
    return check_luhn(match.group(1))


def _pack_pan(token_pan: str) -> bytes:
    if _PAN_FORM.fullmatch(token_pan) is None:
        raise PaymentCodeError(f"a token PAN has 8 to {TOKEN_PAN_DIGITS_MAX} digits")
    return bytes.fromhex(check_luhn(token_pan) + "F" * (len(token_pan) % 2))


def _decode_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # ValueError is for text that is not ASCII.
        raise EncodingError("this is no base64") from None
    # The library ignores the unused last bits; only the canonical text comes back.
    if base64.b64encode(data).decode("ascii") != text:
        raise EncodingError("this base64 is not in its canonical form")
    return data


def _within_limit(text: str) -> str:
    if len(text) > CONSUMER_QR_CHARS_MAX:
        raise PaymentCodeError(f"longer than {CONSUMER_QR_CHARS_MAX} characters", code="code_too_long")
    return text
