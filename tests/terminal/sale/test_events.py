"""The board of events: in order, bounded, never waiting for a watcher."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from terminal.errors import SaleRefused
from terminal.sale.events import EVENTS_KEPT_MAX, SUBSCRIBERS_MAX, EventBoard, SubscriberTooSlow
from wire.messages.till import SaleEvent, SaleEventKind, SaleState, SaleView

VIEW = SaleView(
    sale_id="01ARYZ6S410000000000000000",
    order_id="order-1",
    amount_minor=1250,
    currency="EUR",
    state=SaleState.ARMED,
    created_ms=1,
    deadline_ms=2,
)
FIRST = 1_000


def publish(board: EventBoard, count: int) -> None:
    for _ in range(count):
        board.publish(SaleEvent(sequence=0, at_ms=1, kind=SaleEventKind.ARMED, sale=VIEW))


async def test_events_are_numbered_one_by_one_and_reach_every_watcher() -> None:
    board = EventBoard(FIRST)
    with board.subscribe() as one, board.subscribe() as other:
        publish(board, 3)
        for watcher in (one, other):
            seen = [await watcher.next(1_000) for _ in range(3)]
            assert [event.sequence for event in seen if event] == [FIRST, FIRST + 1, FIRST + 2]


async def test_waiting_watcher_is_woken() -> None:
    board = EventBoard(FIRST)
    with board.subscribe() as watcher:
        waiting = asyncio.create_task(watcher.next(5_000))
        await asyncio.sleep(0)
        publish(board, 1)
        event = await waiting
        assert event is not None
        assert event.sequence == FIRST


async def test_silence_is_none_and_the_watcher_goes_on() -> None:
    board = EventBoard(FIRST)
    with board.subscribe() as watcher:
        assert await watcher.next(1) is None
        assert not watcher.is_closed
        publish(board, 1)
        assert await watcher.next(1) is not None


async def test_closing_ends_every_watcher_after_what_it_has_not_read() -> None:
    board = EventBoard(FIRST)
    with board.subscribe() as watcher:
        publish(board, 1)
        board.close()
        assert await watcher.next(1_000) is not None
        assert await watcher.next(1_000) is None
        assert watcher.is_closed


async def test_slow_watcher_is_dropped_and_not_waited_for() -> None:
    board = EventBoard(FIRST)
    with board.subscribe() as slow:
        publish(board, EVENTS_KEPT_MAX + 1)
        with pytest.raises(SubscriberTooSlow):
            await slow.next(1_000)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (FIRST, FIRST + 1),
        (FIRST + 1, FIRST + 2),
        (0, FIRST),
        (FIRST + 2, None),
        # From a run whose clock was ahead: nothing kept here has been seen.
        (FIRST + 999, FIRST),
    ],
)
async def test_resuming_begins_just_after_the_event_seen(after: int, expected: int | None) -> None:
    board = EventBoard(FIRST)
    publish(board, 3)
    with board.subscribe(after) as watcher:
        event = await watcher.next(1)
        assert (event.sequence if event else None) == expected


async def test_resuming_from_before_what_is_kept_begins_at_the_oldest() -> None:
    board = EventBoard(FIRST)
    publish(board, EVENTS_KEPT_MAX + 10)
    with board.subscribe(FIRST) as watcher:
        event = await watcher.next(1)
        assert event is not None
        assert event.sequence == FIRST + 10


async def test_watchers_are_bounded_and_a_place_is_given_back() -> None:
    board = EventBoard(FIRST)
    with ExitStack() as stack:
        for _ in range(SUBSCRIBERS_MAX):
            stack.enter_context(board.subscribe())
        with pytest.raises(SaleRefused) as caught, board.subscribe():
            pass
        assert caught.value.code == "too_many_watchers"
    with board.subscribe():
        pass
