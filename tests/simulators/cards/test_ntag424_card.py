"""The simulated NTAG 424 DNA counts, hides and refuses as the data sheet says, and its links verify."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.cards.card import CardTorn
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import CAPABILITY_FILE, personalise_chip
from wire.cards.apdu import parse_response
from wire.cards.dialogue import hold_dialogue
from wire.cards.ndef import parse_capability_container, parse_uri_message, read_ndef_message
from wire.cards.ntag424.card_profile import NDEF_FILE_BYTES, derive_card_keys
from wire.cards.ntag424.keys import diversify_file_key
from wire.cards.ntag424.link import COUNTER_MAX, SunLink, SunTap, parse_sun_url, verify_sun_link
from wire.cards.payment_terms import PaymentTerms
from wire.cards.presentation_dialogue import read_presentation
from wire.errors import CardError, EncodingError, IdError, TokenError
from wire.messages.payments import NfcSdmPresentation

UID = bytes.fromhex("04782E21801D80")
META_KEY = bytes(range(16))
FILE_MASTER = bytes(range(16, 32))
URL_BASE = "https://pay.example.com/t"

SELECT_APP = "00a4040007d276000085010100"
SELECT_PICC = "00a4040007d276000085010000"
SELECT_CC = "00a4000c02e103"
SELECT_NDEF = "00a4000c02e104"
SELECT_PROPRIETARY = "00a4000c02e105"
READ_ALL = "00b0000000"


def _make_card(seed: int = 424, **settings: Any) -> Ntag424Card:
    tears = {name: settings.pop(name) for name in list(settings) if name.startswith("tear")}
    memory = personalise_chip(UID, derive_card_keys(META_KEY, FILE_MASTER, UID), URL_BASE, **settings)
    return Ntag424Card(memory, rng=random.Random(seed), **tears)


def _talk(card: Ntag424Card, *commands_hex: str) -> list[bytes]:
    return [card.transmit(bytes.fromhex(command)) for command in commands_hex]


def _status(card: Ntag424Card, *commands_hex: str) -> str:
    """Send commands to a fresh session and return the last status as hex."""
    card.power_on()
    return _talk(card, *commands_hex)[-1][-2:].hex()


def _link_in(file: bytes) -> SunLink:
    nlen = int.from_bytes(file[:2], "big")
    return parse_sun_url(parse_uri_message(file[2 : 2 + nlen]))


def _verify(link: SunLink) -> SunTap:
    return verify_sun_link(
        link, meta_key=META_KEY, file_key_of=lambda uid: diversify_file_key(FILE_MASTER, uid)
    )


def _tap(card: Ntag424Card, terms: PaymentTerms) -> SunTap:
    card.power_on()
    presentation = hold_dialogue(read_presentation(lambda: terms), card.transmit)
    card.power_off()
    assert isinstance(presentation, NfcSdmPresentation)
    return _verify(SunLink(bytes.fromhex(presentation.picc_data_hex), bytes.fromhex(presentation.mac_hex)))


def test_tap_gives_a_link_that_verifies_and_counts_each_tap(terms: PaymentTerms) -> None:
    card = _make_card()
    assert [_tap(card, terms) for _ in range(3)] == [SunTap(UID, count) for count in (1, 2, 3)]
    assert card.counter == 3


def test_three_commands_of_the_application_note_show_a_whole_link() -> None:
    card = _make_card()
    card.power_on()
    answers = _talk(card, "00a4040c07d276000085010100", SELECT_NDEF, READ_ALL)
    assert [answer[-2:].hex() for answer in answers] == ["9000"] * 3
    assert len(answers[2]) == NDEF_FILE_BYTES + 2
    assert _verify(_link_in(answers[2][:-2])) == SunTap(UID, 1)


def test_reads_in_a_row_show_one_link_and_count_once() -> None:
    card = _make_card()
    card.power_on()
    whole = _talk(card, SELECT_APP, SELECT_NDEF, READ_ALL)[2][:-2]
    pieces = _talk(card, "00b0000032", "00b0003232", "00b00064c8")
    assert b"".join(piece[:-2] for piece in pieces) == whole
    assert card.counter == 1


def test_another_command_between_reads_gives_a_new_link() -> None:
    card = _make_card()
    card.power_on()
    answers = _talk(card, SELECT_APP, SELECT_NDEF, READ_ALL, SELECT_NDEF, READ_ALL)
    first, second = _link_in(answers[2][:-2]), _link_in(answers[4][:-2])
    assert (_verify(first).counter, _verify(second).counter) == (1, 2)
    assert first.picc_data != second.picc_data


def test_link_differs_by_its_padding_even_at_one_counter(terms: PaymentTerms) -> None:
    first, second = _make_card(seed=1), _make_card(seed=2)
    for card in (first, second):
        card.power_on()
    shown = [_link_in(_talk(card, SELECT_APP, SELECT_NDEF, READ_ALL)[2][:-2]) for card in (first, second)]
    assert shown[0].picc_data != shown[1].picc_data
    assert shown[0].mac == shown[1].mac


def test_reading_the_capability_container_counts_nothing() -> None:
    card = _make_card()
    card.power_on()
    container = _talk(card, SELECT_APP, SELECT_CC, READ_ALL)[2][:-2]
    assert container == CAPABILITY_FILE
    assert parse_capability_container(container).file_bytes == NDEF_FILE_BYTES
    assert card.counter == 0


def test_counter_survives_power_and_ends_at_its_maximum(terms: PaymentTerms) -> None:
    card = _make_card(counter=COUNTER_MAX - 1)
    assert _tap(card, terms).counter == COUNTER_MAX
    assert _status(card, SELECT_APP, SELECT_NDEF, READ_ALL) == "6982"
    with pytest.raises(CardError) as refused:
        _tap(card, terms)
    assert refused.value.code == "card_not_supported"
    assert card.counter == COUNTER_MAX


def test_uid_at_anticollision_is_random_and_never_the_real_one() -> None:
    card = _make_card()
    uids = set()
    for _ in range(5):
        card.power_on()
        uids.add(card.uid)
    assert len(uids) == 5
    assert all(len(uid) == 4 and uid[0] == 0x08 for uid in uids)
    assert card.real_uid == UID


def test_uid_at_anticollision_is_the_real_one_without_random_id() -> None:
    card = _make_card(random_uid=False)
    card.power_on()
    assert card.uid == UID


def test_nothing_a_terminal_reads_holds_the_real_uid() -> None:
    card = _make_card()
    card.power_on()
    answers = _talk(card, SELECT_APP, SELECT_CC, READ_ALL, SELECT_NDEF, READ_ALL)
    assert all(UID not in answer and UID.hex().upper().encode() not in answer for answer in answers)


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        ([SELECT_NDEF], "6a82"),
        ([READ_ALL], "6985"),
        ([SELECT_APP, READ_ALL], "6985"),
        ([SELECT_APP, "00a4000c02e106"], "6a82"),
        ([SELECT_APP, "00a4040009f0504f53504159010100"], "6a82"),
        ([SELECT_APP, "00a4000c01e1"], "6a87"),
        ([SELECT_APP, "00a4020c"], "6a87"),
        ([SELECT_APP, "00a4040c"], "6a87"),
        ([SELECT_APP, "00a4080c02e104"], "6a86"),
        ([SELECT_APP, "00a4000402e104"], "6a86"),
        ([SELECT_APP, SELECT_NDEF, "00b0010001"], "6a86"),
        ([SELECT_APP, SELECT_CC, "00b0002001"], "6a86"),
        ([SELECT_APP, SELECT_NDEF, "00b00000"], "6700"),
        ([SELECT_APP, SELECT_NDEF, "00b0000001ff00"], "6700"),
        ([SELECT_APP, SELECT_PROPRIETARY, READ_ALL], "6982"),
        ([SELECT_APP, "00b09f0000"], "6a86"),
        ([SELECT_APP, "00b0e40000"], "6a86"),
        ([SELECT_APP, "00b0860000"], "6a82"),
        (["00b0840000"], "6a82"),
        ([SELECT_APP, "00d600000100"], "6985"),
        ([SELECT_APP, SELECT_NDEF, "00d600000100"], "6982"),
        ([SELECT_APP, SELECT_NDEF, SELECT_PICC, READ_ALL], "6985"),
        (["00c0000000"], "6d00"),
        (["80a8000000"], "6e00"),
        (["9012000000"], "911c"),
        ([SELECT_APP, "00"], "6700"),
    ],
)
def test_card_refuses_what_the_chip_refuses(commands: list[str], status: str) -> None:
    card = _make_card()
    assert _status(card, *commands) == status
    assert card.counter == 0


def test_card_keeps_its_selection_when_a_file_is_not_found() -> None:
    card = _make_card()
    assert _status(card, SELECT_APP, SELECT_CC, "00a4000c02e106", READ_ALL) == "9000"


def test_card_reads_a_file_by_its_short_id_and_by_id_of_directory() -> None:
    card = _make_card()
    card.power_on()
    answers = _talk(card, "00a4000c02e110", "00b083000f", "00b0840000")
    assert answers[1][:-2] == CAPABILITY_FILE[:15]
    assert _verify(_link_in(answers[2][:-2])).counter == 1


def test_card_answers_what_is_left_when_asked_for_more() -> None:
    card = _make_card()
    card.power_on()
    assert len(_talk(card, SELECT_APP, SELECT_CC, "00b0001e20")[2]) == 2 + 2


def test_clone_shows_an_old_counter_once_the_card_was_used(terms: PaymentTerms) -> None:
    card = _make_card()
    _tap(card, terms)
    copy = card.clone()
    genuine = [_tap(card, terms).counter for _ in range(2)]
    assert genuine == [2, 3]
    assert _tap(copy, terms) == SunTap(UID, 2)


def test_card_of_another_batch_does_not_verify(terms: PaymentTerms) -> None:
    keys = derive_card_keys(META_KEY, bytes(16), UID)
    stranger = Ntag424Card(personalise_chip(UID, keys, URL_BASE), rng=random.Random(1))
    with pytest.raises(TokenError):
        _tap(stranger, terms)


def test_tear_after_the_first_read_spends_a_link_nobody_saw(terms: PaymentTerms) -> None:
    card = _make_card(tear_at_apdu=6, tear_after_processing=True)
    with pytest.raises(CardTorn):
        _tap(card, terms)
    assert card.counter == 1
    assert _tap(card, terms).counter == 2


def test_same_seed_gives_the_same_session() -> None:
    cards = [_make_card(seed=5), _make_card(seed=5)]
    for card in cards:
        card.power_on()
    shown = [hold_dialogue(read_ndef_message(), card.transmit) for card in cards]
    assert shown[0] == shown[1]
    assert cards[0].received == cards[1].received
    assert cards[0].uid == cards[1].uid


def test_card_is_not_made_from_what_does_not_fit() -> None:
    keys = derive_card_keys(META_KEY, FILE_MASTER, UID)
    with pytest.raises(IdError):
        personalise_chip(UID[:6], keys, URL_BASE)
    with pytest.raises(EncodingError):
        personalise_chip(UID, keys, "http://pay.example.com/t")
    with pytest.raises((EncodingError, CardError)):
        personalise_chip(UID, keys, "https://" + "a" * 240)


@given(commands=st.lists(st.binary(max_size=270), max_size=8))
def test_card_answers_any_bytes_with_a_response(commands: list[bytes]) -> None:
    card = _make_card()
    card.power_on()
    _talk(card, SELECT_APP, SELECT_NDEF)
    for command in commands:
        parse_response(card.transmit(command))
