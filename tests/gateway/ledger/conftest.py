"""Both stores behind one door, and the words of the independent model turned into the gateway's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.ledger.model import GroupPurpose, Transfer, TransferGroup, TransferKind
from gateway.storage.sqlite.store import SqliteStore, open_sqlite_store
from simulators.auditor.ledger import Group, Leg

OpenBook = Callable[[], Awaitable[SqliteStore]]


@pytest.fixture(params=["sqlite"])
def open_book(request: pytest.FixtureRequest, tmp_path: Path) -> OpenBook:
    """Opens one and the same ledger, as often as it is called; whoever opened it closes it."""
    openers = {"sqlite": lambda: open_sqlite_store(tmp_path / "ledger.sqlite3")}
    return openers[request.param]


@pytest.fixture(scope="session")
def transfer_group() -> Callable[[Group], TransferGroup]:
    """Turns a group of the model into one that a ledger books."""
    return lambda group: TransferGroup(
        tuple(transfer_of(leg) for leg in group.legs), GroupPurpose(group.purpose)
    )


def transfer_of(leg: Leg) -> Transfer:
    return Transfer(
        transfer_id=leg.transfer_id,
        kind=TransferKind(leg.kind),
        debit_account_id=leg.debit_account_id,
        credit_account_id=leg.credit_account_id,
        amount_minor=leg.amount_minor,
        currency=leg.currency,
        pending_id=leg.pending_id,
        expires_ms=leg.expires_ms,
    )
