"""A reader held for cards that are made, proven, mended or wiped, until one conversation has come to its end.

A lifted card is nothing lost: put back, it is asked again from the start, and the gateway sees by the chip
itself how far it was. The reader is this process's own while that lasts, so it is used only where no daemon
holds it. Its blocking calls run in one thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from terminal.cards.gateway import CardGateway
from terminal.errors import CardRemoved, PresentationRefused, ReaderUnavailable
from terminal.readers.card_reader import CardConnection, CardReader, CardTechnology
from wire.messages.cards import STEPS_MAX, CardPurpose, CardSessionAnswer, CardStage

LOOK_MS: Final = 250
PATIENCE_MS: Final = 120_000
"""How long a card is waited for, each time, and one that can't be used to leave."""
LIFTS_MAX: Final = 20
"""How often it may be lifted before this gives up; the card can still be recovered."""
OPENS_MAX: Final = 6
REOPEN_PAUSE_S: Final = 0.5
"""A reader that failed, or was pulled out and put back, is tried so often."""
RECOVERED_BY: Final = "card_removed"

T = TypeVar("T")


class BenchScreen(Protocol):
    """What whoever holds the card is told."""

    def show_waiting(self) -> None:
        """No card is there yet."""

    def show_stage(self, stage: CardStage, number: int, count: int) -> None:
        """A card is being worked on: hold it still."""

    def show_lifted(self) -> None:
        """The card left, or its answer was lost: put it back, it goes on."""

    def show_refused(self, code: str) -> None:
        """What is there can't be used; `code` is a refusal of wire/notices."""


@dataclass(frozen=True, slots=True)
class BenchTimings:
    """How long is waited, and for how often."""

    patience_ms: int = PATIENCE_MS
    lifts_max: int = LIFTS_MAX


class CardBench:
    """One reader, from opening to closing; use `open_bench`."""

    def __init__(
        self, reader: CardReader, gateway: CardGateway, screen: BenchScreen, timings: BenchTimings
    ) -> None:
        self._reader = reader
        self._gateway = gateway
        self._screen = screen
        self._timings = timings
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="card bench")

    async def open(self) -> None:
        """Take the reader, which may need a moment after another program; errors as CardReader.open."""
        for number in range(OPENS_MAX):
            try:
                await self._do(self._reader.open)
                return
            except ReaderUnavailable:
                if number + 1 == OPENS_MAX:
                    raise
            await asyncio.sleep(REOPEN_PAUSE_S)

    async def close(self) -> None:
        """Give the reader back; never raises."""
        await self._do(self._reader.close)
        self._thread.shutdown(wait=False)

    async def work(self, purpose: CardPurpose, code: str | None = None) -> CardSessionAnswer:
        """Carry one conversation to its end, over as many taps as it takes.

        Returns:
            An answer that is `done` or `refused`.

        Raises:
            CardRemoved: no card came in time, it was lifted too often, or the reader failed and stays away.
            ReaderNotInstalled: it can't be used here.
            GatewayRefused: `card_code_invalid` and others. GatewayUnreachable: no answer; `recover` sees
                later how far the card is.
        """
        for _ in range(self._timings.lifts_max):
            self._screen.show_waiting()
            try:
                ended = await self._try_once(purpose, code)
            except ReaderUnavailable:
                self._screen.show_lifted()
                await self._reopen()
                continue
            if ended is not None:
                return ended
        raise CardRemoved("the card was lifted too often", code=RECOVERED_BY)

    async def _reopen(self) -> None:
        await self._do(self._reader.close)
        try:
            await self.open()
        except ReaderUnavailable as failure:
            # How far the card is nobody knows here; that it left is what this amounts to.
            raise CardRemoved(f"the reader failed: {failure}", code=failure.code) from None

    async def _try_once(self, purpose: CardPurpose, code: str | None) -> CardSessionAnswer | None:
        """Work on the next card that comes; None if it has to come again."""
        connection = await self._await_card()
        try:
            return await self._carry(connection, purpose, code)
        except CardRemoved:
            self._screen.show_lifted()
        except PresentationRefused as refusal:
            self._screen.show_refused(refusal.code)
            await self._await_absence(connection)
        finally:
            await self._do(connection.close)
        return None

    async def _carry(
        self, connection: CardConnection, purpose: CardPurpose, code: str | None
    ) -> CardSessionAnswer:
        if connection.technology is CardTechnology.UID_ONLY:
            raise PresentationRefused("a tag without keys", code="uid_only_card")
        asked = await self._gateway.begin(purpose, code=code)
        for _ in range(STEPS_MAX):
            if asked.command is None:
                return asked
            self._screen.show_stage(asked.stage, asked.stage_number, asked.stage_count)
            answer = await self._do(partial(connection.transmit, asked.command))
            asked = await self._gateway.hand_in(asked, answer)
        raise PresentationRefused("the conversation never ends", code="card_answer_invalid")

    async def _await_card(self) -> CardConnection:
        deadline_s = asyncio.get_running_loop().time() + self._timings.patience_ms / 1000
        while asyncio.get_running_loop().time() < deadline_s:
            try:
                connection = await self._do(partial(self._reader.wait_for_card, LOOK_MS))
            except PresentationRefused as refusal:
                self._screen.show_refused(refusal.code)
                continue
            if connection is not None:
                return connection
        raise CardRemoved("no card came", code=RECOVERED_BY)

    async def _await_absence(self, connection: CardConnection) -> None:
        """Wait until a card that can't be used is gone, so that it is not refused over and over."""
        for _ in range(self._timings.patience_ms // LOOK_MS):
            if not await self._do(connection.is_present):
                return
            # Not in the reader's thread: whoever gives up here gets the reader back at once.
            await asyncio.sleep(LOOK_MS / 1000)

    async def _do(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


@asynccontextmanager
async def open_bench(
    reader: CardReader,
    gateway: CardGateway,
    screen: BenchScreen,
    timings: BenchTimings | None = None,
) -> AsyncIterator[CardBench]:
    """Hold a reader while the block runs; errors as CardReader.open."""
    bench = CardBench(reader, gateway, screen, timings or BenchTimings())
    try:
        await bench.open()
        yield bench
    finally:
        await bench.close()
