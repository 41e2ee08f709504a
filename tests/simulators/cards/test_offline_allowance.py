"""A card that pays where nobody can be asked: its total never falls short of what it signed."""

from __future__ import annotations

import random
from dataclasses import replace as changed

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from simulators.cards.card import CardTorn
from simulators.cards.offline_allowance import AllowanceExceeded, OfflineAllowance
from simulators.cards.payment_card import PaymentCard
from simulators.errors import SimulatorError
from simulators.phones.phone import Phone
from wire import es256
from wire.cards.apdu import LE_MAX, CommandApdu
from wire.cards.dialogue import hold_dialogue
from wire.cards.payment_application import GET_CREDENTIAL, SELECT_APPLICATION, make_signing_command
from wire.cards.payment_terms import QUALIFIERS_OFFLINE, PaymentTerms
from wire.cards.presentation_dialogue import OfflineTap, read_presentation
from wire.errors import CardError, TokenError
from wire.es256 import PrivateKey
from wire.messages.payments import NfcAppPresentation
from wire.money import Money, find_currency
from wire.tokens.credential import (
    CredentialClaims,
    mint_credential,
    parse_credential,
    verify_credential,
)
from wire.tokens.nfc_token import NfcTokenClaims, verify_nfc_token
from wire.tokens.sign1 import parse_sign1

ISSUER = ec.derive_private_key(0x155E, ec.SECP256R1())
EUR = find_currency("EUR")
SELECT = SELECT_APPLICATION.encode()


@pytest.fixture(scope="module")
def claims(card_key: PrivateKey) -> CredentialClaims:
    """50 euros in all, 15 at most at once: of 12.50 exactly four."""
    return CredentialClaims(
        credential_id=bytes(8),
        issued_s=1_790_000_000,
        expires_s=1_790_600_000,
        device_public_key=es256.dump_public_key(card_key.public_key()),
        status_index=7,
        per_payment_minor=1_500,
        allowance=Money(5_000, EUR),
    )


@pytest.fixture
def card(card_key: PrivateKey, rng: random.Random, claims: CredentialClaims) -> PaymentCard:
    return PaymentCard(card_key, rng=rng, allowance=OfflineAllowance(mint_credential(claims, ISSUER)))


@pytest.fixture
def offline_terms(terms: PaymentTerms) -> PaymentTerms:
    return replace(terms, qualifiers=QUALIFIERS_OFFLINE)


def _tap(card: PaymentCard, terms: PaymentTerms) -> OfflineTap:
    card.power_on()
    tap = hold_dialogue(read_presentation(lambda: terms), card.transmit)
    card.power_off()
    assert isinstance(tap, OfflineTap)
    return tap


def _pay(card: PaymentCard, terms: PaymentTerms) -> NfcTokenClaims:
    return verify_nfc_token(parse_sign1(_tap(card, terms).token), card.public_key)


def _refusal(card: PaymentCard, terms: PaymentTerms) -> str:
    card.power_on()
    with pytest.raises(CardError) as refused:
        hold_dialogue(read_presentation(lambda: terms), card.transmit)
    card.power_off()
    return refused.value.code


def _spent(card: PaymentCard) -> int:
    assert card.allowance is not None
    return card.allowance.spent_minor


def test_a_tap_gives_a_running_total_and_the_credential_of_its_key(
    card: PaymentCard, offline_terms: PaymentTerms, claims: CredentialClaims
) -> None:
    tap = _tap(card, offline_terms)
    token = parse_sign1(tap.token)
    signed = verify_nfc_token(token, card.public_key)
    assert (signed.terms, signed.counter, signed.running_total_minor) == (offline_terms, 1, 1_250)
    vouched = verify_credential(
        parse_credential(tap.credential), ISSUER.public_key(), now_ms=1_790_000_000_000
    )
    assert vouched == claims
    assert vouched.device_key_id == token.key_id


def test_a_whole_offline_tap_takes_three_short_commands(
    card: PaymentCard, offline_terms: PaymentTerms
) -> None:
    _tap(card, offline_terms)
    assert [len(command) for command in card.received] == [15, 58, 5]
    assert card.received[2].hex() == "80ca00c200"


def test_the_total_rises_with_every_tap_until_the_allowance_is_used_up(
    card: PaymentCard, offline_terms: PaymentTerms
) -> None:
    assert [_pay(card, offline_terms).running_total_minor for _ in range(4)] == [1_250, 2_500, 3_750, 5_000]
    assert _refusal(card, offline_terms) == "card_allowance_exceeded"
    assert (_spent(card), card.counter) == (5_000, 4)


def test_an_amount_above_the_most_of_one_payment_is_refused_and_counts_nothing(
    card: PaymentCard, offline_terms: PaymentTerms
) -> None:
    assert _refusal(card, replace(offline_terms, amount=Money(1_501, EUR))) == "card_allowance_exceeded"
    assert (_spent(card), card.counter) == (0, 0)
    assert _pay(card, replace(offline_terms, amount=Money(1_500, EUR))).running_total_minor == 1_500


def test_payments_online_leave_the_total_as_it_is(
    card: PaymentCard, terms: PaymentTerms, offline_terms: PaymentTerms
) -> None:
    card.power_on()
    assert isinstance(hold_dialogue(read_presentation(lambda: terms), card.transmit), NfcAppPresentation)
    assert len(card.received) == 2
    assert _pay(card, offline_terms).running_total_minor == 1_250


def test_a_card_without_a_credential_needs_a_connection_and_is_not_asked_to_sign(
    card_key: PrivateKey, rng: random.Random, offline_terms: PaymentTerms
) -> None:
    card = PaymentCard(card_key, rng=rng)
    assert _refusal(card, offline_terms) == "card_needs_connection"
    assert len(card.received) == 1
    card.power_on()
    signing = make_signing_command(offline_terms.encode()).encode()
    assert [card.transmit(command)[-2:].hex() for command in (SELECT, signing)] == ["9000", "6a81"]
    assert card.counter == 0


def test_another_currency_than_the_allowances_is_not_signed(
    card: PaymentCard, offline_terms: PaymentTerms
) -> None:
    yen = replace(offline_terms, amount=Money(100, find_currency("JPY")))
    assert _refusal(card, yen) == "card_not_supported"
    assert _spent(card) == 0


@pytest.mark.parametrize("attribute", ["locked", "blocked"])
def test_what_a_card_refuses_for_another_reason_counts_nothing(
    card: PaymentCard, offline_terms: PaymentTerms, attribute: str
) -> None:
    setattr(card, attribute, True)
    assert _refusal(card, offline_terms) == f"card_{attribute}"
    assert _spent(card) == 0


def test_the_credential_is_shown_only_after_an_offline_signature(
    card: PaymentCard, terms: PaymentTerms, offline_terms: PaymentTerms
) -> None:
    credential = GET_CREDENTIAL.encode()
    for before in ([], [SELECT], [SELECT, make_signing_command(terms.encode()).encode()]):
        card.power_on()
        assert [card.transmit(command) for command in [*before, credential]][-1].hex() == "6985"
    card.power_on()
    signing = make_signing_command(offline_terms.encode()).encode()
    answers = [card.transmit(command) for command in (SELECT, signing, credential, SELECT, credential)]
    assert [answer[-2:].hex() for answer in answers] == ["9000", "9000", "9000", "9000", "6985"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (CommandApdu(0x80, 0xCA, 0x00, 0xC3, b"", LE_MAX), "6a86"),
        (CommandApdu(0x80, 0xCA, 0x01, 0xC2, b"", LE_MAX), "6a86"),
        (CommandApdu(0x80, 0xCA, 0x00, 0xC2, b"\x00", LE_MAX), "6700"),
        (CommandApdu(0x80, 0xCA, 0x00, 0xC2, b"", None), "6700"),
    ],
    ids=str,
)
def test_get_data_takes_one_form_only(card: PaymentCard, command: CommandApdu, status: str) -> None:
    card.power_on()
    assert card.transmit(command.encode()).hex() == status


@pytest.mark.parametrize("after_processing", [False, True])
@pytest.mark.parametrize("torn_at", [1, 2, 3])
def test_a_tear_never_leaves_the_total_below_what_was_signed(
    card: PaymentCard, offline_terms: PaymentTerms, torn_at: int, after_processing: bool
) -> None:
    card.tear_at_apdu, card.tear_after_processing = torn_at, after_processing
    card.power_on()
    with pytest.raises(CardTorn):
        hold_dialogue(read_presentation(lambda: offline_terms), card.transmit)
    has_signed = torn_at == 3 or (torn_at == 2 and after_processing)
    assert _spent(card) == (1_250 if has_signed else 0)
    assert _pay(card, offline_terms).running_total_minor == (2_500 if has_signed else 1_250)


def test_a_clone_copies_the_total_and_then_counts_for_itself(
    card: PaymentCard, offline_terms: PaymentTerms
) -> None:
    _pay(card, offline_terms)
    clone = card.clone()
    assert (_spent(clone), clone.counter) == (1_250, 1)
    original, copied = _pay(card, offline_terms), _pay(clone, offline_terms)
    assert original.running_total_minor == copied.running_total_minor == 2_500
    assert original.counter == copied.counter == 2
    assert original.token_id != copied.token_id
    _pay(card, offline_terms)
    assert (_spent(card), _spent(clone)) == (3_750, 2_500)


@given(amounts=st.lists(st.integers(1, 2_000), max_size=20))
def test_the_total_is_the_sum_of_what_was_added_and_never_above_the_allowance(
    claims: CredentialClaims, amounts: list[int]
) -> None:
    allowance = OfflineAllowance(mint_credential(claims, ISSUER))
    added = []
    for minor in amounts:
        try:
            total = allowance.add(Money(minor, EUR))
        except AllowanceExceeded:
            assert minor > 1_500 or sum(added) + minor > 5_000
            continue
        added.append(minor)
        assert total == sum(added) <= 5_000
    assert allowance.spent_minor == sum(added)


def test_a_phone_shares_counter_and_allowance_with_its_applications(
    card_key: PrivateKey, rng: random.Random, offline_terms: PaymentTerms, claims: CredentialClaims
) -> None:
    phone = Phone(card_key, rng=rng, token_pan="4111111111111111")
    assert _refusal(phone.payment_card(), offline_terms) == "card_needs_connection"
    allowance = phone.hold_credential(mint_credential(claims, ISSUER))
    totals = [_pay(phone.payment_card(), offline_terms).running_total_minor for _ in range(2)]
    assert totals == [1_250, 2_500]
    assert (allowance.spent_minor, phone.counter) == (2_500, 2)
    renewed = phone.hold_credential(mint_credential(changed(claims, credential_id=b"12345678"), ISSUER))
    assert (renewed.spent_minor, _pay(phone.payment_card(), offline_terms).running_total_minor) == (0, 1_250)


def test_a_phone_takes_no_credential_of_another_device(
    card_key: PrivateKey, rng: random.Random, claims: CredentialClaims
) -> None:
    phone = Phone(ISSUER, rng=rng, token_pan="4111111111111111")
    with pytest.raises(SimulatorError):
        phone.hold_credential(mint_credential(claims, ISSUER))
    with pytest.raises(TokenError):
        phone.hold_credential(b"no credential")
    assert phone.allowance is None
