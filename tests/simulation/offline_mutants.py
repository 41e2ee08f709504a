"""Ways to break payments without a connection on purpose, in worlds whose lines are cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simulators.cards.offline_allowance import OfflineAllowance
from simulators.faults.plan import DiskFaults, FaultPlan, LineFaults, NetworkFaults
from simulators.seeds import make_rng
from tests.simulation.mutants import Patch, mutant
from tests.simulation.offline_house import make_house

LINES = LineFaults(cut=0.02, cut_ms_max=60_000)
CUT = FaultPlan(lines=LINES)
DARK = FaultPlan(
    lines=LineFaults(cut=0.03, cut_ms_max=120_000), disks=DiskFaults(power_lost=0.15, off_ms_max=2_000)
)
"""Tills lose power while they are offline."""
LATE = FaultPlan(lines=LineFaults(cut=0.04, cut_ms_max=240_000))
"""Lines are away for longer than a list, a clock or a record is good for."""
DEAF = FaultPlan(lines=LINES, network=NetworkFaults(answer_lost=0.3))
SEEDS_MAX = 80
HOUSE = make_house(make_rng(0, "house of mutants"))


def of_offline(
    breaks: Callable[[Patch], None],
    *codes: str,
    plan: FaultPlan = CUT,
    honest: bool | None = None,
    first_seed: int = 0,
    **limits: int,
) -> Any:
    """Return a mutant for worlds with payments without a connection, by rules as tight as it needs."""
    options = {"offline": replace(HOUSE, **limits) if limits else True, "honest": honest}
    return mutant(breaks, *codes, plan=plan, seeds_max=SEEDS_MAX, first_seed=first_seed, options=options)


def without_limits_of_phones(patch: Patch) -> None:
    """Let phones sign whatever they are asked, and count it."""

    def add(self: Any, amount: Any) -> int:
        self._spent_minor += amount.minor
        return int(self._spent_minor)

    patch.setattr(OfflineAllowance, "add", add)
