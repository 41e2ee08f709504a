"""What the main process and a worker say to each other, over a socket of their own.

The main process sends orders, once; the worker answers that it accepts requests, or why it can't, once. After
that the socket carries nothing: it is there to end. A main process that dies, however it dies, ends it, and
its workers see that at once and leave the port to its successor. Configuration goes this way rather than
over the command line, where every user of the machine could read it; the vault's key does not go at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

import msgspec

from gateway.config import GatewayConfig
from gateway.errors import StoreUnavailable
from gateway.storage.link.frames import FrameReader, FrameTooLong, dump_frame

READ_BYTES: Final = 64 * 1024


class Orders(msgspec.Struct, frozen=True):
    """What a worker is told when it starts."""

    number: int
    """Counted from 1; its log lines carry it."""
    config: GatewayConfig
    public_url: str


class Accepting(msgspec.Struct, frozen=True, tag=True):
    """A worker's answer: requests are accepted."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A worker's answer: it can't serve like this."""

    detail: str


Report = Accepting | Refused

_ORDERS: Final = msgspec.msgpack.Decoder(Orders)
_REPORT: Final = msgspec.msgpack.Decoder(Report)


def dump_message(message: Orders | Report) -> bytes:
    """Return the bytes of one message."""
    return dump_frame(msgspec.msgpack.encode(message))


def read_orders(control: socket.socket) -> Orders:
    """Wait for the orders on a blocking socket.

    Raises:
        StoreUnavailable: the main process is gone.
    """
    frames = FrameReader()
    try:
        while data := control.recv(READ_BYTES):
            for frame in frames.feed(data):
                return _ORDERS.decode(frame)
    except (OSError, FrameTooLong, msgspec.MsgspecError) as error:
        raise StoreUnavailable(f"the main process gave no orders ({type(error).__name__})") from None
    raise StoreUnavailable("the main process is gone")


async def read_report(reader: asyncio.StreamReader) -> Report | None:
    """Wait for a worker's answer; None if it is gone without one."""
    frames = FrameReader()
    # A worker that was killed before it read its orders resets the socket instead of ending it.
    with contextlib.suppress(OSError):
        while data := await reader.read(READ_BYTES):
            for frame in frames.feed(data):
                report: Report = _REPORT.decode(frame)
                return report
    return None
