"""A plain memory tag: a number anybody can copy and a little memory anybody can read.

It behaves as a MIFARE Ultralight (NXP MF0ICU1, sections 7.5 and 7.6): sixteen pages, READ, WRITE, and NAK
to all else. Tapscan refuses to take money from it; it exists so that this refusal can be seen.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from simulators.cards.apdu_card import RECEIVED_MAX

PAGE_BYTES: Final = 4
PAGE_COUNT: Final = 16
USER_PAGE: Final = 4
USER_BYTES: Final = (PAGE_COUNT - USER_PAGE) * PAGE_BYTES
ACK: Final = b"\x0a"
NAK: Final = b"\x00"
"""Four bits on the air, carried as a byte of which the low half counts, as drivers hand them over."""

_READ: Final = 0x30
_WRITE: Final = 0xA2
_HALT: Final = bytes.fromhex("5000")
_READ_PAGES: Final = 4
_LOCK_PAGE: Final = 2
_OTP_PAGE: Final = 3
_UID_BYTES: Final = 7
_NXP: Final = 0x04
_CASCADE_TAG: Final = 0x88
_CAPABILITY_CONTAINER: Final = bytes.fromhex("E1100600")
"""NDEF, version 1.0, 48 bytes, free to read and write (Type 2 Tag specification, section 6.1)."""
_NDEF_TLV, _TERMINATOR_TLV = 0x03, 0xFE


class UidTag:
    """A Type 2 tag in a field; it records what it was sent."""

    def __init__(self, uid: bytes, *, ndef_message: bytes | None = None) -> None:
        """Make a tag that lies in no field.

        Args:
            uid: seven bytes that do not begin with 04: drivers ask NXP's chips for their type with
                commands this tag does not have.
            ndef_message: written to the user memory, None for a blank tag.

        Raises:
            ValueError: the UID or the message does not fit.
        """
        if len(uid) != _UID_BYTES or uid[0] == _NXP:
            raise ValueError(f"a tag's UID has {_UID_BYTES} bytes and does not begin with 04")
        self.uid = uid
        self._received: deque[bytes] = deque(maxlen=RECEIVED_MAX)
        self._memory = bytearray(_identity(uid) + _user_memory(ndef_message))

    @property
    def received(self) -> list[bytes]:
        """The frames this tag was sent, oldest first, at most RECEIVED_MAX of them."""
        return list(self._received)

    def power_on(self) -> None:
        """Enter a field; a memory tag has no state to reset."""

    def power_off(self) -> None:
        """Leave the field; what was written stays."""

    def exchange(self, frame: bytes) -> bytes | None:
        """Answer one command frame, without CRC: READ (30), WRITE (A2), silence to HALT, NAK to the rest.

        A real tag also leaves its active state after a NAK; whoever carries this one need not select it
        again.
        """
        self._received.append(frame)
        if frame == _HALT:
            return None
        if len(frame) == 2 and frame[0] == _READ:
            return self._read(frame[1])
        if len(frame) == 2 + PAGE_BYTES and frame[0] == _WRITE:
            return self._write(frame[1], frame[2:])
        return NAK

    def _read(self, page: int) -> bytes:
        if page >= PAGE_COUNT:
            return NAK
        start = page * PAGE_BYTES
        # A read near the end rolls over to page 0, as the chip does.
        return bytes((self._memory * 2)[start : start + _READ_PAGES * PAGE_BYTES])

    def _write(self, page: int, content: bytes) -> bytes:
        if not _LOCK_PAGE <= page < PAGE_COUNT or self._is_locked(page):
            return NAK
        if page == _LOCK_PAGE:
            # The first two bytes belong to the serial number and keep their value.
            self._set_bits(page, b"\x00\x00" + content[2:])
        elif page == _OTP_PAGE:
            self._set_bits(page, content)
        else:
            self._memory[page * PAGE_BYTES : (page + 1) * PAGE_BYTES] = content
        return ACK

    def _set_bits(self, page: int, bits: bytes) -> None:
        """Write to one-time programmable memory: a bit once set stays set."""
        for index, byte in enumerate(bits, start=page * PAGE_BYTES):
            self._memory[index] |= byte

    def _is_locked(self, page: int) -> bool:
        lock_start = _LOCK_PAGE * PAGE_BYTES + 2
        lock_bits = int.from_bytes(self._memory[lock_start : lock_start + 2], "little")
        return page >= _OTP_PAGE and bool(lock_bits >> page & 1)


def _identity(uid: bytes) -> bytes:
    check_0 = _CASCADE_TAG ^ uid[0] ^ uid[1] ^ uid[2]
    check_1 = uid[3] ^ uid[4] ^ uid[5] ^ uid[6]
    internal, unlocked = b"\x48", b"\x00\x00"
    return (
        uid[:3]
        + bytes((check_0,))
        + uid[3:]
        + bytes((check_1,))
        + internal
        + unlocked
        + _CAPABILITY_CONTAINER
    )


def _user_memory(ndef_message: bytes | None) -> bytes:
    if ndef_message is None:
        return bytes(USER_BYTES)
    content = bytes((_NDEF_TLV, len(ndef_message) & 0xFF)) + ndef_message + bytes((_TERMINATOR_TLV,))
    if len(content) > USER_BYTES:
        raise ValueError(f"a message with its frame has at most {USER_BYTES} bytes")
    return content.ljust(USER_BYTES, b"\x00")
