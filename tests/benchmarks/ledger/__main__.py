"""`make bench`: payments a second, next to what limits them, in one run on one machine.

    python -m tests.benchmarks.ledger

    BENCH_QUICK=1        a minute in all: the same figures, roughly
    BENCH_STORES=sqlite  leaves PostgreSQL, and every figure that needs it, out
    BENCH_SAVE=1         also writes docs/bench.json and docs/bench.svg

Ledgers of five million payments are made on the first run and kept under var/bench/. The report goes to
standard output, its last line one JSON object; progress goes to standard error.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks.ledger.figures import make_figures
from tests.benchmarks.ledger.machine import describe_machine, describe_versions
from tests.benchmarks.ledger.preload import Advance
from tests.benchmarks.ledger.processes import ROOT
from tests.benchmarks.ledger.report import make_document, make_picture, show_report
from tests.benchmarks.ledger.scale import FULL, QUICK, Scale
from tests.benchmarks.ledger.schedule import measure_all
from tests.benchmarks.ledger.targets import STORES

CACHE: Final = ROOT / "var" / "bench"
REPORT_COLUMNS: Final = 120
OPEN_FILES: Final = 8_192
"""Room for the connections of the overload; a service has more (docs/operations.md)."""


def main() -> None:
    """Measure everything, print it, and write it down."""
    scale = QUICK if os.environ.get("BENCH_QUICK") else FULL
    stores = _chosen_stores()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    _allow_open_files()
    console = Console() if sys.stdout.isatty() else Console(width=REPORT_COLUMNS)
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    try:
        _run(scale, stores, folder, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(scale: Scale, stores: Sequence[str], folder: Path, console: Console) -> None:
    started_s = time.monotonic()
    machine, versions = describe_machine(folder), describe_versions()
    with _progress() as progress:
        task = progress.add_task("begin", total=None)

        def watch(what: str, total: int) -> Advance:
            if not progress.console.is_terminal:
                progress.console.print(f"{time.monotonic() - started_s:7.1f} s  {what}")
            progress.reset(task, description=what, total=total if total > 1 else None)
            return lambda steps: progress.advance(task, steps)

        measured = measure_all(scale, stores, folder, CACHE, watch)
    found = make_figures(
        measured.cells, measured.main_targets, measured.pgbench_tps, measured.pgbench_prepared_tps
    )
    show_report(console, scale, measured, found)
    document = make_document(scale, measured, found, machine, versions)
    subtitle = f"{machine['processor']}, {machine['cores']} cores; client, database and gateway share them"
    picture = make_picture(scale, measured, subtitle)
    for target in (CACHE, *([ROOT / "docs"] if os.environ.get("BENCH_SAVE") else [])):
        (target / "bench.json").write_bytes(document)
        (target / "bench.svg").write_text(picture)
        console.print(f"written: {target.relative_to(ROOT)}/bench.json, bench.svg")
    print(json.dumps(found), flush=True)  # noqa: T201  the last line is for programs


def _chosen_stores() -> list[str]:
    chosen = os.environ.get("BENCH_STORES", ",".join(STORES)).split(",")
    if not set(chosen) <= set(STORES):
        raise SystemExit(f"BENCH_STORES is one or more of {', '.join(STORES)}")
    return chosen


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, OPEN_FILES) if hard == resource.RLIM_INFINITY else max(soft, min(hard, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
