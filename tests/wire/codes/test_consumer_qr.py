"""The EMVCo consumer-presented container, ours and others'."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.application_id import PAYMENT_AID
from wire.codes.consumer_qr import (
    CONSUMER_QR_CHARS_MAX,
    CONSUMER_QR_PREFIX,
    ConsumerQr,
    dump_consumer_qr,
    parse_consumer_qr,
    parse_cpm_payload,
)
from wire.codes.luhn import luhn_digit
from wire.errors import PaymentCodeError
from wire.tlv import dump_tlv

_PAN = "9047112233445566775"
_FORMAT = dump_tlv(0x85, b"CPV01")
_AID = dump_tlv(0x4F, PAYMENT_AID)
_PAN_OBJECT = dump_tlv(0x5A, bytes.fromhex(_PAN + "F"))
_TOKEN = dump_tlv(0x63, dump_tlv(0xC1, b"token"))
_OTHER = dump_tlv(0x61, dump_tlv(0x4F, bytes.fromhex("A0000000031010")) + dump_tlv(0x63, b"\xff opaque"))


def _text(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


def _code(*objects: bytes) -> str:
    return _text(_FORMAT + dump_tlv(0x61, b"".join(objects)))


def test_a_code_with_an_unbound_token_has_220_characters() -> None:
    """Protocol section 1.2: QR version 11, 61 by 61 modules."""
    assert len(dump_consumer_qr(bytes(127), _PAN)) == 220


@given(st.binary(min_size=1, max_size=300), st.text("0123456789", min_size=7, max_size=18))
def test_parse_reads_what_dump_wrote(token: bytes, digits: str) -> None:
    token_pan = digits + luhn_digit(digits)
    text = dump_consumer_qr(token, token_pan)
    assert text.startswith(CONSUMER_QR_PREFIX)
    assert parse_consumer_qr(text) == ConsumerQr(token, token_pan)


@given(st.text(max_size=100) | st.binary(max_size=200).map(lambda raw: CONSUMER_QR_PREFIX + _text(raw)))
def test_any_text_gives_a_code_or_a_typed_error(text: str) -> None:
    with pytest.raises(PaymentCodeError):
        parse_consumer_qr(text)


@given(st.integers(0, 170), st.binary(min_size=1, max_size=3))
def test_any_patched_code_gives_a_code_or_a_typed_error(offset: int, patch: bytes) -> None:
    payload = base64.b64decode(dump_consumer_qr(bytes(range(127)), _PAN))
    text = _text(payload[:offset] + patch + payload[offset + len(patch) :])
    try:
        code = parse_consumer_qr(text)
    except PaymentCodeError:
        return
    assert parse_consumer_qr(dump_consumer_qr(code.token, code.token_pan)) == code


def test_unknown_tags_and_other_applications_are_passed_over() -> None:
    ours = dump_tlv(
        0x61, dump_tlv(0x50, b"label") + _AID + dump_tlv(0x9F25, b"\x12\x34") + _PAN_OBJECT + _TOKEN
    )
    text = _text(_FORMAT + _OTHER + ours + dump_tlv(0x62, b"common") + dump_tlv(0xC7, b""))
    assert parse_consumer_qr(text) == ConsumerQr(b"token", _PAN)


def test_track_2_may_stand_in_for_the_pan() -> None:
    track_2 = dump_tlv(0x57, bytes.fromhex(_PAN + "D" + "99122010" + "0000"))
    assert parse_consumer_qr(_code(_AID, track_2, _TOKEN)).token_pan == _PAN


@pytest.mark.parametrize(
    "text",
    [
        _code(_PAN_OBJECT, _TOKEN),  # no AID
        _code(dump_tlv(0x4F, b"abcd"), _PAN_OBJECT, _TOKEN),  # AID of four bytes
        _code(dump_tlv(0x4F, bytes.fromhex("A0000000031010")), _PAN_OBJECT, _TOKEN),  # another's
        _code(_AID, _TOKEN),  # neither 57 nor 5A
        _code(_AID, _PAN_OBJECT),  # no token template
        _code(_AID, _PAN_OBJECT, dump_tlv(0x63, b"")),
        _code(_AID, _PAN_OBJECT, dump_tlv(0x63, dump_tlv(0xC1, b""))),  # empty token
        _code(_AID, _PAN_OBJECT, dump_tlv(0x63, b"\xff\xff opaque")),
        _code(_AID, _PAN_OBJECT, _TOKEN, _TOKEN),  # two tokens
        _code(_AID, _AID, _PAN_OBJECT, _TOKEN),
        _code(_AID, dump_tlv(0x5A, bytes.fromhex("9047112233445566776F")), _TOKEN),  # check digit
        _code(_AID, dump_tlv(0x5A, b"9047112233445566775"), _TOKEN),  # ASCII where digits are packed
        _code(_AID, dump_tlv(0x5A, b""), _TOKEN),
        _text(_FORMAT),  # no application
        _text(_FORMAT + _OTHER),
        _text(dump_tlv(0x85, b"CPV02") + dump_tlv(0x61, _AID + _PAN_OBJECT + _TOKEN)),  # version
        _text(dump_tlv(0x61, _AID + _PAN_OBJECT + _TOKEN) + _FORMAT),  # order
        _text(_FORMAT + 2 * dump_tlv(0x61, _AID + _PAN_OBJECT + _TOKEN)),  # ours twice
        dump_consumer_qr(b"t", _PAN) + "\n",
        dump_consumer_qr(b"t", _PAN).replace("h", "h\n", 1),
        dump_consumer_qr(b"token", _PAN).rstrip("="),
        "",
    ],
)
def test_what_is_no_code_of_ours_is_refused(text: str) -> None:
    with pytest.raises(PaymentCodeError) as caught:
        parse_consumer_qr(text)
    assert caught.value.code == "code_not_recognised"


def test_base64_whose_unused_bits_are_set_is_refused() -> None:
    """One code has one text; the standard library would pass the other spellings over."""
    text = dump_consumer_qr(b"token", _PAN)
    assert text.endswith("4=")
    with pytest.raises(PaymentCodeError):
        parse_consumer_qr(text[:-2] + "5=")


def test_a_code_longer_than_readers_promise_is_too_long() -> None:
    with pytest.raises(PaymentCodeError) as caught:
        dump_consumer_qr(bytes(400), _PAN)
    assert caught.value.code == "code_too_long"
    with pytest.raises(PaymentCodeError) as caught:
        parse_consumer_qr(CONSUMER_QR_PREFIX + "A" * CONSUMER_QR_CHARS_MAX)
    assert caught.value.code == "code_too_long"


@pytest.mark.parametrize(
    "token_pan", ["", "1234567", "9047112233445566776", "9" * 20, "90471122334４5566775", "90f"]
)
def test_dump_refuses_what_is_no_token_pan(token_pan: str) -> None:
    with pytest.raises(PaymentCodeError):
        dump_consumer_qr(b"token", token_pan)


def test_the_first_example_of_the_standard_reads() -> None:
    (application,) = parse_cpm_payload("hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8=")
    assert application.aid.hex() == "a0000000555555"
    assert application.objects == ((0x57, bytes.fromhex("1234567890123458d191220112345f")),)


def test_every_stored_vector_reads_and_none_is_ours(vectors: Path) -> None:
    stored = json.loads((vectors / "emvco_cpm.json").read_text(encoding="utf-8"))
    for each in stored["vectors"]:
        (application,) = parse_cpm_payload(each["payload_base64"])
        assert dump_tlv(0x4F, application.aid) in bytes.fromhex(each["hex"])
        with pytest.raises(PaymentCodeError):
            parse_consumer_qr(each["payload_base64"])
    for each in stored["must_fail"]:
        with pytest.raises(PaymentCodeError):
            parse_cpm_payload(each["payload_base64"])
