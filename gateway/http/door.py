"""The door: aiohttp's connection, with a short way for the one request that comes thousands of times.

aiohttp's way of a request costs 95 µs before a handler runs and after it has run: a task, a Request, a
StreamWriter, a route, middlewares, a Response, its headers. A payment needs none of them. Here a connection
that is idle and receives exactly one `POST /v1/payments`, whole and of the plainest form, decides it in one
task and writes the bytes of its answer; aiohttp's parser (llhttp) has read it, so there is no second opinion
on where a request begins or ends. Everything else takes aiohttp's way, untouched: other addresses, a body
that is still on its way, chunked, compressed, pipelined or HTTP/1.0 requests, errors. So this module adds
speed and no protocol: leave it out, and every request is still answered, word for word the same.

A payment above the bound is refused even sooner, from its bytes. That is sound only where its bytes are
surely one request: the connection stands between two requests, the header names exactly one length, that
length ends exactly where the data ends, and the header says nothing that could change how it is framed or
whether the connection is kept. In every other case the request is parsed first and refused then.

The attributes of aiohttp's RequestHandler that are used here are its own, not its interface. They are held by
tests/gateway/http/test_door.py, which runs with whatever aiohttp is locked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage

from gateway.errors import GatewayBusy
from gateway.http.answers import JSON_CONTENT_TYPE, Answer, HttpDate, dump_answer
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange, answer_failure, log_exchange
from gateway.http.problems import answer_problem
from gateway.http.resources.payments import PaymentResource

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

METHOD: Final = "POST"
PATH: Final = "/v1/payments"

_REQUEST_LINE: Final = b"POST /v1/payments HTTP/1.1\r\n"
_END_OF_HEADER: Final = b"\r\n\r\n"
_LENGTH_FIELD: Final = b"\r\ncontent-length: "
_LENGTH_DIGITS_MAX: Final = 5
_NO_ID: Final = "0" * 16
_NO_PARAMETERS: Final[Mapping[str, str]] = {}


class PaymentDesk:
    """What all doors of one process share."""

    __slots__ = ("_date", "_desk", "_payments", "_refusal_parts", "admission", "body_bytes_max")

    def __init__(self, desk: Desk, *, body_bytes_max: int) -> None:
        """Prepare the desk, and the refusal that is sent when there is no time to make one."""
        self._desk = desk
        self.admission = desk.admission
        self.body_bytes_max = body_bytes_max
        self._payments = PaymentResource(desk)
        self._date = HttpDate()
        refusal = answer_problem(GatewayBusy(), request_id=_NO_ID)
        raw = dump_answer(refusal, request_id=_NO_ID, date=None)
        self._refusal_parts = raw.decode("utf-8").split(_NO_ID)

    def draw_request_id(self) -> str:
        """Return the id of another request."""
        return self._desk.request_ids.draw()

    async def answer(self, call: SignedCall, noted: Exchange) -> bytes:
        """Decide an attempt and return the bytes of its answer, whatever becomes of it."""
        try:
            answer = await self._payments.decide(call, _NO_PARAMETERS, noted)
        except Exception as error:  # noqa: BLE001  the one place, on this way, where none may get out
            answer = answer_failure(error, noted)
        log_exchange(self._desk.request_log, noted, method=METHOD, route=PATH, status=answer.status)
        return self._dump(answer, noted)

    def refuse(self) -> bytes:
        """Return the bytes of a refusal, and count it."""
        self.admission.note_refusal()
        return self.draw_request_id().join(self._refusal_parts).encode("utf-8")

    def _dump(self, answer: Answer, noted: Exchange) -> bytes:
        return dump_answer(answer, request_id=noted.request_id, date=self._date.at(self._desk.now_ms()))


class Door(web.RequestHandler):
    """One connection."""

    __slots__ = ("_deciding", "_has_started", "_is_between_requests", "_is_busy", "_payment_desk")

    def __init__(self, manager: web.Server, payment_desk: PaymentDesk, **settings: Any) -> None:
        """Prepare the connection.

        Args:
            manager: aiohttp's server, which answers all that does not take the short way.
            settings: as of aiohttp's RequestHandler.
        """
        super().__init__(manager, **settings)
        self._payment_desk = payment_desk
        self._has_started = False
        self._is_busy = False
        self._deciding: asyncio.Task[None] | None = None
        # Whether all bytes so far were whole payments; once in doubt, in doubt for good.
        self._is_between_requests = True

    def data_received(self, data: bytes) -> None:
        """Take what came: the short way for one plain payment on an idle connection, else aiohttp's."""
        waiter = self._waiter
        if self._has_started and (waiter is None or waiter.done()):
            self._is_between_requests = False
            super().data_received(data)
            return
        if self._is_refused_unread(data):
            self._send(self._payment_desk.refuse())
            return
        # aiohttp parses and queues, but its own way of answering sleeps on this waiter.
        self._waiter = None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if self._is_busy or not self._messages or not self._take_short_way(data):
            self._is_between_requests = False
            self._wake_aiohttp()

    async def start(self) -> None:
        """Answer, one after the other, all requests that do not take the short way."""
        self._has_started = True
        await super().start()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """As aiohttp's, but without parsing nothing and waking a transport that does not sleep."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  aiohttp's signature
        """As aiohttp's; what is still being decided afterwards is given up."""
        await super().shutdown(timeout)
        if self._deciding is not None:
            self._deciding.cancel()

    def _is_refused_unread(self, data: bytes) -> bool:
        return (
            self._payment_desk.admission.is_full
            and self._is_between_requests
            and not (self._is_busy or self._close or self._paused)
            and is_surely_one_payment(data)
        )

    def _take_short_way(self, data: bytes) -> bool:
        """Decide or refuse what was parsed if it is one plain payment; False if it is for aiohttp."""
        message, payload = self._messages[0]
        if len(self._messages) > 1 or self._paused or not isinstance(message, RawRequestMessage):
            return False
        desk = self._payment_desk
        if not _is_plain_payment(message, payload) or payload.total_bytes > desk.body_bytes_max:
            return False
        self._messages.clear()
        if self._parser is not None:
            self._parser.message_consumed()
        if data.find(_END_OF_HEADER) + len(_END_OF_HEADER) + payload.total_bytes != len(data):
            self._is_between_requests = False
        if desk.admission.is_full:
            self._send(desk.refuse())
        else:
            self._begin(SignedCall(message.method, message.path, message.headers, payload.read_nowait()))
        return True

    def _begin(self, call: SignedCall) -> None:
        desk = self._payment_desk
        desk.admission.enter()
        noted = Exchange(desk.draw_request_id(), time.perf_counter())
        # aiohttp's shutdown waits for this, as for a request of its own.
        self._is_busy = self._request_in_progress = True

        def start() -> None:
            self._deciding = self._loop.create_task(self._decide(call, noted))

        desk.admission.start_soon(start)

    async def _decide(self, call: SignedCall, noted: Exchange) -> None:
        try:
            self._send(await self._payment_desk.answer(call, noted))
        finally:
            self._payment_desk.admission.leave()
            self._finish()

    def _finish(self) -> None:
        self._is_busy = self._request_in_progress = False
        self._deciding = None
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self._close and self.transport is not None:
            self.transport.close()
        else:
            self._wake_aiohttp()

    def _send(self, answer: bytes) -> None:
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        # The caller may be gone; what was decided for it stands all the same.
        if self.transport is not None:
            self.transport.write(answer)

    def _wake_aiohttp(self) -> None:
        """Let aiohttp's way answer what is queued, if anything is and it is its turn."""
        if self._messages and not self._is_busy and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _process_keepalive(self) -> None:
        if self._is_busy:
            # To aiohttp the connection looks idle.
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()


def is_surely_one_payment(data: bytes) -> bool:
    """Say whether these bytes, on a connection between requests, are one payment and nothing else.

    Only what no reader of HTTP/1.1 could frame otherwise counts: one Content-Length that fits, plain line
    ends, no field that changes the framing or the connection. False means that it must be parsed.
    """
    end = data.find(_END_OF_HEADER)
    if end < 0 or not data.startswith(_REQUEST_LINE):
        return False
    header = data[:end].lower()
    if b"transfer-encoding" in header or b"connection" in header or b"expect" in header:
        return False
    if header.count(b"content-length") != 1 or b"upgrade" in header:
        return False
    if not header.count(b"\r\n") == header.count(b"\n") == header.count(b"\r"):
        return False
    _, found, rest = header.partition(_LENGTH_FIELD)
    digits = rest.partition(b"\r\n")[0]
    if not found or not digits.isdigit() or len(digits) > _LENGTH_DIGITS_MAX:
        return False
    return end + len(_END_OF_HEADER) + int(digits) == len(data)


def _is_plain_payment(message: RawRequestMessage, payload: StreamReader) -> bool:
    """Say whether a parsed request is a payment that came whole, and asks for nothing special."""
    if message.path != PATH or message.method != METHOD or message.version != HttpVersion11:
        return False
    if message.should_close or message.upgrade or message.chunked or not payload.is_eof():
        return False
    headers = message.headers
    return (
        headers.get("Content-Type") == JSON_CONTENT_TYPE
        and "Content-Encoding" not in headers
        and "Expect" not in headers
    )
