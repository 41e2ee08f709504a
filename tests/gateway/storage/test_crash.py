"""Kill -9 in the middle of the work: what was answered is there, and the books are whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.audit import audit
from gateway.storage.sqlite.store import open_sqlite_store

if TYPE_CHECKING:
    from tests.conftest import Shop

CRASHES = 3
ANSWERS_PER_CRASH = 150
NUMBERS_PER_CRASH = 100_000
CHILD = Path(__file__).with_name("crashing_gateway.py")


def pay_until_killed(path: Path, first_number: int) -> list[int]:
    """Start a process that pays, kill it after some answers, and return what it had answered."""
    command = [sys.executable, str(CHILD), str(path), str(first_number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        answered = [child.stdout.readline() for _ in range(ANSWERS_PER_CRASH)]
        child.send_signal(signal.SIGKILL)
        # It wrote on between the last line read and the signal; a line cut short was not told.
        answered += [line for line in child.stdout if line.endswith("\n")]
    assert child.returncode == -signal.SIGKILL
    assert all(line.endswith(" approved\n") for line in answered), answered[:3]
    return [int(line.split()[0]) for line in answered]


@pytest.mark.processes
async def test_answered_payments_survive_kill_and_the_books_are_whole(tmp_path: Path, shop: Shop) -> None:
    path = tmp_path / "store.sqlite3"
    answered: list[int] = []
    for crash in range(CRASHES):
        answered += pay_until_killed(path, crash * NUMBERS_PER_CRASH)
        report = audit(path)
        assert report.first_break is None
        assert report.payment_count >= len(answered)
    store = await open_sqlite_store(path)
    for number in answered:
        record = await store.find_payment_by_attempt("TERMNA01", shop.booking(number).attempt_id)
        assert record is not None
        assert record.outcome == "approved"
    found = await store.find_wallet("WALLET1")
    assert found is not None
    assert found.available_minor == shop.funds_minor - report.payment_count
    await store.close()
