"""A simulated network does to messages what it is told to, and nothing when nothing is to go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from simulators.faults.dice import Dice
from simulators.faults.plan import NetworkFaults
from simulators.networks.network import ConnectionBroken, SimulatedNetwork
from tests.simulation.virtual_time import run_virtually


class Place:
    """Where requests go: answers with what came, and remembers it."""

    def __init__(self) -> None:
        self.received: list[str] = []

    async def deliver(self, request: str) -> str:
        self.received.append(request)
        if request == "nobody":
            raise ConnectionBroken
        return f"answer to {request}"


Network = SimulatedNetwork[str, str]


def run(faults: NetworkFaults, main: Callable[[Network, Place], Any], seed: int = 1) -> Any:
    place = Place()

    async def work() -> Any:
        network = SimulatedNetwork(place.deliver, faults, Dice(seed))
        result = await main(network, place)
        await network.settle()
        return result, place

    return run_virtually(work())


async def patiently(network: Network, request: str) -> str | None:
    """Send, and give up after a minute."""
    try:
        async with asyncio.timeout(60):
            return await network.exchange("till", request)
    except (TimeoutError, ConnectionBroken):
        return None


def test_nothing_goes_wrong_where_nothing_is_to() -> None:
    async def main(network: Network, place: Place) -> list[str | None]:
        return [await patiently(network, f"{number}") for number in range(50)]

    answers, place = run(NetworkFaults(), main)
    assert answers == [f"answer to {number}" for number in range(50)]
    assert len(place.received) == 50


@pytest.mark.parametrize(
    ("faults", "arrives"),
    [(NetworkFaults(request_lost=1.0), 0), (NetworkFaults(answer_lost=1.0), 1)],
    ids=["request", "answer"],
)
def test_what_is_lost_is_silent_or_broken_and_never_answered(faults: NetworkFaults, arrives: int) -> None:
    async def main(network: Network, place: Place) -> list[str | None]:
        return [await patiently(network, "x") for _ in range(20)]

    answers, place = run(faults, main)
    assert set(answers) == {None}
    assert len(place.received) == 20 * arrives


def test_a_copy_arrives_too_unless_its_relay_is_reset() -> None:
    faults = NetworkFaults(request_duplicated=1.0, delay_ms_max=10_000)

    async def once(network: Network, place: Place) -> str | None:
        return await patiently(network, "x")

    async def and_reset(network: Network, place: Place) -> str | None:
        answer = await patiently(network, "x")
        network.forget_copies()
        return answer

    assert run(faults, once)[1].received == ["x", "x"]
    answer, place = run(faults, and_reset)
    assert (answer, place.received) == ("answer to x", ["x"])


def test_messages_overtake_each_other() -> None:
    faults = NetworkFaults(request_delayed=0.5, delay_ms_max=10_000)

    async def main(network: Network, place: Place) -> None:
        await asyncio.gather(*(patiently(network, f"{number:02d}") for number in range(30)))

    received = run(faults, main)[1].received
    assert sorted(received) == [f"{number:02d}" for number in range(30)] != received


def test_an_earlier_answer_comes_in_anothers_place() -> None:
    async def main(network: Network, place: Place) -> list[str | None]:
        return [await patiently(network, "one"), await patiently(network, "two")]

    assert run(NetworkFaults(answer_repeated=1.0), main)[0] == ["answer to one", "answer to one"]


def test_nobody_there_is_told_at_once() -> None:
    async def main(network: Network, place: Place) -> float:
        with pytest.raises(ConnectionBroken):
            await network.exchange("till", "nobody")
        return asyncio.get_running_loop().time()

    assert run(NetworkFaults(), main)[0] < 0.1


def test_a_request_arrives_though_its_sender_has_gone() -> None:
    async def main(network: Network, place: Place) -> None:
        sending = asyncio.create_task(network.exchange("till", "x"))
        await asyncio.sleep(0)
        sending.cancel()

    assert run(NetworkFaults(), main)[1].received == ["x"]
