"""How every message is read and written: strict, bounded, with one typed error."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from wire.errors import WireError

BODY_BYTES_MAX: Final = 16 * 1024
"""Largest JSON body either interface accepts; the longest payment is under 2 KiB."""

T = TypeVar("T")

_PATH: Final = re.compile(r" - at `([^`]*)`\Z")
_UNKNOWN_FIELD: Final = "Object contains unknown field"


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all messages: immutable, keyword only, unknown fields refused, defaults left out."""


def parse_message(body: bytes, kind: type[T]) -> T:
    """Read a JSON body as the given message type.

    Raises:
        WireError: `malformed`; the detail names the field, never its value.
    """
    if len(body) > BODY_BYTES_MAX:
        raise WireError(f"the body is longer than {BODY_BYTES_MAX} bytes", code="body_too_large")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise WireError(_without_values(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WireError("the body is not JSON") from None


def dump_message(message: object) -> bytes:
    """Write a message as JSON bytes; the inverse of `parse_message`."""
    return msgspec.json.encode(message)


def _without_values(text: str) -> str:
    # msgspec quotes an unexpected field's or tag's value in its text; values may be secrets. What a
    # sender can put into the text includes something that looks like the path, so the path is taken
    # only from the end, and not at all where the sender's own word may stand there.
    path = _PATH.search(text)
    if text.startswith(_UNKNOWN_FIELD) or path is None:
        return "the body is not of its type, or has a field too many"
    return f"a field is not of its type, at {path.group(1)}"
