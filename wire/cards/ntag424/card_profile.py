"""What makes a chip a Tapscan card: which key lies where, what its link looks like, who may change what.

    key 0  master        per card; may change everything, and is set last
    key 1  meta          shared by the batch: it opens the link's PICC data, in which the UID is
    key 2  file          per card; makes the link's MAC
    key 3  confirmation  per card; proves the card itself for larger sums
    key 4  spare         per card; in no use, and in nobody else's hands

Every key carries the batch's key version, 1 to 255; 0 is the chip as delivered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from wire.cards.ndef import dump_ndef_file, dump_uri_message, parse_uri_message
from wire.cards.ntag424.commands import WRITE_BYTES_MAX
from wire.cards.ntag424.file_settings import FREE, NEVER, AccessRights, FileSettings, SdmSettings
from wire.cards.ntag424.keys import (
    diversify_confirmation_key,
    diversify_file_key,
    diversify_master_key,
    diversify_spare_key,
)
from wire.cards.ntag424.link import MAC_BYTES, PICC_DATA_BYTES, SunLink, dump_sun_url, parse_sun_url
from wire.cards.ntag424.secure_messaging import CommMode
from wire.errors import CardError, EncodingError

NDEF_FILE_NUMBER: Final = 2
NDEF_FILE_BYTES: Final = 256
KEY_VERSION_MAX: Final = 255
KEY_VERSION_DELIVERED: Final = 0

_NLEN_BYTES: Final = 2
_MAC_CHARS: Final = 2 * MAC_BYTES
_PICC_DATA_CHARS: Final = 2 * PICC_DATA_BYTES
_BETWEEN_CHARS: Final = len("&c=")


class KeySlot(IntEnum):
    """What each of the chip's five keys is for."""

    MASTER = 0
    META = 1
    FILE = 2
    CONFIRMATION = 3
    SPARE = 4


@dataclass(frozen=True, slots=True)
class CardKeys:
    """The five keys of one card, 16 bytes each, by slot."""

    master: bytes
    meta: bytes
    file: bytes
    confirmation: bytes
    spare: bytes

    def of(self, slot: KeySlot) -> bytes:
        """Return the key of a slot."""
        return (self.master, self.meta, self.file, self.confirmation, self.spare)[slot]


DELIVERED_SETTINGS: Final = FileSettings(CommMode.PLAIN, AccessRights(FREE, FREE, FREE, KeySlot.MASTER))
"""Of the NDEF file of a chip as delivered (data sheet section 8.2.3)."""


def derive_card_keys(meta_key: bytes, file_master: bytes, uid: bytes) -> CardKeys:
    """Derive a card's five keys from its batch's two.

    Raises:
        IdError: the UID has not 7 bytes.
    """
    return CardKeys(
        master=diversify_master_key(file_master, uid),
        meta=meta_key,
        file=diversify_file_key(file_master, uid),
        confirmation=diversify_confirmation_key(file_master, uid),
        spare=diversify_spare_key(file_master, uid),
    )


def make_link_file(link_base: str) -> bytes:
    """Return what the NDEF file holds before anything is mirrored, its length in front.

    Args:
        link_base: what the link begins with, such as `https://pay.example.com/t`.

    Raises:
        EncodingError, CardError: the base gives no link of ours, or one too long to be written at once.
    """
    blank = SunLink(bytes(PICC_DATA_BYTES), bytes(MAC_BYTES))
    file = dump_ndef_file(dump_uri_message(dump_sun_url(link_base, blank)))
    if len(file) > WRITE_BYTES_MAX:
        raise CardError(f"a link has at most {WRITE_BYTES_MAX} bytes in its file")
    return file


def is_link_file(content: bytes) -> bool:
    """Say whether a file's first WRITE_BYTES_MAX bytes hold an unmirrored link of ours, whatever its base."""
    length = _NLEN_BYTES + int.from_bytes(content[:_NLEN_BYTES], "big")
    try:
        link = parse_sun_url(parse_uri_message(content[_NLEN_BYTES:length]))
    except (CardError, EncodingError):
        return False
    return length <= WRITE_BYTES_MAX and not any(link.picc_data + link.mac)


def link_settings(file: bytes) -> FileSettings:
    """Return the settings under which a file of `make_link_file` mirrors a fresh link at every read."""
    length = _NLEN_BYTES + int.from_bytes(file[:_NLEN_BYTES], "big")
    mac_offset = length - _MAC_CHARS
    return FileSettings(
        CommMode.PLAIN,
        AccessRights(read=FREE, write=KeySlot.MASTER, read_write=KeySlot.MASTER, change=KeySlot.MASTER),
        SdmSettings(
            meta_read_key=KeySlot.META,
            file_read_key=KeySlot.FILE,
            counter_read=NEVER,
            picc_data_offset=mac_offset - _BETWEEN_CHARS - _PICC_DATA_CHARS,
            # Equal offsets: the MAC is over nothing, and so over the session key alone.
            mac_input_offset=mac_offset,
            mac_offset=mac_offset,
        ),
    )
