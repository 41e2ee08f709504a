"""A line to a card that stays: one command at a time, in the reader's thread, none to one that left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from terminal.errors import CardRemoved, ReaderUnavailable
from terminal.readers.card_line import CardLine
from terminal.readers.card_reader import CardTechnology


class Connection:
    """A card that answers what the test says, and notes in which thread it was asked."""

    technology = CardTechnology.ISO_DEP

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self.threads: list[str] = []

    def transmit(self, command: bytes) -> bytes:
        self.threads.append(threading.current_thread().name)
        return self._answer(command)

    def is_present(self) -> bool:
        return True

    def close(self) -> None:
        pass


def serve_in_thread(line: CardLine, connection: Connection) -> threading.Thread:
    def serve() -> None:
        try:
            while not line.is_over:
                line.serve(connection, 0.01)
        except (CardRemoved, ReaderUnavailable):
            line.close()

    thread = threading.Thread(target=serve, name="owner")
    thread.start()
    return thread


async def test_commands_run_in_the_readers_thread() -> None:
    line, connection = CardLine(), Connection(lambda command: command + b"\x90\x00")
    thread = serve_in_thread(line, connection)
    assert [await line.transmit(bytes((number,))) for number in range(3)] == [
        bytes((number,)) + b"\x90\x00" for number in range(3)
    ]
    line.close()
    await asyncio.to_thread(thread.join)
    assert set(connection.threads) == {"owner"}


@pytest.mark.parametrize("error", [CardRemoved, ReaderUnavailable])
async def test_what_the_card_or_reader_fails_with_is_told_to_whoever_asked(error: type[Exception]) -> None:
    def fail(command: bytes) -> bytes:
        raise error("gone")

    line = CardLine()
    thread = serve_in_thread(line, Connection(fail))
    with pytest.raises(error):
        await line.transmit(b"\x00")
    await asyncio.to_thread(thread.join)
    with pytest.raises(CardRemoved):
        await line.transmit(b"\x00")


async def test_a_command_that_waits_when_the_card_leaves_fails_at_once() -> None:
    line = CardLine()
    waiting = asyncio.create_task(line.transmit(b"\x00"))
    await asyncio.sleep(0)
    with pytest.raises(CardRemoved, match="something else"):
        await line.transmit(b"\x01")
    line.close()
    line.close()
    with pytest.raises(CardRemoved, match="left"):
        await waiting
    assert line.is_over


async def test_a_command_given_up_is_not_sent() -> None:
    line, connection = CardLine(), Connection(lambda command: b"\x90\x00")
    waiting = asyncio.create_task(line.transmit(b"\x00"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert line.serve(connection, 0)
    assert connection.threads == []
