"""Identifiers: 128-bit ULIDs, made by whoever creates the thing, from a time and entropy it is given.

A ULID is 48 bits of unix milliseconds and 80 random bits, written as 26 characters of Crockford base32,
so ids sort by the time they were made. The clock and the randomness are arguments: the wire has neither.
Source: github.com/ulid/spec.
"""

from __future__ import annotations

import re
from typing import Final

from wire.errors import IdError

ENTROPY_BYTES: Final = 10
TIME_MS_MAX: Final = (1 << 48) - 1

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# The first character holds only three bits: "8" and above would overflow 128 bits.
_FORM: Final = re.compile(rf"[0-7][{_ALPHABET}]{{25}}", re.ASCII)
# Python reads base 32 with the digits 0-9 and A-V; Crockford's leave out letters that look like digits.
_TO_BASE_32: Final = str.maketrans(_ALPHABET, "0123456789ABCDEFGHIJKLMNOPQRSTUV")
# Written two characters at a time, since an id is drawn for every payment.
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_PAIR_SHIFTS: Final = tuple(range(120, -1, -10))


def make_ulid(now_ms: int, entropy: bytes) -> str:
    """Make a ULID from unix milliseconds and ten bytes of entropy.

    >>> make_ulid(1469918176385, bytes(10))
    '01ARYZ6S410000000000000000'
    """
    if not 0 <= now_ms <= TIME_MS_MAX:
        raise IdError("a ULID's time is 0 to 2^48-1 milliseconds")
    if len(entropy) != ENTROPY_BYTES:
        raise IdError(f"a ULID takes {ENTROPY_BYTES} bytes of entropy")
    return _write_ulid(now_ms << 8 * ENTROPY_BYTES | int.from_bytes(entropy, "big"))


def ulid_from_bytes(raw: bytes) -> str:
    """Write sixteen bytes as a ULID; the inverse of `ulid_to_bytes`."""
    if len(raw) != 16:
        raise IdError("a ULID has 16 bytes")
    return _write_ulid(int.from_bytes(raw, "big"))


def ulid_to_bytes(ulid: str) -> bytes:
    """Return the sixteen bytes of a ULID.

    Raises:
        IdError: not 26 characters of upper-case Crockford base32.
    """
    return int(check_ulid(ulid).translate(_TO_BASE_32), 32).to_bytes(16, "big")


def check_ulid(ulid: str) -> str:
    """Return the ULID unchanged if it has the canonical form; one id has one spelling.

    Raises:
        IdError: it has not.
    """
    if _FORM.fullmatch(ulid) is None:
        raise IdError("an id is 26 characters of Crockford base32")
    return ulid


def ulid_time_ms(ulid: str) -> int:
    """Return the unix milliseconds at which the ULID was made."""
    return int.from_bytes(ulid_to_bytes(ulid)[:6], "big")


TERMINAL_ID_CHARS: Final = 8
MERCHANT_ID_CHARS: Final = 15
"""Lengths of EMV tags 9F1C (terminal identification) and 9F16 (merchant identifier)."""

_TERMINAL_ID: Final = re.compile(rf"[{_ALPHABET}]{{{TERMINAL_ID_CHARS}}}", re.ASCII)
_MERCHANT_ID: Final = re.compile(rf"[{_ALPHABET}]{{{MERCHANT_ID_CHARS}}}", re.ASCII)


def make_terminal_id(entropy: bytes) -> str:
    """Make a terminal id (EMV 9F1C) from eight bytes of entropy, five bits of each used."""
    return _make_short_id(entropy, TERMINAL_ID_CHARS)


def make_merchant_id(entropy: bytes) -> str:
    """Make a merchant id (EMV 9F16) from fifteen bytes of entropy, five bits of each used."""
    return _make_short_id(entropy, MERCHANT_ID_CHARS)


def check_terminal_id(terminal_id: str) -> str:
    """Return the terminal id if it has the canonical form, else raise `IdError`."""
    if _TERMINAL_ID.fullmatch(terminal_id) is None:
        raise IdError(f"a terminal id is {TERMINAL_ID_CHARS} characters of Crockford base32")
    return terminal_id


def check_merchant_id(merchant_id: str) -> str:
    """Return the merchant id if it has the canonical form, else raise `IdError`."""
    if _MERCHANT_ID.fullmatch(merchant_id) is None:
        raise IdError(f"a merchant id is {MERCHANT_ID_CHARS} characters of Crockford base32")
    return merchant_id


def _write_ulid(number: int) -> str:
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _PAIR_SHIFTS])


def _make_short_id(entropy: bytes, char_count: int) -> str:
    if len(entropy) != char_count:
        raise IdError(f"this id takes {char_count} bytes of entropy")
    return "".join(_ALPHABET[byte & 31] for byte in entropy)
