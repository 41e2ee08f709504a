"""Hashes of PINs: made one at a time, whoever signs in meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from terminal.people.offline_pins import OfflinePins
from tests.terminal.people.persons import BO, BOS_PIN, MIRA, PIN
from wire.messages.staff import SignInAnswer


async def test_one_hash_is_made_at_a_time() -> None:
    under_way = [0]

    async def run_blocking(work: Callable[[], object]) -> None:
        under_way.append(under_way[-1] + 1)
        await asyncio.sleep(0)
        work()
        under_way.append(under_way[-1] - 1)

    pins = OfflinePins(bytes, run_blocking=run_blocking)
    mira, bo = (SignInAnswer(member=member, rights=[]) for member in (MIRA, BO))
    await pins.learn(mira, PIN)
    judged, _, _ = await asyncio.gather(
        pins.judge(MIRA.staff_id, PIN), pins.learn(bo, BOS_PIN), pins.learn(mira, PIN)
    )
    assert judged == mira
    assert pins.knows(BO.staff_id)
    assert max(under_way) == 1
