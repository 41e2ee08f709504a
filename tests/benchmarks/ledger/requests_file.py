"""Requests on their way from a signer to the load client: whole, as bytes, many to a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec


def write_requests(path: Path, requests: Sequence[bytes]) -> None:
    """Write requests to a file."""
    path.write_bytes(msgspec.msgpack.encode(requests))


def read_requests(paths: Iterable[Path]) -> list[bytes]:
    """Return the requests in some files, in order."""
    return [
        request for path in paths for request in msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])
    ]
