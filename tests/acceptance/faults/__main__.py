"""The worst faults, with real processes over real sockets; the last line is what was seen, as JSON.

    python -m tests.acceptance.faults [drain | gateway_kill | gateway_load | reader_service ...]

drain           FAULTS_ORDERS orders accepted offline, handed in while answers are lost and the till is killed
gateway_kill    the gateway is killed while a real till's attempt is on its way, FAULTS_KILLS times
gateway_load    the gateway is killed under load, FAULTS_KILLS times
reader_service  pcscd is restarted during a tap

SEED repeats a run, as far as a machine under load repeats anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from simulators.fields.private_pcscd import find_missing
from tests.acceptance.crash.campaign import SCENARIOS, run_campaign
from tests.acceptance.faults.drain import run_drain
from tests.acceptance.faults.gateway_kill import run_gateway_kill
from tests.acceptance.faults.reader_service import run_reader_service

ORDERS: Final = 40
KILLS: Final = 12
TILL_KILLS: Final = 6
RESTARTS: Final = 5
NAMES: Final = ("drain", "gateway_kill", "gateway_load", "reader_service")
NOUGHTS: Final = ("doubled", "missing", "contradicted", "lost")
"""What must be nought wherever it is counted."""


def main(names: list[str], env: Mapping[str, str]) -> int:
    """Run the scenarios of these names, or all, and return the exit status."""
    unknown = set(names) - set(NAMES)
    if unknown:
        _say(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
        return 2
    seed = int(env.get("SEED") or time.time_ns() % 1_000_000)
    _say(f"seed {seed}")
    seen: dict[str, dict[str, Any]] = {}
    for name in names or NAMES:
        if name == "reader_service" and find_missing():
            _say(f"reader_service left out: {', '.join(find_missing())} is missing")
            continue
        with tempfile.TemporaryDirectory(prefix="tapscan-faults-") as folder:
            seen[name] = asyncio.run(_run(name, Path(folder), seed, env))
        _say(json.dumps({"scenario": name, **seen[name]}))
    violations = sum(_count_violations(one) for one in seen.values())
    _say(json.dumps({**{name: _brief(one) for name, one in seen.items()}, "violations": violations}))
    return 1 if violations else 0


async def _run(name: str, folder: Path, seed: int, env: Mapping[str, str]) -> dict[str, Any]:
    kills = int(env.get("FAULTS_KILLS") or KILLS)
    match name:
        case "drain":
            return await run_drain(folder, seed, int(env.get("FAULTS_ORDERS") or ORDERS), TILL_KILLS)
        case "gateway_kill":
            return await run_gateway_kill(folder, seed, kills)
        case "gateway_load":
            outcome = await run_campaign(SCENARIOS["sqlite"], kills, seed, folder)
            findings = [f"{one.code}: {one.where}" for one in outcome.findings]
            return {**outcome.record(), "findings": findings}
        case _:
            return await run_reader_service(folder, seed, RESTARTS)


def _count_violations(seen: Mapping[str, Any]) -> int:
    return len(seen["findings"]) + sum(int(seen.get(name, 0)) for name in NOUGHTS)


def _brief(seen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in seen.items() if isinstance(value, int)}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
