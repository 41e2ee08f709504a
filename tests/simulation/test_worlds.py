"""Two hundred worlds with faults keep every promise, and each repeats exactly from its seed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from simulators.faults.plan import CALM, FaultKind
from tests.simulation.run import run_seed

SEEDS = 200
PARTS = 8
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("part", range(PARTS))
def test_worlds_keep_every_promise(part: int) -> None:
    failures, payments = {}, 0
    for seed in range(part, SEEDS, PARTS):
        outcome = run_seed(seed)
        payments += outcome.payments
        if outcome.findings:
            failures[f"make sim SEED={seed}"] = outcome.findings
    assert not failures
    assert payments > SEEDS // PARTS


def test_every_fault_happens_in_a_few_worlds() -> None:
    missing = {str(kind) for kind in FaultKind}
    for seed in range(1_000, 1_060):
        missing -= set(run_seed(seed).faults)
        if not missing:
            break
    assert missing == set()


def test_a_world_without_faults_approves_and_leaves_nothing_unknown() -> None:
    told: Counter[str] = Counter()
    for seed in range(10):
        outcome = run_seed(seed, CALM)
        assert not outcome.findings
        # A counter says several things at once, and one may pass another on the way.
        assert set(outcome.faults) <= {str(FaultKind.REQUEST_OVERTAKEN)}
        told.update(outcome.told)
    assert told["approved"] > 20
    assert told["unknown"] == 0


@pytest.mark.parametrize("seed", [3, 20, 27])
def test_a_seed_repeats_exactly(seed: int) -> None:
    first, second = run_seed(seed), run_seed(seed)
    assert first.trace_hash == second.trace_hash
    assert first.faults == second.faults
    assert run_seed(seed + 1).trace_hash != first.trace_hash


def test_a_seed_repeats_in_another_process_whatever_its_hashes() -> None:
    """Python hashes texts otherwise in every process: nothing may follow the order of a set."""
    program = "from tests.simulation.run import run_seed; print(run_seed(11).trace_hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert hashes == {f"{run_seed(11).trace_hash}\n"}
