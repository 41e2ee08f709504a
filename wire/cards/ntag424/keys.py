"""Keys of NTAG 424 DNA cards: each card's own file key, and the id a database knows the card by.

A batch has one file master key. What a card holds is diversified from it by the card's UID, so a key read
out of one card opens no other (NXP AN10922).
"""

from __future__ import annotations

from typing import Final

from wire.application_id import NDEF_AID
from wire.cards.ntag424.aes_cmac import aes_cmac
from wire.errors import IdError

UID_BYTES: Final = 7
CARD_KEY_ID_BYTES: Final = 8
DIVERSIFICATION_BYTES_MIN: Final = 16
DIVERSIFICATION_BYTES_MAX: Final = 31
"""Lengths of M at which AN10922, which always pads to two blocks, is exactly CMAC of 01 and M."""

_AES_128: Final = b"\x01"
"""The diversification constant of AES-128 keys (AN10922, section 2.2)."""
_FILE_SYSTEM: Final = b"TAPSCAN.FILE"
_MASTER_SYSTEM: Final = b"TAPSCAN.MSTR"
_CONFIRMATION_SYSTEM: Final = b"TAPSCAN.CONF"
_SPARE_SYSTEM: Final = b"TAPSCAN.SPAR"
"""System identifiers: each key of a card has a name of its own (card_profile.py says what it is for)."""
_CARD_KEY_ID_LABEL: Final = b"\x00tapscan card key id"
"""Begins with 00, where every diversified key's input begins with 01: the two can't meet."""


def diversify_file_key(file_master: bytes, uid: bytes) -> bytes:
    """Return the key with which this card authenticates its links.

    Args:
        file_master: 16 bytes, secret, one for a batch of cards.
        uid: the card's real 7 bytes, not the random ones it shows at anticollision.

    Raises:
        IdError: the UID has not 7 bytes.

    Source: AN10922 section 2.2; M is UID, application identifier, system identifier.
    """
    return diversify_key(file_master, check_card_uid(uid) + NDEF_AID + _FILE_SYSTEM)


def diversify_master_key(file_master: bytes, uid: bytes) -> bytes:
    """Return the key that may change this card; arguments and errors as `diversify_file_key`."""
    return diversify_key(file_master, check_card_uid(uid) + NDEF_AID + _MASTER_SYSTEM)


def diversify_confirmation_key(file_master: bytes, uid: bytes) -> bytes:
    """Return the key with which this card proves itself; arguments and errors as `diversify_file_key`."""
    return diversify_key(file_master, check_card_uid(uid) + NDEF_AID + _CONFIRMATION_SYSTEM)


def diversify_spare_key(file_master: bytes, uid: bytes) -> bytes:
    """Return the key of this card that nobody uses; arguments and errors as `diversify_file_key`."""
    return diversify_key(file_master, check_card_uid(uid) + NDEF_AID + _SPARE_SYSTEM)


def card_key_id(file_master: bytes, uid: bytes) -> bytes:
    """Return the eight bytes by which a database knows this card.

    It is a CMAC of the UID under a key made for nothing else, so a leaked database holds no UID and,
    without the master key, nobody can tell whether a card they hold is in it.

    Raises:
        IdError: the UID has not 7 bytes.
    """
    key = aes_cmac(file_master, _CARD_KEY_ID_LABEL)
    return aes_cmac(key, check_card_uid(uid))[:CARD_KEY_ID_BYTES]


def diversify_key(master: bytes, diversification: bytes) -> bytes:
    """Derive an AES-128 key by AN10922 from 16 to 31 bytes that tell its owner and purpose.

    Raises:
        IdError: fewer or more bytes; at those lengths AN10922's padding is not that of CMAC.

    Source: AN10922 section 2.2.1.
    """
    if not DIVERSIFICATION_BYTES_MIN <= len(diversification) <= DIVERSIFICATION_BYTES_MAX:
        raise IdError(
            f"diversification takes {DIVERSIFICATION_BYTES_MIN} to {DIVERSIFICATION_BYTES_MAX} bytes"
        )
    return aes_cmac(master, _AES_128 + diversification)


def check_card_uid(uid: bytes) -> bytes:
    """Return the UID unchanged if it has seven bytes, else raise `IdError`."""
    if len(uid) != UID_BYTES:
        raise IdError(f"an NTAG 424 DNA UID has {UID_BYTES} bytes")
    return uid
