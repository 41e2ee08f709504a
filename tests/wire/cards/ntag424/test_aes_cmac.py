"""AES-CMAC against RFC 4493."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wire.cards.ntag424.aes_cmac import aes_cmac

RFC_4493_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")


@pytest.mark.parametrize(
    ("message_hex", "mac_hex"),
    [
        ("", "bb1d6929e95937287fa37d129b756746"),
        ("6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"),
    ],
)
def test_aes_cmac_agrees_with_rfc_4493(message_hex: str, mac_hex: str) -> None:
    assert aes_cmac(RFC_4493_KEY, bytes.fromhex(message_hex)).hex() == mac_hex


def test_aes_cmac_agrees_with_every_published_vector(vectors: Path) -> None:
    rfc = json.loads((vectors / "key_diversification.json").read_text())["aes_cmac_rfc4493"]
    assert len(rfc["vectors"]) == 4
    for vector in rfc["vectors"]:
        mac = aes_cmac(bytes.fromhex(rfc["key"]), bytes.fromhex(vector["msg"]))
        assert mac.hex() == vector["mac"]


@pytest.mark.parametrize("key_bytes", [15, 24, 32])
def test_aes_cmac_takes_no_key_of_another_length(key_bytes: int) -> None:
    with pytest.raises(AssertionError):
        aes_cmac(bytes(key_bytes), b"")
