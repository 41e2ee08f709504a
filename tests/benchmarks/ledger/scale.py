"""How much is measured: in full, quickly, or only to see that every piece still works."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tests.benchmarks.ledger.presigning import Mix
from tests.benchmarks.ledger.town import TownSize

IN_FLIGHT: Final = (1, 8, 32, 64, 256)
P99_IN_FLIGHT: Final = 64
MOST_IN_FLIGHT: Final = 256
SEED: Final = 20_261_122


@dataclass(frozen=True, slots=True)
class Scale:
    """What one run takes on. Every figure that is compared is the median of all rounds."""

    name: str
    town: TownSize
    preloaded_count: int
    """Payments in the ledger that is not empty."""
    sitting_count: int
    """How often every ledger is made anew and every gateway started anew."""
    rounds_each: int
    """How often everything is measured in one sitting."""
    processes: tuple[int, ...]
    """Of one gateway on SQLite, and of gateways on PostgreSQL."""
    ladder: tuple[int, ...]
    """Requests in flight of the uniform mix."""
    compared_at: tuple[int, ...]
    """Requests in flight at which the other mixes and the preloaded ledger are held against the uniform."""
    mixes: tuple[Mix, ...]
    cell_s: float
    warm_up_s: float
    noop_s: float
    pgbench_scale: int
    pgbench_s: int
    pgbench_prepared_rounds: int
    overload_rounds: int
    overload_s: float
    overload_connections: int
    first_guess_per_s: int
    """Payments signed for each second of a cell before any throughput is known."""


FULL: Final = Scale(
    name="full",
    town=TownSize(
        merchant_count=64,
        terminals_each=4,
        hot_terminal_count=256,
        regular_count=5_000,
        stranger_count=15_000,
        hot_phone_count=256,
    ),
    preloaded_count=5_000_000,
    sitting_count=3,
    rounds_each=1,
    processes=(1, 2),
    ladder=IN_FLIGHT,
    compared_at=(P99_IN_FLIGHT, MOST_IN_FLIGHT),
    mixes=(Mix.UNIFORM, Mix.HOT_WALLET, Mix.HOT_MERCHANT, Mix.STRANGERS, Mix.OWN_KEY),
    cell_s=4.0,
    warm_up_s=1.0,
    noop_s=2.0,
    pgbench_scale=10,
    pgbench_s=6,
    pgbench_prepared_rounds=3,
    overload_rounds=3,
    overload_s=6.0,
    # Well above what all processes of one ledger decide at a time, so that there is something to refuse.
    overload_connections=3_000,
    first_guess_per_s=4_000,
)
QUICK: Final = replace(
    FULL,
    name="quick",
    town=TownSize(
        merchant_count=16,
        terminals_each=4,
        hot_terminal_count=64,
        regular_count=600,
        stranger_count=0,
        hot_phone_count=64,
    ),
    preloaded_count=10_000,
    sitting_count=1,
    rounds_each=3,
    ladder=(P99_IN_FLIGHT, MOST_IN_FLIGHT),
    compared_at=(P99_IN_FLIGHT,),
    # Gateways that are not started anew soon know everybody.
    mixes=(Mix.UNIFORM, Mix.HOT_WALLET, Mix.HOT_MERCHANT),
    cell_s=0.25,
    warm_up_s=0.05,
    noop_s=0.15,
    pgbench_s=1,
    pgbench_prepared_rounds=1,
    overload_rounds=1,
    overload_s=0.6,
    overload_connections=1_500,
)
TINY: Final = replace(
    QUICK,
    name="tiny",
    town=TownSize(
        merchant_count=2,
        terminals_each=2,
        hot_terminal_count=2,
        regular_count=20,
        stranger_count=20,
        hot_phone_count=4,
    ),
    preloaded_count=50,
    rounds_each=1,
    processes=(1,),
    ladder=(2,),
    compared_at=(2,),
    mixes=(*QUICK.mixes, Mix.OWN_KEY),
    cell_s=0.2,
    warm_up_s=0.05,
    noop_s=0.1,
    pgbench_scale=1,
    overload_s=0.2,
    overload_connections=16,
    first_guess_per_s=400,
)
