"""The process that has the store, answering one worker: calls in, answers out, many of each per write."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, cast, runtime_checkable

import msgspec

from gateway.errors import GatewayError, StoreUnavailable
from gateway.payments.model import PaymentBooking, PaymentRecord
from gateway.storage.link.calls import CALLS, StoreCall
from gateway.storage.link.client import ANSWER_HEAD, CALL_HEAD, LinkedStore
from gateway.storage.link.faults import fault_of
from gateway.storage.link.frames import FrameReader, FrameTooLong, dump_frame

_ENCODER: Final = msgspec.msgpack.Encoder()
_BOOK_PAYMENT: Final = "book_payment"


@runtime_checkable
class BookingQueue(Protocol):
    """A store that takes a booking without a coroutine: no task is made of it then."""

    def submit_booking(self, booking: PaymentBooking) -> asyncio.Future[PaymentRecord]:
        """As `Store.book_payment`, but raises GatewayBusy and StoreUnavailable at once."""


class StoreServer:
    """Answers one worker's calls until its link is gone or closed; see `serve_store`."""

    def __init__(self, protocol: _ServedLink) -> None:
        self._protocol = protocol

    async def wait_until_lost(self) -> None:
        """Return once the other end is gone, for whatever reason."""
        await asyncio.shield(self._protocol.lost)

    async def close(self) -> None:
        """Answer what is in flight, then close; repeatable."""
        await self._protocol.close()


async def serve_store(store: LinkedStore, connection: socket.socket) -> StoreServer:
    """Answer the calls that arrive on a connected stream socket; the store stays the caller's to close."""
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: _ServedLink(store), sock=connection)
    return StoreServer(protocol)


class _ServedLink(asyncio.Protocol):
    """The store's end of one link."""

    def __init__(self, store: LinkedStore) -> None:
        self._loop = asyncio.get_running_loop()
        self._start_of = {call.number: _make_start(store, call, self._loop) for call in CALLS}
        self._transport: asyncio.Transport | None = None
        self._frames = FrameReader()
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._leaving: list[bytes] = []
        self.lost = self._loop.create_future()

    async def close(self) -> None:
        # Until nothing arrives any more: the other end closes when it has its answers.
        while self._in_flight:
            await asyncio.wait(self._in_flight)
            # The callbacks that answer run after the futures are done.
            await asyncio.sleep(0)
        self._flush()
        if self._transport is not None:
            self._transport.close()
            await self.lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take_call(frame)
        except (FrameTooLong, struct.error, KeyError, msgspec.MsgspecError):
            # The other end is this very program: what it says can't be misunderstood, only broken.
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        # What is in flight goes on: it was asked for, and whoever asked will ask again.
        self._transport = None
        self.lost.set_result(None)

    def _take_call(self, frame: bytes) -> None:
        call_id, number = CALL_HEAD.unpack_from(frame)
        args = CALLS[number].arguments.decode(memoryview(frame)[CALL_HEAD.size :])
        try:
            future = self._start_of[number](*args)
        # Refused before it was begun, such as by a full queue.
        except Exception as error:  # noqa: BLE001
            self._answer(call_id, True, fault_of(error))
            return
        self._in_flight.add(future)
        future.add_done_callback(partial(self._take_result, call_id))

    def _take_result(self, call_id: int, future: asyncio.Future[Any]) -> None:
        self._in_flight.discard(future)
        if future.cancelled():
            self._answer(call_id, True, fault_of(StoreUnavailable("the store gave the call up")))
            return
        error = future.exception()
        if error is None:
            self._answer(call_id, False, future.result())
        else:
            self._answer(call_id, True, fault_of(error))

    def _answer(self, call_id: int, is_fault: bool, body: object) -> None:
        try:
            frame = dump_frame(ANSWER_HEAD.pack(call_id, is_fault), _ENCODER.encode(body))
        except FrameTooLong:
            fault = fault_of(GatewayError("an answer of the store is too long to be sent"))
            frame = dump_frame(ANSWER_HEAD.pack(call_id, True), _ENCODER.encode(fault))
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(frame)

    def _flush(self) -> None:
        leaving, self._leaving = self._leaving, []
        if leaving and self._transport is not None:
            self._transport.write(b"".join(leaving))


def _make_start(
    store: LinkedStore, call: StoreCall, loop: asyncio.AbstractEventLoop
) -> Callable[..., asyncio.Future[Any]]:
    """Return what begins a call of the store; of a booking, without a task if the store can."""
    if call.name == _BOOK_PAYMENT and isinstance(store, BookingQueue):
        return store.submit_booking
    method: Callable[..., Awaitable[Any]] = getattr(store, call.name)

    def start(*args: Any) -> asyncio.Future[Any]:
        return asyncio.ensure_future(method(*args), loop=loop)

    return start
