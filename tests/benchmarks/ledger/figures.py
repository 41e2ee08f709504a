"""From cells to figures: medians over rounds, and ratios of what was measured close together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tests.benchmarks.ledger.cells import Block, Cell
from tests.benchmarks.ledger.presigning import Mix

PRELOADED: Final = "_preloaded"
DIGITS: Final = 3

Figures = dict[str, float | None]


def make_figures(
    cells: Sequence[Cell],
    main_targets: Sequence[str],
    pgbench_tps: Sequence[float] = (),
    pgbench_prepared_tps: Sequence[float] = (),
) -> Figures:
    """Return the figures of a run; None where nothing of the kind was measured.

    Where a figure could be given for both stores, it is that of the worse one; those of each follow in
    the report.
    """
    pgbench, prepared = _median(pgbench_tps), _median(pgbench_prepared_tps)
    sqlite, postgres = _best(cells, "sqlite_"), _best(cells, "postgres_")
    figures: Figures = {
        "sqlite_vs_noop": _ratio(sqlite, peak_of(cells, "noop_1")),
        "sqlite_vs_noop_in_two_processes": _ratio(sqlite, peak_of(cells, "noop_2")),
        "noop_in_two_processes_vs_one": _ratio(peak_of(cells, "noop_2"), peak_of(cells, "noop_1")),
        "postgres_vs_pgbench": _ratio(postgres, pgbench),
        "postgres_vs_pgbench_prepared": _ratio(postgres, prepared),
        "postgres_two_vs_one": _ratio(peak_of(cells, "postgres_2"), peak_of(cells, "postgres_1")),
        "sqlite_two_vs_one": _ratio(peak_of(cells, "sqlite_2"), peak_of(cells, "sqlite_1")),
        "p99_ms_at_64": _worst(main_targets, lambda target: p99_ms(cells, target, 64), max),
        "throughput_at_256_vs_peak": _worst(main_targets, lambda target: held_at(cells, target, 256)),
        "hot_merchant_vs_uniform": _worst_mix(cells, main_targets, Mix.HOT_MERCHANT),
        "hot_wallet_vs_uniform": _worst_mix(cells, main_targets, Mix.HOT_WALLET),
        "strangers_vs_uniform": _worst_mix(cells, main_targets, Mix.STRANGERS),
        "own_key_vs_uniform": _worst_mix(cells, main_targets, Mix.OWN_KEY),
        "preloaded_vs_empty": _worst(main_targets, lambda target: preloaded_vs_empty(cells, target)),
        "goodput_at_4x_vs_peak": _worst(main_targets, lambda target: goodput_vs_peak(cells, target)),
        "offered_vs_peak": _worst(main_targets, lambda target: offered_vs_peak(cells, target)),
        "refusal_p99_ms_at_4x": _worst(main_targets, lambda target: refusal_p99_ms(cells, target), max),
        "rss_mib": _rss_mib(cells),
        "sqlite_per_s": sqlite,
        "postgres_per_s": postgres,
        "noop_per_s": peak_of(cells, "noop_1"),
        "pgbench_tps": pgbench,
        "pgbench_prepared_tps": prepared,
    }
    return {name: _rounded(value) for name, value in figures.items()}


def peak_of(cells: Sequence[Cell], target: str) -> float:
    """Return a target's best throughput of any number in flight, medians over rounds; 0 if not measured."""
    levels = {cell.in_flight for cell in _ladder(cells, target)}
    return max((per_s_at(cells, target, in_flight) for in_flight in levels), default=0.0)


def per_s_at(cells: Sequence[Cell], target: str, in_flight: int) -> float:
    """Return a target's throughput with so many in flight; 0 if not measured."""
    return _median([cell.per_s for cell in _ladder(cells, target) if cell.in_flight == in_flight]) or 0.0


def p99_ms(cells: Sequence[Cell], target: str, in_flight: int) -> float | None:
    """Return the median over rounds of the 99th percentile."""
    return _median(
        [cell.result.approval.p99_ms for cell in _ladder(cells, target) if cell.in_flight == in_flight]
    )


def held_at(cells: Sequence[Cell], target: str, in_flight: int) -> float | None:
    """Return what of a target's best is left with so many in flight."""
    return _ratio(per_s_at(cells, target, in_flight), peak_of(cells, target))


def mix_vs_uniform(cells: Sequence[Cell], target: str, mix: Mix) -> float | None:
    """Return the median ratio of a mix to the uniform one, in pairs of one round and number in flight."""
    return _median(_pairs(cells, (target, mix), (target, Mix.UNIFORM)))


def preloaded_vs_empty(cells: Sequence[Cell], target: str) -> float | None:
    """Return the median ratio of a full ledger to one that was empty, in pairs as `mix_vs_uniform`."""
    return _median(_pairs(cells, (target + PRELOADED, Mix.UNIFORM), (target, Mix.UNIFORM)))


def goodput_vs_peak(cells: Sequence[Cell], target: str) -> float | None:
    """Return what of a target's best is still approved when four times of it is offered."""
    return _ratio(_median([cell.per_s for cell in _overload(cells, target)]), peak_of(cells, target))


def offered_vs_peak(cells: Sequence[Cell], target: str) -> float | None:
    """Return how much was really offered then; the client has only so many connections."""
    offered = _median([cell.result.offered_per_s for cell in _overload(cells, target)])
    return _ratio(offered, peak_of(cells, target))


def refusal_p99_ms(cells: Sequence[Cell], target: str) -> float | None:
    """Return how quickly a refusal came then, 99th percentile."""
    refused = [cell.result.refusal for cell in _overload(cells, target)]
    return _median([latencies.p99_ms for latencies in refused if latencies.count])


def _ladder(cells: Iterable[Cell], target: str) -> list[Cell]:
    return [cell for cell in cells if (cell.block, cell.target) == (Block.LADDER, target)]


def _overload(cells: Iterable[Cell], target: str) -> list[Cell]:
    return [cell for cell in cells if (cell.block, cell.target) == (Block.OVERLOAD, target)]


def _pairs(cells: Iterable[Cell], asked: tuple[str, Mix], base: tuple[str, Mix]) -> list[float]:
    compared = {
        (cell.target, cell.mix, cell.round, cell.in_flight): cell.per_s
        for cell in cells
        if cell.block is Block.COMPARED
    }
    return [
        per_s / compared[(*base, number, in_flight)]
        for (target, mix, number, in_flight), per_s in compared.items()
        if (target, mix) == asked and compared.get((*base, number, in_flight))
    ]


def _best(cells: Sequence[Cell], prefix: str) -> float | None:
    targets = {cell.target for cell in cells if cell.target.startswith(prefix)}
    return max((peak_of(cells, target) for target in targets), default=None)


def _worst_mix(cells: Sequence[Cell], targets: Sequence[str], mix: Mix) -> float | None:
    return _worst(targets, lambda target: mix_vs_uniform(cells, target, mix))


def _worst(
    targets: Sequence[str],
    figure: Callable[[str], float | None],
    choose: Callable[[list[float]], float] = min,
) -> float | None:
    found = [value for value in map(figure, targets) if value is not None]
    return choose(found) if found else None


def _rss_mib(cells: Sequence[Cell]) -> float | None:
    return max(
        (cell.rss_mib for cell in cells if cell.target.startswith(("sqlite", "postgres"))), default=None
    )


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part and whole else None


def _median(samples: Sequence[float]) -> float | None:
    return statistics.median(samples) if samples else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS if abs(value) < 100 else 1)
