"""The line between tills and gateway, with real sockets: what is lost on it, and what is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from simulators.rehearsal.line import GatewayLine


class Echo:
    """A gateway that repeats every line, and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(line)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def line(echo: Echo) -> AsyncIterator[GatewayLine]:
    server = await asyncio.start_server(echo.answer, "127.0.0.1", 0)
    async with server, GatewayLine() as line:
        line.lead_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield line


async def connect(line: GatewayLine) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(line.url)
    assert parts.hostname is not None
    return await asyncio.open_connection(parts.hostname, parts.port)


async def ask(line: GatewayLine, words: bytes) -> bytes:
    reader, writer = await connect(line)
    try:
        writer.write(words)
        return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_good_line_carries_both_ways(line: GatewayLine) -> None:
    assert await ask(line, b"hello\n") == b"hello\n"


async def test_a_line_that_loses_answers_has_the_request_arrive(line: GatewayLine, echo: Echo) -> None:
    line.set("loses_answers")
    assert await ask(line, b"pay\n") == b""
    assert echo.heard == [b"pay\n"]


async def test_a_cut_line_breaks_what_was_open_and_lets_nothing_through(
    line: GatewayLine, echo: Echo
) -> None:
    reader, writer = await connect(line)
    writer.write(b"before\n")
    assert await reader.readline() == b"before\n"
    line.set("cut")
    with contextlib.suppress(ConnectionError):
        assert await reader.readline() == b""
    writer.close()
    assert await ask(line, b"after\n") == b""
    assert echo.heard == [b"before\n"]


async def test_a_line_that_is_good_again_carries(line: GatewayLine) -> None:
    line.set("cut")
    assert await ask(line, b"lost\n") == b""
    line.set("carries")
    assert await ask(line, b"here\n") == b"here\n"
