"""The names a ledger answers with, and the numbers that are their precedence, spelt out once more.

Where several apply to one leg, the lowest number is the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "booked": 0,
        "exists": 1,
        "amount_must_be_positive": 10,
        "amount_too_large": 11,
        "accounts_must_differ": 12,
        "id_repeated_in_group": 13,
        "exists_with_different_kind": 20,
        "exists_with_different_accounts": 21,
        "exists_with_different_amount": 22,
        "exists_with_different_currency": 23,
        "exists_with_different_pending": 24,
        "exists_with_different_expiry": 25,
        "exists_in_different_group": 26,
        "expiry_has_passed": 30,
        "pending_not_found": 31,
        "pending_has_different_accounts": 32,
        "pending_has_different_currency": 33,
        "exceeds_pending": 34,
        "pending_has_different_amount": 35,
        "pending_already_posted": 36,
        "pending_already_voided": 37,
        "pending_expired": 38,
        "pending_not_expired": 39,
        "account_not_found": 40,
        "account_frozen": 41,
        "currency_mismatch": 42,
        "counter_out_of_range": 43,
        "insufficient_funds": 44,
        "linked_failed": 60,
    }
)


def first_of(faults: Collection[str]) -> str | None:
    """Return the fault that is answered, or None if there is none."""
    return min(faults, key=NUMBERS.__getitem__, default=None)
