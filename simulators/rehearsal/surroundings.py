"""What a value changes around its till: line, people, cards, devices, the operator; and how it ends again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import aiohttp
import msgspec

from simulators.demo.till_client import TillClient
from simulators.errors import ProcessFailed, SimulatorError
from simulators.networks.gateway_line import LineState
from simulators.rehearsal.fillings import Fillings
from simulators.rehearsal.stage import Stage
from simulators.rehearsal.values import (
    Allowance,
    Clone,
    Decide,
    Disk,
    Fault,
    Line,
    Mode,
    Operator,
    Step,
    Watch,
)
from simulators.world.messages import AllowanceOrder, CloneOrder, DecisionOrder, FaultOrder
from wire.messages.till import OfflineView

MODE_WITHIN_S: Final = 20.0
"""A till of the rehearsal probes ten times a second; handing in what it accepted comes on top."""
POLL_S: Final = 0.05


class Otherwise(Exception):
    """A step went otherwise than the value says; the text says how."""


class Surroundings:
    """Everything around one till that one value may change."""

    def __init__(
        self, stage: Stage, till: TillClient, places: Fillings, name_copy: Callable[[str], str]
    ) -> None:
        """Begin with nothing changed.

        Args:
            name_copy: returns the name of the next copy of a thing.
        """
        self._stage = stage
        self._till = till
        self._places = places
        self._name_copy = name_copy
        self._watchers: list[aiohttp.ClientResponse] = []
        self._faulty: set[str] = set()

    async def change(self, step: Step) -> None:
        """Do a step that is not the till software's and brings nothing before a reader.

        Raises:
            Otherwise: nothing waits for a phone's owner, or the till does not notice the line.
            SimulatorError: the step is impossible here.
        """
        match step:
            case Line(state=state):
                self._stage.line.set(state)
            case Mode(state=mode):
                await self._await_mode(mode)
            case Decide(phone=phone, agreed=agreed):
                if not await self._stage.world.decide(phone, DecisionOrder(agreed=agreed)):
                    raise Otherwise(f"nothing waits for the owner of {phone}")
            case Disk(state=state):
                self._stage.fill_disk(self._till.name, full=state == "full")
            case Operator(words=words):
                await self._stage.office.run(*map(self._places.fill, words))
            case Watch(count=count):
                await self._open_watchers(count)
            case Clone() | Allowance() | Fault():
                await self._change_things(step)
            case _:
                raise AssertionError(f"{type(step).__name__} is done elsewhere")

    async def restore(self) -> None:
        """End what is not to outlast the value: watchers, faults, a line that is cut."""
        for watcher in self._watchers:
            watcher.close()
        for device in self._faulty:
            with contextlib.suppress(ProcessFailed):
                await self._stage.world.mend(device)
        self._stage.line.set(LineState.CARRIES)
        self._stage.fill_disk(self._till.name, full=False)

    async def _change_things(self, step: Clone | Allowance | Fault) -> None:
        match step:
            case Clone(thing=thing):
                copy = self._name_copy(thing)
                await self._stage.world.clone(thing, CloneOrder(name=copy))
                self._places.known["copy"] = copy
            case Allowance(thing=thing, amount=amount, forged=forged):
                minor = self._stage.casting.file.money(amount).minor
                await self._stage.world.set_allowance(
                    thing, AllowanceOrder(amount_minor=minor, forged=forged)
                )
            case Fault():
                self._faulty.add(step.device)
                await self._stage.world.fault(step.device, _fault_order(step))

    async def _open_watchers(self, count: int) -> None:
        for _ in range(count):
            status, answer = await self._till.open_watcher()
            self._watchers.append(answer)
            if status != 200:
                return

    async def _await_mode(self, mode: str) -> None:
        """Wait until the till is in a mode and, to be online, has handed in what it accepted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MODE_WITHIN_S):
                while True:
                    view = await self._read_offline()
                    if view.mode == mode and (mode == "offline" or not view.waiting_count):
                        return
                    await asyncio.sleep(POLL_S)
        raise Otherwise(f"{self._till.name} did not go {mode}")

    async def _read_offline(self) -> OfflineView:
        status, raw = await self._till.send("GET", "/v1/offline")
        if status != 200:
            raise SimulatorError(f"{self._till.name} takes no payments without a connection")
        return msgspec.json.decode(raw, type=OfflineView)


def _fault_order(step: Fault) -> FaultOrder:
    return FaultOrder(
        fault=step.fault, thing=step.thing, other=step.other, at=step.at, ms=step.ms, count=step.count
    )
