"""Codes that are read out to a person and typed by one, once: to enrol a terminal, to make a card."""

from __future__ import annotations

import re
from typing import Final

from gateway.entropy import CROCKFORD, Entropy, draw_crockford

CODE_CHARS: Final = 12
"""Sixty bits: within the life of one nobody guesses it."""

_GROUP_CHARS: Final = 4
_FORM: Final = re.compile(rf"[{CROCKFORD}]{{{CODE_CHARS}}}", re.ASCII)
# What a person types for a character they misread (crockford.com/base32.html).
_MISREAD: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": "", " ": ""})


def draw_code(entropy: Entropy) -> str:
    """Draw a new code, as it is hashed and stored."""
    return draw_crockford(entropy, CODE_CHARS)


def dump_code(code: str) -> str:
    """Write a code in groups of four.

    >>> dump_code("0123456789AB")
    '0123-4567-89AB'
    """
    return "-".join(code[start : start + _GROUP_CHARS] for start in range(0, len(code), _GROUP_CHARS))


def parse_code(text: str) -> str | None:
    """Read a code as a person types it: any case, with or without dashes, O for 0, I or L for 1.

    None for what can be no code: it is to be answered like one that was never issued.

    >>> parse_code("o123-4567-89ab")
    '0123456789AB'
    """
    code = text.upper().translate(_MISREAD)
    return code if _FORM.fullmatch(code) else None
