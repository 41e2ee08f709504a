"""Our merchant-presented code: a link to the payment's intent, wrapped so that other wallets can read it.

    26 { 00 our name   25 gateway.example/i/<intent> }

As in Pix, the link has no scheme and is HTTPS only. A wallet fetches the intent behind it and shows the
registered name and the intent's amount; the name and amount printed here are for people and for other
wallets, and are never trusted (protocol section 4). Whoever swaps the sticker swaps the link, so the name
a wallet shows comes from the registry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from wire.codes.merchant_qr import standard
from wire.codes.merchant_qr.tlv import DataObject, dump_data_object, parse_data_objects
from wire.errors import MoneyError, PaymentCodeError
from wire.money import Currency, Money, find_currency_by_numeric, format_minor, parse_money

GUID: Final = "com.example.pospay"
"""Reverse domain that tells our account template from others'; to be replaced by a registered one."""
URL_CHARS_MAX: Final = 73
"""What 99 characters of template leave beside GUID and heads."""

_GUID_ID: Final = "00"
_URL_ID: Final = "25"
_OUR_TEMPLATE: Final = "26"
_OUR_HEAD: Final = dump_data_object(_GUID_ID, GUID)
_REFERENCE_ID: Final = "05"
_TERMINAL_ID: Final = "07"
_URL_FORM: Final = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~/-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class MerchantQr:
    """What our code says; everything but the link is for show."""

    url: str
    """Host and path of the intent, without a scheme."""
    merchant_name: str
    city: str
    country: str
    """ISO 3166 alpha-2, upper case."""
    category: str
    """Merchant category code, four digits (ISO 18245)."""
    currency: Currency
    amount: Money | None = None
    """The amount of this one payment (dynamic), or None for a sticker that serves many (static)."""
    reference: str | None = None
    terminal_label: str | None = None


def dump_merchant_qr(code: MerchantQr) -> str:
    """Write our code: dynamic with an amount, static without.

    Raises:
        PaymentCodeError: a field is empty, too long or not of its form; `code_too_long`.
    """
    if code.amount is not None and (code.amount.currency != code.currency or code.amount.minor <= 0):
        raise PaymentCodeError("the amount is none of the code's currency")
    fields = {
        standard.INITIATION: standard.STATIC if code.amount is None else standard.DYNAMIC,
        _OUR_TEMPLATE: _dump_template({_GUID_ID: GUID, _URL_ID: _check_url(code.url)}),
        standard.CATEGORY: code.category,
        standard.CURRENCY: f"{code.currency.numeric:03d}",
        standard.AMOUNT: None if code.amount is None else format_minor(code.amount.minor, code.currency),
        standard.COUNTRY: code.country,
        standard.MERCHANT_NAME: code.merchant_name,
        standard.MERCHANT_CITY: code.city,
        standard.ADDITIONAL_DATA: _dump_template(
            {_REFERENCE_ID: code.reference, _TERMINAL_ID: code.terminal_label}
        ),
    }
    return standard.dump_merchant_payload(
        [DataObject(object_id, value) for object_id, value in fields.items() if value is not None]
    )


def parse_merchant_qr(text: str) -> MerchantQr:
    """Read our code, in whichever account template it stands among others'.

    Raises:
        PaymentCodeError: `code_too_long`, or `code_not_recognised`: no code of the standard, or none of
            ours, or a dynamic one without an amount or a static one with it.
    """
    payload = standard.parse_merchant_payload(text)
    currency = _parse_currency(payload.require(standard.CURRENCY))
    additional = {each.id: each.value for each in _parse_optional(payload.find(standard.ADDITIONAL_DATA))}
    return MerchantQr(
        url=_check_url(_find_url(payload)),
        merchant_name=payload.require(standard.MERCHANT_NAME),
        city=payload.require(standard.MERCHANT_CITY),
        country=payload.require(standard.COUNTRY),
        category=payload.require(standard.CATEGORY),
        currency=currency,
        amount=_parse_amount(payload, currency),
        reference=additional.get(_REFERENCE_ID),
        terminal_label=additional.get(_TERMINAL_ID),
    )


def _find_url(payload: standard.MerchantPayload) -> str:
    for template in payload.objects:
        # Others' templates need not be readable to us; 25 means something else in them anyway.
        if template.id not in standard.ACCOUNT_TEMPLATES or not template.value.startswith(_OUR_HEAD):
            continue
        fields = {each.id: each.value for each in parse_data_objects(template.value)}
        return fields.get(_URL_ID, "")
    raise PaymentCodeError("no account template is ours")


def _check_url(url: str) -> str:
    if len(url) > URL_CHARS_MAX or _URL_FORM.fullmatch(url) is None:
        raise PaymentCodeError(f"the link is host and path, at most {URL_CHARS_MAX} characters")
    return url


def _parse_currency(numeric: str) -> Currency:
    try:
        return find_currency_by_numeric(int(numeric))
    except MoneyError:
        raise PaymentCodeError("object 53 names no currency") from None


def _parse_amount(payload: standard.MerchantPayload, currency: Currency) -> Money | None:
    text = payload.find(standard.AMOUNT)
    is_dynamic = payload.require(standard.INITIATION) == standard.DYNAMIC
    if is_dynamic != (text is not None):
        raise PaymentCodeError("a dynamic code has an amount and a static one has none")
    if text is None:
        return None
    try:
        amount = parse_money(text, currency)
    except MoneyError:
        raise PaymentCodeError("object 54 is no amount of the currency") from None
    if amount.minor == 0:
        raise PaymentCodeError("object 54 is zero")
    return amount


def _parse_optional(template: str | None) -> list[DataObject]:
    return [] if template is None else parse_data_objects(template)


def _dump_template(fields: dict[str, str | None]) -> str | None:
    objects = [dump_data_object(object_id, value) for object_id, value in fields.items() if value is not None]
    return "".join(objects) or None
