"""Runs seeds: one world after another, each in a loop of its own, quietly."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import structlog

from simulators.faults.plan import FaultPlan, draw_plan
from tests.simulation.town import make_town
from tests.simulation.virtual_time import run_virtually
from tests.simulation.world import Outcome, World


def run_seed(
    seed: int,
    plan: FaultPlan | None = None,
    *,
    show: Callable[[str], None] | None = None,
    **options: Any,
) -> Outcome:
    """Run the world of a seed to its end, or to the first violation, and return what became of it.

    Args:
        plan: what may go wrong; drawn from the seed if left out.
    """
    town = make_town()

    async def main() -> Outcome:
        world = World(town, seed, draw_plan(seed) if plan is None else plan, show=show, **options)
        return await world.run()

    with quiet_logs():
        outcome: Outcome = run_virtually(main())
    return outcome


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Let the product log nothing: a log line costs more than the payment it is about."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), processors=[_drop]
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent
