"""What an NTAG 424 DNA chip answers to its native commands, and what the cashier is told of it.

Source: NXP NT4H2421Gx data sheet rev 3.0, table 23. Refusal codes are those of wire/notices.
"""

from __future__ import annotations

from wire.cards.status_words import CardStatus


class NativeStatus(CardStatus):
    """Every status word of class 90."""

    OPERATION_OK = 0x9100, "done"
    ILLEGAL_COMMAND_CODE = 0x911C, "the chip does not know this command", "card_not_supported"
    INTEGRITY_ERROR = 0x911E, "checksum, MAC or padding is wrong"
    NO_SUCH_KEY = 0x9140, "there is no such key"
    LENGTH_ERROR = 0x917E, "the command has another length"
    PERMISSION_DENIED = 0x919D, "the chip's settings forbid it", "card_keys_unknown"
    PARAMETER_ERROR = 0x919E, "a value is not allowed"
    AUTHENTICATION_DELAY = 0x91AD, "too many wrong keys; the chip makes everybody wait", "card_resting"
    AUTHENTICATION_ERROR = 0x91AE, "the key is another one, or nobody authenticated", "card_keys_unknown"
    ADDITIONAL_FRAME = 0x91AF, "there is more"
    BOUNDARY_ERROR = 0x91BE, "beyond the end of the file"
    COMMAND_ABORTED = 0x91CA, "the command before it was not finished"
    MEMORY_ERROR = 0x91EE, "the chip's memory failed", "card_not_supported"
    FILE_NOT_FOUND = 0x91F0, "there is no such file", "card_not_supported"
