"""A card that was read and stays: its commands run in its reader's own thread, for whoever asks in asyncio.

The owner's thread serves the line while it waits for the card to leave; nobody else touches the connection.
A command waits at most as long as the card is there; what is asked of a card that has left fails at once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from typing import Final

from terminal.errors import CardRemoved
from terminal.readers.card_reader import CardConnection

COMMANDS_WAITING_MAX: Final = 1
"""A card answers one command before it is asked the next."""


class CardLine:
    """One card's line, from the moment it was read until it leaves."""

    def __init__(self) -> None:
        self._commands: queue.Queue[tuple[bytes, Future[bytes]]] = queue.Queue(COMMANDS_WAITING_MAX)
        self._closing = threading.Lock()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether the card has left."""
        return self._is_over

    async def transmit(self, command: bytes) -> bytes:
        """Have a command sent to the card, and return its answer; called in the event loop.

        Raises:
            CardRemoved: the card has left, or is being asked something else.
            ReaderUnavailable, PresentationRefused: as CardConnection.transmit.
        """
        answer: Future[bytes] = Future()
        with self._closing:
            if self._is_over:
                raise CardRemoved("the card has left")
            try:
                self._commands.put_nowait((command, answer))
            except queue.Full:
                raise CardRemoved("the card is being asked something else") from None
        return await asyncio.wrap_future(answer)

    def serve(self, connection: CardConnection, wait_s: float) -> bool:
        """Carry out one command if one comes within the time, in the reader's thread; say whether one did.

        Raises:
            CardRemoved, ReaderUnavailable, and what a driver throws: after whoever asked was told.
        """
        try:
            command, answer = self._commands.get(timeout=wait_s)
        except queue.Empty:
            return False
        if not answer.set_running_or_notify_cancel():
            return True
        try:
            answer.set_result(connection.transmit(command))
        except BaseException as error:
            answer.set_exception(error)
            raise
        return True

    def close(self) -> None:
        """Let whoever asks know that the card has left; called in the reader's thread, perhaps twice."""
        with self._closing:
            self._is_over = True
        while True:
            try:
                _, answer = self._commands.get_nowait()
            except queue.Empty:
                return
            if answer.set_running_or_notify_cancel():
                answer.set_exception(CardRemoved("the card has left"))
