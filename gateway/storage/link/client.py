"""The store as a worker process sees it: every method of the contract, answered at the other end of a socket.

Calls made in one turn of the event loop leave in one write. A call waits for its own answer and for no
other. When the link breaks, every call in flight raises StoreUnavailable, and its outcome is unknown: it may
have been booked. That is what a repeat under the same attempt id is for, here as everywhere.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, cast

import msgspec

from gateway.errors import GatewayBusy, GatewayError, StoreUnavailable
from gateway.ledger.book import LedgerBook
from gateway.storage.link.calls import CALLS, StoreCall
from gateway.storage.link.faults import Fault, error_of
from gateway.storage.link.frames import FrameReader, FrameTooLong, dump_frame
from gateway.storage.store import Store

CALLS_IN_FLIGHT_MAX: Final = 10_000

CALL_HEAD: Final = struct.Struct(">IB")
"""Of a call: its id, and the number of the method."""
ANSWER_HEAD: Final = struct.Struct(">I?")
"""Of an answer: the id of its call, and whether it is a fault."""
CALL_ID_MAX: Final = (1 << 32) - 1

_ENCODER: Final = msgspec.msgpack.Encoder()
_FAULT: Final = msgspec.msgpack.Decoder(Fault)


class LinkedStore(Store, LedgerBook, Protocol):
    """A store at the other end of a link; `close` waits for what is in flight."""


async def open_linked_store(
    connection: socket.socket,
    *,
    in_flight_max: int = CALLS_IN_FLIGHT_MAX,
    on_lost: Callable[[], None] = lambda: None,
) -> LinkedStore:
    """Return the store that answers at the other end of a connected stream socket.

    Args:
        in_flight_max: calls that may wait for their answers; one more raises GatewayBusy.
        on_lost: called once if the link breaks without having been closed here.
    """
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(lambda: _Link(in_flight_max, on_lost), sock=connection)
    methods: dict[str, Any] = {call.name: _make_method(call) for call in CALLS}
    # The methods are made from the contract itself, so the class keeps it by construction.
    kind = type("LinkedStore", (_LinkOwner,), methods)
    return cast(LinkedStore, kind(link))


class _LinkOwner:
    __slots__ = ("link",)

    def __init__(self, link: _Link) -> None:
        self.link = link

    async def close(self) -> None:
        """Wait for what is in flight, then close this end; repeatable."""
        await self.link.close()


def _make_method(call: StoreCall) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def method(self: _LinkOwner, *args: Any, **named: Any) -> Any:
        if named or len(args) != call.argument_count:
            args = call.arrange(args, named)
        return await self.link.call(call, args)

    method.__name__ = call.name
    return method


class _Link(asyncio.Protocol):
    """This end of the link."""

    def __init__(self, in_flight_max: int, on_lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._in_flight_max = in_flight_max
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._frames = FrameReader()
        self._waiting: dict[int, tuple[StoreCall, asyncio.Future[Any]]] = {}
        self._next_id = 0
        self._leaving: list[bytes] = []
        self._closing = False
        self._drained: asyncio.Future[None] | None = None
        self._lost = self._loop.create_future()

    def call(self, call: StoreCall, args: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Send a call with the next write; the future gets its answer.

        Raises:
            GatewayBusy: too many are in flight. StoreUnavailable: the link is closed or broken.
        """
        if self._transport is None or self._closing:
            raise StoreUnavailable("the link to the store is closed")
        if len(self._waiting) >= self._in_flight_max:
            raise GatewayBusy("too many calls of the store are in flight")
        call_id = self._draw_id()
        try:
            frame = dump_frame(CALL_HEAD.pack(call_id, call.number), _ENCODER.encode(args))
        except FrameTooLong:
            raise GatewayError("a call of the store is too long to be sent") from None
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[call_id] = (call, future)
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(frame)
        return future

    async def close(self) -> None:
        """Stop taking calls, wait for the answers of those in flight, and close."""
        self._closing = True
        if self._transport is None:
            return
        if self._waiting:
            self._drained = self._loop.create_future()
            await self._drained
        self._flush()
        if self._transport is not None:
            self._transport.close()
        await self._lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take_answer(frame)
        except (FrameTooLong, struct.error, KeyError, msgspec.MsgspecError):
            # The other end is this very program: what it says can't be misunderstood, only broken.
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._leaving.clear()
        waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            if not future.done():
                future.set_exception(StoreUnavailable("the link to the store was lost"))
        self._note_drained()
        self._lost.set_result(None)
        if not self._closing:
            self._on_lost()

    def _take_answer(self, frame: bytes) -> None:
        call_id, is_fault = ANSWER_HEAD.unpack_from(frame)
        call, future = self._waiting.pop(call_id)
        body = memoryview(frame)[ANSWER_HEAD.size :]
        if not future.done():
            if is_fault:
                future.set_exception(error_of(_FAULT.decode(body)))
            else:
                future.set_result(call.answer.decode(body))
        if not self._waiting:
            self._note_drained()

    def _note_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _draw_id(self) -> int:
        # In-flight calls are few and ids many; still, an id is never given twice at a time.
        while True:
            self._next_id = (self._next_id + 1) & CALL_ID_MAX
            if self._next_id not in self._waiting:
                return self._next_id

    def _flush(self) -> None:
        leaving, self._leaving = self._leaving, []
        if leaving and self._transport is not None:
            self._transport.write(b"".join(leaving))
