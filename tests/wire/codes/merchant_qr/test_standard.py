"""The frame of any EMVCo merchant-presented code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.codes.merchant_qr.crc16 import crc16
from wire.codes.merchant_qr.standard import (
    MERCHANT_QR_CHARS_MAX,
    dump_merchant_payload,
    parse_merchant_payload,
)
from wire.codes.merchant_qr.tlv import DataObject
from wire.errors import PaymentCodeError

# The example of the Banco Central do Brasil BR Code manual, from mvallim/emv-qrcode.
_BR_CODE = (
    "00020104141234567890123426580014BR.GOV.BCB.PIX0136123e4567-e12b-12d1-a456-426655440000"
    "27300012BR.COM.OUTRO011001234567895204000053039865406123.455802BR5917NOME DO RECEBEDOR"
    "6008BRASILIA61087007490080390012BR.COM.OUTRO01190123.ABCD.3456.WXYZ6304549C"
)
_FIELDS = {"01": "12", "52": "5814", "53": "978", "54": "12.50", "58": "AT", "59": "Kaffee", "60": "Wien"}


def _sealed(body: str) -> str:
    return f"{body}6304{crc16((body + '6304').encode()):04X}"


def _objects(fields: dict[str, str]) -> list[DataObject]:
    return [DataObject(object_id, value) for object_id, value in fields.items()]


@given(st.text(max_size=80) | st.text("0123456789ab", max_size=80).map(lambda body: _sealed("000201" + body)))
def test_any_text_gives_a_payload_or_a_typed_error(text: str) -> None:
    with pytest.raises(PaymentCodeError):
        parse_merchant_payload(text)


@given(st.text(min_size=1, max_size=25), st.text(min_size=1, max_size=15))
def test_parse_reads_what_dump_wrote(name: str, city: str) -> None:
    objects = _objects({**_FIELDS, "59": name, "60": city})
    assert parse_merchant_payload(dump_merchant_payload(objects)).objects == tuple(objects)


@pytest.mark.parametrize(
    "change",
    [
        {"52": "581"},
        {"52": "abcd"},
        {"53": "EUR"},
        {"53": "٩٧٨"},
        {"54": "12,50"},
        {"54": "-1"},
        {"54": "12345678901234"},
        {"54": "."},
        {"58": "at"},
        {"58": "AUT"},
        {"01": "13"},
        {"59": ""},
        {"59": "x" * 100},
        {"63": "0000"},
        {"59": "\ud800"},
    ],
    ids=ascii,
)
def test_dump_refuses_a_field_that_is_not_of_its_form(change: dict[str, str]) -> None:
    with pytest.raises(PaymentCodeError):
        dump_merchant_payload(_objects({**_FIELDS, **change}))


@pytest.mark.parametrize("absent", ["52", "53", "58", "59", "60"])
def test_a_missing_mandatory_field_is_refused(absent: str) -> None:
    with pytest.raises(PaymentCodeError):
        dump_merchant_payload(_objects({key: value for key, value in _FIELDS.items() if key != absent}))


@pytest.mark.parametrize("amount", ["12.5", "12.", "0", "1234567890.12"])
def test_amounts_of_the_standard_are_read(amount: str) -> None:
    text = dump_merchant_payload(_objects({**_FIELDS, "54": amount}))
    assert parse_merchant_payload(text).require("54") == amount


def test_a_checksum_that_is_wrong_lower_case_or_not_last_is_refused() -> None:
    text = dump_merchant_payload(_objects(_FIELDS))
    wrong = f"{text[:-4]}{int(text[-4:], 16) ^ 1:04X}"
    body = text[:-8]
    for hostile in (
        wrong,
        text[:-4] + "abcd",
        text + "6401x",
        text[:-8],
        text + "\n",
        "6304" + text[-4:] + body,
    ):
        with pytest.raises(PaymentCodeError):
            parse_merchant_payload(hostile)


def test_a_code_of_another_format_is_refused() -> None:
    with pytest.raises(PaymentCodeError):
        parse_merchant_payload(_sealed("000202" + dump_merchant_payload(_objects(_FIELDS))[6:-8]))


def test_a_code_longer_than_wallets_promise_is_too_long() -> None:
    with pytest.raises(PaymentCodeError) as caught:
        parse_merchant_payload("000201" + "0" * MERCHANT_QR_CHARS_MAX)
    assert caught.value.code == "code_too_long"


def test_every_stored_vector_reads_or_is_refused_as_stated(vectors: Path) -> None:
    stored = json.loads((vectors / "emvco_mpm.json").read_text(encoding="utf-8"))
    for each in stored["vectors"]:
        if not each["crc_valid"]:
            with pytest.raises(PaymentCodeError):
                parse_merchant_payload(each["payload"])
            continue
        payload = parse_merchant_payload(each["payload"])
        assert dump_merchant_payload(payload.objects) == each["payload"]


def test_the_brazilian_example_reads() -> None:
    payload = parse_merchant_payload(_BR_CODE)
    assert payload.require("59") == "NOME DO RECEBEDOR"
    assert payload.require("54") == "123.45"
    assert payload.find("01") is None
