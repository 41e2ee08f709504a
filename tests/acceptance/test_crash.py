"""Real gateways under load, killed again and again: nothing answered is lost, doubled or made up.

CRASH_CYCLES sets how many blows each scenario gets (`make crash`: fifty); without it each gets few, so that
the whole takes some twenty seconds. A failure prints its seed; CRASH_SEED repeats it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.acceptance.crash.campaign import SCENARIOS, run_campaign

CYCLES = {"sqlite": 2, "sqlite main process": 1, "sqlite worker": 1, "postgres server": 1}
"""Blows by default; what is not named here is left to `make crash`."""


def cycles_of(name: str) -> int:
    return int(os.environ.get("CRASH_CYCLES", CYCLES.get(name, 0)))


@pytest.mark.processes
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", [name for name in SCENARIOS if cycles_of(name)])
async def test_what_was_answered_stands_once_after_every_crash(tmp_path: Path, name: str) -> None:
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}")  # noqa: T201  shown when it fails
    outcome = await run_campaign(SCENARIOS[name], cycles_of(name), seed, tmp_path)
    record = outcome.record()
    print(json.dumps(record))  # noqa: T201  shown when it fails
    assert outcome.findings == []
    assert record["cycles"] == cycles_of(name)
    # The test has looked at something: decisions came, and blows left questions open or were refused.
    assert record["answered"] > 0
    assert record["unanswered"] + record["refused"] > 0
    assert record["found"] + record["resent"] <= record["unanswered"]
