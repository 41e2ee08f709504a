"""A reader held for a card that can't be used: whoever gives up gets the reader back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from terminal.cards import bench
from terminal.cards.bench import OPENS_MAX, BenchTimings, CardBench
from terminal.errors import CardRemoved, ReaderUnavailable
from terminal.readers.card_reader import CardTechnology
from wire.messages.cards import CardPurpose, CardStage


class StayingTag:
    """A tag without keys that nobody takes away, and the reader it lies on."""

    path = "pcsc:Staying"
    technology = CardTechnology.UID_ONLY

    def __init__(self) -> None:
        self.is_open = False
        self.on_look: Callable[[], object] = lambda: None

    def open(self) -> None:
        self.is_open = True

    def wait_for_card(self, timeout_ms: int) -> StayingTag:
        return self

    def transmit(self, command: bytes) -> bytes:
        raise AssertionError("it has nothing to say")

    def is_present(self) -> bool:
        self.on_look()
        return True

    def close(self) -> None:
        self.is_open = False


class Screen:
    """Notes what is refused."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def show_waiting(self) -> None:
        pass

    def show_stage(self, stage: CardStage, number: int, count: int) -> None:
        pass

    def show_lifted(self) -> None:
        pass

    def show_refused(self, code: str) -> None:
        self.refused.append(code)


def _bench(tag: StayingTag, screen: Screen, timings: BenchTimings) -> CardBench:
    no_gateway = cast(Any, None)
    return CardBench(tag, no_gateway, screen, timings)


async def test_card_that_stays_is_refused_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "LOOK_MS", 1)
    screen = Screen()
    held = _bench(StayingTag(), screen, BenchTimings(patience_ms=5, lifts_max=3))
    await held.open()
    with pytest.raises(CardRemoved):
        await held.work(CardPurpose.VERIFY)
    assert screen.refused == ["uid_only_card"] * 3
    await held.close()


class PulledReader(StayingTag):
    """A reader whose cable is pulled once it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.opened_count = 0

    def open(self) -> None:
        self.opened_count += 1
        if self.opened_count > 1:
            raise ReaderUnavailable("pulled", code="reader_unplugged")

    def wait_for_card(self, timeout_ms: int) -> StayingTag:
        raise ReaderUnavailable("pulled", code="reader_unplugged")


async def test_reader_that_stays_away_leaves_the_card_to_be_recovered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "REOPEN_PAUSE_S", 0)
    reader = PulledReader()
    held = _bench(reader, Screen(), BenchTimings())
    await held.open()
    # What ends so exits 3: not finished. A reader that never opened is refused, and nothing had begun.
    with pytest.raises(CardRemoved) as end:
        await held.work(CardPurpose.PERSONALISE, "code")
    assert end.value.code == "reader_unplugged"
    assert reader.opened_count == 1 + OPENS_MAX
    await held.close()


async def test_who_gives_up_while_a_refused_card_lies_there_gets_the_reader_back() -> None:
    tag, seen = StayingTag(), asyncio.Event()
    loop = asyncio.get_running_loop()
    tag.on_look = lambda: loop.call_soon_threadsafe(seen.set)
    held = _bench(tag, Screen(), BenchTimings())
    await held.open()
    work = asyncio.create_task(held.work(CardPurpose.VERIFY))
    await seen.wait()
    work.cancel()
    async with asyncio.timeout(30):
        await held.close()
    assert not tag.is_open
