"""`tapscan-sim fault`: what can be ordered, and the order itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from simulators.errors import FaultImpossible
from simulators.faults.catalogue import CATALOGUE, DeviceFault
from simulators.world.messages import FaultOrder

MEND: Final = "mend"


def list_faults(write_line: Callable[[str], object]) -> None:
    """Write every fault with its devices, its options and one line of explanation."""
    for entry in CATALOGUE:
        needs = [f"--{option}" for option in entry.needs]
        may = [f"[--{option}]" for option in entry.may]
        write_line(f"{entry.fault:16} {', '.join(entry.devices):22} {' '.join([*needs, *may])}")
        write_line(f"    {entry.text}")


async def order_fault(
    world_url: str, name: str, device: str, options: Mapping[str, str | int | None]
) -> None:
    """Order a fault of a running world, or have one mended.

    Raises:
        FaultImpossible: there is no such fault, or an option is out of its range.
        ProcessFailed: the world refused, with its reason, or does not answer.
    """
    import aiohttp

    from simulators.world.client import WorldClient

    order = None if name == MEND else _make_order(name, options)
    async with aiohttp.ClientSession() as session:
        client = WorldClient(world_url, session)
        if order is None:
            await client.mend(device)
        else:
            await client.fault(device, order)


def _make_order(name: str, options: Mapping[str, str | int | None]) -> FaultOrder:
    if name not in set(DeviceFault):
        raise FaultImpossible(f"there is no fault named {name}; `tapscan-sim fault list` shows all of them")
    given = {option: value for option, value in options.items() if value is not None}
    try:
        return msgspec.convert({"fault": name, **given}, FaultOrder)
    except msgspec.ValidationError as error:
        raise FaultImpossible(str(error)) from None
