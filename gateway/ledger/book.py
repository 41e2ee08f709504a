"""The contract of a ledger's book; every store that keeps one is held to it by tests/contract/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from gateway.ledger.model import Account, TransferGroup
from gateway.ledger.outcomes import GroupOutcome

GROUPS_PER_CALL_MAX: Final = 1_024
EXPIRIES_PER_BOOKING_MAX: Final = 64
"""How many due holds one booking lets go at most; the rest waits for the next or for the sweep."""


class LedgerBook(Protocol):
    """Accounts and groups; durable when a call returns."""

    async def open_account(self, account: Account, now_ms: int) -> None:
        """Open an account with all counters zero; IdempotencyConflict if its id is taken."""

    async def find_account(self, account_id: bytes) -> Account | None:
        """Return an account as it stands, or None."""

    async def set_account_frozen(self, account_id: bytes, frozen: bool) -> None:
        """Freeze or unfreeze; NotFound if there is none. Repeatable."""

    async def book(self, groups: Sequence[TransferGroup], now_ms: int) -> list[GroupOutcome]:
        """Book groups in order in one transaction, each all or nothing, and answer each.

        Holds that are due at `now_ms` are let go first. A repeat of a booked group changes nothing.
        """

    async def expire_pendings(self, now_ms: int) -> int:
        """Let go of up to EXPIRIES_PER_BOOKING_MAX due holds; return how many it were."""
