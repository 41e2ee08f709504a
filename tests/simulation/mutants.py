"""Ways to break the product on purpose, and how the witness has to say it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from simulators.faults.plan import CALM, FaultPlan
from tests.simulation import inline_store
from tests.simulation.run import run_seed
from tests.simulation.town import make_town

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """A way to break the product, and how the witness says it."""

    breaks: Callable[[Patch], None]
    codes: frozenset[str]
    plan: FaultPlan | None = CALM
    seeds_max: int = 40
    first_seed: int = 0
    """Looked at before all others: one that is known to show it."""
    options: Mapping[str, Any] = field(default_factory=dict)


def without_guard(patch: Patch, module: Any, name: str, guard: str, instead: str = "") -> None:
    """Take a condition out of a named statement."""
    statement = module.SQL[name]
    assert guard in statement, f"{name} has changed"
    patch.setattr(module, "SQL", {**module.SQL, name: statement.replace(guard, instead)})


def without_constraints(patch: Patch) -> None:
    """Let the schema's own checks sleep."""
    configure = inline_store._configure

    def relaxed(connection: sqlite3.Connection, *, writable: bool) -> None:
        configure(connection, writable=writable)
        connection.execute("PRAGMA ignore_check_constraints = ON")

    patch.setattr(inline_store, "_configure", relaxed)


def mutant(breaks: Callable[[Patch], None], *codes: str, **named: Any) -> Any:
    return pytest.param(Mutant(breaks, frozenset(codes), **named), id=breaks.__name__)


def expect_objection(mutant: Mutant, patch: Patch) -> None:
    """Break the product, and fail unless the witness says so within a bounded number of seeds."""
    # Built once for all tests of a process, so not by a broken product.
    make_town()
    mutant.breaks(patch)
    seen: set[str] = set()
    for seed in (*range(mutant.first_seed, mutant.seeds_max), *range(mutant.first_seed)):
        seen |= {finding.code for finding in run_seed(seed, mutant.plan, **mutant.options).findings}
        if seen & mutant.codes:
            return
    pytest.fail(f"nobody noticed within {mutant.seeds_max} seeds; seen: {sorted(seen)}")
