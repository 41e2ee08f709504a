"""The worst faults with real processes over real sockets, each once here and many times in `make faults`."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.fields.private_pcscd import find_missing
from tests.acceptance.faults.drain import run_drain
from tests.acceptance.faults.gateway_kill import run_gateway_kill
from tests.acceptance.faults.reader_service import AMOUNT_MINOR, run_reader_service

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]
SEED = 20_261_128


async def test_the_offline_queue_drains_through_lost_answers_and_kills_into_one_charge_an_order(
    tmp_path: Path,
) -> None:
    seen = await run_drain(tmp_path, SEED, orders=20, kills=2)
    assert seen["findings"] == []
    assert (seen["charges"], seen["doubled"], seen["missing"]) == (20, 0, 0)
    assert seen["answers_lost"] >= 4
    assert seen["conflicts"] == 0


async def test_a_gateway_killed_at_any_moment_of_an_attempt_charges_what_the_till_says_in_the_end(
    tmp_path: Path,
) -> None:
    seen = await run_gateway_kill(tmp_path, SEED, 6)
    assert seen["findings"] == []
    assert (seen["sales"], seen["doubled"], seen["contradicted"]) == (6, 0, 0)
    # Both ways were gone: a till that got its answer in time, and one that had to find out later.
    assert seen["told_at_once"]["approved"] >= 2
    assert seen["told_at_once"]["unknown"] >= 2


@pytest.mark.pcsc
@pytest.mark.skipif(bool(find_missing()), reason="no private pcscd on this machine")
async def test_pcscd_restarted_during_a_tap_charges_nobody_twice_and_the_reader_heals(
    tmp_path: Path,
) -> None:
    seen = await run_reader_service(tmp_path, SEED, 2)
    assert seen["findings"] == []
    assert (seen["sales"], seen["restarts"]) == (2, 2)
    # The card still lies there when pcscd is back, so the same sale is paid after all: once.
    assert seen["approved"] == seen["charges"] == 2
    assert seen["charged_minor"] == 2 * AMOUNT_MINOR
