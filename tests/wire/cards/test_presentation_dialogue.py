"""Whatever a card answers, the terminal ends within a bounded number of commands, with a value or a code."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import personalise_chip
from simulators.cards.offline_allowance import OfflineAllowance
from simulators.cards.payment_card import PaymentCard
from wire import es256
from wire.cards.apdu import parse_command
from wire.cards.dialogue import hold_dialogue
from wire.cards.ndef import dump_uri_message
from wire.cards.ntag424.card_profile import CardKeys
from wire.cards.payment_application import GET_CREDENTIAL
from wire.cards.payment_terms import QUALIFIERS_OFFLINE, PaymentTerms
from wire.cards.presentation_dialogue import (
    APDUS_MAX,
    SIGNING_COMMAND_PREFIX,
    OfflineTap,
    read_presentation,
)
from wire.errors import CardError
from wire.es256 import PrivateKey
from wire.messages.payments import NfcAppPresentation, NfcSdmPresentation
from wire.money import Money, find_currency
from wire.notices import NoticeKind, find_notice
from wire.tokens.credential import CredentialClaims, mint_credential

_STATUSES = st.sampled_from(["9000", "6985", "6983", "6982", "6a82", "6a81", "6700", "6f00", "6105", "6c10"])
_ANSWERS = (
    st.binary(max_size=300)
    | st.builds(lambda data, status: data + bytes.fromhex(status), st.binary(max_size=256), _STATUSES)
    | st.sampled_from([bytes.fromhex("6a82"), bytes.fromhex("9000")])
)


class Bounded:
    """Counts commands and stops a dialogue that goes on past its bound."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.count = 0
        self._answer = answer

    def transmit(self, command: bytes) -> bytes:
        self.count += 1
        assert self.count <= APDUS_MAX
        parse_command(command)
        return self._answer(command)


def _read(terms: PaymentTerms, transmit: Callable[[bytes], bytes]) -> str:
    """Return the refusal, which must be one the cashier has words for, or "presented"."""
    code = _code_of_reading(terms, transmit)
    assert code == "presented" or find_notice(code).kind is NoticeKind.REFUSAL
    return code


def _code_of_reading(terms: PaymentTerms, transmit: Callable[[bytes], bytes]) -> str:
    try:
        presentation = hold_dialogue(read_presentation(lambda: terms), Bounded(transmit).transmit)
    except CardError as error:
        return error.code
    assert isinstance(presentation, NfcAppPresentation | NfcSdmPresentation | OfflineTap)
    return "presented"


@given(answers=st.lists(_ANSWERS, min_size=APDUS_MAX, max_size=APDUS_MAX))
def test_read_presentation_ends_with_a_value_or_a_refusal_for_any_answers(
    answers: list[bytes], terms: PaymentTerms
) -> None:
    remaining = iter(answers)
    _read(terms, lambda _: next(remaining))


@given(data=st.data())
def test_read_presentation_ends_with_a_value_or_a_refusal_when_honest_cards_are_garbled(
    data: st.DataObject, terms: PaymentTerms, device_key: PrivateKey
) -> None:
    card = data.draw(st.sampled_from(_honest_cards(device_key)))
    card.power_on()
    garbled_index = data.draw(st.integers(0, 7))
    garble = data.draw(st.sampled_from(["flip", "cut", "grow", "replace"]))
    count = 0

    def transmit(command: bytes) -> bytes:
        nonlocal count
        answer = card.transmit(command)
        count += 1
        return answer if count - 1 != garbled_index else _garble(answer, garble, data)

    _read(terms, transmit)


def _honest_cards(device_key: PrivateKey) -> list[PaymentCard | Ntag424Card]:
    rng = random.Random(7)
    keys = CardKeys(*[bytes(16)] * 5)
    memory = personalise_chip(bytes.fromhex("04782E21801D80"), keys, "https://pay.example.com/t")
    link_card = Ntag424Card(memory, rng=rng)
    return [PaymentCard(device_key, rng=rng), link_card]


def _garble(answer: bytes, how: str, data: st.DataObject) -> bytes:
    position = data.draw(st.integers(0, len(answer) - 1))
    if how == "flip":
        flipped = answer[position] ^ data.draw(st.integers(1, 255))
        return answer[:position] + bytes((flipped,)) + answer[position + 1 :]
    if how == "cut":
        return answer[:position]
    junk = data.draw(st.binary(max_size=60))
    return answer[:position] + junk + answer[position:] if how == "grow" else junk


def test_read_presentation_bound_is_the_slowest_link_card() -> None:
    assert APDUS_MAX == 23


@pytest.mark.parametrize(
    ("status_hex", "refusal"),
    [
        ("6985", "card_locked"),
        ("6982", "card_confirmation_required"),
        ("6983", "card_blocked"),
        ("6283", "card_blocked"),
        ("6a81", "card_not_supported"),
        ("6999", "card_not_supported"),
        ("6f00", "card_answer_invalid"),
    ],
)
def test_read_presentation_stops_at_the_first_select_unless_the_application_is_absent(
    status_hex: str, refusal: str, terms: PaymentTerms
) -> None:
    sent = []

    def transmit(command: bytes) -> bytes:
        sent.append(command)
        return bytes.fromhex(status_hex)

    assert _read(terms, transmit) == refusal
    assert len(sent) == 1


def test_read_presentation_refuses_a_card_that_knows_neither_application(terms: PaymentTerms) -> None:
    assert _read(terms, lambda _: bytes.fromhex("6a82")) == "card_not_supported"


@pytest.mark.parametrize(
    ("uri", "refusal"),
    [
        ("https://example.com/menu", "card_not_supported"),
        ("tel:+15550100", "card_not_supported"),
        (f"https://pay.example.com/t?e={'0A' * 16}&c={'0B' * 8}&x=1", "card_not_supported"),
        (f"https://pay.example.com/t?e={'0A' * 16}&c={'0B' * 8}", "presented"),
    ],
)
def test_read_presentation_takes_no_link_but_a_cards_one_time_link(
    uri: str, refusal: str, terms: PaymentTerms
) -> None:
    message = dump_uri_message(uri)
    answers = iter(
        [
            bytes.fromhex("6a82"),
            bytes.fromhex("9000"),
            bytes.fromhex("9000"),
            bytes.fromhex("000f20010000ff0406e10401000000") + bytes.fromhex("9000"),
            bytes.fromhex("9000"),
            len(message).to_bytes(2, "big") + bytes.fromhex("9000"),
            message + bytes.fromhex("9000"),
        ]
    )
    assert _read(terms, lambda _: next(answers)) == refusal


def test_read_presentation_makes_terms_only_once_the_application_is_selected(terms: PaymentTerms) -> None:
    made = []

    def make_terms() -> PaymentTerms:
        made.append(terms)
        return terms

    with pytest.raises(CardError):
        hold_dialogue(read_presentation(make_terms), lambda _: bytes.fromhex("6a82"))
    assert made == []


def test_read_presentation_refuses_an_answer_recorded_at_an_earlier_tap(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    card = PaymentCard(device_key, rng=random.Random(7))
    card.power_on()
    recorded: list[bytes] = []

    def record(command: bytes) -> bytes:
        recorded.append(card.transmit(command))
        return recorded[-1]

    earlier = PaymentTerms(terms.amount, bytes(8), terms.merchant_id, terms.terminal_id, terms.at_s)
    hold_dialogue(read_presentation(lambda: earlier), record)
    assert _read(terms, lambda _: recorded.pop(0)) == "card_changed"


def test_signing_command_can_be_told_by_its_prefix(terms: PaymentTerms, device_key: PrivateKey) -> None:
    card = PaymentCard(device_key, rng=random.Random(7))
    card.power_on()
    hold_dialogue(read_presentation(lambda: terms), card.transmit)
    assert [command.startswith(SIGNING_COMMAND_PREFIX) for command in card.received] == [False, True]


_OFFLINE_ISSUER = ec.derive_private_key(0x155E, ec.SECP256R1())


def _offline(terms: PaymentTerms) -> PaymentTerms:
    return replace(terms, qualifiers=QUALIFIERS_OFFLINE)


def _offline_card(key: PrivateKey) -> PaymentCard:
    claims = CredentialClaims(
        credential_id=bytes(8),
        issued_s=1_790_000_000,
        expires_s=1_790_600_000,
        device_public_key=es256.dump_public_key(key.public_key()),
        status_index=7,
        per_payment_minor=5_000,
        allowance=Money(5_000, find_currency("EUR")),
    )
    allowance = OfflineAllowance(mint_credential(claims, _OFFLINE_ISSUER))
    return PaymentCard(key, rng=random.Random(7), allowance=allowance)


def test_an_offline_reading_gives_token_and_credential(terms: PaymentTerms, device_key: PrivateKey) -> None:
    card = _offline_card(device_key)
    card.power_on()
    tap = hold_dialogue(read_presentation(lambda: _offline(terms)), card.transmit)
    assert isinstance(tap, OfflineTap)
    assert card.allowance is not None
    assert tap.credential == card.allowance.credential


@given(data=st.data())
def test_an_offline_reading_ends_with_a_value_or_a_refusal_when_an_honest_card_is_garbled(
    data: st.DataObject, terms: PaymentTerms, device_key: PrivateKey
) -> None:
    card = _offline_card(device_key)
    card.power_on()
    garbled_index = data.draw(st.integers(0, 3))
    garble = data.draw(st.sampled_from(["flip", "cut", "grow", "replace"]))
    count = 0

    def transmit(command: bytes) -> bytes:
        nonlocal count
        answer = card.transmit(command)
        count += 1
        return answer if count - 1 != garbled_index else _garble(answer, garble, data)

    _read(_offline(terms), transmit)


def test_an_offline_reading_refuses_a_token_over_other_terms(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    """Online the gateway keeps such a token as evidence; offline nobody else would notice in time."""
    card = _offline_card(device_key)
    card.tamper_amount_minor = 1
    card.power_on()
    with pytest.raises(CardError) as caught:
        hold_dialogue(read_presentation(lambda: _offline(terms)), card.transmit)
    assert caught.value.code == "card_answer_invalid"


def test_an_offline_reading_refuses_the_credential_of_another_key(
    terms: PaymentTerms, device_key: PrivateKey, other_key: PrivateKey
) -> None:
    card, other = _offline_card(device_key), _offline_card(other_key)
    card.allowance = other.allowance
    card.power_on()
    with pytest.raises(CardError) as caught:
        hold_dialogue(read_presentation(lambda: _offline(terms)), card.transmit)
    assert caught.value.code == "card_answer_invalid"


@pytest.mark.parametrize("answer_hex", ["6a81", "6985", "6a88", "6f00"])
def test_a_card_that_does_not_show_its_credential_after_all_needs_a_connection(
    terms: PaymentTerms, device_key: PrivateKey, answer_hex: str
) -> None:
    card = _offline_card(device_key)
    card.power_on()

    def transmit(command: bytes) -> bytes:
        answer = card.transmit(command)
        return bytes.fromhex(answer_hex) if command == GET_CREDENTIAL.encode() else answer

    with pytest.raises(CardError) as caught:
        hold_dialogue(read_presentation(lambda: _offline(terms)), transmit)
    assert caught.value.code == "card_needs_connection"


@pytest.mark.parametrize(
    "answer", [b"", b"\xc2\x00", b"\xc1\x01\x00", b"\xc2\x81\xe1" + bytes(225), b"\xc2\x01\x00\xc2\x01\x00"]
)
def test_a_credential_answer_of_another_form_makes_no_sense(
    terms: PaymentTerms, device_key: PrivateKey, answer: bytes
) -> None:
    card = _offline_card(device_key)
    card.power_on()

    def transmit(command: bytes) -> bytes:
        real = card.transmit(command)
        return answer + b"\x90\x00" if command == GET_CREDENTIAL.encode() else real

    with pytest.raises(CardError) as caught:
        hold_dialogue(read_presentation(lambda: _offline(terms)), transmit)
    assert caught.value.code == "card_answer_invalid"
