"""CRC-16/CCITT-FALSE against published values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wire.codes.merchant_qr.crc16 import crc16


@pytest.mark.parametrize(("text", "crc"), [("123456789", 0x29B1), ("ab", 0x69F0), ("", 0xFFFF)])
def test_published_values_hold(text: str, crc: int) -> None:
    assert crc16(text.encode("ascii")) == crc


def test_every_stored_vector_holds(vectors: Path) -> None:
    stored = json.loads((vectors / "crc16_ccitt_false.json").read_text(encoding="utf-8"))
    for each in stored["vectors"]:
        assert f"{crc16(each['ascii'].encode('ascii')):04X}" == each["crc"]
