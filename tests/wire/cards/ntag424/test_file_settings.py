"""File settings: the chip's bytes both ways, our card's profile, and nothing that ours never have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.cards.ndef import parse_uri_message
from wire.cards.ntag424.card_profile import (
    DELIVERED_SETTINGS,
    CardKeys,
    KeySlot,
    derive_card_keys,
    is_link_file,
    link_settings,
    make_link_file,
)
from wire.cards.ntag424.file_settings import (
    FREE,
    NEVER,
    AccessRights,
    FileSettings,
    SdmSettings,
    dump_file_settings,
    dump_file_state,
    parse_file_settings,
    parse_file_state,
)
from wire.cards.ntag424.keys import diversify_file_key
from wire.cards.ntag424.secure_messaging import CommMode
from wire.errors import CardError, EncodingError

RIGHTS = st.sampled_from((0, 1, 2, 3, 4, FREE, NEVER))
KEYS = st.integers(0, 4)
OFFSETS = st.integers(0, 0xFFFFFF)
SETTINGS = st.builds(
    FileSettings,
    st.sampled_from(CommMode),
    st.builds(AccessRights, RIGHTS, RIGHTS, RIGHTS, RIGHTS),
    st.none() | st.builds(SdmSettings, KEYS, KEYS, RIGHTS, OFFSETS, OFFSETS, OFFSETS),
)


@given(settings=SETTINGS)
def test_settings_are_read_as_they_were_written(settings: FileSettings) -> None:
    assert parse_file_settings(dump_file_settings(settings)) == settings
    assert parse_file_state(dump_file_state(settings, 256)) == settings


def test_delivered_settings_are_those_of_the_data_sheet() -> None:
    assert dump_file_state(DELIVERED_SETTINGS, 256) == bytes.fromhex("0000E0EE000100")


@pytest.mark.parametrize(
    "data_hex",
    [
        *("", "00", "00E0", "00E0EE00"),
        *("80E0EE", "04E0EE", "0050EE", "0000E5"),
        *("4000E0", "4000E0C1F121200000430000", "4000E0C1F121200000430000430000FF"),
        *("4000E0D1F121200000430000430000", "4000E0C10121200000430000430000"),
        *("4000E0C1F151200000430000430000", "4000E0C1F125200000430000430000"),
        "4000E0C1F521200000430000430000",
    ],
)
def test_other_settings_are_refused(data_hex: str) -> None:
    with pytest.raises(EncodingError):
        parse_file_settings(bytes.fromhex(data_hex))


def test_a_file_of_another_type_is_refused() -> None:
    for data in ("0100E0EE000100", "0000E0EE0001"):
        with pytest.raises(EncodingError):
            parse_file_state(bytes.fromhex(data))


def test_mirrors_stand_where_the_link_has_its_placeholders() -> None:
    file = make_link_file("https://pay.example.com/t")
    sdm = link_settings(file).sdm
    assert sdm is not None
    assert file[sdm.picc_data_offset - 3 :].startswith(b"?e=" + b"0" * 32 + b"&c=")
    assert file[sdm.mac_offset :] == b"0" * 16
    assert sdm.mac_input_offset == sdm.mac_offset
    assert parse_uri_message(file[2:]).startswith("https://pay.example.com/t?e=")


def test_a_link_file_is_known_by_its_empty_placeholders() -> None:
    file = make_link_file("https://pay.example.com/t")
    assert is_link_file(file + bytes(128 - len(file)))
    assert not is_link_file(bytes(128))
    assert not is_link_file(file.replace(b"e=0", b"e=1"))
    assert not is_link_file(b"\xff\xff" + file)


@pytest.mark.parametrize("link_base", ["http://pay.example.com/t", "https://" + "a" * 100])
def test_a_base_that_makes_no_link_is_refused(link_base: str) -> None:
    with pytest.raises((CardError, EncodingError)):
        make_link_file(link_base)


def test_every_key_of_every_card_is_its_own_but_the_batch_has_one_meta_key() -> None:
    meta_key, master = bytes(range(16)), bytes(range(16, 32))
    cards = [derive_card_keys(meta_key, master, b"\x04" + bytes((number,)) * 6) for number in range(2)]
    assert {card.of(KeySlot.META) for card in cards} == {meta_key}
    own = [card.of(slot) for card in cards for slot in KeySlot if slot is not KeySlot.META]
    assert len(set(own)) == 8
    assert isinstance(cards[0], CardKeys)
    assert cards[1].file == diversify_file_key(master, b"\x04" + b"\x01" * 6)
