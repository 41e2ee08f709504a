"""The contract every card reader keeps: three calls, all blocking, all from one owner thread.

A driver converts its library's types and errors to ours right at this edge. Nothing above this module
imports nfcpy or pyscard, and nothing above it can tell a simulated reader from a real one: both are
reached by a path. tests/contract/ holds every path to one suite.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

APDU_BYTES_MAX = 261
"""Longest short command APDU: 5 header bytes, 255 data bytes, Le (ISO 7816-3). We send no longer one."""


class CardTechnology(Enum):
    """What kind of chip answered."""

    ISO_DEP = "iso_dep"
    """Speaks APDUs (ISO 14443-4, or a contact card)."""
    UID_ONLY = "uid_only"
    """Memory with a number anybody can copy: Type 2 tags, MIFARE Classic, PC/SC storage cards."""


class CardConnection(Protocol):
    """One card in the field, from its arrival to its removal."""

    technology: CardTechnology

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return the whole response APDU, status word last.

        Answers of 61xx and 6Cxx are completed here (GET RESPONSE, repeated Le).

        Raises:
            CardRemoved: the card left or stopped answering; this connection is over.
            ReaderUnavailable: the reader failed; close it.
            PresentationRefused: `card_answer_invalid`; the answer breaks the card's own protocol, has no
                status word or never ends. The connection is good for `is_present` and `close` only.
        """

    def is_present(self) -> bool:
        """Say whether this very card is still in the field."""

    def close(self) -> None:
        """Let go of the card; never raises."""


class CardReader(Protocol):
    """A reader that may hold one card at a time."""

    path: str

    def open(self) -> None:
        """Take the device.

        Raises:
            ReaderNotInstalled: the library or service is missing on this machine.
            ReaderUnavailable: not now; call again later.
        """

    def wait_for_card(self, timeout_ms: int) -> CardConnection | None:
        """Return the card that is or comes into the field within the time, else None.

        May return up to 500 ms late (nfcpy's UDP radio up to 1.1 s: its driver waits a second for every
        request). Two cards at once are refused, not chosen between, where the reader can tell.

        Raises:
            ReaderUnavailable: the reader failed; close it, open it again later.
            PresentationRefused: `card_changed`; more than one card is in the field. `card_not_supported`;
                what is there can't be activated. Raised once, then nothing until it has left.
        """

    def close(self) -> None:
        """Give the device back; never raises, may be called twice."""
