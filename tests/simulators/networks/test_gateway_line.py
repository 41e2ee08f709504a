"""The line between tills and gateway, with real sockets: what is lost on it, and what is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from simulators.networks.gateway_line import GatewayLine, LineState, Moment

ATTEMPT = b'POST /v1/payments {"attempt_id": "one"}\n'


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
    line.set(LineState.LOSES_ANSWERS)
    assert await ask(line, b"pay\n") == b""
    assert echo.heard == [b"pay\n"]


async def test_a_cut_line_breaks_what_was_open_and_lets_nothing_through(
    line: GatewayLine, echo: Echo
) -> None:
    reader, writer = await connect(line)
    writer.write(b"before\n")
    assert await reader.readline() == b"before\n"
    line.set(LineState.CUT)
    with contextlib.suppress(ConnectionError):
        assert await reader.readline() == b""
    writer.close()
    assert await ask(line, b"after\n") == b""
    assert echo.heard == [b"before\n"]


async def test_a_line_that_is_good_again_carries(line: GatewayLine) -> None:
    line.set(LineState.CUT)
    assert await ask(line, b"lost\n") == b""
    line.set(LineState.CARRIES)
    assert await ask(line, b"here\n") == b"here\n"


@pytest.mark.parametrize(
    ("moment", "from_then_on", "arrives"),
    [
        (Moment.BEFORE_IT_ARRIVES, LineState.CUT, False),
        (Moment.WHILE_IT_IS_DECIDED, LineState.LOSES_ANSWERS, True),
        (Moment.BEFORE_THE_ANSWER_ARRIVES, LineState.CARRIES, True),
    ],
)
async def test_a_blow_is_struck_at_its_moment_of_one_attempt_and_of_nothing_else(
    line: GatewayLine, echo: Echo, moment: Moment, from_then_on: LineState, arrives: bool
) -> None:
    line.strike_once(moment, lambda: line.set(from_then_on))
    assert await ask(line, b"GET /health\n") == b"GET /health\n"
    assert await ask(line, ATTEMPT) == b""
    assert (ATTEMPT in echo.heard) is arrives
    line.set(LineState.CARRIES)
    assert await ask(line, ATTEMPT) == ATTEMPT


async def test_answers_about_attempts_pass_while_a_blow_waits_for_another_moment(line: GatewayLine) -> None:
    line.strike_once(Moment.BEFORE_IT_ARRIVES, lambda: line.set(LineState.CUT))
    news = b'GET /v1/events "attempt_id"\n'
    assert await ask(line, news) == news


async def test_losses_can_be_waited_for(line: GatewayLine) -> None:
    line.set(LineState.LOSES_ANSWERS)
    assert await ask(line, b"one\n") == b""
    waiting = asyncio.create_task(line.wait_for_losses(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await ask(line, b"two\n") == b""
    await waiting
    assert line.lost_count == 2
