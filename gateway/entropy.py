"""Ids and codes made from the randomness a service is handed; only the composition root has a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wire.ids import ENTROPY_BYTES, make_ulid

Entropy = Callable[[int], bytes]
"""Returns that many random bytes, unpredictable to anybody."""

CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SPARE_BYTES: Final = 8
"""Drawn beyond what is needed, so that the remainder below is even to within 2^-64."""


def draw_ulid(entropy: Entropy, now_ms: int) -> str:
    """Make a new ULID."""
    return make_ulid(now_ms, entropy(ENTROPY_BYTES))


def draw_digits(entropy: Entropy, digit_count: int) -> str:
    """Draw that many decimal digits, each as likely as any other."""
    drawn = int.from_bytes(entropy(digit_count // 2 + _SPARE_BYTES), "big")
    return f"{drawn % 10**digit_count:0{digit_count}d}"


def draw_crockford(entropy: Entropy, char_count: int) -> str:
    """Draw that many characters of Crockford base32, five bits of each byte used."""
    return "".join(CROCKFORD[byte & 31] for byte in entropy(char_count))
