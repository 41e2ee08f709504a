"""The product's own programs, started as an operator starts them: a gateway, a world, and tills' daemons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from simulators.demo.processes import Processes, await_ready, product_command, read_url
from simulators.demo.till_client import TillClient
from simulators.fields.private_pcscd import VirtualSlot
from simulators.world.devices import dump_slot


async def start_gateway(config_path: Path, processes: Processes, http: aiohttp.ClientSession) -> str:
    """Start a gateway and return its address once it is ready; ProcessFailed if it is not."""
    command = product_command("tapscan-gateway", "serve", "--config", str(config_path))
    child = await processes.start("gateway", command, piped=True)
    url = await read_url(child)
    await await_ready(child, f"{url}/health/ready", http)
    return url


async def start_world(
    world_path: Path, seed: int, gateway_url: str, processes: Processes, slots: Sequence[VirtualSlot] = ()
) -> str:
    """Start the world of a file and return where it is told what to do; ProcessFailed if it does not start.

    Args:
        slots: of pcscd's virtual readers, for the fields of that kind.
    """
    options = ["--file", str(world_path), "--seed", str(seed), "--gateway", gateway_url]
    for slot in slots:
        options += ["--slot", dump_slot(slot)]
    child = await processes.start("world", product_command("tapscan-sim", "world", *options), piped=True)
    return await read_url(child)


async def enrol_till(name: str, config_path: Path, gateway_url: str, code: str, processes: Processes) -> None:
    """Introduce a till to its gateway by its one-time code; ProcessFailed if it is refused."""
    options = ["--config", str(config_path), "--gateway", gateway_url, "--code", code]
    await processes.run(name, product_command("tapscan-terminal", "enrol", *options))


async def start_till(
    name: str,
    config_path: Path,
    processes: Processes,
    http: aiohttp.ClientSession,
    environment: Mapping[str, str] | None = None,
    *,
    access_key: str | None = None,
    merged: bool = False,
) -> TillClient:
    """Start a till's daemon and return its interface; ProcessFailed if it does not start.

    Args:
        access_key: what the daemon asks for, if its configuration says so.
        merged: as `Processes.start`.
    """
    command = product_command("tapscan-terminal", "run", "--config", str(config_path))
    child = await processes.start(name, command, environment, piped=True, merged=merged)
    return TillClient(name, await read_url(child), http, access_key=access_key)
