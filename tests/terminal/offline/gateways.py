"""Gateways that take offline records idempotently, as the real one must, and can misbehave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from terminal.errors import GatewayRefused, GatewayUnreachable
from tests.terminal.conftest import make_json, make_problem
from wire import es256
from wire.errors import TokenError
from wire.http_signatures import SignatureTag, parse_signed_request, verify_signed_request
from wire.ids import make_ulid
from wire.messages.base import parse_message
from wire.messages.offline import (
    BATCHES_TARGET,
    ISSUER_TARGET,
    STATUS_LIST_TARGET,
    BatchAnswer,
    BatchRequest,
    IssuerAnswer,
    RecordResult,
    StatusListAnswer,
)
from wire.tokens.offline_record import link_of, parse_offline_record, read_offline_record


@dataclass
class OfflineBook:
    """What a gateway has of one terminal; every record is booked once, in the order it first came."""

    booked: dict[int, bytes] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    batch_sizes: list[int] = field(default_factory=list)
    unreadable: set[int] = field(default_factory=set)
    """Sequences that make a whole batch malformed."""
    outcomes: dict[int, RecordResult] = field(default_factory=dict)

    def take(self, batch: BatchRequest) -> BatchAnswer:
        """Book what is new and repeat the word on what is known."""
        self.batch_sizes.append(len(batch.records))
        records = [read_offline_record(parse_offline_record(sealed)) for sealed in batch.records]
        if any(record.sequence in self.unreadable for record in records):
            raise TokenError("a record can't be read")
        results = []
        for record, sealed in zip(records, batch.records, strict=True):
            known = self.booked.setdefault(record.sequence, sealed)
            if known != sealed:
                self.complaints.append(f"another record came as number {record.sequence}")
            before = self.booked.get(record.sequence - 1)
            if before is not None and record.previous_link != link_of(before):
                self.complaints.append(f"the chain breaks at number {record.sequence}")
            settled = RecordResult(
                sequence=record.sequence,
                outcome="settled",
                payment_id=make_ulid(record.accepted_ms, bytes(10)),
            )
            results.append(self.outcomes.get(record.sequence, settled))
        return BatchAnswer(results=results, next_sequence=max(self.booked) + 1)


class DirectGateway:
    """A gateway without HTTP, for what happens between two steps."""

    def __init__(self, book: OfflineBook) -> None:
        self.book = book
        self.faults: deque[Exception | None] = deque()
        self.after_booking: Callable[[], None] = lambda: None
        self.issuer = IssuerAnswer(keys=[], gateway_time_ms=0)
        self.listed = StatusListAnswer(etag="0")
        self.known_etags: list[str | None] = []
        self.answers: deque[BatchAnswer] = deque()

    async def fetch_issuer(self) -> IssuerAnswer:
        self._fail()
        return self.issuer

    async def fetch_status_list(self, known_etag: str | None) -> StatusListAnswer:
        self.known_etags.append(known_etag)
        self._fail()
        return StatusListAnswer(etag=known_etag) if known_etag == self.listed.etag else self.listed

    async def upload(self, batch: BatchRequest) -> BatchAnswer:
        await asyncio.sleep(0)
        self._fail()
        try:
            answer = self.book.take(batch)
        except TokenError:
            raise GatewayRefused("malformed", retryable=False) from None
        self.after_booking()
        return self.answers.popleft() if self.answers else answer

    def _fail(self) -> None:
        fault = self.faults.popleft() if self.faults else None
        if fault is not None:
            raise fault


UNREACHABLE = GatewayUnreachable("no answer")
BUSY = GatewayRefused("gateway_busy", retryable=True)
REVOKED = GatewayRefused("terminal_revoked", retryable=False)

Take = Callable[[], BatchAnswer]
HttpFault = Callable[[web.Request, Take], Awaitable[web.StreamResponse]]


async def lose_request(request: web.Request, _: Take) -> web.StreamResponse:
    """Reset the connection before anything is booked."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def lose_answer(request: web.Request, take: Take) -> web.StreamResponse:
    """Book, then reset the connection."""
    take()
    return await lose_request(request, take)


async def be_busy(_: web.Request, __: Take) -> web.StreamResponse:
    return make_problem("gateway_busy", 503)


async def break_after_booking(_: web.Request, take: Take) -> web.StreamResponse:
    take()
    return make_problem("internal", 500)


async def answer_nonsense(_: web.Request, take: Take) -> web.StreamResponse:
    take()
    return web.json_response({"results": "none"})


async def answer_less(_: web.Request, take: Take) -> web.StreamResponse:
    answer = take()
    return make_json(BatchAnswer(results=answer.results[:1] * 2, next_sequence=answer.next_sequence))


HTTP_FAULTS: list[HttpFault] = [
    lose_request,
    lose_answer,
    be_busy,
    break_after_booking,
    answer_nonsense,
    answer_less,
]


class HttpGateway:
    """The same book behind a real server that checks each signature."""

    def __init__(self, book: OfflineBook, terminal_key: es256.PublicKey, now_ms: int) -> None:
        self.book = book
        self.faults: deque[HttpFault | None] = deque()
        self.url = ""
        self.issuer = IssuerAnswer(keys=[], gateway_time_ms=now_ms)
        self.listed = StatusListAnswer(etag="0")
        self.queries: list[str] = []
        self._terminal_key = terminal_key
        self._now_ms = now_ms

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[HttpGateway]:
        app = web.Application()
        app.add_routes(
            [
                web.post(BATCHES_TARGET, self._take),
                web.get(ISSUER_TARGET, self._show_issuer),
                web.get(STATUS_LIST_TARGET, self._show_list),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        batch = parse_message(await self._receive(request), BatchRequest)
        assert request.headers["Idempotency-Key"] == batch.batch_id
        fault = self.faults.popleft() if self.faults else None
        if fault is not None:
            return await fault(request, lambda: self.book.take(batch))
        return make_json(self.book.take(batch))

    async def _show_issuer(self, request: web.Request) -> web.StreamResponse:
        await self._receive(request)
        return make_json(self.issuer, 200)

    async def _show_list(self, request: web.Request) -> web.StreamResponse:
        await self._receive(request)
        self.queries.append(request.query_string)
        is_known = request.query.get("known") == self.listed.etag
        return make_json(StatusListAnswer(etag=self.listed.etag) if is_known else self.listed, 200)

    async def _receive(self, request: web.Request) -> bytes:
        body = await request.read()
        signed = parse_signed_request(
            method=request.method,
            target_uri=f"{self.url}{request.path_qs}",
            headers=request.headers.items(),
            body=body,
            tags={SignatureTag.TERMINAL},
        )
        verify_signed_request(signed, self._terminal_key, now_ms=self._now_ms)
        return body
