"""What payments are measured against: a bare aiohttp handler, and a responder that is no server at all.

    python -m tests.benchmarks.ledger.responders noop|raw PORT ANSWER_FILE

Prints `ready` when it is. The no-op handler reads the body and answers as many bytes as a payment's answer
has, in the very framework settings of gateway/app.py. The raw responder answers whatever bytes arrive; it
only shows how fast the load client is.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path
from typing import Final, cast

import uvloop
from aiohttp import web

from gateway.app import BACKLOG_MAX, KEEPALIVE_S, LINGER_S
from gateway.config import GatewayConfig
from tests.benchmarks.ledger.signer import PATH

BODY_ENDS: Final = b"}"
HEADERS: Final = {"Cache-Control": "no-store", "X-Request-Id": "0" * 16, "Server": "tapscan"}


class _RawResponder(asyncio.Protocol):
    """Answers the same bytes to every request; our client writes each in one piece that ends so."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(BODY_ENDS):
            self._transport.write(self._answer)


async def serve_noop(listener: socket.socket, answer: bytes) -> web.AppRunner:
    """Serve the no-op handler."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=answer, status=201, content_type="application/json", headers=HEADERS)

    limits = GatewayConfig().limits
    application = web.Application(client_max_size=limits.body_bytes_max)
    application.router.add_post(PATH, handle)
    runner = web.AppRunner(
        application,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGER_S,
        auto_decompress=False,
        shutdown_timeout=1,
    )
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG_MAX).start()
    return runner


async def serve_raw(listener: socket.socket, answer: bytes) -> asyncio.Server:
    """Serve the raw responder."""
    head = f"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
    whole = head.encode("ascii") + answer
    return await asyncio.get_running_loop().create_server(
        lambda: _RawResponder(whole), sock=listener, backlog=BACKLOG_MAX
    )


async def run(kind: str, port: int, answer: bytes) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # Two processes of the no-op handler share one port: the kernel spreads connections over them.
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG_MAX, reuse_port=True)
    if kind == "noop":
        runner = await serve_noop(listener, answer)
    else:
        server = await serve_raw(listener, answer)
    print("ready", flush=True)  # noqa: T201  a child process tells its parent
    await stop.wait()
    if kind == "noop":
        await runner.cleanup()
    else:
        server.close()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).read_bytes()))
