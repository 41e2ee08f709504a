"""What an NTAG 424 DNA chip keeps without power: keys with their failure counters, files, settings.

Source: NXP NT4H2421Gx data sheet rev 3.0, section 8.2; AN12196 rev 1.8, "Failed authentications counter".
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Final

from wire.cards.ntag424.card_profile import (
    DELIVERED_SETTINGS,
    KEY_VERSION_DELIVERED,
    NDEF_FILE_BYTES,
    NDEF_FILE_NUMBER,
    CardKeys,
    KeySlot,
    link_settings,
    make_link_file,
)
from wire.cards.ntag424.commands import ZERO_KEY
from wire.cards.ntag424.file_settings import FREE, KEY_COUNT, AccessRights, FileSettings
from wire.cards.ntag424.keys import check_card_uid
from wire.cards.ntag424.secure_messaging import CommMode

CAPABILITY_FILE_NUMBER: Final = 1
PROPRIETARY_FILE_NUMBER: Final = 3
PROPRIETARY_FILE_BYTES: Final = 128
CAPABILITY_FILE: Final = bytes.fromhex("001720010000FF0406E104010000000506E10500808283").ljust(32, b"\x00")
"""Content of E103 as delivered (data sheet section 8.2.3.1): MLe 256, NDEF file E104 of 256 bytes."""
TOTAL_FAILURES_MAX: Final = 1_000
TOTAL_FAILURES_FORGIVEN: Final = 10
"""TotFailCtrLimit and TotFailCtrDecr as delivered (table 50)."""
SEQUENCE_FAILURES_MAX: Final = 50
"""SeqFailCtr from which the chip delays (AN12196)."""


@dataclass(slots=True)
class KeyCell:
    """One key, its version, and how often somebody failed to prove it."""

    key: bytes = ZERO_KEY
    version: int = KEY_VERSION_DELIVERED
    total_failures: int = 0
    sequence_failures: int = 0
    delays_spent: int = 0
    """Answers of "not now" given since the last failure."""


@dataclass(slots=True)
class ChipFile:
    """One standard file."""

    content: bytearray
    settings: FileSettings


@dataclass(slots=True)
class Ntag424Memory:
    """Everything that survives a lifted card; made by `deliver_chip` or `personalise_chip`."""

    uid: bytes
    keys: list[KeyCell] = field(default_factory=lambda: [KeyCell() for _ in range(KEY_COUNT)])
    files: dict[int, ChipFile] = field(default_factory=dict)
    random_uid: bool = False
    sdm_counter: int = 0
    """SDMReadCtr, the value last shown."""
    counts_failures: bool = True
    total_failures_max: int = TOTAL_FAILURES_MAX
    total_failures_forgiven: int = TOTAL_FAILURES_FORGIVEN

    def copy(self) -> Ntag424Memory:
        """Return a memory of its own with the same content."""
        return copy.deepcopy(self)


def deliver_chip(uid: bytes) -> Ntag424Memory:
    """Return the memory of a chip as NXP delivers it: zero keys, an empty NDEF file, its UID for all to see.

    Raises:
        IdError: the UID has not seven bytes.
    """
    files = {
        CAPABILITY_FILE_NUMBER: ChipFile(
            bytearray(CAPABILITY_FILE), FileSettings(CommMode.PLAIN, AccessRights(FREE, 0, 0, 0))
        ),
        NDEF_FILE_NUMBER: ChipFile(bytearray(NDEF_FILE_BYTES), DELIVERED_SETTINGS),
        PROPRIETARY_FILE_NUMBER: ChipFile(
            bytearray(PROPRIETARY_FILE_BYTES), FileSettings(CommMode.FULL, AccessRights(2, 3, 3, 0))
        ),
    }
    return Ntag424Memory(check_card_uid(uid), files=files)


def personalise_chip(
    uid: bytes,
    keys: CardKeys,
    link_base: str,
    *,
    key_version: int = 1,
    counter: int = 0,
    random_uid: bool = True,
) -> Ntag424Memory:
    """Return the memory of a chip that a gateway has set up.

    Args:
        uid: its real seven bytes, which its keys were made from and its link hides.
        keys: this card's own (`derive_card_keys`).
        link_base: what the link begins with, such as `https://pay.example.com/t`.
        key_version: of every key.
        counter: SDMReadCtr, the value last shown.
        random_uid: whether anticollision shows a fresh number instead of the real UID.

    Raises:
        IdError: the UID has not seven bytes.
        EncodingError, CardError: the base gives no link that fits the card.
    """
    memory = deliver_chip(uid)
    link_file = make_link_file(link_base)
    memory.files[NDEF_FILE_NUMBER] = ChipFile(
        bytearray(link_file.ljust(NDEF_FILE_BYTES, b"\x00")), link_settings(link_file)
    )
    memory.keys = [KeyCell(keys.of(slot), key_version) for slot in KeySlot]
    memory.sdm_counter = counter
    memory.random_uid = random_uid
    return memory
