"""What every EMVCo merchant-presented code holds, whoever wrote it (EMVCo MPM 1.1, section 4).

This layer holds a code to the standard's frame: format 01 first, the checksum last and right, the
mandatory fields there. What the account templates mean is for a profile to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wire.codes.merchant_qr.crc16 import crc16
from wire.codes.merchant_qr.tlv import DataObject, dump_data_object, parse_data_objects
from wire.errors import PaymentCodeError

MERCHANT_QR_CHARS_MAX: Final = 512
"""All that a wallet is obliged to take (EMVCo MPM 1.1, section 3.1)."""

FORMAT: Final = "00"
INITIATION: Final = "01"
CATEGORY: Final = "52"
CURRENCY: Final = "53"
AMOUNT: Final = "54"
COUNTRY: Final = "58"
MERCHANT_NAME: Final = "59"
MERCHANT_CITY: Final = "60"
ADDITIONAL_DATA: Final = "62"
CHECKSUM: Final = "63"

STATIC: Final = "11"
DYNAMIC: Final = "12"
"""Values of 01: the code serves many payments, or this one only."""

ACCOUNT_TEMPLATES: Final = tuple(f"{number:02d}" for number in range(26, 52))

_FORMAT_01: Final = "000201"
_CHECKSUM_HEAD: Final = "6304"
_CHECKSUM_FORM: Final = re.compile(r"6304[0-9A-F]{4}", re.ASCII)
_MANDATORY: Final = (CATEGORY, CURRENCY, COUNTRY, MERCHANT_NAME, MERCHANT_CITY)
_FORMS: Final = {
    INITIATION: re.compile(r"1[12]", re.ASCII),
    CATEGORY: re.compile(r"[0-9]{4}", re.ASCII),
    CURRENCY: re.compile(r"[0-9]{3}", re.ASCII),
    AMOUNT: re.compile(r"(?=.{1,13}\Z)[0-9]+(?:\.[0-9]*)?", re.ASCII),
    COUNTRY: re.compile(r"[A-Z]{2}", re.ASCII),
}
"""Fields with an alphabet of their own; names and cities may be in any."""


@dataclass(frozen=True, slots=True)
class MerchantPayload:
    """The objects of a code in their order, without format (00) and checksum (63)."""

    objects: tuple[DataObject, ...]

    def find(self, object_id: str) -> str | None:
        """Return the value with this id, or None."""
        return next((found.value for found in self.objects if found.id == object_id), None)

    def require(self, object_id: str) -> str:
        """Return the value with this id.

        Raises:
            PaymentCodeError: there is none.
        """
        value = self.find(object_id)
        if value is None:
            raise PaymentCodeError(f"object {object_id} is missing")
        return value


def parse_merchant_payload(text: str) -> MerchantPayload:
    """Read any EMVCo merchant-presented code.

    Raises:
        PaymentCodeError: `code_too_long`, or `code_not_recognised`: the format is not 01 or not first,
            the checksum is wrong or not last, a mandatory field is missing, a field is not of its form.
    """
    if len(text) > MERCHANT_QR_CHARS_MAX:
        raise PaymentCodeError(f"longer than {MERCHANT_QR_CHARS_MAX} characters", code="code_too_long")
    if not text.startswith(_FORMAT_01):
        raise PaymentCodeError("a merchant-presented code begins with format 01")
    body, checksum = text[:-8], text[-8:]
    if _CHECKSUM_FORM.fullmatch(checksum) is None or _checksum_of(body) != checksum[4:]:
        raise PaymentCodeError("the checksum is wrong or not last")
    payload = MerchantPayload(tuple(parse_data_objects(body)[1:]))
    _check_fields(payload)
    return payload


def dump_merchant_payload(objects: Sequence[DataObject]) -> str:
    """Write a code: format first, these objects, checksum last.

    Raises:
        PaymentCodeError: a field is missing, there twice or not of its form, or the whole is too long
            (`code_too_long`).
    """
    body = _FORMAT_01 + "".join(dump_data_object(each.id, each.value) for each in objects)
    text = body + _CHECKSUM_HEAD + _checksum_of(body)
    # Reading it back holds what we write to the very rules of what we accept.
    parse_merchant_payload(text)
    return text


def _checksum_of(body: str) -> str:
    try:
        covered = (body + _CHECKSUM_HEAD).encode("utf-8")
    except UnicodeEncodeError:
        raise PaymentCodeError("half a surrogate pair is no character") from None
    return f"{crc16(covered):04X}"


def _check_fields(payload: MerchantPayload) -> None:
    if payload.find(CHECKSUM) is not None:
        raise PaymentCodeError("there is a second checksum inside")
    for object_id in _MANDATORY:
        payload.require(object_id)
    for object_id, form in _FORMS.items():
        value = payload.find(object_id)
        if value is not None and form.fullmatch(value) is None:
            raise PaymentCodeError(f"object {object_id} is not of its form")
