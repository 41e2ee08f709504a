"""The follower hears every event once, wherever the connection broke, and believes only what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from terminal.disk import FolderDisk
from terminal.gateway_client.client import GatewayClient
from terminal.gateway_client.events import POSITION_FILE, EventFollower
from tests.terminal.conftest import GatewayStandIn, make_answer, make_request, until
from wire.messages.payments import PaymentAnswer

MakeFollower = Callable[..., EventFollower]


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def make_follower(client: GatewayClient, tmp_path: Path, heard: list[str]) -> MakeFollower:
    def make(terminal_id: str = "TERM0001") -> EventFollower:
        async def hear(answer: PaymentAnswer) -> None:
            heard.append(answer.order_id)
            if answer.order_id == "order-3":
                raise ValueError("a poisoned one")

        return EventFollower(
            client,
            FolderDisk(tmp_path),
            terminal_id=terminal_id,
            on_payment=hear,
            poll_ms=10,
            poll_ms_max=40,
            jitter=lambda: 0.5,
        )

    return make


@asynccontextmanager
async def running(follower: EventFollower) -> AsyncIterator[None]:
    task = asyncio.create_task(follower.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def tell(gateway: GatewayStandIn, *numbers: int) -> None:
    for number in numbers:
        await gateway.tell(make_answer(make_request(number)))


async def test_first_time_nothing_of_before_is_heard(
    gateway: GatewayStandIn, make_follower: MakeFollower, heard: list[str]
) -> None:
    await tell(gateway, 1, 2)
    async with running(make_follower()):
        await until(lambda: gateway.listeners == ["2"])
        await tell(gateway, 4)
        await until(lambda: heard == ["order-4"])


async def test_broken_stream_is_resumed_and_nothing_is_heard_twice(
    gateway: GatewayStandIn, make_follower: MakeFollower, heard: list[str]
) -> None:
    async with running(make_follower()):
        await until(lambda: gateway.listeners == ["0"])
        await tell(gateway, 1)
        await until(lambda: heard == ["order-1"])
        await gateway.stop_streams()
        await tell(gateway, 2)
        await until(lambda: heard == ["order-1", "order-2"])
        gateway.streams = True
        await until(lambda: gateway.listeners == ["0", "2"])
        await tell(gateway, 4)
        await until(lambda: heard == ["order-1", "order-2", "order-4"])


async def test_position_survives_a_restart_and_belongs_to_one_terminal(
    gateway: GatewayStandIn, make_follower: MakeFollower, heard: list[str]
) -> None:
    await make_follower().catch_up()
    await tell(gateway, 1)
    await make_follower().catch_up()
    await tell(gateway, 2)
    await make_follower().catch_up()
    assert heard == ["order-1", "order-2"]
    await make_follower("TERM0002").catch_up()
    assert heard == ["order-1", "order-2"]


async def test_poisoned_event_does_not_stop_the_others(
    gateway: GatewayStandIn, make_follower: MakeFollower, heard: list[str]
) -> None:
    follower = make_follower()
    await follower.catch_up()
    await tell(gateway, 3, 4)
    await follower.catch_up()
    assert heard == ["order-3", "order-4"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"terminal_id": "TERM0001"}', b"\xff"])
async def test_spoilt_position_begins_anew(
    gateway: GatewayStandIn, make_follower: MakeFollower, heard: list[str], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / POSITION_FILE).write_bytes(content)
    await tell(gateway, 1)
    await make_follower().catch_up()
    assert heard == []
