"""Answers that come in parts: 61xx (fetch the rest) and 6Cxx (ask again with this length).

pyscard and nfcpy leave both to their caller (ISO/IEC 7816-4:2020, sections 5.3.4 and 12.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from terminal.errors import PresentationRefused

PARTS_MAX: Final = 16
"""Sixteen parts of 256 bytes; our longest answer is 178 bytes."""
STATUS_BYTES: Final = 2

_MORE_DATA = 0x61
_WRONG_LENGTH = 0x6C
_GET_RESPONSE = 0xC0
_CHANNEL_MASK = 0x03
_HEADER_BYTES = 4


def complete_response(exchange: Callable[[bytes], bytes], command: bytes) -> bytes:
    """Send a short command and return the whole response, status word last.

    Args:
        exchange: sends one command, returns one response as the card gave it.
        command: a short command APDU, 4 to 261 bytes.

    Raises:
        PresentationRefused: `card_answer_invalid`; no status word, or parts without end.
    """
    response = _checked(exchange(command))
    if response[-2] == _WRONG_LENGTH:
        response = _checked(exchange(_with_length(command, response[-1])))
    data = b""
    for _ in range(PARTS_MAX):
        if response[-2] != _MORE_DATA:
            return data + response
        data += response[:-STATUS_BYTES]
        response = _checked(exchange(_get_response(command[0], response[-1])))
    raise PresentationRefused("the card's answer never ends", code="card_answer_invalid")


def _checked(response: bytes) -> bytes:
    if len(response) < STATUS_BYTES:
        raise PresentationRefused("an answer without status word", code="card_answer_invalid")
    return response


def _get_response(command_class: int, length: int) -> bytes:
    # Only the logical channel is kept: 80 in a command of ours does not make GET RESPONSE proprietary.
    return bytes((command_class & _CHANNEL_MASK, _GET_RESPONSE, 0, 0, length))


def _with_length(command: bytes, length: int) -> bytes:
    """Put the length the card asked for in the place of Le, or after the data where there was none."""
    has_data = len(command) > _HEADER_BYTES + 1
    end = _HEADER_BYTES + (1 + command[_HEADER_BYTES] if has_data else 0)
    return command[:end] + bytes((length,))
