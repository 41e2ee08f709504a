"""What a run found: tables for people, a picture, and JSON for everybody else."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from tests.benchmarks.ledger import figures
from tests.benchmarks.ledger.cells import Block, Cell
from tests.benchmarks.ledger.plot import Line, draw_plot
from tests.benchmarks.ledger.presigning import Mix
from tests.benchmarks.ledger.scale import Scale
from tests.benchmarks.ledger.schedule import OVERLOAD, Measured
from tests.benchmarks.ledger.targets import RAW

LABELS: Final = {
    "noop_1": ("no-op aiohttp handler", "#8a94a3"),
    "noop_2": ("no-op, two processes", "#c3cad4"),
    "sqlite_1": ("SQLite, one process", "#2f6db5"),
    "sqlite_2": ("SQLite, two workers", "#7fb0e6"),
    "postgres_1": ("PostgreSQL, one gateway", "#2e8b57"),
    "postgres_2": ("PostgreSQL, two gateways", "#74c79a"),
}
PGBENCH_COLOUR: Final = "#c98a1b"


def show_report(console: Console, scale: Scale, measured: Measured, found: figures.Figures) -> None:
    """Print everything a person wants to see."""
    rounds = scale.sitting_count * scale.rounds_each
    console.print(_ladder_table(scale, measured.cells))
    console.print(_cost_table(measured.cells))
    console.print(_compared_table(scale, measured))
    console.print(_overload_table(measured))
    for name, samples in (("", measured.pgbench_tps), (" -M prepared", measured.pgbench_prepared_tps)):
        if samples:
            console.print(
                f"pgbench TPC-B{name}, scale 10, 16 clients, same server: "
                f"{statistics.median(samples):,.0f} transactions/s (rounds: "
                f"{', '.join(f'{each:,.0f}' for each in samples)})"
            )
    console.print(_client_line(measured.cells))
    console.print(
        f"Medians of {rounds} rounds. In each round, at each number in flight, all targets took turns on the "
        "same signed requests, in an order that moves on from round to round; what is compared was measured "
        "within the same minute. Every request was answered 201 and approved, or the run would have failed; "
        "after its cells each ledger held exactly what was answered and passed the audit.",
        soft_wrap=True,
    )
    console.print(_figures_table(found))


def make_picture(scale: Scale, measured: Measured, subtitle: str) -> str:
    """Return the plot as SVG."""
    cells = measured.cells
    lines = [
        Line(label, colour, points)
        for target, (label, colour) in LABELS.items()
        if (
            points := tuple((n, per_s) for n in scale.ladder if (per_s := figures.per_s_at(cells, target, n)))
        )
    ]
    if measured.pgbench_tps:
        tps = statistics.median(measured.pgbench_tps)
        lines.append(Line("pgbench TPC-B", PGBENCH_COLOUR, ((scale.ladder[0], tps),), is_dashed=True))
    return draw_plot("Answered a second, by requests in flight", subtitle, lines, scale.ladder)


def make_document(
    scale: Scale,
    measured: Measured,
    found: figures.Figures,
    machine: dict[str, object],
    versions: dict[str, object],
) -> bytes:
    """Return the JSON document: figures, machine, versions and every cell."""
    document = {
        "figures": found,
        "machine": machine,
        "versions": versions | {"postgres": measured.postgres_version},
        "scale": scale.name,
        "rounds": scale.sitting_count * scale.rounds_each,
        "main_targets": measured.main_targets,
        "by_target": {target: _by_target(measured.cells, target) for target in measured.main_targets},
        "pgbench_tps": measured.pgbench_tps,
        "pgbench_prepared_tps": measured.pgbench_prepared_tps,
        "cells": measured.cells,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _by_target(cells: Sequence[Cell], target: str) -> dict[str, float | None]:
    return {
        "peak_per_s": figures.peak_of(cells, target),
        "p99_ms_at_64": figures.p99_ms(cells, target, 64),
        "throughput_at_256_vs_peak": figures.held_at(cells, target, 256),
        **{f"{mix}_vs_uniform": figures.mix_vs_uniform(cells, target, mix) for mix in _OTHER_MIXES},
        "preloaded_vs_empty": figures.preloaded_vs_empty(cells, target),
        "goodput_at_4x_vs_peak": figures.goodput_vs_peak(cells, target),
        "offered_vs_peak": figures.offered_vs_peak(cells, target),
        "refusal_p99_ms_at_4x": figures.refusal_p99_ms(cells, target),
    }


_OTHER_MIXES: Final = (Mix.HOT_WALLET, Mix.HOT_MERCHANT, Mix.STRANGERS, Mix.OWN_KEY)


def _ladder_table(scale: Scale, cells: Sequence[Cell]) -> Table:
    table = Table(title="Answered a second, by requests in flight; below: p50 / p99 in ms")
    table.add_column("")
    for in_flight in scale.ladder:
        table.add_column(str(in_flight), justify="right")
    for target, (label, _) in LABELS.items():
        rows = [_of(cells, Block.LADDER, target, in_flight) for in_flight in scale.ladder]
        if any(rows):
            table.add_row(label, *(_throughput_and_latency(row) for row in rows))
    return table


def _throughput_and_latency(cells: Sequence[Cell]) -> str:
    if not cells:
        return "-"
    p50, p99 = (
        _median(cells, lambda cell: cell.result.approval.p50_ms),
        _median(cells, lambda cell: cell.result.approval.p99_ms),
    )
    return f"{_median(cells, lambda cell: cell.per_s):,.0f}\n{p50:.1f} / {p99:.1f}"


def _cost_table(cells: Sequence[Cell]) -> Table:
    table = Table(title="What it cost: medians over all uniform cells")
    for column in ("", "gateway µs", "server µs", "client µs", "client share", "others", "peak MiB"):
        table.add_column(column, justify="left" if not column else "right")
    for target, (label, _) in LABELS.items():
        rows = [cell for cell in cells if (cell.block, cell.target) == (Block.LADDER, target)]
        if rows:
            table.add_row(
                label,
                f"{_median(rows, lambda cell: cell.gateway_us_per_payment):,.0f}",
                f"{_median(rows, lambda cell: cell.server_us_per_payment):,.0f}",
                f"{_median(rows, lambda cell: cell.result.client_us_per_request):,.0f}",
                f"{_median(rows, lambda cell: cell.result.client_cpu_share):.0%}",
                f"{_median(rows, lambda cell: cell.others_share):.0%}",
                f"{max(cell.rss_mib for cell in rows):,.0f}",
            )
    table.caption = (
        "µs: processor time per request of the gateway's processes, the database server's, the load "
        "client's; client share: of one core; others: of all cores, used by neither of them"
    )
    return table


def _compared_table(scale: Scale, measured: Measured) -> Table:
    table = Table(title="Held against the uniform mix on a ledger that began empty")
    for column in (
        "",
        "in flight",
        "uniform/s",
        "hot wallet",
        "hot merchant",
        "strangers",
        "own keys",
        "full ledger",
    ):
        table.add_column(column, justify="left" if not column else "right")
    for target in measured.main_targets:
        for in_flight in scale.compared_at:
            cells = [cell for cell in measured.cells if cell.in_flight == in_flight]
            uniform = _of(cells, Block.COMPARED, target, in_flight)
            ratios = [figures.mix_vs_uniform(cells, target, mix) for mix in _OTHER_MIXES]
            table.add_row(
                LABELS[target][0],
                str(in_flight),
                f"{_median(uniform, lambda cell: cell.per_s):,.0f}",
                *map(_ratio_text, [*ratios, figures.preloaded_vs_empty(cells, target)]),
            )
    table.caption = (
        f"full ledger: {scale.preloaded_count:,} payments; strangers: nobody has paid here before; own keys: "
        "requests signed by ES256 instead of under a session"
    )
    return table


def _overload_table(measured: Measured) -> Table:
    table = Table(title=f"Offered {OVERLOAD} times the peak, nothing sent twice")
    for column in ("", "peak/s", "offered/s", "approved/s", "of peak", "refused/s", "refused after p99 ms"):
        table.add_column(column, justify="left" if not column else "right")
    for target in measured.main_targets:
        rows = [cell for cell in measured.cells if (cell.block, cell.target) == (Block.OVERLOAD, target)]
        table.add_row(
            LABELS[target][0],
            f"{figures.peak_of(measured.cells, target):,.0f}",
            f"{_median(rows, lambda cell: cell.result.offered_per_s):,.0f}",
            f"{_median(rows, lambda cell: cell.per_s):,.0f}",
            _ratio_text(figures.goodput_vs_peak(measured.cells, target)),
            f"{_median(rows, lambda cell: cell.result.refused_per_s):,.0f}",
            f"{_median(rows, lambda cell: cell.result.refusal.p99_ms):,.1f}",
        )
    return table


def _client_line(cells: Sequence[Cell]) -> str:
    ceiling = figures.peak_of(cells, RAW)
    shares = [
        cell.result.client_cpu_share for cell in cells if cell.target.startswith(("sqlite", "postgres"))
    ]
    payment, noop = (_answer_bytes(cells, prefix) for prefix in (("sqlite", "postgres"), ("noop",)))
    return (
        f"How light the client is: against a responder that does nothing it reaches {ceiling:,.0f}/s; in the "
        f"payment cells it used {statistics.median(shares):.0%} of one core (at most {max(shares):.0%}). An "
        f"answer has {payment} bytes, the no-op handler's {noop}."
    )


def _answer_bytes(cells: Sequence[Cell], prefixes: tuple[str, ...]) -> int:
    return int(
        statistics.median(cell.result.answer_bytes for cell in cells if cell.target.startswith(prefixes))
    )


def _figures_table(found: figures.Figures) -> Table:
    table = Table(title="Figures")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in found.items():
        table.add_row(name, "-" if value is None else f"{value:,}")
    return table


def _of(cells: Iterable[Cell], block: Block, target: str, in_flight: int) -> list[Cell]:
    return [
        cell
        for cell in cells
        if (cell.block, cell.target, cell.mix, cell.in_flight) == (block, target, Mix.UNIFORM, in_flight)
    ]


def _median(cells: Sequence[Cell], value: Callable[[Cell], float]) -> float:
    return statistics.median(map(value, cells)) if cells else float("nan")


def _ratio_text(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
