"""NTAG 424 DNA links: the values NXP and others published, and no forged link that passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.cards.ntag424.aes_cmac import aes_cmac
from wire.cards.ntag424.keys import diversify_file_key
from wire.cards.ntag424.link import (
    COUNTER_MAX,
    PiccData,
    SunLink,
    SunTap,
    dump_sun_url,
    parse_sun_url,
    read_picc_data,
    seal_picc_data,
    sun_mac,
    verify_sun_link,
)
from wire.errors import EncodingError, TokenError

# NXP AN12196 rev 1.8, table 5: both keys are zero there.
AN12196_URL = "https://ntag.nxp.com/424?e=EF963FF7828658A599F3041510671E88&c=94EED9EE65337086"
AN12196_UID = bytes.fromhex("04DE5F1EACC040")
AN12196_COUNTER = 61
ZERO_KEY = bytes(16)

META_KEY = bytes(range(16))
FILE_MASTER = bytes(range(16, 32))

_UIDS = st.binary(min_size=7, max_size=7)
_COUNTERS = st.integers(0, COUNTER_MAX)
_PADDINGS = st.binary(min_size=5, max_size=5)


def _zero_key_of(_: bytes) -> bytes:
    return ZERO_KEY


def _file_key_of(uid: bytes) -> bytes:
    return diversify_file_key(FILE_MASTER, uid)


def _make_link(uid: bytes, counter: int, padding: bytes) -> SunLink:
    picc = PiccData(uid, counter)
    return SunLink(seal_picc_data(picc, padding, META_KEY), sun_mac(_file_key_of(uid), picc))


def test_verify_sun_link_accepts_the_link_of_the_application_note() -> None:
    tap = verify_sun_link(parse_sun_url(AN12196_URL), meta_key=ZERO_KEY, file_key_of=_zero_key_of)
    assert tap == SunTap(AN12196_UID, AN12196_COUNTER)


def test_seal_picc_data_makes_the_cipher_text_of_the_application_note() -> None:
    picc = PiccData(AN12196_UID, AN12196_COUNTER)
    sealed = seal_picc_data(picc, bytes.fromhex("00DA5CF60941")[-5:], ZERO_KEY)
    assert sealed == parse_sun_url(AN12196_URL).picc_data


def test_verify_sun_link_accepts_every_published_encrypted_link(vectors: Path) -> None:
    published = json.loads((vectors / "ntag424_sdm.json").read_text())["picc_encrypted"]
    assert len(published) == 3
    for vector in published:
        key_file = bytes.fromhex(vector["k_file"])
        tap = verify_sun_link(
            SunLink(bytes.fromhex(vector["picc_enc"]), bytes.fromhex(vector["cmac"])),
            meta_key=bytes.fromhex(vector["k_meta"]),
            file_key_of=lambda _, key=key_file: key,
            mac_input=vector["mac_input_ascii"].encode("ascii"),
        )
        assert (tap.uid.hex().upper(), tap.counter) == (vector["uid"].upper(), vector["ctr"])


def test_verify_sun_link_refuses_every_link_published_as_bad(vectors: Path) -> None:
    for vector in json.loads((vectors / "ntag424_sdm.json").read_text())["must_fail"]:
        with pytest.raises(TokenError):
            verify_sun_link(
                SunLink(bytes.fromhex(vector["picc_enc"]), bytes.fromhex(vector["cmac"])),
                meta_key=bytes.fromhex(vector["k_meta"]),
                file_key_of=_zero_key_of,
                mac_input=vector["mac_input_ascii"].encode("ascii"),
            )


def test_sun_mac_agrees_with_a_published_plain_mirror(vectors: Path) -> None:
    for vector in json.loads((vectors / "ntag424_sdm.json").read_text())["plain_mirror"]:
        picc = PiccData(bytes.fromhex(vector["uid"]), int(vector["ctr_msb"], 16))
        assert sun_mac(bytes.fromhex(vector["k_file"]), picc).hex().upper() == vector["cmac"]


def test_session_key_agrees_with_the_application_note(vectors: Path) -> None:
    for vector in json.loads((vectors / "ntag424_sdm.json").read_text())["session_keys"]:
        counter = int.from_bytes(bytes.fromhex(vector["ctr_lsb"]), "little")
        file_key = bytes.fromhex(vector["k_sdm_file_read"])
        session_mac = aes_cmac(bytes.fromhex(vector["k_ses_mac"]), b"")[1::2]
        assert sun_mac(file_key, PiccData(bytes.fromhex(vector["uid"]), counter)) == session_mac


@given(_UIDS, _COUNTERS, _PADDINGS)
def test_verify_sun_link_reads_back_what_a_card_made(uid: bytes, counter: int, padding: bytes) -> None:
    link = _make_link(uid, counter, padding)
    assert verify_sun_link(link, meta_key=META_KEY, file_key_of=_file_key_of) == SunTap(uid, counter)
    assert parse_sun_url(dump_sun_url("https://pay.example.com/t", link)) == link


@given(_UIDS, _COUNTERS, _PADDINGS, st.integers(0, 24 * 8 - 1))
def test_verify_sun_link_refuses_a_link_with_any_bit_changed(
    uid: bytes, counter: int, padding: bytes, bit: int
) -> None:
    link = _make_link(uid, counter, padding)
    both = bytearray(link.picc_data + link.mac)
    both[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TokenError) as refused:
        verify_sun_link(
            SunLink(bytes(both[:16]), bytes(both[16:])), meta_key=META_KEY, file_key_of=_file_key_of
        )
    assert refused.value.code == "token_invalid"


@given(st.binary(max_size=40), st.binary(max_size=20))
def test_verify_sun_link_refuses_random_bytes_with_one_typed_error(picc_data: bytes, mac: bytes) -> None:
    with pytest.raises(TokenError):
        verify_sun_link(SunLink(picc_data, mac), meta_key=META_KEY, file_key_of=_file_key_of)


def test_verify_sun_link_refuses_a_link_under_another_cards_file_key() -> None:
    uid = AN12196_UID
    forged = SunLink(
        seal_picc_data(PiccData(uid, 9), bytes(5), META_KEY),
        sun_mac(diversify_file_key(FILE_MASTER, bytes(7)), PiccData(uid, 9)),
    )
    with pytest.raises(TokenError):
        verify_sun_link(forged, meta_key=META_KEY, file_key_of=_file_key_of)


def test_read_picc_data_refuses_another_batchs_meta_key() -> None:
    link = _make_link(AN12196_UID, 1, bytes(5))
    with pytest.raises(TokenError):
        read_picc_data(link.picc_data, FILE_MASTER)


@pytest.mark.parametrize(
    "url",
    [
        "",
        AN12196_URL.replace("https", "http"),
        AN12196_URL + "0",
        AN12196_URL + "\n",
        AN12196_URL + "&x=1",
        AN12196_URL[:-1],
        AN12196_URL.replace("?e=", "?p="),
        AN12196_URL.replace("EF96", "ef96"),
        AN12196_URL.replace("EF96", "EF9\uff16"),
        AN12196_URL.replace("ntag.nxp.com", "ntag nxp.com"),
        "https://" + "a" * 200 + AN12196_URL.removeprefix("https://"),
    ],
)
def test_parse_sun_url_refuses_what_no_card_of_ours_writes(url: str) -> None:
    with pytest.raises(EncodingError):
        parse_sun_url(url)


@given(st.text(max_size=300))
def test_parse_sun_url_gives_a_link_or_a_typed_error_for_any_text(text: str) -> None:
    try:
        parse_sun_url(text)
    except EncodingError:
        return


@pytest.mark.parametrize("base", ["http://pay.example.com/t", "pay.example.com", "https://" + "a" * 250])
def test_dump_sun_url_refuses_a_base_that_gives_no_link(base: str) -> None:
    with pytest.raises(EncodingError):
        dump_sun_url(base, SunLink(bytes(16), bytes(8)))
