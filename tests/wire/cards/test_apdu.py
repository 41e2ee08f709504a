"""APDUs: the four short cases, one spelling each, and no bytes that break the parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.cards.apdu import CommandApdu, ResponseApdu, parse_command, parse_response
from wire.errors import EncodingError

_BYTE = st.integers(0, 0xFF)
_COMMANDS = st.builds(
    CommandApdu,
    _BYTE,
    _BYTE,
    _BYTE,
    _BYTE,
    st.binary(max_size=255),
    st.none() | st.integers(1, 256),
)


@given(_COMMANDS)
def test_parse_command_reads_what_encode_wrote(command: CommandApdu) -> None:
    assert parse_command(command.encode()) == command


@given(st.binary(max_size=300))
def test_parse_command_gives_one_spelling_or_a_typed_error_for_any_bytes(raw: bytes) -> None:
    try:
        command = parse_command(raw)
    except EncodingError:
        return
    assert command.encode() == raw


@given(st.binary(max_size=300))
def test_parse_response_gives_one_spelling_or_a_typed_error_for_any_bytes(raw: bytes) -> None:
    try:
        response = parse_response(raw)
    except EncodingError:
        return
    assert response.encode() == raw


@pytest.mark.parametrize(
    ("raw_hex", "command"),
    [
        ("00a40000", CommandApdu(0x00, 0xA4, 0x00, 0x00)),
        ("00b0000002", CommandApdu(0x00, 0xB0, 0x00, 0x00, le=2)),
        ("00b0000000", CommandApdu(0x00, 0xB0, 0x00, 0x00, le=256)),
        ("00a4000c02e103", CommandApdu(0x00, 0xA4, 0x00, 0x0C, bytes.fromhex("e103"))),
        ("00a4000c02e10500", CommandApdu(0x00, 0xA4, 0x00, 0x0C, bytes.fromhex("e105"), 256)),
    ],
)
def test_parse_command_knows_each_short_case(raw_hex: str, command: CommandApdu) -> None:
    assert parse_command(bytes.fromhex(raw_hex)) == command


@pytest.mark.parametrize(
    "raw_hex",
    ["", "00a400", "00a4000c02e1", "00a4000c02e1030000", "00a4040000000001", "00b000000000", "00" * 262],
    ids=["empty", "no p2", "cut", "too long", "extended data", "extended le", "above the bound"],
)
def test_parse_command_refuses_what_lengths_do_not_account_for(raw_hex: str) -> None:
    with pytest.raises(EncodingError):
        parse_command(bytes.fromhex(raw_hex))


def test_encode_refuses_what_no_short_apdu_holds() -> None:
    for command in (CommandApdu(0, 0, 0, 0, bytes(256)), CommandApdu(0, 0, 0, 0, le=0)):
        with pytest.raises(EncodingError):
            command.encode()
    with pytest.raises(EncodingError):
        ResponseApdu(bytes(257), 0x9000).encode()
