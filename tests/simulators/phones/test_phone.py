"""A phone's codes are what the gateway verifies, under one counter with its taps."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.errors import SimulatorError
from simulators.phones.phone import NoCodeShown, Phone
from wire import es256
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_terms import PaymentTerms
from wire.cards.presentation_dialogue import read_presentation
from wire.codes.consumer_qr import parse_consumer_qr
from wire.codes.scanned import recognise
from wire.errors import PaymentCodeError, TokenError
from wire.messages.payments import NfcAppPresentation, QrConsumerPresentation
from wire.money import Money, find_currency
from wire.tokens.nfc_token import verify_nfc_token
from wire.tokens.qr_token import verify_qr_token
from wire.tokens.sign1 import parse_sign1

NOW_MS = 1_770_000_000_000
CAP = Money(2_500, find_currency("EUR"))
TOKEN_PAN = "4111111111111111"  # the example number of every Luhn test
FORMS = ("cpm", "base45", "base32")


def _phone(counter: int = 0) -> Phone:
    key = ec.derive_private_key(0xF00D, ec.SECP256R1())
    return Phone(key, rng=random.Random(5), counter=counter, token_pan=TOKEN_PAN)


def _token_of(text: str) -> bytes:
    presentation = recognise(text)
    assert isinstance(presentation, QrConsumerPresentation)
    return presentation.token


@pytest.mark.parametrize("form", FORMS)
def test_code_of_every_form_carries_a_token_the_key_signed(form: str) -> None:
    phone = _phone(counter=41)
    token = parse_sign1(_token_of(phone.pay_code(NOW_MS, CAP, form=form)))
    claims = verify_qr_token(token, phone.public_key, now_ms=NOW_MS)
    assert token.key_id == phone.key_id == es256.key_id_of(phone.public_key)
    assert (claims.cap, claims.counter, phone.counter) == (CAP, 42, 42)
    assert claims.expires_s - claims.issued_s == 60


def test_cpm_code_shows_the_token_pan_and_no_other() -> None:
    assert parse_consumer_qr(_phone().pay_code(NOW_MS, CAP)).token_pan == TOKEN_PAN


def test_token_pan_with_a_wrong_digit_is_refused() -> None:
    with pytest.raises(PaymentCodeError):
        Phone(_phone()._private_key, rng=random.Random(1), token_pan=TOKEN_PAN[:-1] + "2")


def test_unknown_form_is_refused_and_costs_no_counter() -> None:
    phone = _phone()
    with pytest.raises(SimulatorError):
        phone.pay_code(NOW_MS, CAP, form="aztec")
    assert phone.counter == 0


@pytest.mark.parametrize(("skew_s", "code"), [(-120, "token_expired"), (120, "token_not_yet_valid")])
def test_phone_with_a_wrong_clock_makes_tokens_of_its_own_time(skew_s: int, code: str) -> None:
    phone = _phone()
    token = parse_sign1(phone.mint_token(NOW_MS + skew_s * 1000, CAP))
    with pytest.raises(TokenError) as refusal:
        verify_qr_token(token, phone.public_key, now_ms=NOW_MS)
    assert refusal.value.code == code


def test_screenshot_is_the_same_code_again() -> None:
    phone = _phone()
    with pytest.raises(NoCodeShown):
        phone.screenshot()
    first = phone.pay_code(NOW_MS, CAP)
    assert phone.screenshot() == first
    second = phone.pay_code(NOW_MS, CAP)
    assert phone.screenshot() == second != first


def test_codes_and_taps_share_one_rising_counter() -> None:
    phone = _phone()
    card = phone.payment_card()
    terms = PaymentTerms(
        amount=CAP,
        nonce=bytes(8),
        merchant_id="MERCHANT0000001",
        terminal_id="TERM0001",
        at_s=NOW_MS // 1000,
    )
    counters = []
    for _ in range(2):
        qr_token = parse_sign1(_token_of(phone.pay_code(NOW_MS, CAP)))
        counters.append(verify_qr_token(qr_token, phone.public_key, now_ms=NOW_MS).counter)
        card.power_on()
        tap = hold_dialogue(read_presentation(lambda: terms), card.transmit)
        card.power_off()
        assert isinstance(tap, NfcAppPresentation)
        counters.append(verify_nfc_token(parse_sign1(tap.token), phone.public_key).counter)
    assert counters == [1, 2, 3, 4]


def test_same_seed_shows_the_same_codes() -> None:
    codes = [[phone.pay_code(NOW_MS, CAP) for _ in range(2)] for phone in (_phone(), _phone())]
    assert codes[0] == codes[1]
    assert codes[0][0] != codes[0][1]
