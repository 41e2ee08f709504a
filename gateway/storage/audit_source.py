"""What an auditor reads: the books as they are stored, in order, row by row, from one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gateway.ledger.model import Account, PendingState, TransferGroup


@dataclass(frozen=True, slots=True)
class GroupPayment:
    """The payment a group is said to belong to, with the accounts it should have moved money between."""

    payment_id: str
    outcome: str
    amount_minor: int
    currency: str
    wallet_account_id: bytes | None
    merchant_account_id: bytes


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A booked group with its seal."""

    sequence: int
    booked_ms: int
    leg_count: int
    hash: bytes
    group: TransferGroup
    payment: GroupPayment | None


@dataclass(frozen=True, slots=True)
class StoredPending:
    """What is stored about a pending transfer."""

    transfer_id: bytes
    state: PendingState


class UnreadableRow(Exception):
    """A row holds what no booking could have written; the text says where."""


class AuditSource(Protocol):
    """One consistent snapshot of the books; every iterator streams.

    Iterators raise UnreadableRow, and StoreUnavailable when the file itself is damaged.
    """

    def count_groups(self) -> int:
        """Return how many groups are stored."""

    def groups(self) -> Iterator[StoredGroup]:
        """Yield all groups by sequence."""

    def accounts(self) -> Iterator[Account]:
        """Yield all accounts with their stored counters."""

    def pendings(self) -> Iterator[StoredPending]:
        """Yield all pending transfers with their stored states."""

    def count_approved_payments(self) -> int:
        """Return how many payments are stored as approved."""

    def find_derived_break(self) -> tuple[str, str] | None:
        """Return code and place of the first total that its payments do not add up to, or None.

        Totals are what is stored beside the payments to guard them: orders (`order_total_differs`), an
        instrument's days (`day_total_differs`) and receipt numbers (`receipt_count_differs`); and
        approved payments whose group is missing (`payment_without_group`).
        """
