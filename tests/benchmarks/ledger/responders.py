"""What payments are measured against: a bare aiohttp handler, and a responder that is no server at all.

    python -m tests.benchmarks.ledger.responders ORDER

The order is one argument of JSON. Prints `ready` when it is. The no-op handler reads the body and answers
as many bytes as a payment's answer has, in the very framework settings it is told. The raw responder
answers whatever bytes arrive; it only shows how fast the load client is.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path
from typing import Final, cast

import msgspec
import uvloop
from aiohttp import web

BODY_ENDS: Final = b"}"
HEADERS: Final = {"Cache-Control": "no-store", "X-Request-Id": "0" * 16, "Server": "tapscan"}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to serve, and how."""

    is_raw: bool
    port: int
    answer_file: str
    path: str
    keepalive_s: float
    linger_s: float
    backlog_max: int
    body_bytes_max: int


class _RawResponder(asyncio.Protocol):
    """Answers the same bytes to every request; our client writes each in one piece that ends so."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(BODY_ENDS):
            self._transport.write(self._answer)


async def serve_noop(order: Order, listener: socket.socket, answer: bytes) -> web.AppRunner:
    """Serve the no-op handler."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, status=201, content_type="application/json", headers=HEADERS)

    application = web.Application(client_max_size=order.body_bytes_max)
    application.router.add_post(order.path, handle)
    runner = web.AppRunner(
        application,
        access_log=None,
        keepalive_timeout=order.keepalive_s,
        lingering_time=order.linger_s,
        auto_decompress=False,
        shutdown_timeout=1,
    )
    await runner.setup()
    await web.SockSite(runner, listener, backlog=order.backlog_max).start()
    return runner


async def serve_raw(order: Order, listener: socket.socket, answer: bytes) -> asyncio.Server:
    """Serve the raw responder."""
    head = f"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
    whole = head.encode("ascii") + answer
    return await asyncio.get_running_loop().create_server(
        lambda: _RawResponder(whole), sock=listener, backlog=order.backlog_max
    )


async def run(order: Order, answer: bytes) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # Two processes of the no-op handler share one port: the kernel spreads connections over them.
    listener = socket.create_server(("127.0.0.1", order.port), backlog=order.backlog_max, reuse_port=True)
    if order.is_raw:
        server = await serve_raw(order, listener, answer)
    else:
        runner = await serve_noop(order, listener, answer)
    print("ready", flush=True)  # noqa: T201  a child process tells its parent
    await stop.wait()
    if order.is_raw:
        server.close()
    else:
        await runner.cleanup()


if __name__ == "__main__":
    asked = msgspec.json.decode(sys.argv[1], type=Order)
    uvloop.run(run(asked, Path(asked.answer_file).read_bytes()))
