"""What people may call things: names and labels that print on one line of a receipt."""

from __future__ import annotations

from typing import Final

from wire.errors import WireError

NAME_CHARS_MAX: Final = 64
LABEL_CHARS_MAX: Final = 40


def check_name(text: str, what: str, *, chars_max: int = NAME_CHARS_MAX) -> str:
    """Return the text unchanged if it is printable, not blank and not too long.

    Raises:
        WireError: it is not; the detail begins with `what` and does not repeat the text.
    """
    if not text.strip() or not text.isprintable() or len(text) > chars_max:
        raise WireError(f"{what} is 1 to {chars_max} printable characters")
    return text
