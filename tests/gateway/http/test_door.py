"""The short way of a payment: taken when it may be, invisible when it is, and correct HTTP in any case."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.admission import Admission
from gateway.http.answers import Answer, dump_answer
from gateway.http.calls import SignedCall
from gateway.http.door import Door, is_surely_one_payment
from gateway.http.exchange import Exchange

BODY_BYTES_MAX = 1_000
KEEPALIVE_S = 75.0
SHORT, LONG, REFUSED = "short", "long", "refused"


def http(text: str, request_id: str = "00") -> bytes:
    return dump_answer(Answer(200, "text/plain", text.encode()), request_id=request_id, date=None)


class CountingDesk:
    """Answers payments with the name of the way they took, and their body; waits when told to."""

    def __init__(self, in_flight_max: int = 512) -> None:
        self.admission = Admission(in_flight_max)
        self.body_bytes_max = BODY_BYTES_MAX
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answered = asyncio.Event()

    def draw_request_id(self) -> str:
        return "00"

    async def answer(self, call: SignedCall, noted: Exchange) -> bytes:
        await self.may_answer.wait()
        self.answered.set()
        return http(f"{SHORT}:{call.body.decode()}")

    def refuse(self) -> bytes:
        return http(REFUSED)


async def answer_the_long_way(request: web.BaseRequest) -> web.Response:
    body = (await request.read()).decode() if request.method == "POST" else request.path
    return web.Response(text=f"{LONG}:{body}")


@asynccontextmanager
async def open_gateway(desk: CountingDesk, keepalive_s: float = KEEPALIVE_S) -> AsyncIterator[int]:
    """Doors on a free port; what is not for the desk is answered by aiohttp."""
    server = web.Server(answer_the_long_way)
    loop = asyncio.get_running_loop()
    door: Any = partial(
        Door,
        server,
        desk,
        loop=loop,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=keepalive_s,
    )
    accepting = await loop.create_server(door, "127.0.0.1", 0)
    try:
        yield accepting.sockets[0].getsockname()[1]
    finally:
        accepting.close()
        server.pre_shutdown()
        await server.shutdown(5)


class Client:
    """One connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.writer.write(chunk)
            await self.writer.drain()

    async def read(self) -> str:
        """Return the text of the next answer."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return (await self.reader.readexactly(length)).decode()

    async def read_to_end(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def payment(
    body: str = "{}",
    *fields: str,
    line: str = "POST /v1/payments HTTP/1.1",
    content_type: str = "application/json",
) -> bytes:
    lines = [
        line,
        "Host: x",
        f"Content-Type: {content_type}",
        *fields,
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    return "\r\n".join(lines).encode()


GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_plain_payment_goes_the_short_way_again_and_again() -> None:
    async with open_gateway(CountingDesk()) as port, connect(port) as client:
        for body in ("{}", "[1]", "[2]"):
            await client.send(payment(body))
            assert await client.read() == f"{SHORT}:{body}"


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        payment(line="POST /v1/payments?a=1 HTTP/1.1"),
        payment(line="POST http://x/v1/payments HTTP/1.1"),
        payment(line="PUT /v1/payments HTTP/1.1"),
        payment(line="POST /v1/payments HTTP/1.0"),
        payment("{}", "Connection: close"),
        payment("{}", "Expect: 100-continue"),
        payment("{}", "Content-Encoding: gzip"),
        payment("{}", "Content-Encoding: unheard-of"),
        payment(content_type="application/json; charset=utf-8"),
        payment("x" * (BODY_BYTES_MAX + 1)),
        b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
    ids=lambda raw: raw.split(b"\r\n")[0].decode() + f"-{len(raw)}",
)
async def test_whatever_is_not_plain_goes_aiohttps_way(request_bytes: bytes) -> None:
    async with open_gateway(CountingDesk()) as port, connect(port) as client:
        await client.send(request_bytes)
        assert (await client.read()).startswith(f"{LONG}:")


async def test_a_body_that_comes_later_is_waited_for() -> None:
    async with open_gateway(CountingDesk()) as port, connect(port) as client:
        raw = payment("[12345]")
        await client.send(raw[:-3])
        async with connect(port) as other:
            await other.send(GET)
            await other.read()
        await client.send(raw[-3:])
        assert await client.read() == f"{LONG}:[12345]"


async def test_what_is_pipelined_behind_a_payment_is_answered_behind_it() -> None:
    desk = CountingDesk()
    desk.may_answer.clear()
    async with open_gateway(desk) as port, connect(port) as client, connect(port) as other:
        await client.send(payment("[1]"))
        await other.send(GET)
        await other.read()
        await client.send(payment("[2]"), GET, payment("[3]"))
        await other.send(GET)
        await other.read()
        desk.may_answer.set()
        answers = [await client.read() for _ in range(4)]
    assert [answer.partition(":")[2] for answer in answers] == ["[1]", "[2]", "/health", "[3]"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_any_cutting_of_a_stream_gives_the_same_answers_in_order(seed: int) -> None:
    rng = random.Random(seed)
    bodies = [f"[{number}]" for number in range(rng.randint(1, 6))]
    kinds = [rng.random() < 0.7 for _ in bodies]
    stream = b"".join(
        payment(body) if is_payment else GET for body, is_payment in zip(bodies, kinds, strict=True)
    )
    cuts = sorted({0, len(stream), *(rng.randrange(len(stream)) for _ in range(rng.randint(0, 8)))})
    expected = [body if is_payment else "/health" for body, is_payment in zip(bodies, kinds, strict=True)]

    async def run() -> list[str]:
        desk = CountingDesk()
        async with open_gateway(desk) as port, connect(port) as client, connect(port) as other:
            for start, end in pairwise(cuts):
                await client.send(stream[start:end])
                if rng.random() < 0.5:
                    # So that the pieces are seen one by one.
                    await other.send(GET)
                    await other.read()
            return [(await client.read()).partition(":")[2] for _ in expected]

    assert asyncio.run(run()) == expected


# Overload --------------------------------------------------------------------------------------------------


async def test_one_payment_too_many_is_refused_at_once_and_the_next_served() -> None:
    desk = CountingDesk(in_flight_max=1)
    desk.may_answer.clear()
    async with open_gateway(desk) as port, connect(port) as first, connect(port) as second:
        await first.send(payment("[1]"))
        await _until_full(desk, port)
        for _ in range(3):
            await second.send(payment("[2]"))
            assert await second.read() == REFUSED
        await second.send(GET)
        assert await second.read() == f"{LONG}:/health"
        # Behind another kind of request, and cut in two, it is refused or handed on, and never lost.
        await second.send(payment("[3]"))
        assert await second.read() == REFUSED
        desk.may_answer.set()
        assert await first.read() == f"{SHORT}:[1]"
        await second.send(payment("[4]"))
        assert (await second.read()).endswith(":[4]")


async def test_a_payment_cut_in_two_while_full_is_not_taken_for_two() -> None:
    desk = CountingDesk(in_flight_max=1)
    desk.may_answer.clear()
    async with open_gateway(desk) as port, connect(port) as first, connect(port) as second:
        await first.send(payment("[1]"))
        await _until_full(desk, port)
        # The beginning of one request, whose unfinished header then goes on with what looks like another.
        await second.send(b"GET /health HTTP/1.1\r\nX-Part: ")
        async with connect(port) as other:
            await other.send(GET)
            await other.read()
        await second.send(payment("[2]"))
        answer = await second.read()
        desk.may_answer.set()
        assert answer == f"{LONG}:/health"
        assert await first.read() == f"{SHORT}:[1]"


async def test_a_caller_that_leaves_gives_its_place_back() -> None:
    desk = CountingDesk(in_flight_max=1)
    desk.may_answer.clear()
    async with open_gateway(desk) as port:
        async with connect(port) as first:
            await first.send(payment("[1]"))
            await _until_full(desk, port)
        desk.may_answer.set()
        async with asyncio.timeout(10):
            await desk.answered.wait()
        async with connect(port) as second:
            await second.send(payment("[2]"))
            assert await second.read() == f"{SHORT}:[2]"


async def test_what_waits_starts_a_few_per_turn_so_that_others_are_heard_between() -> None:
    admission = Admission(1_000)
    started: list[int] = []
    seen_between: list[int] = []
    for number in range(100):
        admission.start_soon(partial(started.append, number))
    while len(started) < 100:
        await asyncio.sleep(0)
        seen_between.append(len(started))
    assert started == list(range(100))
    assert max(later - earlier for earlier, later in pairwise([0, *seen_between])) <= 8


async def _until_full(desk: CountingDesk, port: int) -> None:
    async with connect(port) as other:
        for _ in range(1_000):
            if desk.admission.is_full:
                return
            await other.send(GET)
            await other.read()
    pytest.fail("the payment was never let in")


# Keeping and closing ---------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    desk = CountingDesk()
    async with open_gateway(desk, keepalive_s=0.05) as port, connect(port) as busy:
        desk.may_answer.clear()
        await busy.send(payment("[1]"))
        for _ in range(3):
            async with connect(port) as idle:
                assert await idle.read_to_end() == b""
        desk.may_answer.set()
        assert await busy.read() == f"{SHORT}:[1]"
        assert await busy.read_to_end() == b""


async def test_a_payment_being_decided_is_answered_before_the_gateway_closes() -> None:
    desk = CountingDesk()
    desk.may_answer.clear()
    async with open_gateway(desk) as port:
        client = await asyncio.open_connection("127.0.0.1", port)
        client[1].write(payment("[1]"))
        await _until_held(desk, port)
        asyncio.get_running_loop().call_later(0.05, desk.may_answer.set)
    received = await client[0].read()
    client[1].close()
    assert received.endswith(f"{SHORT}:[1]".encode())


async def _until_held(desk: CountingDesk, port: int) -> None:
    async with connect(port) as other:
        for _ in range(3):
            await other.send(GET)
            await other.read()


# What may be refused unread --------------------------------------------------------------------------------


def _frames(data: bytes) -> tuple[int, bool] | None:
    """How aiohttp's parser frames bytes: requests in them, and whether they end where the last one ends."""
    loop = asyncio.new_event_loop()
    try:
        protocol = BaseProtocol(loop)
        parser = HttpRequestParser(
            protocol, loop, 2**16, payload_exception=Exception, auto_decompress=False, max_msg_queue_size=32
        )
        protocol._parser = parser
        messages, _, _ = parser.feed_data(data)
        more, _, _ = parser.feed_data(GET)
    except HttpProcessingError:
        return None
    finally:
        loop.close()
    ends_there = (
        len(more) == 1 and more[0][0].method == "GET" and all(payload.is_eof() for _, payload in messages)
    )
    return len(messages), ends_there


def test_a_plain_payment_is_surely_one() -> None:
    assert is_surely_one_payment(payment("[1]"))
    assert is_surely_one_payment(payment("[1]").replace(b"Content-Length", b"CONTENT-length"))


@pytest.mark.parametrize(
    "data",
    [
        payment("[1]")[:-1],
        payment("[1]") + b"x",
        payment("[1]") + payment("[2]"),
        payment("[1]", "Content-Length: 3"),
        payment("[1]", "Content-Length : 3"),
        payment("[1]", "X: y\nContent-Length: 7"),
        payment("[1]", "X: y\n\nZ: a"),
        payment("[1]", "X: y\rTransfer-Encoding: chunked"),
        payment("[1]", "Transfer-Encoding: chunked"),
        payment("[1]", "TRANSFER-encoding: chunked"),
        payment("[1]", "Connection: close"),
        payment("[1]", "Expect: 100-continue"),
        payment("[1]", "Upgrade: websocket"),
        payment("[1]").replace(b"Content-Length: 3", b"Content-Length: +3"),
        payment("[1]").replace(b"Content-Length: 3", b"Content-Length: 0x3"),
        payment("[1]").replace(b"Content-Length: 3", b"X-Content-Length: 3"),
        payment("[1]", line="POST /v1/payments HTTP/1.0"),
        payment("[1]", line="POST /v1/payments/ HTTP/1.1"),
        GET,
        b"",
    ],
)
def test_what_could_be_framed_otherwise_is_not_surely_one(data: bytes) -> None:
    assert not is_surely_one_payment(data)


HEADER_PIECES = [
    "Content-Length: 3",
    "content-length: 0",
    "Content-Length:3",
    "Transfer-Encoding: chunked",
    "X: y",
    "X: y\n",
    "\r",
    " folded",
    "Host: x",
    "Content-Type: application/json",
    "\x00",
    "Connection: keep-alive",
]


@given(
    st.lists(st.sampled_from(HEADER_PIECES), max_size=6),
    st.sampled_from(["[1]", "", "[1]x", "GET / HTTP/1.1"]),
)
def test_what_is_refused_unread_is_framed_the_same_by_the_parser(pieces: list[str], body: str) -> None:
    data = "\r\n".join(["POST /v1/payments HTTP/1.1", *pieces, "", body]).encode()
    if is_surely_one_payment(data):
        assert _frames(data) in ((1, True), None)


@settings(max_examples=300)
@given(st.integers(0, 300), st.binary(min_size=1, max_size=4))
def test_no_patch_makes_the_parser_frame_otherwise_what_is_refused_unread(at: int, patch: bytes) -> None:
    good = payment("[1]", "Signature: sig1=:abc:", "User-Agent: till")
    data = good[: at % len(good)] + patch + good[at % len(good) + len(patch) :]
    if is_surely_one_payment(data):
        assert _frames(data) in ((1, True), None)
