"""Links on cards: the Type 4 read as the specification has it, and tags that lie about themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.cards.apdu import ResponseApdu, parse_command
from wire.cards.dialogue import hold_dialogue
from wire.cards.ndef import (
    NDEF_APDUS_MAX,
    NDEF_BYTES_MAX,
    URI_PREFIXES,
    CapabilityContainer,
    dump_ndef_file,
    dump_uri_message,
    parse_capability_container,
    parse_uri_message,
    read_ndef_message,
)
from wire.errors import CardError

# From nfcpy's own test of Type 4 tags (tests/test_tag_tt4.py).
NFCPY_CONTAINER = bytes.fromhex("000f20003b00340406e104004000 00")
NFCPY_MESSAGE = bytes.fromhex("d1010a55036e666370792e6f7267")
# NXP AN12196 rev 1.8, table 17: an NDEF file before mirroring.
AN12196_FILE = bytes.fromhex(
    "0051D1014D550463686F6F73652E75726C2E636F6D2F6E7461673432343F653D303030303030303030303030303030303030"
    "303030303030303030303030303026633D30303030303030303030303030303030"
)
AN12196_URI = f"https://choose.url.com/ntag424?e={'0' * 32}&c={'0' * 16}"


class Type4Tag:
    """A tag of two files that answers SELECT and READ BINARY and remembers what it was asked."""

    def __init__(self, container: bytes, ndef_file: bytes) -> None:
        self.files = {"e103": container, "e104": ndef_file}
        self.commands: list[str] = []
        self._selected = ""

    def transmit(self, raw: bytes) -> bytes:
        self.commands.append(raw.hex())
        command = parse_command(raw)
        if command.ins == 0xA4:
            self._selected = command.data.hex()
            return bytes.fromhex("9000")
        offset = command.p1 << 8 | command.p2
        content = self.files[self._selected][offset : offset + (command.le or 0)]
        return ResponseApdu(content, 0x9000).encode()


def _container(*, read_bytes: int = 255, file_bytes: int = 256, read_access: int = 0) -> bytes:
    return (
        bytes.fromhex("000f20")
        + read_bytes.to_bytes(2, "big")
        + bytes.fromhex("00ff0406e104")
        + file_bytes.to_bytes(2, "big")
        + bytes((read_access, 0))
    )


def _refusal_of(tag: Type4Tag) -> str:
    with pytest.raises(CardError) as refused:
        hold_dialogue(read_ndef_message(), tag.transmit)
    return refused.value.code


def test_read_ndef_message_follows_the_type_4_read() -> None:
    tag = Type4Tag(NFCPY_CONTAINER, dump_ndef_file(NFCPY_MESSAGE))
    assert hold_dialogue(read_ndef_message(), tag.transmit) == NFCPY_MESSAGE
    assert tag.commands == [
        "00a4040007d276000085010100",
        "00a4000c02e103",
        "00b000000f",
        "00a4000c02e104",
        "00b0000002",
        "00b000020e",
    ]


def test_read_ndef_message_reads_the_tag_of_the_published_trace(vectors: Path) -> None:
    published = json.loads((vectors / "ndef_type4_apdu.json").read_text())
    trace = published["nfcpy_read"]["trace"]
    reads = [bytes.fromhex(step["r"])[:-2] for step in trace if step["c"].startswith("00b0")]
    tag = Type4Tag(reads[0] + reads[1], reads[2] + reads[3])
    message = hold_dialogue(read_ndef_message(), tag.transmit)
    selects = [step["c"] for step in trace if step["c"].startswith("00a4")]
    assert [command for command in tag.commands if command.startswith("00a4")] == selects
    assert parse_uri_message(message) == trace[-1]["ndef_uri"]
    assert parse_uri_message(bytes.fromhex(published["sun_card_ndef"]["ndef_file"])[2:]) == AN12196_URI


@given(st.integers(15, 300), st.binary(min_size=1, max_size=NDEF_BYTES_MAX))
def test_read_ndef_message_asks_for_no_more_than_the_tag_offers(read_bytes: int, message: bytes) -> None:
    tag = Type4Tag(_container(read_bytes=read_bytes), dump_ndef_file(message))
    assert hold_dialogue(read_ndef_message(), tag.transmit) == message
    assert len(tag.commands) <= NDEF_APDUS_MAX
    asked = [parse_command(bytes.fromhex(command)).le or 0 for command in tag.commands[5:]]
    assert max(asked) <= min(read_bytes, 255)


def test_read_ndef_message_reaches_its_bound_for_the_slowest_tag_with_the_longest_message() -> None:
    tag = Type4Tag(_container(read_bytes=15), dump_ndef_file(bytes(NDEF_BYTES_MAX)))
    hold_dialogue(read_ndef_message(), tag.transmit)
    assert len(tag.commands) == NDEF_APDUS_MAX == 22


@pytest.mark.parametrize(
    ("container", "ndef_file", "refusal"),
    [
        (_container(), bytes.fromhex("0000"), "card_not_supported"),
        (_container(file_bytes=1000), dump_ndef_file(bytes(NDEF_BYTES_MAX + 1)), "card_not_supported"),
        (_container(file_bytes=40), dump_ndef_file(bytes(39)), "card_answer_invalid"),
        (_container(), bytes.fromhex("0010") + bytes(15), "card_answer_invalid"),
        (_container(), b"\x00", "card_answer_invalid"),
        (_container()[:14], dump_ndef_file(NFCPY_MESSAGE), "card_answer_invalid"),
        (_container(read_bytes=14), dump_ndef_file(NFCPY_MESSAGE), "card_answer_invalid"),
        (_container(read_access=0x80), dump_ndef_file(NFCPY_MESSAGE), "card_not_supported"),
    ],
    ids=["empty", "too long", "past the file", "file ends", "no nlen", "cut cc", "tiny mle", "not free"],
)
def test_read_ndef_message_refuses_a_tag_that_lies(container: bytes, ndef_file: bytes, refusal: str) -> None:
    assert _refusal_of(Type4Tag(container, ndef_file)) == refusal


def test_parse_capability_container_reads_the_published_one() -> None:
    assert parse_capability_container(NFCPY_CONTAINER) == CapabilityContainer(0xE104, 64, 59)


@pytest.mark.parametrize(
    ("container_hex", "refusal"),
    [
        ("000f20003b00340406e10400408181", "card_not_supported"),
        ("000f30003b00340406e10400400000", "card_not_supported"),
        ("000f20003b00340606e10400400000", "card_not_supported"),
        ("000f20003b00340406e10300400000", "card_answer_invalid"),
        ("000f20003b00340406000000400000", "card_answer_invalid"),
        ("000f20003b00340406e10400010000", "card_answer_invalid"),
        ("000e20003b00340406e10400400000", "card_answer_invalid"),
    ],
    ids=["no access", "version 3", "other tlv", "cc as ndef", "file zero", "no room", "cclen"],
)
def test_parse_capability_container_refuses(container_hex: str, refusal: str) -> None:
    with pytest.raises(CardError) as refused:
        parse_capability_container(bytes.fromhex(container_hex))
    assert refused.value.code == refusal


def test_parse_uri_message_reads_published_messages() -> None:
    assert parse_uri_message(NFCPY_MESSAGE) == "http://nfcpy.org"
    assert parse_uri_message(AN12196_FILE[2:]) == AN12196_URI


def test_dump_uri_message_writes_the_published_file() -> None:
    assert dump_ndef_file(dump_uri_message(AN12196_URI)) == AN12196_FILE


def test_parse_uri_message_reads_a_record_with_a_long_length() -> None:
    assert parse_uri_message(bytes.fromhex("c1010000000a55036e666370792e6f7267")) == "http://nfcpy.org"


@pytest.mark.parametrize("code", range(len(URI_PREFIXES)))
def test_parse_uri_message_expands_each_prefix(code: int) -> None:
    message = bytes((0xD1, 1, 4)) + b"U" + bytes((code,)) + b"abc"
    assert parse_uri_message(message) == URI_PREFIXES[code] + "abc"


@pytest.mark.parametrize(
    ("message_hex", "refusal"),
    [
        ("", "card_not_supported"),
        ("d1", "card_answer_invalid"),
        ("d1010a5503", "card_answer_invalid"),
        ("d1010155046162", "card_answer_invalid"),
        ("d10100" + "55", "card_answer_invalid"),
        ("d1010155" + "24", "card_answer_invalid"),
        ("d1010255" + "04ff", "card_answer_invalid"),
        ("51010155" + "04", "card_answer_invalid"),
        ("f1010155" + "04", "card_answer_invalid"),
        ("91010155" + "0451010154" + "00", "card_not_supported"),
        ("d1010454" + "02656e61", "card_not_supported"),
        ("d2010155" + "04", "card_not_supported"),
        ("d9010100" + "5504", "card_not_supported"),
    ],
)
def test_parse_uri_message_refuses_what_is_not_one_uri(message_hex: str, refusal: str) -> None:
    with pytest.raises(CardError) as refused:
        parse_uri_message(bytes.fromhex(message_hex))
    assert refused.value.code == refusal


@given(st.text(max_size=60), st.sampled_from(URI_PREFIXES))
def test_parse_uri_message_reads_what_dump_wrote(rest: str, prefix: str) -> None:
    uri = prefix + rest
    message = dump_uri_message(uri)
    assert parse_uri_message(message) == uri
    assert len(message) <= 5 + len(uri.encode())


def test_dump_uri_message_takes_the_longest_prefix_that_fits() -> None:
    assert dump_uri_message("https://www.example.com")[4] == URI_PREFIXES.index("https://www.")
    assert (
        urlsplit(parse_uri_message(dump_uri_message("https://www.example.com"))).netloc == "www.example.com"
    )


def test_dump_uri_message_refuses_what_the_file_cannot_hold() -> None:
    with pytest.raises(CardError):
        dump_uri_message("https://" + "a" * 260)


@given(st.binary(max_size=300))
def test_parsers_give_a_value_or_a_typed_error_for_any_bytes(raw: bytes) -> None:
    codes = {_code_of(parse, raw) for parse in (parse_uri_message, parse_capability_container)}
    assert codes <= {"parsed", "card_not_supported", "card_answer_invalid"}


def _code_of(parse: Callable[[bytes], object], raw: bytes) -> str:
    try:
        parse(raw)
    except CardError as error:
        return error.code
    return "parsed"
