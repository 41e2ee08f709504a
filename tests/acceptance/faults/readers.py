"""Many faults of readers, scanners and what is held to them, from a seed; the last line says what was seen.

    python -m tests.acceptance.faults.readers

N is how many (1,000 if not given); SEED repeats a run, as far as a machine under load repeats anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from simulators.fields.private_pcscd import find_missing
from tests.acceptance.faults.reader_figures import dump_figures, dump_table
from tests.acceptance.faults.reader_soak import Seen, count_resources, open_soak

COUNT: Final = 1_000
SAY_EVERY: Final = 50


def main(env: Mapping[str, str]) -> int:
    """Run the soak and return the exit status."""
    seed = int(env.get("SEED") or time.time_ns() % 1_000_000)
    count = int(env.get("N") or COUNT)
    _say(f"seed {seed}, {count} faults")
    if find_missing():
        _say(f"without PC/SC: {', '.join(find_missing())}")
    with tempfile.TemporaryDirectory(prefix="tapscan-faults-") as folder:
        return asyncio.run(_run(Path(folder), seed, count))


async def _run(folder: Path, seed: int, count: int) -> int:
    started = time.monotonic()

    def tell(seen: Seen) -> None:
        for violation in seen.violations:
            _say(f"VIOLATION {seen.fault} on {seen.kind}: {violation}")
        if os.environ.get("VERBOSE"):
            _say(str(seen))
        if (seen.number + 1) % SAY_EVERY == 0:
            _say(f"{seen.number + 1} faults, {time.monotonic() - started:.0f} s")

    async with open_soak(folder, seed) as soak:
        before = count_resources(soak)
        seen = await soak.run(count, tell)
        violations = [one for fault in seen for one in fault.violations] + await soak.compare_books()
        after = count_resources(soak)
    for violation in violations:
        _say(f"VIOLATION {violation}")
    _say(dump_table(seen))
    figures = dump_figures(seen, violations)
    lasted_s = round(time.monotonic() - started)
    _say(json.dumps({"seed": seed, "seconds": lasted_s, **figures, "before": before, "after": after}))
    return 1 if violations else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(os.environ))
