"""What the keys of a keyboard type on the US layout, which is how scanners leave the factory.

Numbers are the kernel's key codes (include/uapi/linux/input-event-codes.h): they are the same on every
machine and say which key it is, not what is printed on it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

KEY_ENTER: Final = 28
KEY_TAB: Final = 15
KEY_KPENTER: Final = 96
ENDS: Final = frozenset({KEY_ENTER, KEY_TAB, KEY_KPENTER})
"""What scanners type after a code; which of them is set up on the scanner."""
KEY_LEFTSHIFT: Final = 42
KEY_RIGHTSHIFT: Final = 54
SHIFTS: Final = frozenset({KEY_LEFTSHIFT, KEY_RIGHTSHIFT})
KEY_CAPSLOCK: Final = 58
SILENT: Final = frozenset({29, 97, 56, 100, 125, 126, 69, 70})
"""Control, Alt, Meta, Num and Scroll Lock: they type nothing by themselves."""
UNKNOWN: Final = "\ufffd"
"""For a key that types nothing of ours; no code holds it, so the text is refused."""


def _row(first_key: int, plain: str, shifted: str) -> dict[int, tuple[str, str]]:
    return {first_key + place: pair for place, pair in enumerate(zip(plain, shifted, strict=True))}


TYPED: Final = MappingProxyType(
    _row(2, "1234567890-=", "!@#$%^&*()_+")
    | _row(16, "qwertyuiop[]", "QWERTYUIOP{}")
    | _row(30, "asdfghjkl;'`", 'ASDFGHJKL:"~')
    | _row(43, "\\zxcvbnm,./", "|ZXCVBNM<>?")
    | {57: (" ", " ")}
    # The number block, as with Num Lock on: numbers are what scanners use it for.
    | {55: ("*", "*"), 71: ("7", "7"), 72: ("8", "8"), 73: ("9", "9"), 74: ("-", "-")}
    | {75: ("4", "4"), 76: ("5", "5"), 77: ("6", "6"), 78: ("+", "+"), 79: ("1", "1")}
    | {80: ("2", "2"), 81: ("3", "3"), 82: ("0", "0"), 83: (".", "."), 98: ("/", "/")}
)
"""By key: what it types plain, and with Shift."""


def type_key(key: int, *, is_shifted: bool, is_caps: bool) -> str:
    """Return what a key types; UNKNOWN for one that types nothing of ours.

    >>> type_key(16, is_shifted=False, is_caps=False), type_key(3, is_shifted=True, is_caps=True)
    ('q', '@')
    """
    plain, shifted = TYPED.get(key, (UNKNOWN, UNKNOWN))
    # Caps Lock turns letters only.
    is_upper = is_shifted != is_caps if plain.isalpha() and plain != UNKNOWN else is_shifted
    return shifted if is_upper else plain
