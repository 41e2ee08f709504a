"""The payment application's two commands, byte for byte, and what a terminal will not take for an answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from wire.cards.apdu import CommandApdu, ResponseApdu, parse_command
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_application import (
    CAPABILITY_OFFLINE_CREDENTIAL,
    SELECT_APPLICATION,
    SIGNING_COMMAND_PREFIX,
    authorise_payment,
    check_application,
    dump_application_answer,
    dump_signing_answer,
    make_signing_command,
    parse_application_answer,
    parse_signing_answer,
    parse_signing_command,
)
from wire.cards.payment_terms import PDOL, PaymentTerms
from wire.errors import CardError, EncodingError
from wire.es256 import PrivateKey
from wire.money import Money, find_currency
from wire.tlv import dump_tlv
from wire.tokens.nfc_token import mint_nfc_token
from wire.tokens.qr_token import QrTokenClaims, mint_qr_token

COUNTER = 7
# The SELECT answer of protocol section 3a, which offers all three capabilities.
PROTOCOL_ANSWER = bytes.fromhex(
    "6F42 8409F0504F535041590101 A535 5006504F53504159 9F08020100"
    "9F38199F02065F2A029F37089F160F9F1C089A039F21039C019F6604 BF0C09DF010107DF020200FF"
)


def _answer_with(token: bytes, counter: int = COUNTER) -> Callable[[bytes], bytes]:
    answer = ResponseApdu(dump_signing_answer(counter, token), 0x9000).encode()
    return lambda _: answer


def test_select_and_its_answer_have_the_protocols_bytes() -> None:
    assert SELECT_APPLICATION.encode().hex() == "00a4040009f0504f53504159010100"
    assert dump_application_answer(0x07) == PROTOCOL_ANSWER
    assert len(SELECT_APPLICATION.encode()) == 15
    assert len(ResponseApdu(PROTOCOL_ANSWER, 0x9000).encode()) == 70


def test_signing_command_and_its_answer_have_the_protocols_sizes(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    command = make_signing_command(terms.encode()).encode()
    assert command.startswith(SIGNING_COMMAND_PREFIX)
    assert command.hex().startswith("80a80000348332")
    assert len(command) == 58
    token = mint_nfc_token(terms.encode(), COUNTER, b"rand", device_key)
    answer = ResponseApdu(dump_signing_answer(COUNTER, token), 0x9000).encode()
    assert len(answer) == 178
    assert answer.startswith(bytes.fromhex("77 81AD 9F36020007 C181A5"))


def test_signing_command_is_read_back_by_the_card(terms: PaymentTerms) -> None:
    command = parse_command(make_signing_command(terms.encode()).encode())
    assert parse_signing_command(command) == terms.encode()


@pytest.mark.parametrize("data_hex", ["", "83", "8331" + "00" * 49, "8432" + "00" * 50, "8300" + "8300"])
def test_parse_signing_command_refuses_other_data_fields(data_hex: str) -> None:
    with pytest.raises(EncodingError):
        parse_signing_command(CommandApdu(0x80, 0xA8, 0, 0, bytes.fromhex(data_hex), 256))


def test_check_application_accepts_the_protocols_answer() -> None:
    profile = check_application(PROTOCOL_ANSWER)
    assert profile.pdol == PDOL
    assert profile.command_bytes_max == 255


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (b"", "card_answer_invalid"),
        (PROTOCOL_ANSWER[:-1], "card_answer_invalid"),
        (PROTOCOL_ANSWER + b"\x90", "card_answer_invalid"),
        (
            PROTOCOL_ANSWER.replace(b"\x50\x41\x59\x01\x01\xa5", b"\x50\x41\x59\x01\x02\xa5"),
            "card_answer_invalid",
        ),
        (PROTOCOL_ANSWER.replace(b"\x9f\x08\x02\x01\x00", b"\x9f\x08\x02\x02\x00"), "card_not_supported"),
        (PROTOCOL_ANSWER.replace(b"\x9f\x37\x08", b"\x9f\x37\x04"), "card_not_supported"),
        (dump_application_answer(CAPABILITY_OFFLINE_CREDENTIAL), "card_not_supported"),
        (PROTOCOL_ANSWER[:-1] + b"\x33", "card_not_supported"),
    ],
    ids=["empty", "cut", "trailing", "other aid", "other version", "other pdol", "offline only", "too small"],
)
def test_check_application_refuses_what_it_cannot_pay_with(answer: bytes, refusal: str) -> None:
    with pytest.raises(CardError) as refused:
        check_application(answer)
    assert refused.value.code == refusal


@given(st.binary(max_size=256))
def test_parse_application_answer_gives_a_value_or_a_typed_error_for_any_bytes(answer: bytes) -> None:
    try:
        parse_application_answer(answer)
    except EncodingError:
        return


@given(st.integers(0, 255))
def test_parse_application_answer_reads_what_the_card_wrote(capabilities: int) -> None:
    assert parse_application_answer(dump_application_answer(capabilities)).capabilities == capabilities


def test_parse_signing_answer_passes_over_tags_it_does_not_know() -> None:
    inner = dump_tlv(0x9F36, b"\x00\x07") + dump_tlv(0x9F10, b"later") + dump_tlv(0xC1, b"token")
    assert parse_signing_answer(dump_tlv(0x77, inner)) == (7, b"token")


def test_authorise_payment_returns_the_token_that_answers_the_nonce(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    token = mint_nfc_token(terms.encode(), COUNTER, b"rand", device_key)
    assert hold_dialogue(authorise_payment(terms), _answer_with(token)) == token


def test_authorise_payment_refuses_a_token_for_another_nonce_as_another_card(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    earlier = replace(terms, nonce=bytes(8))
    token = mint_nfc_token(earlier.encode(), COUNTER, b"rand", device_key)
    with pytest.raises(CardError) as refused:
        hold_dialogue(authorise_payment(terms), _answer_with(token))
    assert refused.value.code == "card_changed"


def test_authorise_payment_refuses_a_counter_that_is_not_the_signed_one(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    token = mint_nfc_token(terms.encode(), COUNTER, b"rand", device_key)
    with pytest.raises(CardError) as refused:
        hold_dialogue(authorise_payment(terms), _answer_with(token, counter=COUNTER + 1))
    assert refused.value.code == "card_answer_invalid"


def test_authorise_payment_leaves_a_tampered_amount_for_the_gateway_to_judge(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    cheaper = replace(terms, amount=Money(1, find_currency("EUR")))
    token = mint_nfc_token(cheaper.encode(), COUNTER, b"rand", device_key)
    assert hold_dialogue(authorise_payment(terms), _answer_with(token)) == token


def test_authorise_payment_refuses_a_token_of_another_kind(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    claims = QrTokenClaims(bytes(8), 1_790_000_000, 1_790_000_060, terms.amount, COUNTER)
    with pytest.raises(CardError) as refused:
        hold_dialogue(authorise_payment(terms), _answer_with(mint_qr_token(claims, device_key)))
    assert refused.value.code == "card_answer_invalid"


def test_errors_of_the_dialogue_do_not_repeat_the_card(terms: PaymentTerms) -> None:
    marker = b"\xca\xfe\xba\xbe"
    with pytest.raises(CardError) as refused:
        hold_dialogue(authorise_payment(terms), _answer_with(marker * 8))
    text = str(refused.value).lower()
    assert "cafebabe" not in text
    assert repr(marker)[2:-1] not in text
