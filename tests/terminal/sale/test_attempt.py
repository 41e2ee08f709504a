"""What a cashier is told of an attempt holds, whatever becomes of the power afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from terminal.disk import FolderDisk
from terminal.errors import GatewayRefused, JournalUnwritable
from terminal.journal.journal import Journal
from terminal.sale.attempt import AttemptOutcome, Refused, Unanswered, run_attempt
from tests.terminal.conftest import make_request
from wire.messages.payments import PaymentAnswer, PaymentRequest


class RefusingGateway:
    """Refuses everything, for good."""

    async def pay(self, request: PaymentRequest, *, deadline_ms: int) -> PaymentAnswer:
        raise GatewayRefused("gateway_busy", retryable=True)


async def attempt(journal: Journal) -> AttemptOutcome:
    return await run_attempt(
        make_request(1),
        journal,
        RefusingGateway(),
        deadline_ms=100,
        now_ms=lambda: 5,
        on_stored=lambda: None,
        run_blocking=asyncio.to_thread,
    )


async def test_refusal_is_on_disk_before_anybody_is_told(tmp_path: Path) -> None:
    assert await attempt(Journal(FolderDisk(tmp_path))) == Refused("gateway_busy")
    after_power_loss = Journal(FolderDisk(tmp_path))
    assert after_power_loss.unresolved() == []
    assert [entry.code for entry in after_power_loss.list()] == ["gateway_busy"]


async def test_refusal_that_cannot_be_stored_is_unknown_because_it_will_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(FolderDisk(tmp_path))

    def fail(*_: object, **__: object) -> None:
        raise JournalUnwritable("the disk is full")

    monkeypatch.setattr(journal, "record_refusal", fail)
    assert await attempt(journal) == Unanswered()
    assert len(journal.unresolved()) == 1
