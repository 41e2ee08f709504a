"""Every crash scenario, one after another; the last line is what they saw together, as JSON.

    CRASH_CYCLES=50 python -m tests.acceptance.crash [SCENARIO ...]

CRASH_SEED repeats a run, as far as a machine under load repeats anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.acceptance.crash.campaign import SCENARIOS, run_campaign

CYCLES = 50


def main(names: list[str]) -> int:
    """Run the scenarios of these names, or all, and return the exit status."""
    cycles = int(os.environ.get("CRASH_CYCLES", CYCLES))
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
    _say(f"seed {seed}, {cycles} cycles each")
    sums: Counter[str] = Counter()
    broken: dict[str, object] = {}
    for name in names or SCENARIOS:
        with tempfile.TemporaryDirectory(prefix="tapscan-crash-") as folder:
            outcome = asyncio.run(run_campaign(SCENARIOS[name], cycles, seed, Path(folder)))
        record = outcome.record()
        _say(json.dumps({"scenario": name, **record}))
        for finding in outcome.findings:
            _say(f"    {finding.code}: {finding.where}")
        if record.pop("audit") != "ok":
            broken[name] = sorted({finding.code for finding in outcome.findings})
        sums.update(record)
    _say(json.dumps({**sums, "audit": broken or "ok"}))
    return 1 if broken or sums["lost"] or sums["doubled"] else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
