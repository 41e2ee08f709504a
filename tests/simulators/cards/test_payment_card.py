"""The simulated payment card refuses what the real one refuses, and never signs twice under one counter."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from simulators.cards.apdu_card import RECEIVED_MAX
from simulators.cards.card import CardTorn, SimulatedCard
from simulators.cards.payment_card import PaymentCard
from simulators.cards.transaction_counter import TRANSACTION_COUNTER_MAX, TransactionCounter
from wire.application_id import PAYMENT_AID
from wire.cards.apdu import parse_response
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_application import SELECT_APPLICATION, make_signing_command
from wire.cards.payment_terms import PaymentTerms
from wire.cards.presentation_dialogue import read_presentation
from wire.errors import CardError
from wire.es256 import PrivateKey
from wire.messages.payments import NfcAppPresentation
from wire.money import Money, find_currency
from wire.tokens.nfc_token import NfcTokenClaims, verify_nfc_token
from wire.tokens.sign1 import parse_sign1

SELECT = SELECT_APPLICATION.encode()


def _sign(terms: PaymentTerms) -> bytes:
    return make_signing_command(terms.encode()).encode()


def _tap(card: SimulatedCard, terms: PaymentTerms) -> bytes:
    card.power_on()
    presentation = hold_dialogue(read_presentation(lambda: terms), card.transmit)
    card.power_off()
    assert isinstance(presentation, NfcAppPresentation)
    return presentation.token


def _pay(card: PaymentCard, terms: PaymentTerms) -> NfcTokenClaims:
    return verify_nfc_token(parse_sign1(_tap(card, terms)), card.public_key)


def _refusal(card: SimulatedCard, terms: PaymentTerms) -> str:
    with pytest.raises(CardError) as refused:
        _tap(card, terms)
    return refused.value.code


def _status(card: SimulatedCard, *commands: bytes) -> str:
    """Send commands to a fresh session and return the last status as hex."""
    card.power_on()
    answers = [card.transmit(command) for command in commands]
    return answers[-1][-2:].hex()


@pytest.fixture
def card(card_key: PrivateKey, rng: random.Random) -> PaymentCard:
    return PaymentCard(card_key, rng=rng)


def test_tap_gives_a_token_over_the_very_terms_under_rising_counters(
    card: PaymentCard, terms: PaymentTerms
) -> None:
    taps = [_pay(card, terms) for _ in range(3)]
    assert [tap.terms for tap in taps] == [terms] * 3
    assert [tap.counter for tap in taps] == [1, 2, 3]
    assert card.counter == 3


def test_tap_has_the_sizes_of_the_protocol(card: PaymentCard, terms: PaymentTerms) -> None:
    card.power_on()
    answers = [card.transmit(SELECT), card.transmit(_sign(terms))]
    assert [len(command) for command in card.received] == [15, 58]
    assert [len(answer) for answer in answers] == [70, 178]


def test_same_seed_gives_the_same_bytes(card_key: PrivateKey, terms: PaymentTerms) -> None:
    first, second = (PaymentCard(card_key, rng=random.Random(9)) for _ in range(2))
    assert _tap(first, terms) == _tap(second, terms)
    assert first.uid == second.uid


def test_uid_is_random_at_every_power_up(card: PaymentCard) -> None:
    uids = set()
    for _ in range(5):
        card.power_on()
        uids.add(card.uid)
    assert len(uids) == 5
    assert all(len(uid) == 4 and uid[0] == 0x08 for uid in uids)


@pytest.mark.parametrize(
    ("settings", "status", "refusal"),
    [
        ({"locked": True}, "6985", "card_locked"),
        ({"blocked": True}, "6983", "card_blocked"),
        ({"confirmation_above_minor": 1249}, "6982", "card_confirmation_required"),
        ({"currencies": frozenset({"CNY"})}, "6a80", "card_not_supported"),
        ({"counter": TRANSACTION_COUNTER_MAX}, "6983", "card_blocked"),
    ],
    ids=["locked", "blocked", "confirm", "currency", "exhausted"],
)
def test_card_refuses_to_sign_and_keeps_its_counter(
    card_key: PrivateKey,
    rng: random.Random,
    terms: PaymentTerms,
    settings: dict[str, Any],
    status: str,
    refusal: str,
) -> None:
    card = PaymentCard(card_key, rng=rng, **settings)
    before = card.counter
    assert _status(card, SELECT, _sign(terms)) == status
    assert _refusal(card, terms) == refusal
    assert card.counter == before


def test_confirmation_holds_for_one_payment(
    card_key: PrivateKey, rng: random.Random, terms: PaymentTerms
) -> None:
    card = PaymentCard(card_key, rng=rng, confirmation_above_minor=1000)
    assert _refusal(card, terms) == "card_confirmation_required"
    card.confirm()
    assert _pay(card, terms).terms == terms
    assert _refusal(card, terms) == "card_confirmation_required"
    assert _pay(card, replace(terms, amount=Money(1000, find_currency("EUR")))).counter == 2


def test_unlocking_lets_the_same_card_pay(
    card_key: PrivateKey, rng: random.Random, terms: PaymentTerms
) -> None:
    card = PaymentCard(card_key, rng=rng, locked=True)
    assert _refusal(card, terms) == "card_locked"
    card.locked = False
    assert _pay(card, terms).counter == 1


@pytest.mark.parametrize(
    ("command_hex", "status"),
    [
        ("", "6700"),
        ("00a404", "6700"),
        ("00a4040009" + PAYMENT_AID.hex(), "6700"),
        ("00a4040009" + PAYMENT_AID.hex() + "0000", "6700"),
        ("00a4040009" + PAYMENT_AID.hex() + "20", "6700"),
        ("00a4000009" + PAYMENT_AID.hex() + "00", "6a86"),
        ("00a4040c09" + PAYMENT_AID.hex() + "00", "6a86"),
        ("00a4040007d276000085010100", "6a82"),
        ("00a4040009" + PAYMENT_AID[:-1].hex() + "0200", "6a81"),
        ("00b0000000", "6d00"),
        ("80ca00c200", "6a81"),
        ("80ae000000", "6d00"),
        ("90600000" + "00", "6e00"),
    ],
)
def test_card_answers_other_commands_as_iso_7816_says(
    card: PaymentCard, command_hex: str, status: str
) -> None:
    assert _status(card, bytes.fromhex(command_hex)) == status


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda raw: raw[:2] + b"\x01" + raw[3:], "6a86"),
        (lambda raw: raw[:-1], "6700"),
        (lambda raw: raw[:4] + b"\x33" + raw[5:-2] + b"\x00", "6700"),
        (lambda raw: raw[:5] + b"\x84" + raw[6:], "6a80"),
        (lambda raw: raw[:7] + b"\xaa" + raw[8:], "6a80"),
        (lambda raw: raw[:13] + b"\x00\x00" + raw[15:], "6a80"),
    ],
    ids=["p1", "no le", "short data", "template", "amount digits", "currency"],
)
def test_card_refuses_a_bad_signing_command(
    card: PaymentCard,
    terms: PaymentTerms,
    change: Callable[[bytes], bytes],
    status: str,
) -> None:
    assert _status(card, SELECT, change(_sign(terms))) == status
    assert card.counter == 0


def test_card_signs_only_after_select_and_once(card: PaymentCard, terms: PaymentTerms) -> None:
    assert _status(card, _sign(terms)) == "6985"
    assert _status(card, SELECT, _sign(terms), _sign(terms)) == "6985"
    assert card.counter == 1


@pytest.mark.parametrize("wrong_hex", ["00b0000000", "00a4040007d276000085010100", "00", "80ca00c200"])
def test_card_wants_select_again_after_any_error(
    card: PaymentCard, terms: PaymentTerms, wrong_hex: str
) -> None:
    assert _status(card, SELECT, bytes.fromhex(wrong_hex), _sign(terms)) == "6985"


def test_card_wants_select_again_after_losing_power(card: PaymentCard, terms: PaymentTerms) -> None:
    _status(card, SELECT)
    card.power_off()
    assert _status(card, _sign(terms)) == "6985"


def test_tear_before_processing_leaves_the_counter_and_happens_once(
    card_key: PrivateKey, rng: random.Random, terms: PaymentTerms
) -> None:
    card = PaymentCard(card_key, rng=rng, tear_at_apdu=2)
    with pytest.raises(CardTorn):
        _tap(card, terms)
    assert card.counter == 0
    assert len(card.received) == 2
    assert _pay(card, terms).counter == 1


def test_tear_after_processing_loses_the_answer_but_not_the_counter(
    card_key: PrivateKey, rng: random.Random, terms: PaymentTerms
) -> None:
    card = PaymentCard(card_key, rng=rng, tear_at_apdu=2, tear_after_processing=True)
    with pytest.raises(CardTorn):
        _tap(card, terms)
    assert card.counter == 1
    assert _pay(card, terms).counter == 2


def test_torn_card_answers_nothing_until_it_is_powered_again(
    card_key: PrivateKey, rng: random.Random
) -> None:
    card = PaymentCard(card_key, rng=rng, tear_at_apdu=1)
    card.power_on()
    for _ in range(2):
        with pytest.raises(CardTorn):
            card.transmit(SELECT)
    assert _status(card, SELECT) == "9000"


def test_relay_has_the_card_sign_another_amount_than_the_terminal_sent(
    card_key: PrivateKey, rng: random.Random, terms: PaymentTerms
) -> None:
    card = PaymentCard(card_key, rng=rng, tamper_amount_minor=1)
    claims = _pay(card, terms)
    assert claims.terms == replace(terms, amount=Money(1, find_currency("EUR")))
    assert card.received[-1] == _sign(terms)


def test_clone_signs_other_claims_under_a_counter_the_card_uses_too(
    card: PaymentCard, terms: PaymentTerms
) -> None:
    _tap(card, terms)
    copy = card.clone()
    original, copied = _pay(card, terms), _pay(copy, replace(terms, nonce=bytes(8)))
    assert original.counter == copied.counter == 2
    assert original != copied
    assert parse_sign1(_tap(card, terms)).key_id == parse_sign1(_tap(copy, terms)).key_id


def test_counter_is_shared_with_whoever_else_signs_with_the_key(
    card_key: PrivateKey, rng: random.Random, terms: PaymentTerms
) -> None:
    counter = TransactionCounter(10)
    card = PaymentCard(card_key, rng=rng, counter=counter)
    assert counter.rise() == 11
    assert _pay(card, terms).counter == 12
    assert counter.value == 12


def test_received_keeps_the_newest_commands_only(card: PaymentCard) -> None:
    card.power_on()
    for index in range(RECEIVED_MAX + 5):
        card.transmit(index.to_bytes(4, "big"))
    assert len(card.received) == RECEIVED_MAX
    assert card.received[-1] == (RECEIVED_MAX + 4).to_bytes(4, "big")


@given(commands=st.lists(st.binary(max_size=270), max_size=8))
def test_card_answers_any_bytes_with_a_response(card_key: PrivateKey, commands: list[bytes]) -> None:
    card = PaymentCard(card_key, rng=random.Random(1))
    card.power_on()
    card.transmit(SELECT)
    for command in commands:
        parse_response(card.transmit(command))
    assert card.counter == 0
