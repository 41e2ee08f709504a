"""Card keys: AN10922 as published, and one key for one card and one purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from hypothesis import given
from hypothesis import strategies as st

from wire.application_id import NDEF_AID
from wire.cards.ntag424.aes_cmac import aes_cmac
from wire.cards.ntag424.keys import (
    DIVERSIFICATION_BYTES_MAX,
    DIVERSIFICATION_BYTES_MIN,
    card_key_id,
    diversify_file_key,
    diversify_key,
)
from wire.errors import IdError

MASTER = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
UID = bytes.fromhex("04782E21801D80")


def _an10922(master: bytes, diversification: bytes) -> bytes:
    """Derive by AN10922 section 2.2 word for word: always two blocks, subkey by whether it was padded."""

    def encrypt(block: bytes, *, iv: bytes = bytes(16)) -> bytes:
        encryptor = Cipher(AES128(master), modes.CBC(iv)).encryptor()
        return encryptor.update(block) + encryptor.finalize()

    def double(block: bytes) -> bytes:
        shifted = int.from_bytes(block, "big") << 1
        reduced = shifted ^ 0x87 if shifted >> 128 else shifted
        return (reduced & (1 << 128) - 1).to_bytes(16, "big")

    subkey_1 = double(encrypt(bytes(16)))
    subkey_2 = double(subkey_1)
    message = b"\x01" + diversification
    subkey = subkey_1 if len(message) == 32 else subkey_2
    padded = message if len(message) == 32 else (message + b"\x80").ljust(32, b"\x00")
    last = bytes(a ^ b for a, b in zip(padded[16:], subkey, strict=True))
    return encrypt(padded[:16] + last)[16:]


def test_diversify_key_agrees_with_the_worked_example() -> None:
    diversification = UID + bytes.fromhex("3042F5") + bytes.fromhex("4E585020416275")
    expected = bytes.fromhex("A8DD63A3B89D54B37CA802473FDA9175")
    assert diversify_key(MASTER, diversification) == expected
    assert _an10922(MASTER, diversification) == expected


def test_diversify_key_agrees_with_the_published_vector(vectors: Path) -> None:
    vector = json.loads((vectors / "key_diversification.json").read_text())["an10922_aes128"]
    key = diversify_key(bytes.fromhex(vector["master"]), bytes.fromhex(vector["m"]))
    assert key.hex().upper() == vector["result"]


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=DIVERSIFICATION_BYTES_MIN, max_size=DIVERSIFICATION_BYTES_MAX),
)
def test_diversify_key_equals_the_two_block_rule_at_every_length_it_takes(
    master: bytes, diversification: bytes
) -> None:
    assert diversify_key(master, diversification) == _an10922(master, diversification)


@pytest.mark.parametrize("length", [DIVERSIFICATION_BYTES_MIN - 1, DIVERSIFICATION_BYTES_MAX + 1])
def test_diversify_key_refuses_lengths_at_which_plain_cmac_is_not_the_rule(length: int) -> None:
    with pytest.raises(IdError):
        diversify_key(MASTER, bytes(length))


def test_plain_cmac_is_not_the_rule_below_the_shortest_length() -> None:
    short = bytes(DIVERSIFICATION_BYTES_MIN - 1)
    assert aes_cmac(MASTER, b"\x01" + short) != _an10922(MASTER, short)


def test_diversify_file_key_is_the_rule_over_uid_application_and_system() -> None:
    assert diversify_file_key(MASTER, UID) == _an10922(MASTER, UID + NDEF_AID + b"TAPSCAN.FILE")


def test_a_card_has_keys_of_its_own_and_an_id_that_is_none_of_them() -> None:
    other = bytes.fromhex("04782E21801D81")
    assert diversify_file_key(MASTER, UID) != diversify_file_key(MASTER, other)
    assert card_key_id(MASTER, UID) != card_key_id(MASTER, other)
    assert len(card_key_id(MASTER, UID)) == 8
    assert card_key_id(MASTER, UID) not in diversify_file_key(MASTER, UID)


def test_card_key_id_does_not_show_the_uid_without_the_master_key() -> None:
    assert card_key_id(MASTER, UID) != card_key_id(bytes(16), UID)
    assert card_key_id(MASTER, UID) != aes_cmac(MASTER, UID)[:8]


@pytest.mark.parametrize("uid_hex", ["", "08010203", "04782E21801D8000"])
def test_keys_are_made_for_whole_uids_only(uid_hex: str) -> None:
    for derive in (diversify_file_key, card_key_id):
        with pytest.raises(IdError):
            derive(MASTER, bytes.fromhex(uid_hex))
