"""How an error crosses the link: class, code and detail go over, and the same class comes out.

Only errors of our two trees travel as themselves. Whatever else broke is our bug, is logged where it
happened, and crosses as `internal` without its text, which may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import structlog

from gateway.errors import GatewayError
from gateway.logs import locate
from wire.errors import WireError

FAULT_CHARS_MAX: Final = 500
"""Longer details are cut; ours are one sentence."""

OurError = GatewayError | WireError

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Fault(msgspec.Struct, frozen=True, array_like=True):
    """An error on its way."""

    kind: str
    """The name of its class."""
    code: str
    detail: str


def fault_of(error: BaseException) -> Fault:
    """Return what crosses for an error."""
    if isinstance(error, OurError) and type(error).__name__ in _find_kinds():
        return Fault(type(error).__name__, error.code, str(error)[:FAULT_CHARS_MAX])
    log.error("store_call_failed", error=type(error).__name__, where=locate(error))
    return Fault(GatewayError.__name__, GatewayError.code, "a call of the store failed")


def error_of(fault: Fault) -> Exception:
    """Return the error a fault stands for; of a class we do not know, `internal`."""
    kind = _find_kinds().get(fault.kind)
    if kind is None:
        return GatewayError(fault.detail)
    return kind(fault.detail, code=fault.code)


def _find_kinds() -> dict[str, type[OurError]]:
    # Looked up when needed, which is seldom: modules may define classes after this one is imported.
    return {kind.__name__: kind for kind in _walk(GatewayError, WireError)}


def _walk(*roots: type[OurError]) -> Iterator[type[OurError]]:
    for kind in roots:
        yield kind
        yield from _walk(*kind.__subclasses__())
