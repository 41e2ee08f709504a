"""Our merchant code: a link, dynamic with an amount or static without."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.codes.merchant_qr.crc16 import crc16
from wire.codes.merchant_qr.profile import GUID, MerchantQr, dump_merchant_qr, parse_merchant_qr
from wire.codes.merchant_qr.standard import dump_merchant_payload, parse_merchant_payload
from wire.codes.merchant_qr.tlv import DataObject
from wire.errors import PaymentCodeError
from wire.money import AMOUNT_MINOR_MAX, CURRENCIES, Money, find_currency

EUR = find_currency("EUR")
DYNAMIC = MerchantQr(
    url="gw.example.com/i/01ARYZ6S410000000000000000",
    merchant_name="最佳咖啡 Kaffee",
    city="Wien",
    country="AT",
    category="5814",
    currency=EUR,
    amount=Money(1_250, EUR),
    reference="ORDER-17",
    terminal_label="T1",
)
STATIC = replace(DYNAMIC, amount=None, reference=None, terminal_label=None)


def _objects(code: MerchantQr) -> list[DataObject]:
    return list(parse_merchant_payload(dump_merchant_qr(code)).objects)


def _with(objects: list[DataObject], object_id: str, value: str) -> str:
    return dump_merchant_payload(
        [DataObject(each.id, value if each.id == object_id else each.value) for each in objects]
    )


@pytest.mark.parametrize("code", [DYNAMIC, STATIC], ids=["dynamic", "static"])
def test_parse_reads_what_dump_wrote(code: MerchantQr) -> None:
    assert parse_merchant_qr(dump_merchant_qr(code)) == code


@given(
    st.integers(1, AMOUNT_MINOR_MAX // 10_000),
    st.sampled_from(sorted(CURRENCIES)),
    st.text(min_size=1, max_size=25),
    st.none() | st.text(min_size=1, max_size=25),
)
def test_any_amount_currency_and_name_come_back(
    minor: int, currency: str, name: str, reference: str | None
) -> None:
    amount = Money(minor, find_currency(currency))
    code = replace(DYNAMIC, amount=amount, currency=amount.currency, merchant_name=name, reference=reference)
    assert parse_merchant_qr(dump_merchant_qr(code)) == code


def test_a_dynamic_code_says_so_in_the_words_of_the_standard() -> None:
    text = dump_merchant_qr(DYNAMIC)
    assert text.startswith(f"000201010212266900{len(GUID)}{GUID}25")
    assert "540512.50" in text
    assert dump_merchant_qr(STATIC).startswith("000201010211")


def test_our_template_is_found_among_others_and_in_another_place() -> None:
    objects = [
        DataObject("26", "opaque to us"),
        *(replace(each, id="51") if each.id == "26" else each for each in _objects(DYNAMIC)),
    ]
    assert parse_merchant_qr(dump_merchant_payload(objects)) == DYNAMIC


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gw.example.com",
        "https://gw.example.com/i/1",
        "GW.example.com/i/1",
        "gw.example.com/i/1?x=1",
        "gw.example.com/i 1",
        "gw.example.com/" + "i" * 60,
        "user@gw.example.com/i",
        "gw.example.com/i/１",
    ],
)
def test_a_link_is_host_and_path_only(url: str) -> None:
    with pytest.raises(PaymentCodeError):
        dump_merchant_qr(replace(DYNAMIC, url=url))
    with pytest.raises(PaymentCodeError):
        parse_merchant_qr(
            _with(_objects(DYNAMIC), "26", f"00{len(GUID)}{GUID}" + (f"25{len(url):02d}{url}" if url else ""))
        )


@pytest.mark.parametrize(
    ("object_id", "value"),
    [
        ("01", "11"),
        ("53", "999"),
        ("53", "392"),
        ("54", "0.00"),
        ("54", "12.505"),
        ("54", "012.50"),
        ("26", "0003abc"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(object_id: str, value: str) -> None:
    """392 is the yen, which has no decimals; 11 is static, which has no amount."""
    with pytest.raises(PaymentCodeError):
        parse_merchant_qr(_with(_objects(DYNAMIC), object_id, value))


def test_a_static_code_with_the_word_dynamic_is_refused() -> None:
    with pytest.raises(PaymentCodeError):
        parse_merchant_qr(_with(_objects(STATIC), "01", "12"))


@pytest.mark.parametrize(
    "amount", [Money(0, EUR), Money(-1, EUR), Money(1_250, find_currency("USD")), Money(10**15, EUR)], ids=str
)
def test_dump_refuses_an_amount_that_is_none_of_the_code(amount: Money) -> None:
    with pytest.raises(PaymentCodeError):
        dump_merchant_qr(replace(DYNAMIC, amount=amount))


@given(st.text(max_size=60))
def test_any_text_gives_a_code_or_a_typed_error(text: str) -> None:
    with pytest.raises(PaymentCodeError):
        parse_merchant_qr(text)


@given(st.integers(6, 60), st.text("0123456789", min_size=1, max_size=4))
def test_any_sealed_patch_gives_a_code_or_a_typed_error(offset: int, patch: str) -> None:
    objects = _objects(DYNAMIC)
    body = "".join(f"{each.id}{len(each.value):02d}{each.value}" for each in objects)
    patched = body[:offset] + patch + body[offset + len(patch) :]
    try:
        parse_merchant_qr(_resealed(patched))
    except PaymentCodeError:
        return


def _resealed(body: str) -> str:
    covered = f"000201{body}6304"
    return f"{covered}{crc16(covered.encode()):04X}"
