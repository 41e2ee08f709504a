"""The simulated chip does what the gateway asks from delivery on, and refuses what the chip refuses."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest

from simulators.cards.card import CardTorn
from simulators.cards.ntag424_card import Ntag424Card
from simulators.cards.ntag424_memory import SEQUENCE_FAILURES_MAX, deliver_chip, personalise_chip
from wire.cards.dialogue import CardDialogue, hold_dialogue
from wire.cards.ndef import parse_uri_message, read_ndef_message
from wire.cards.ntag424.card_profile import (
    DELIVERED_SETTINGS,
    KeySlot,
    derive_card_keys,
    link_settings,
    make_link_file,
)
from wire.cards.ntag424.commands import (
    SELECT_NDEF_APPLICATION,
    ZERO_KEY,
    CardChannel,
    authenticate_first,
    change_file_settings,
    change_key,
    enable_random_uid,
    get_card_uid,
    get_file_settings,
    get_key_version,
    get_version,
    read_plain_file,
    select_application,
    write_plain_file,
)
from wire.cards.ntag424.file_settings import NEVER, AccessRights, FileSettings
from wire.cards.ntag424.link import SunTap, parse_sun_url, verify_sun_link
from wire.cards.ntag424.secure_messaging import CommMode, SecureSession, protect_command
from wire.errors import CardError

T = TypeVar("T")

UID = bytes.fromhex("04112233445566")
LINK_BASE = "https://pay.example.com/t"
KEYS = derive_card_keys(bytes(range(16)), bytes(range(16, 32)), UID)
RND_A = bytes(range(16))
OTHER = b"\x5a" * 16
SELECT = SELECT_NDEF_APPLICATION.encode().hex()
LINK_FILE = make_link_file(LINK_BASE)


@dataclass
class Bench:
    """A chip in a field and whoever talks to it."""

    card: Ntag424Card
    channel: CardChannel

    def hold(self, dialogue: CardDialogue[T]) -> T:
        return hold_dialogue(dialogue, self.card.transmit)

    def authenticate(self, slot: int = 0, key: bytes = ZERO_KEY) -> None:
        self.hold(authenticate_first(self.channel, slot, key, RND_A))

    def send(self, command_hex: str) -> str:
        return self.card.transmit(bytes.fromhex(command_hex)).hex()

    def send_protected(self, instruction: int, header_hex: str, data_hex: str) -> str:
        """Send a command in full mode, and return its status."""
        assert self.channel.session is not None
        field = protect_command(
            self.channel.session,
            instruction,
            bytes.fromhex(header_hex),
            bytes.fromhex(data_hex),
            CommMode.FULL,
        )
        return self.send(f"90{instruction:02x}0000{len(field):02x}{field.hex()}00")[-4:]


@pytest.fixture
def bench() -> Bench:
    card = Ntag424Card(deliver_chip(UID), rng=random.Random(424))
    card.power_on()
    bench = Bench(card, CardChannel())
    bench.hold(select_application(bench.channel))
    return bench


def test_a_delivered_chip_shows_its_uid_and_zero_versions(bench: Bench) -> None:
    version = bench.hold(get_version())
    assert (version.vendor, version.hardware_type, version.uid) == (4, 4, UID)
    assert bench.card.uid == UID
    assert [bench.hold(get_key_version(bench.channel, slot)) for slot in range(5)] == [0] * 5
    assert bench.hold(get_file_settings(bench.channel, 2)) == DELIVERED_SETTINGS


def test_a_chip_is_set_up_from_delivery_to_links_that_verify(bench: Bench) -> None:
    bench.authenticate()
    channel = bench.channel
    bench.hold(write_plain_file(channel, 2, 0, LINK_FILE))
    bench.hold(change_file_settings(channel, 2, link_settings(LINK_FILE)))
    for slot in list(KeySlot)[1:]:
        bench.hold(change_key(channel, slot, KEYS.of(slot), 7))
    bench.hold(enable_random_uid(channel))
    bench.hold(change_key(channel, 0, KEYS.master, 7))
    assert [bench.hold(get_key_version(channel, slot)) for slot in range(5)] == [7] * 5
    for slot in KeySlot:
        bench.authenticate(slot, KEYS.of(slot))
        assert bench.hold(get_card_uid(channel)) == UID
    assert bench.hold(read_plain_file(channel, 2, 0, len(LINK_FILE))) == LINK_FILE
    bench.card.power_on()
    assert len(bench.card.uid) == 4
    assert bench.hold(get_version()).uid is None
    link = parse_sun_url(parse_uri_message(bench.hold(read_ndef_message())))
    assert verify_sun_link(link, meta_key=KEYS.meta, file_key_of=lambda _: KEYS.file) == SunTap(UID, 1)


def test_a_card_made_personalised_is_the_same_as_one_that_was_set_up(bench: Bench) -> None:
    test_a_chip_is_set_up_from_delivery_to_links_that_verify(bench)
    made = personalise_chip(UID, KEYS, LINK_BASE, key_version=7, counter=1)
    assert bench.card.memory == made


def test_a_read_under_a_session_counts_and_mirrors_nothing(bench: Bench) -> None:
    card = Ntag424Card(personalise_chip(UID, KEYS, LINK_BASE, counter=5), rng=random.Random(1))
    card.power_on()
    reader = Bench(card, CardChannel())
    reader.hold(select_application(reader.channel))
    reader.authenticate(0, KEYS.master)
    assert reader.hold(read_plain_file(reader.channel, 2, 0, len(LINK_FILE))) == LINK_FILE
    assert card.counter == 5
    assert reader.send("00a4000c02e104") == "9000"
    assert reader.send("00b0000000") == "6982"
    assert reader.send(SELECT) == "9000"
    assert reader.send("90ad0000070200000000000000")[-4:] == "9100"
    assert reader.send("90ad0000070200000000000000")[-4:] == "9100"
    assert card.counter == 6
    assert reader.send("00a4000c02e104") == "9000"
    assert reader.send("00b0000001")[-4:] == "9000"
    assert card.counter == 7


def test_mirroring_starts_from_zero_when_it_is_switched_on(bench: Bench) -> None:
    card = Ntag424Card(personalise_chip(UID, KEYS, LINK_BASE, counter=9), rng=random.Random(1))
    card.power_on()
    reader = Bench(card, CardChannel())
    reader.hold(select_application(reader.channel))
    reader.authenticate(0, KEYS.master)
    reader.hold(change_file_settings(reader.channel, 2, link_settings(LINK_FILE)))
    assert card.counter == 0


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        (["9012000000"], "911c"),
        (["90af000000"], "911c"),
        (["9060010000"], "917e"),
        (["906000000100"], "917e"),
        (["9060000001ff00"], "917e"),
        (["9060000000", "9060000000"], "91ca"),
        (["9060000000", SELECT], "6985"),
        (["9060000000", "90af000001ff00"], "917e"),
        (["9071000002050000"], "9140"),
        (["9071000002800000"], "919e"),
        (["9071000003000102 00"], "919e"),
        (["9071000001 0000"], "917e"),
        (["9071000002000000", "90640000010000"], "91ca"),
        (["9071000002000000", SELECT], "6985"),
        (["9071000002000000", "90af00001f" + "00" * 31 + "00"], "917e"),
        (["9071000002000000", "90af000020" + "00" * 32 + "00"], "91ae"),
        (["90c4000029" + "00" * 41 + "00"], "91ae"),
        (["905c00001900" + "00" * 24 + "00"], "91ae"),
        (["905100000800" + "00" * 7 + "00"], "91ae"),
        (["905f000019 02" + "00" * 24 + "00"], "91ae"),
        (["905f000019 04" + "00" * 24 + "00"], "91f0"),
        (["90640000010500"], "9140"),
        (["9064000002000000"], "917e"),
        (["90f50000010400"], "91f0"),
        (["90f5000002020000"], "917e"),
        (["90ad000007 04000000000000 00"], "91f0"),
        (["90ad000007 03000000000000 00"], "91ae"),
        (["90ad000007 02000100000000 00"], "91be"),
        (["90ad000007 02ff0000020000 00"], "91be"),
        (["90ad000006 020000000000 00"], "917e"),
        (["908d000008 04000000010000 aa 00"], "91f0"),
        (["908d000008 01000000010000 aa 00"], "91ae"),
        (["908d000008 03000000010000 aa 00"], "91ae"),
        (["908d000008 02000100010000 aa 00"], "91be"),
        (["908d000009 02ff0000020000 aabb 00"], "91be"),
        (["908d000008 02000000020000 aa 00"], "917e"),
        (["908d000008 02000000000000 aa 00"], "919e"),
        (["908d000007 02000000010000 00"], "917e"),
        (["00a4000c02e104", "00d6010001aa"], "6a86"),
        (["00a4000c02e103", "00d6000001aa"], "6982"),
        (["00d6000001aa"], "6985"),
        (["00a4040c07d2760000850100", "9071000002000000"], "9140"),
        (["00a4040c07d2760000850100", "90640000010000"], "9140"),
        (["00a4040c07d2760000850100", "90f50000010200"], "919d"),
        (["00a4040c07d2760000850100", "908d000008 02000000010000 aa 00"], "919d"),
        (["00a4040c07d2760000850100", "90ad000007 02000000000000 00"], "919d"),
    ],
)
def test_without_a_key_the_chip_refuses(bench: Bench, commands: list[str], status: str) -> None:
    before = bench.card.memory.copy()
    answers = [bench.send(command.replace(" ", "")) for command in commands]
    assert answers[-1][-4:] == status
    after = bench.card.memory
    assert (after.files, [cell.key for cell in after.keys]) == (
        before.files,
        [cell.key for cell in before.keys],
    )


KEY_DATA = bytes(16).hex() + "01"
SETTINGS = "00e0ee"
WITH_CRC = OTHER.hex() + "01"


@pytest.mark.parametrize(
    ("instruction", "header", "data", "status"),
    [
        (0xC4, "05", KEY_DATA, "9140"),
        (0xC4, "00", KEY_DATA[2:], "917e"),
        (0xC4, "01", KEY_DATA, "917e"),
        (0xC4, "01", WITH_CRC + "00000000", "911e"),
        (0x5C, "00", "0202", "917e"),
        (0x5C, "00", "01", "919e"),
        (0x5C, "00", "04", "919e"),
        (0x5C, "0a", "01e80300", "917e"),
        (0x5C, "0a", "0100000a00", "919e"),
        (0x5C, "05", "00" * 10, "919e"),
        (0x5F, "02", "00e0", "919e"),
        (0x5F, "02", "80e0ee", "919e"),
        (0x5F, "02", "00e5ee", "919e"),
        (0x5F, "02", "4000e0c1f121f00000430000430000", "919e"),
        (0x5F, "02", "4000e0c1f121200000430000f10000", "919e"),
        (0x5F, "02", "4000e0c1f121200000300000300000", "919e"),
        (0x5F, "02", "4000e0c1f121200000440000430000", "919e"),
        (0x5F, "02", "4000e0c1f125200000430000430000", "919e"),
        (0x5F, "03", "4000e0c1f121200000430000430000", "919d"),
        (0x5F, "04", SETTINGS, "91f0"),
    ],
)
def test_with_the_master_key_the_chip_refuses_and_ends_the_session(
    bench: Bench, instruction: int, header: str, data: str, status: str
) -> None:
    bench.authenticate()
    before = bench.card.memory.copy()
    assert bench.send_protected(instruction, header, data) == status
    assert bench.card.memory == before
    # Whatever it was, nobody is authenticated any more (section 9.1.9).
    assert bench.send_protected(0x51, "", "") == "91ae"


@pytest.mark.parametrize("slot", [1, 2, 3, 4])
def test_another_key_than_the_master_changes_nothing(bench: Bench, slot: int) -> None:
    for instruction, header, data in ((0xC4, "01", KEY_DATA), (0x5C, "00", "02"), (0x5F, "02", SETTINGS)):
        bench.authenticate(slot)
        assert bench.send_protected(instruction, header, data) == "91ae"
    assert bench.card.memory.random_uid is False


def test_a_file_that_nobody_may_change_stays_so(bench: Bench) -> None:
    bench.authenticate()
    locked = FileSettings(CommMode.PLAIN, AccessRights(NEVER, NEVER, NEVER, NEVER))
    bench.hold(change_file_settings(bench.channel, 2, locked))
    for dialogue in (
        lambda: change_file_settings(bench.channel, 2, DELIVERED_SETTINGS),
        lambda: write_plain_file(bench.channel, 2, 0, b"\x00"),
        lambda: read_plain_file(bench.channel, 2, 0, 1),
    ):
        bench.authenticate()
        with pytest.raises(CardError, match="forbid"):
            bench.hold(dialogue())  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["mac", "counter", "transaction", "replay"])
def test_a_command_that_is_not_the_next_of_this_session_is_refused(bench: Bench, how: str) -> None:
    bench.authenticate()
    session = bench.channel.session
    assert session is not None
    field = protect_command(session, 0x64, b"\x01", b"", CommMode.MAC)
    if how == "mac":
        field = field[:-1] + bytes((field[-1] ^ 1,))
    elif how == "counter":
        field = protect_command(session.counted(), 0x64, b"\x01", b"", CommMode.MAC)
    elif how == "transaction":
        other = SecureSession(session.keys, bytes(4), session.command_counter)
        field = protect_command(other, 0x64, b"\x01", b"", CommMode.MAC)
    else:
        assert bench.send(f"9064000009{field.hex()}00")[-4:] == "9100"
    assert bench.send(f"9064000009{field.hex()}00") == "911e"
    bench.channel.session = session.counted()
    assert bench.send_protected(0x51, "", "") == "91ae"


def test_the_command_counter_ends_a_session(bench: Bench) -> None:
    bench.authenticate()
    assert bench.channel.session is not None
    exhausted = replace(bench.channel.session, command_counter=0xFFFF)
    bench.channel.session = exhausted
    bench.card._session.secure = exhausted
    assert bench.send_protected(0x51, "", "") == "911e"


def test_plain_commands_are_counted_too(bench: Bench) -> None:
    bench.authenticate()
    bench.hold(write_plain_file(bench.channel, 2, 0, b"\x01"))
    assert bench.hold(get_card_uid(bench.channel)) == UID


def test_selecting_the_application_ends_a_session(bench: Bench) -> None:
    bench.authenticate()
    assert bench.send(SELECT) == "9000"
    assert bench.send_protected(0x51, "", "") == "91ae"


def test_many_wrong_keys_make_everybody_wait_and_the_right_one_forgives(bench: Bench) -> None:
    cell = bench.card.memory.keys[3]
    for _ in range(SEQUENCE_FAILURES_MAX):
        with pytest.raises(CardError, match="another one"):
            bench.authenticate(3, OTHER)
    assert (cell.sequence_failures, cell.total_failures) == (50, 50)
    with pytest.raises(CardError) as resting:
        bench.authenticate(3)
    assert resting.value.code == "card_resting"
    bench.authenticate(3)
    assert (cell.sequence_failures, cell.total_failures) == (0, 40)
    # Another key was never in question.
    bench.authenticate(0)


def test_a_key_that_failed_too_often_is_locked_for_good_and_survives_power(bench: Bench) -> None:
    bench.authenticate()
    limit = (3).to_bytes(2, "little") + (1).to_bytes(2, "little")
    assert bench.send_protected(0x5C, "0a", "01" + limit.hex()) == "9100"
    for _ in range(3):
        with pytest.raises(CardError, match="another one"):
            bench.authenticate(0, OTHER)
    bench.card.power_off()
    bench.card.power_on()
    bench.hold(select_application(bench.channel))
    with pytest.raises(CardError, match="forbid"):
        bench.authenticate(0)


def test_changing_a_key_forgets_its_failures(bench: Bench) -> None:
    with pytest.raises(CardError):
        bench.authenticate(2, OTHER)
    bench.authenticate()
    bench.hold(change_key(bench.channel, 2, OTHER, 1))
    assert bench.card.memory.keys[2].total_failures == 0


def test_a_wrong_old_key_changes_nothing(bench: Bench) -> None:
    bench.authenticate()
    with pytest.raises(CardError, match="checksum"):
        bench.hold(change_key(bench.channel, 2, OTHER, 1, old_key=OTHER))
    assert bench.card.memory.keys[2].key == ZERO_KEY


@pytest.mark.parametrize("is_done", [False, True])
def test_a_lifted_card_keeps_exactly_what_was_committed(bench: Bench, is_done: bool) -> None:
    bench.authenticate()
    bench.hold(change_key(bench.channel, 4, OTHER, 9))
    bench.card.tear_at_apdu = bench.card._session_apdu_count + 1
    bench.card.tear_after_processing = is_done
    with pytest.raises(CardTorn):
        bench.hold(change_key(bench.channel, 0, OTHER, 9))
    bench.card.power_on()
    bench.channel.forget()
    bench.hold(select_application(bench.channel))
    assert bench.hold(get_key_version(bench.channel, 4)) == 9
    assert bench.hold(get_key_version(bench.channel, 0)) == (9 if is_done else 0)
    bench.authenticate(0, OTHER if is_done else ZERO_KEY)


def test_random_uid_counts_from_the_next_power_up_and_is_never_taken_back(bench: Bench) -> None:
    bench.authenticate()
    bench.hold(enable_random_uid(bench.channel))
    assert bench.card.uid == UID
    bench.card.power_on()
    assert bench.card.uid[0] == 0x08
    bench.hold(select_application(bench.channel))
    bench.authenticate()
    assert bench.send_protected(0x5C, "00", "00") == "9100"
    assert bench.card.memory.random_uid is True


def test_version_under_a_session_carries_one_mac(bench: Bench) -> None:
    bench.authenticate()
    assert bench.send("9060000000") == "917e"
    bench.authenticate()
    assert bench.channel.session is not None
    mac = protect_command(bench.channel.session, 0x60, b"", b"", CommMode.MAC)
    assert bench.send(f"9060000008{mac.hex()}00")[-4:] == "91af"
    assert bench.send("90af000000")[-4:] == "91af"
    assert len(bench.send("90af000000")) == 2 * (14 + 8 + 2)
