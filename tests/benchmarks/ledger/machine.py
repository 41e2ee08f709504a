"""What a figure was measured on: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from tests.benchmarks.ledger.processes import ROOT

SYNCS: Final = 100
PAGE_BYTES: Final = 4_096
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
PACKAGES: Final = ("aiohttp", "uvloop", "msgspec", "cryptography", "asyncpg")


class NoDisk(Exception):
    """Ledgers would be measured in memory."""


def describe_machine(folder: Path) -> dict[str, object]:
    """Return the facts as they go into the report; `folder` is where the ledgers are."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "kernel": platform.release(),
        "filesystem": _filesystem_of(folder),
        "sync_ms": measure_sync_ms(folder),
        "load_average_before": [round(each, 2) for each in os.getloadavg()],
    }


def describe_versions() -> dict[str, object]:
    """Return the versions of what the figures depend on, and the commit."""
    return {
        "commit": _git("rev-parse", "--short", "HEAD"),
        "files_changed_since": len(_git("status", "--porcelain", "--untracked-files=no").splitlines()),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in PACKAGES},
    }


def check_is_a_disk(folder: Path) -> None:
    """Return if what is synced in a folder goes to a disk.

    Raises:
        NoDisk: it stays in memory.
    """
    if (kind := _filesystem_of(folder)) in IN_MEMORY:
        raise NoDisk(f"{folder} is {kind}, where a durable commit means nothing: set TMPDIR")


def measure_sync_ms(folder: Path) -> dict[str, float]:
    """Return how long one appended page takes to be synced to the disk: median and worst of a hundred."""
    path = folder / "sync.probe"
    samples = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        for _ in range(SYNCS):
            os.write(descriptor, bytes(PAGE_BYTES))
            started_s = time.perf_counter()
            os.fdatasync(descriptor)
            samples.append(1000 * (time.perf_counter() - started_s))
    finally:
        os.close(descriptor)
        path.unlink()
    return {"median": round(statistics.median(samples), 2), "worst": round(max(samples), 2)}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _filesystem_of(folder: Path) -> str:
    best = ""
    kind = "unknown"
    for part in psutil.disk_partitions(all=True):
        if str(folder.resolve()).startswith(part.mountpoint) and len(part.mountpoint) >= len(best):
            best, kind = part.mountpoint, part.fstype
    return kind


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip()
