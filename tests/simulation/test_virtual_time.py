"""Virtual time passes in no time, in one order, and a loop that nobody will wake says so."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulation import virtual_time
from tests.simulation.virtual_time import Deadlock, TooManyTurns, run_virtually


def test_an_hour_passes_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(3_600)
        return asyncio.get_running_loop().time()

    began_s = time.monotonic()
    assert run_virtually(main()) == pytest.approx(3_600)
    assert time.monotonic() - began_s < 5


def test_timers_go_off_in_their_order_whatever_was_scheduled_first() -> None:
    order: list[int] = []

    async def note(delay_s: int) -> None:
        await asyncio.sleep(delay_s)
        order.append(delay_s)

    async def main() -> None:
        await asyncio.gather(*(note(delay_s) for delay_s in (3, 1, 2)))

    run_virtually(main())
    assert order == [1, 2, 3]


def test_timeouts_are_virtual_too() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.get_running_loop().create_future()
        return asyncio.get_running_loop().time()

    assert run_virtually(main()) == pytest.approx(60)


def test_waiting_for_nobody_is_a_deadlock_that_names_who_waits() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="wait_for_nobody"):
        run_virtually(wait_for_nobody())


def test_going_round_in_a_circle_is_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "TURNS_MAX", 1_000)

    async def turn() -> None:
        while True:  # noqa: ASYNC110  this is what is to be noticed
            await asyncio.sleep(0)

    with pytest.raises(TooManyTurns):
        run_virtually(turn())


def test_a_call_from_another_thread_does_without_a_pipe() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon_threadsafe(done.set_result, "done")
        return await done

    assert run_virtually(main()) == "done"


def test_what_is_left_behind_is_cancelled() -> None:
    ended: list[str] = []

    async def stay() -> None:
        try:
            await asyncio.sleep(1_000_000)
        finally:
            ended.append("stay")

    async def main() -> asyncio.Task[None]:
        left = asyncio.create_task(stay())
        await asyncio.sleep(1)
        return left

    assert run_virtually(main()).cancelled()
    assert ended == ["stay"]
