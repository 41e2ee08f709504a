"""Worlds from seeds: `SEEDS=10000 python -m tests.simulation`, or one of them with `SEED=7`.

The last line is one JSON object: how many seeds, how many payments were decided, how many of them tills had
accepted without a connection, and what these cost the operator (copies alone do that), how often which fault
happened, and in how many seeds the witness objected. FIRST is the first seed (0), PROCESSES how many run
side by side (2), FAULTS a TOML file of faults instead of those drawn from each seed
(simulators/faults/plan.py). A seed that fails says how to see it again; SEED shows all that happened in it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from simulators.faults.plan import FaultPlan, load_plan
from tests.simulation.run import run_seed
from tests.simulation.world import Outcome

SEEDS = 10_000
PROCESSES = 2
CHUNK = 50
"""Seeds given to a process at a time."""
FAILURES_SHOWN_MAX = 20


@dataclass
class Sums:
    """What the last line says."""

    seeds: int = 0
    payments: int = 0
    offline_payments: int = 0
    offline_loss_minor: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a world in."""
        self.seeds += 1
        self.payments += outcome.payments
        self.offline_payments += outcome.offline_payments
        self.offline_loss_minor += outcome.offline_loss_minor
        self.faults.update(outcome.faults)
        self.violations += bool(outcome.findings)

    def as_json(self) -> str:
        """Return the line."""
        return json.dumps({**vars(self), "faults": dict(sorted(self.faults.items()))})


def main(env: Mapping[str, str]) -> int:
    """Run what the environment says, and return the exit status."""
    plan = load_plan(Path(env["FAULTS"])) if env.get("FAULTS") else None
    if env.get("SEED"):
        return _show(int(env["SEED"]), plan)
    first, count = int(env.get("FIRST") or 0), int(env.get("SEEDS") or SEEDS)
    began_s = time.monotonic()
    sums, shown = Sums(), 0
    for outcomes in _run_all(range(first, first + count), plan, int(env.get("PROCESSES") or PROCESSES)):
        for outcome in outcomes:
            sums.add(outcome)
            if outcome.findings and shown < FAILURES_SHOWN_MAX:
                shown += 1
                _say_failure(outcome)
    _say(f"{(time.monotonic() - began_s) / count:.3f} s a seed, side by side")
    _say(sums.as_json())
    return 1 if sums.violations else 0


def _show(seed: int, plan: FaultPlan | None) -> int:
    """Run one seed and show every line of it."""
    outcome = run_seed(seed, plan, show=_say)
    if outcome.findings:
        _say_failure(outcome)
    _say(f"trace {outcome.trace_hash}, everything known {outcome.heal_s:.1f} s after the last fault")
    sums = Sums()
    sums.add(outcome)
    _say(sums.as_json())
    return 1 if outcome.findings else 0


def _run_all(seeds: range, plan: FaultPlan | None, processes: int) -> Iterator[list[Outcome]]:
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    if processes == 1:
        yield from (_run_chunk(chunk, plan) for chunk in chunks)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_run_chunk, chunks, [plan] * len(chunks))


def _run_chunk(seeds: range, plan: FaultPlan | None) -> list[Outcome]:
    outcomes = [run_seed(seed, plan) for seed in seeds]
    for outcome in outcomes:
        # What nobody will read need not be sent to the process that adds up.
        outcome.lines.clear()
    return outcomes


def _say_failure(outcome: Outcome) -> None:
    _say(f"seed {outcome.seed} fails; see it again: make sim SEED={outcome.seed}")
    for finding in outcome.findings:
        _say(f"    {finding.code}: {finding.where}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(os.environ))
