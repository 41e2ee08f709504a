"""A request as a value: what a signature covers of it, and the parameters of its query."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from wire.errors import WireError

QUERY_FIELDS_MAX: Final = 16
"""Most parameters that a query is looked through for; ours take fewer."""


class SignedCall(msgspec.Struct, frozen=True):
    """A request as it was received: all that a signature can cover of it."""

    method: str
    raw_path: str
    """With its query, undecoded."""
    headers: Mapping[str, str]
    """Every field line; a name that comes twice is there twice."""
    body: bytes = b""


def read_query(call: SignedCall, names: Collection[str]) -> dict[str, str]:
    """Return the parameters of a call's query, decoded; an empty value is a value.

    Raises:
        WireError: `malformed`; a parameter of another name, or one that comes twice.
    """
    try:
        pairs = parse_qsl(
            call.raw_path.partition("?")[2], keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX
        )
    except ValueError:
        raise WireError("the query has too many parameters") from None
    parameters = dict(pairs)
    if len(parameters) < len(pairs) or not parameters.keys() <= set(names):
        raise WireError(f"the query may hold each of these once, and nothing else: {', '.join(names)}")
    return parameters


def find_field(headers: Mapping[str, str], name: str) -> str | None:
    """Return the first value of a header field, whatever the case of its name; None if there is none."""
    wanted = name.lower()
    return next((value for key, value in headers.items() if key.lower() == wanted), None)
