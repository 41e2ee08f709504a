"""Both stores behind one door, and the words of the independent model turned into the gateway's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.ledger.model import GroupPurpose, Transfer, TransferGroup, TransferKind
from simulators.auditor.ledger import Group, Leg
from tests.databases import Database

OpenBook = Callable[[], Awaitable[Any]]


@pytest.fixture
def open_book(database: Database) -> OpenBook:
    """Opens one and the same ledger, as often as it is called; whoever opened it closes it."""
    return database.open_store


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
