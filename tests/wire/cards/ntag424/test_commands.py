"""Native commands: NXP's own bytes from both ends, and nothing believed whose MAC does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from wire.cards.dialogue import CardDialogue, hold_dialogue
from wire.cards.ntag424.commands import (
    CardChannel,
    authenticate_first,
    change_file_settings,
    change_key,
    get_card_uid,
    get_file_settings,
    get_key_version,
    get_version,
    key_checksum,
    write_plain_file,
)
from wire.cards.ntag424.file_settings import FREE, AccessRights, FileSettings, SdmSettings, dump_file_state
from wire.cards.ntag424.secure_messaging import CommMode, SecureSession, SessionKeys
from wire.errors import CardError

T = TypeVar("T")

RND_A = bytes.fromhex("13C5DB8A5930439FC3DEF9A4C675360F")
CHALLENGE = "A04C124213C186F22399D33AC2A3021591AF"
PROOF = "3FA64DB5446D1F34CD6EA311167F5E4985B89690C04A05F17FA7AB2F081206639100"
SETTINGS = FileSettings(CommMode.PLAIN, AccessRights(FREE, 0, 0, 0), SdmSettings(2, 1, 1, 0x20, 0x43, 0x43))
CHANGE_SESSION = SecureSession(
    SessionKeys(
        bytes.fromhex("4CF3CB41A22583A61E89B158D252FC53"), bytes.fromhex("5529860B2FC5FB6154B7F28361D30BF9")
    ),
    bytes.fromhex("7614281A"),
    2,
)
OTHER_KEY = bytes.fromhex("F3847D627727ED3BC9C4CC050489B966")
UID_SESSION = SecureSession(
    SessionKeys(
        bytes.fromhex("2B4D963C014DC36F24F69A50A394F875"), bytes.fromhex("379D32130CE61705DD5FD8C36B95D764")
    ),
    bytes.fromhex("DF055522"),
)


def _answering(*exchanges: tuple[str, str]) -> Callable[[bytes], bytes]:
    """Return a card that answers exactly these commands, in this order."""
    left = list(exchanges)

    def transmit(command: bytes) -> bytes:
        expected, answer = left.pop(0)
        assert command.hex().upper() == expected
        return bytes.fromhex(answer)

    return transmit


def _hold(dialogue: CardDialogue[T], *exchanges: tuple[str, str]) -> T:
    return hold_dialogue(dialogue, _answering(*exchanges))


def _authenticated() -> CardChannel:
    channel = CardChannel()
    _hold(
        authenticate_first(channel, 0, bytes(16), RND_A),
        ("9071000002000000", CHALLENGE),
        ("90AF00002035C3E05A752E0144BAC0DE51C1F22C56B34408A23D8AEA266CAB947EA8E0118D00", PROOF),
    )
    return channel


def test_authentication_agrees_with_the_application_note() -> None:
    session = _authenticated().session
    assert session is not None
    assert session.keys.encryption.hex().upper() == "1309C877509E5A215007FF0ED19CA564"
    assert session.keys.mac.hex().upper() == "4C6626F5E72EA694202139295C7A7FC7"
    assert session.transaction_id.hex().upper() == "9D00C4DF"
    assert session.command_counter == 0


def test_authentication_and_settings_agree_with_the_published_vectors(vectors: Path) -> None:
    vector = json.loads((vectors / "ntag424_perso_apdu.json").read_text())
    first, change = vector["auth_ev2_first"], vector["change_file_settings"]
    channel = CardChannel()
    apdus = [line[2:] for line in first["apdu"]]
    dialogue = authenticate_first(channel, 0, bytes.fromhex(first["key"]), bytes.fromhex(first["rnd_a"]))
    _hold(dialogue, (apdus[0], apdus[1]), (apdus[2], apdus[3]))
    assert channel.session is not None
    assert channel.session.keys.mac.hex().upper() == first["k_ses_mac"]
    channel.session = channel.session.counted()
    settings = [line[2:] for line in change["apdu"]]
    _hold(change_file_settings(channel, 2, SETTINGS), (settings[0], settings[1][4:] + settings[1][:4]))


def test_file_settings_agree_with_the_application_note() -> None:
    channel = _authenticated()
    assert channel.session is not None
    # The note writes the NDEF file in plain between the two, which the chip counts too.
    channel.session = channel.session.counted()
    _hold(
        change_file_settings(channel, 2, SETTINGS),
        ("905F0000190261B6D97903566E84C3AE5274467E89EAD799B7C1A0EF7A0400", "57BFF87B1241E93D9100"),
    )
    assert channel.session is not None
    assert channel.session.command_counter == 2


def test_another_key_changes_with_old_key_and_checksum() -> None:
    assert key_checksum(OTHER_KEY).hex().upper() == "789DFADC"
    channel = CardChannel(CHANGE_SESSION, key_number=0)
    _hold(
        change_key(channel, 2, OTHER_KEY, 1),
        (
            "90C4000029022CF362B7BF4311FF3BE1DAA295E8C68DE09050560D19B9E16C2393AE9CD1FAC75D0CE20BCD1D06E600",
            "203BB55D1089D5879100",
        ),
    )
    assert channel.session == CHANGE_SESSION.counted()


def test_the_master_key_changes_without_a_mac_and_ends_the_session() -> None:
    channel = CardChannel(CHANGE_SESSION.counted(), key_number=0)
    new_key = bytes.fromhex("5004BF991F408672B1EF00F08F9E8647")
    _hold(
        change_key(channel, 0, new_key, 1),
        (
            "90C400002900C0EB4DEEFEDDF0B513A03A95A75491818580503190D4D05053FF75668A01D6FDA6610234BDED643200",
            "9100",
        ),
    )
    assert channel.session is None


def test_the_uid_comes_encrypted() -> None:
    exchanged = ("90510000088E2C155ADDA99BE300", "70756055688505B52A5E26E59E329CD6595F672298EA41B79100")
    channel = CardChannel(UID_SESSION, key_number=0)
    assert _hold(get_card_uid(channel), exchanged).hex().upper() == "04958CAA5C5E80"


def test_version_is_read_in_three_frames() -> None:
    frames = (
        ("9060000000", "0404083000110591AF"),
        ("90AF000000", "0404020101110591AF"),
        ("90AF000000", "04968CAA5C5E80CD65935D4021189100"),
    )
    version = _hold(get_version(), *frames)
    assert (version.vendor, version.hardware_type) == (4, 4)
    assert version.uid == bytes.fromhex("04968CAA5C5E80")
    hidden = (*frames[:2], ("90AF000000", "00000000000000CD65935D4021189100"))
    assert _hold(get_version(), *hidden).uid is None


def test_without_a_session_settings_and_versions_come_in_plain() -> None:
    state = dump_file_state(SETTINGS, 256).hex().upper()
    assert state == "004000E0000100C1F121200000430000430000"
    channel = CardChannel()
    assert _hold(get_file_settings(channel, 2), ("90F50000010200", state + "9100")) == SETTINGS
    assert _hold(get_key_version(channel, 3), ("90640000010300", "079100")) == 7
    other = "0043EEE0000100D1FE1F" + "00" * 15
    assert _hold(get_file_settings(channel, 2), ("90F50000010200", other + "9100")) is None


def test_a_plain_write_is_counted() -> None:
    channel = CardChannel(CHANGE_SESSION, key_number=0)
    _hold(write_plain_file(channel, 2, 1, b"\xaa\xbb"), ("908D00000902010000020000AABB00", "9100"))
    assert channel.session == CHANGE_SESSION.counted()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("91AE", "card_keys_unknown"),
        ("91AD", "card_resting"),
        ("911E", "card_answer_invalid"),
        ("919D", "card_keys_unknown"),
        ("9140", "card_answer_invalid"),
        ("6D00", "card_answer_invalid"),
        ("A04C9100", "card_answer_invalid"),
    ],
)
def test_refusals_have_codes(answer: str, code: str) -> None:
    channel = CardChannel()
    with pytest.raises(CardError) as refused:
        _hold(authenticate_first(channel, 0, bytes(16), RND_A), ("9071000002000000", answer))
    assert refused.value.code == code
    assert channel.session is None


def test_whoever_does_not_know_the_key_proves_nothing() -> None:
    other = (int(PROOF[:2], 16) ^ 1).to_bytes(1, "big").hex() + PROOF[2:]
    channel = CardChannel()
    with pytest.raises(CardError) as refused:
        _hold(
            authenticate_first(channel, 0, bytes(16), RND_A),
            ("9071000002000000", CHALLENGE),
            ("90AF00002035C3E05A752E0144BAC0DE51C1F22C56B34408A23D8AEA266CAB947EA8E0118D00", other),
        )
    assert refused.value.code == "card_answer_invalid"
    assert channel.session is None


@pytest.mark.parametrize("answer", ["9100", "70756055688505B52A5E26E59E329CD6595F672298EA41B69100"])
def test_an_answer_without_its_mac_ends_the_session(answer: str) -> None:
    channel = CardChannel(UID_SESSION, key_number=0)
    with pytest.raises(CardError) as refused:
        _hold(get_card_uid(channel), ("90510000088E2C155ADDA99BE300", answer))
    assert refused.value.code == "card_answer_invalid"
    assert channel.session is None
