"""From tap or scan to answer, with every process the product has, and what those processes cost.

The stage is the demo's: gateway, two daemons, a world of simulated devices, a private pcscd. Sales run one
after another on each till, because a till has one customer at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console

from simulators.demo.board import PlainBoard
from simulators.demo.processes import Processes
from simulators.demo.scenario import Presenting, ScanStep, ShowStep, TapStep, device_of
from simulators.demo.stage import Casting, Stage, open_stage
from simulators.world.file import load_world_file
from simulators.world.messages import CodeForm

ROOT = Path(__file__).parents[2]
WORLD = ROOT / "config" / "demo.toml"
MEBIBYTE = 1024 * 1024
CENT = "0.01"


def _tap(thing: str, field_name: str) -> Presenting:
    return TapStep(say="", amount=CENT, expect="approved", thing=thing, field=field_name)


WAYS_TO_PAY: dict[str, Presenting] = {
    "nfc_app, PN532 on a serial line": _tap("ana-phone", "till-1-pn532"),
    "nfc_app, nfcpy UDP radio": _tap("chen-phone", "till-2-radio"),
    "nfc_sdm, nfcpy UDP radio": _tap("ben-card", "till-2-radio"),
    "nfc_app, pcscd with the fast-poll shim": _tap("chen-card", "till-2-pcsc"),
    "qr_consumer, camera 640x480": ShowStep(
        say="", amount=CENT, expect="approved", phone="ana-phone", screen="till-1-camera"
    ),
    "code_numeric, serial scanner": ScanStep(
        say="", amount=CENT, expect="approved", phone="ana-phone", gun="till-2-gun", form=CodeForm.NUMERIC
    ),
}


@dataclass(slots=True)
class WayResult:
    """What was measured on one way to pay."""

    tap_to_answer_ms: list[int] = field(default_factory=list)
    shopper_ms: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class WholePathResult:
    """Every way to pay, and the processes behind them."""

    ways: dict[str, WayResult]
    gateway_cpu_ms_per_payment: float
    """User and system time of the whole gateway process, payment codes and health checks included."""
    gateway_rest_mib: float
    """Resident, just started."""
    resident_mib: dict[str, float]
    """At the end, by process."""
    stage_s: float
    """From nothing to every reader ready."""


BETWEEN_SALES_S: Final = 0.2


async def measure_whole_path(folder: Path, sale_count: int) -> WholePathResult:
    """Set the stage, sell `sale_count` times in every way, and strike the stage again."""
    (folder / "logs").mkdir(parents=True)
    world = load_world_file(WORLD)
    deaths: list[str] = []
    processes = Processes(folder / "logs", deaths.append)
    with (folder / "stage.log").open("w") as log:
        board = PlainBoard(Console(file=log), world.iso_currency)
        started_s = time.monotonic()
        try:
            async with open_stage(Casting(world, WORLD, folder), processes, board) as stage:
                result = await _measure(stage, processes, sale_count, time.monotonic() - started_s)
        finally:
            await processes.stop_all()
    assert not deaths, deaths
    return result


async def _measure(stage: Stage, processes: Processes, sale_count: int, stage_s: float) -> WholePathResult:
    watched = {child.name: psutil.Process(child.process.pid) for child in processes.children}
    gateway = watched["gateway"]
    rest_mib = gateway.memory_info().rss / MEBIBYTE
    before_s = sum(gateway.cpu_times()[:2])
    ways = {
        title: await _sell(stage, step, sale_count)
        for title, step in WAYS_TO_PAY.items()
        if device_of(step) not in stage.devices_off
    }
    used_s = sum(gateway.cpu_times()[:2]) - before_s
    payment_count = sum(len(way.tap_to_answer_ms) for way in ways.values())
    return WholePathResult(
        ways=ways,
        gateway_cpu_ms_per_payment=1000 * used_s / max(1, payment_count),
        gateway_rest_mib=rest_mib,
        resident_mib={name: process.memory_info().rss / MEBIBYTE for name, process in watched.items()},
        stage_s=stage_s,
    )


async def _sell(stage: Stage, step: Presenting, sale_count: int) -> WayResult:
    result = WayResult()
    checkout = stage.checkouts[stage.file.till_of(device_of(step))]
    for _ in range(sale_count):
        # Codes closer to each other than a hand's are refused as a flood.
        await asyncio.sleep(BETWEEN_SALES_S)
        outcome = await checkout.sell(step)
        if outcome.is_approved and outcome.tap_to_answer_ms is not None and outcome.shopper_ms is not None:
            result.tap_to_answer_ms.append(outcome.tap_to_answer_ms)
            result.shopper_ms.append(outcome.shopper_ms)
        else:
            result.failed[outcome.code] += 1
    return result
