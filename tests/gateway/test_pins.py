"""PINs at rest: what is stored opens for the right PIN alone, and is different every time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from gateway.pins import AT_ONCE_MAX, SALT_BYTES, PinHasher, check_pin
from wire.errors import WireError

CHEAP = {"entry_key": bytes(32), "memory_kib": 64, "iterations": 1}


async def test_the_right_pin_opens_it_and_no_other_does() -> None:
    rng, pins = random.Random(1), PinHasher(**CHEAP)
    stored = await pins.hash("2580", rng.randbytes(SALT_BYTES))
    assert await pins.matches("2580", stored)
    for wrong in ("2581", "25800", "0852", "258"):
        assert not await pins.matches(wrong, stored)


async def test_two_people_with_one_pin_are_not_seen_to_have_it() -> None:
    rng, pins = random.Random(2), PinHasher(**CHEAP)
    first, second = [await pins.hash("2580", rng.randbytes(SALT_BYTES)) for _ in range(2)]
    assert first != second
    assert "2580" not in first


async def test_by_default_it_costs_what_owasp_asks_for_at_least() -> None:
    assert (await PinHasher(bytes(32)).hash("2580", bytes(SALT_BYTES))).startswith(
        "$argon2id$v=19$m=19456,t=2,p=1$"
    )


async def test_no_more_are_judged_at_once_than_the_bound() -> None:
    running = most = 0
    may_end = asyncio.Event()

    async def count(function: Callable[..., Any], *args: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await may_end.wait()
        running -= 1
        return function(*args)

    pins = PinHasher(run_blocking=count, **CHEAP)
    stored = await PinHasher(**CHEAP).hash("2580", bytes(SALT_BYTES))
    judging = [asyncio.create_task(pins.matches("2580", stored)) for _ in range(5)]
    for _ in range(10):
        await asyncio.sleep(0)
    may_end.set()
    assert await asyncio.gather(*judging) == [True] * 5
    assert most == AT_ONCE_MAX


@pytest.mark.parametrize("pin", ["", "123", "1234567890123", "12a4", "１２３４", "1234\n"])
def test_what_is_no_pin_is_refused(pin: str) -> None:
    with pytest.raises(WireError):
        check_pin(pin)
