"""What an audit keeps does not grow with what was booked: the figures for millions are the benchmark's."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from gateway.audit import audit
from tests.benchmarks.audit_scale import write_ledger

FEW_TRANSFERS, MANY_TRANSFERS = 1_000, 9_000
WALLETS = 50
BYTES_PER_TRANSFER_MAX = 1
"""A pointer kept per transfer, payment, order or ended hold would be eight, and what it points to more."""


def peak_of_audit(path: Path, transfers: int) -> int:
    write_ledger(path, transfers, wallet_count=WALLETS)
    tracemalloc.start()
    try:
        report = audit(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert report.first_break is None
        assert report.transfer_count >= transfers


def test_memory_does_not_grow_with_payments_or_ended_holds(tmp_path: Path) -> None:
    # What is loaded once (modules, statements) is loaded before the two that are compared.
    peak_of_audit(tmp_path / "first.sqlite3", 100)
    few_bytes = peak_of_audit(tmp_path / "few.sqlite3", FEW_TRANSFERS)
    many_bytes = peak_of_audit(tmp_path / "many.sqlite3", MANY_TRANSFERS)
    grown_bytes = many_bytes - few_bytes
    assert grown_bytes < (MANY_TRANSFERS - FEW_TRANSFERS) * BYTES_PER_TRANSFER_MAX
