"""Sales go on while readers and scanners fail; a few of the thousand faults of `make faults-readers`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.faults.reader_figures import dump_figures
from tests.acceptance.faults.reader_soak import Seen, count_resources, open_soak
from wire.messages.till import SaleState

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]
SEED = 20_261_129
FAULTS = 20
SPARE_THREADS_MAX = 6
"""What a driver starts and ends by itself may be under way at either count."""


async def test_after_every_fault_readers_are_healthy_and_off_and_the_till_said_what_was_booked(
    tmp_path: Path,
) -> None:
    seen: list[Seen] = []
    async with open_soak(tmp_path, SEED) as soak:
        before = count_resources(soak)
        await soak.run(FAULTS, seen.append)
        differences = await soak.compare_books()
        after = count_resources(soak)
    assert [one.violations for one in seen if one.violations] == []
    assert differences == []
    figures = dump_figures(seen, differences)
    assert figures["faults"] == FAULTS
    assert {one.state for one in seen} <= {SaleState.APPROVED, SaleState.CANCELLED}
    assert figures["approved"] >= FAULTS // 2
    # Some of the faults are felt by the device itself, and each of these was timed.
    assert figures["called_faulty"] >= 2
    assert figures["recovery_ms"]["max"] > 0
    assert after["threads"] <= before["threads"] + SPARE_THREADS_MAX
