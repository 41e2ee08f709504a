"""The bench of a payment's cost still runs: nobody runs it between two changes, and a rule once ended it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import gateway_cost


async def test_every_line_of_a_payments_cost_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_cost, "BATCHES", 1)
    cost = await gateway_cost.measure_gateway_cost(tmp_path)
    assert cost.lines_us["verify the request's ES256 signature"] > 0
    assert cost.process_us_per_payment > 0
    assert cost.sequential_payments_per_s > 0
