"""What the gateway says to a card, stage by stage: looked at, set up, taken down, proven.

Each is a pure generator over keys and randomness that are handed in. None assumes what an earlier
conversation did: a stage looks at the chip and does what is missing, so one that was torn anywhere is taken
up by running it again. The order keeps a card reachable at every moment: the UID stays in sight until the
meta key, which tells it, is known; the master key is last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gateway.cards.key_book import KeyBook
from gateway.payments.card_keys import OpenCardKeys
from wire.cards.apdu import CommandApdu
from wire.cards.dialogue import CardDialogue, expect_success
from wire.cards.ndef import NDEF_FILE_ID, parse_uri_message, read_ndef_message
from wire.cards.ntag424.card_profile import (
    DELIVERED_SETTINGS,
    KEY_VERSION_DELIVERED,
    NDEF_FILE_NUMBER,
    KeySlot,
    is_link_file,
    link_settings,
    make_link_file,
)
from wire.cards.ntag424.commands import (
    TYPE_NTAG,
    VENDOR_NXP,
    WRITE_BYTES_MAX,
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
from wire.cards.ntag424.link import parse_sun_url
from wire.errors import CardError, EncodingError
from wire.messages.cards import CardStage

CATCH_UP_READS_MAX: Final = 64
"""Reads by which a card's counter is brought past what its wallet has seen; above it, it needs new keys."""
KEYS_UNKNOWN: Final = "card_keys_unknown"
INCOMPLETE: Final = "card_incomplete"
DIFFERS: Final = "card_differs"

Draw = Callable[[], bytes]
"""Returns 16 bytes, unpredictable and never the same twice in a conversation."""
Report = Callable[[CardStage], None]
_NOT_MASTER: Final = tuple(slot for slot in KeySlot if slot is not KeySlot.MASTER)
_SELECT_NDEF_FILE: Final = CommandApdu(0x00, 0xA4, 0x00, 0x0C, NDEF_FILE_ID.to_bytes(2, "big"))
_READ_ONE_BYTE: Final = CommandApdu(0x00, 0xB0, 0x00, 0x00, le=1)


@dataclass(frozen=True, slots=True)
class Look:
    """What a chip is."""

    uid: bytes
    versions: tuple[int, ...]
    """Of its five keys, by slot."""
    shows_uid: bool
    """Whether anybody sees its UID; a Tapscan card shows a random one."""


def look(book: KeyBook, draw: Draw) -> CardDialogue[Look]:
    """Find out which chip this is and which keys its slots say they have.

    Raises:
        CardError: `card_not_supported`; no NTAG 424 DNA. `card_keys_unknown`; it hides its UID and its meta
            key is none of ours.
    """
    channel = CardChannel()
    yield from select_application(channel)
    version = yield from get_version()
    if (version.vendor, version.hardware_type) != (VENDOR_NXP, TYPE_NTAG):
        raise CardError("the chip is of another make", code="card_not_supported")
    versions: tuple[int, ...] = ()
    for slot in KeySlot:
        versions += ((yield from get_key_version(channel, slot)),)
    uid = version.uid
    if uid is None:
        yield from _prove_one_of(channel, KeySlot.META, book.meta_candidates(versions[KeySlot.META]), draw)
        uid = yield from get_card_uid(channel)
    return Look(uid, versions, version.uid is not None)


def set_up(
    seen: Look, book: KeyBook, target: OpenCardKeys, link_base: str, draw: Draw, report: Report
) -> CardDialogue[None]:
    """Bring a chip to the target's keys, whatever it has done of it before.

    Raises:
        CardError: `card_keys_unknown`; a key is none of ours.
    """
    channel = CardChannel()
    yield from select_application(channel)
    current = yield from _prove_slots(channel, seen, book, draw)
    report(CardStage.LINK)
    yield from _set_link(channel, link_base)
    report(CardStage.KEYS)
    wanted = target.keys_of(seen.uid)
    for slot in _NOT_MASTER:
        if (current[slot], seen.versions[slot]) != (wanted.of(slot), target.key_version):
            yield from change_key(channel, slot, wanted.of(slot), target.key_version, old_key=current[slot])
    report(CardStage.HIDE_UID)
    if seen.shows_uid:
        yield from enable_random_uid(channel)
    report(CardStage.MASTER_KEY)
    if (current[KeySlot.MASTER], seen.versions[KeySlot.MASTER]) != (wanted.master, target.key_version):
        yield from change_key(channel, KeySlot.MASTER, wanted.master, target.key_version)


def take_down(seen: Look, book: KeyBook, draw: Draw, report: Report) -> CardDialogue[None]:
    """Give a chip back what it was delivered with, but for its random UID, which nothing takes back.

    Raises:
        CardError: `card_keys_unknown`; a key is none of ours.
    """
    channel = CardChannel()
    yield from select_application(channel)
    current = yield from _prove_slots(channel, seen, book, draw)
    report(CardStage.KEYS)
    for slot in _NOT_MASTER:
        if seen.versions[slot] != KEY_VERSION_DELIVERED:
            yield from change_key(channel, slot, ZERO_KEY, KEY_VERSION_DELIVERED, old_key=current[slot])
    report(CardStage.LINK)
    # After the keys: switching the link off sets its counter back, and a card that is recovered then has to
    # be read past what its wallet has seen.
    if (yield from get_file_settings(channel, NDEF_FILE_NUMBER)) != DELIVERED_SETTINGS:
        yield from change_file_settings(channel, NDEF_FILE_NUMBER, DELIVERED_SETTINGS)
    yield from write_plain_file(channel, NDEF_FILE_NUMBER, 0, bytes(WRITE_BYTES_MAX))
    report(CardStage.MASTER_KEY)
    if seen.versions[KeySlot.MASTER] != KEY_VERSION_DELIVERED:
        yield from change_key(channel, KeySlot.MASTER, ZERO_KEY, KEY_VERSION_DELIVERED)


def prove(seen: Look, target: OpenCardKeys, draw: Draw) -> CardDialogue[int]:
    """Prove everything that makes this chip a Tapscan card, changing nothing; return its link's counter.

    Raises:
        CardError: `card_incomplete`; something is missing. `card_differs`; it is another card.
    """
    channel = CardChannel()
    yield from select_application(channel)
    if (yield from get_version()).uid is not None:
        raise CardError("the card shows its UID", code=INCOMPLETE)
    for slot in KeySlot:
        if (yield from get_key_version(channel, slot)) != target.key_version:
            raise CardError("a key has another version", code=INCOMPLETE)
    keys = target.keys_of(seen.uid)
    for slot in reversed(KeySlot):
        yield from _prove_key(channel, slot, keys.of(slot), draw)
    if (yield from get_card_uid(channel)) != seen.uid:
        raise CardError("it is another card", code=DIFFERS)
    content = yield from read_plain_file(channel, NDEF_FILE_NUMBER, 0, WRITE_BYTES_MAX)
    settings = yield from get_file_settings(channel, NDEF_FILE_NUMBER)
    if not is_link_file(content) or settings != link_settings(content):
        raise CardError("the link is not set up", code=INCOMPLETE)
    yield from select_application(channel)
    return (yield from _read_counter(seen, target))


def prove_blank(draw: Draw) -> CardDialogue[None]:
    """Prove that a chip is as delivered, changing nothing.

    Raises:
        CardError: `card_incomplete`; it is not.
    """
    channel = CardChannel()
    yield from select_application(channel)
    for slot in KeySlot:
        if (yield from get_key_version(channel, slot)) != KEY_VERSION_DELIVERED:
            raise CardError("a key has another version", code=INCOMPLETE)
        yield from _prove_key(channel, slot, ZERO_KEY, draw)
    yield from select_application(channel)
    if (yield from get_file_settings(channel, NDEF_FILE_NUMBER)) != DELIVERED_SETTINGS:
        raise CardError("the file has other settings", code=INCOMPLETE)


def catch_up(seen: Look, target: OpenCardKeys, read_count: int) -> CardDialogue[int]:
    """Read the link so many times, and return its counter at the last.

    Raises:
        CardError: `card_incomplete`; the link is not this card's.
    """
    yield from select_application(CardChannel())
    for _ in range(read_count - 1):
        # Only a read after another command counts (data sheet section 9.3.1).
        yield from expect_success(_SELECT_NDEF_FILE)
        yield from expect_success(_READ_ONE_BYTE)
    return (yield from _read_counter(seen, target))


def confirm(target: OpenCardKeys, key_id: bytes, draw: Draw) -> CardDialogue[None]:
    """Have the card of an instrument prove itself, here and now.

    Args:
        target: the keys it has, as far as is known.
        key_id: the instrument's.

    Raises:
        CardError: `card_differs`; it is another card.
    """
    channel = CardChannel()
    yield from select_application(channel)
    try:
        yield from authenticate_first(channel, KeySlot.META, target.meta_key, draw())
        uid = yield from get_card_uid(channel)
        if target.key_id_of(uid) != key_id:
            raise CardError("it is another card", code=DIFFERS)
        key = target.keys_of(uid).confirmation
        yield from authenticate_first(channel, KeySlot.CONFIRMATION, key, draw())
    except CardError as error:
        raise _renamed(error, {KEYS_UNKNOWN: DIFFERS}) from None


def _prove_slots(
    channel: CardChannel, seen: Look, book: KeyBook, draw: Draw
) -> CardDialogue[dict[KeySlot, bytes]]:
    """Return the key of every slot, each proven unless it is as delivered; the master key's session stays."""
    current: dict[KeySlot, bytes] = {}
    for slot in reversed(KeySlot):
        version = seen.versions[slot]
        if version == KEY_VERSION_DELIVERED and slot is not KeySlot.MASTER:
            # Its first change proves it: the chip compares.
            current[slot] = ZERO_KEY
            continue
        candidates = book.candidates(slot, version, seen.uid)
        current[slot] = yield from _prove_one_of(channel, slot, candidates, draw)
    return current


def _set_link(channel: CardChannel, link_base: str) -> CardDialogue[None]:
    content = yield from read_plain_file(channel, NDEF_FILE_NUMBER, 0, WRITE_BYTES_MAX)
    if not is_link_file(content):
        content = make_link_file(link_base)
        yield from write_plain_file(channel, NDEF_FILE_NUMBER, 0, content)
    settings = link_settings(content)
    if (yield from get_file_settings(channel, NDEF_FILE_NUMBER)) != settings:
        yield from change_file_settings(channel, NDEF_FILE_NUMBER, settings)


def _prove_one_of(
    channel: CardChannel, slot: KeySlot, candidates: Iterable[bytes], draw: Draw
) -> CardDialogue[bytes]:
    """Return which of the keys lies in a slot; the channel is under its session then.

    Raises:
        CardError: `card_keys_unknown`; none of them.
    """
    for key in candidates:
        try:
            yield from authenticate_first(channel, slot, key, draw())
        except CardError as error:
            if error.code != KEYS_UNKNOWN:
                raise
        else:
            return key
    raise CardError("no key of ours lies there", code=KEYS_UNKNOWN)


def _prove_key(channel: CardChannel, slot: KeySlot, key: bytes, draw: Draw) -> CardDialogue[None]:
    try:
        yield from authenticate_first(channel, slot, key, draw())
    except CardError as error:
        raise _renamed(error, {KEYS_UNKNOWN: INCOMPLETE}) from None


def _read_counter(seen: Look, target: OpenCardKeys) -> CardDialogue[int]:
    message = yield from read_ndef_message()
    try:
        tap = target.verify(parse_sun_url(parse_uri_message(message)))
    except EncodingError as error:
        raise CardError(str(error), code=INCOMPLETE) from None
    if tap is None or tap.uid != seen.uid:
        raise CardError("the link is not this card's", code=INCOMPLETE)
    return tap.counter


def _renamed(error: CardError, codes: dict[str, str]) -> CardError:
    return CardError(str(error), code=codes.get(error.code, error.code))
