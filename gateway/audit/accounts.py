"""Every account's counters as the transfers make them, in about 250 bytes an account."""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from gateway.audit.codes import BreakCode
from gateway.audit.report import Broken
from gateway.ledger.model import ID_BYTES, AccountKind
from gateway.storage.audit_source import AccountRow

KINDS: Final = frozenset(AccountKind)
CURRENCY_CHARS: Final = 3


class AccountTable:
    """Accounts by a small number each, and their counters in columns of 64 bits.

    What is stored in the counters is not kept: it is read a second time and compared at the end.
    """

    def __init__(self) -> None:
        self.index_of: dict[bytes, int] = {}
        self.currencies: list[str] = []
        self.kinds: list[str] = []
        self.may_not_be_negative = bytearray()
        self.debits_pending = array("q")
        self.debits_posted = array("q")
        self.credits_pending = array("q")
        self.credits_posted = array("q")

    def __len__(self) -> int:
        return len(self.index_of)

    def load(self, rows: Iterator[AccountRow]) -> None:
        """Take all accounts, with nothing booked yet.

        Raises:
            Broken: a row is no account.
        """
        for account_id, kind, currency, may_not_be_negative, *_ in rows:
            is_account = len(account_id) == ID_BYTES and kind in KINDS and len(currency) == CURRENCY_CHARS
            if not is_account or may_not_be_negative not in (0, 1):
                raise Broken(BreakCode.ROW_UNREADABLE, f"account {account_id.hex()}")
            self.index_of[account_id] = len(self.index_of)
            # One text for all accounts of a currency or kind, instead of one each.
            self.currencies.append(sys.intern(currency))
            self.kinds.append(sys.intern(kind))
            self.may_not_be_negative.append(may_not_be_negative)
        nothing = bytes(array("q").itemsize * len(self))
        for counters in self._columns():
            counters.frombytes(nothing)

    def move(self, debit: int, credit: int, pending_minor: int, posted_minor: int) -> bool:
        """Count a transfer on both sides, and say whether the debit side may be as it then is.

        Args:
            debit: the number of the account that is debited, and `credit` that of the other.
            pending_minor: what is newly held; negative where a hold ends.
            posted_minor: what moves.
        """
        if pending_minor:
            self.debits_pending[debit] += pending_minor
            self.credits_pending[credit] += pending_minor
        self.debits_posted[debit] = taken_minor = self.debits_posted[debit] + posted_minor
        self.credits_posted[credit] += posted_minor
        if not self.may_not_be_negative[debit]:
            return True
        return taken_minor + self.debits_pending[debit] <= self.credits_posted[debit]

    def available_minor(self, account_id: bytes | None) -> int:
        """Return what an account has, less what is held of it; 0 of one that there is not."""
        index = self.index_of.get(account_id or b"")
        if index is None:
            return 0
        return self.credits_posted[index] - self.debits_posted[index] - self.debits_pending[index]

    def check_counters(self, rows: Iterator[AccountRow]) -> None:
        """See that the stored counters balance in each currency, and are what the transfers add up to.

        Raises:
            Broken: they do not, or are not.
        """
        pending_minor: dict[str, int] = defaultdict(int)
        posted_minor: dict[str, int] = defaultdict(int)
        first_different: bytes | None = None
        for row, *computed in zip(rows, *self._columns(), strict=True):
            account_id, _, currency, _, *stored = row
            debits_pending, debits_posted, credits_pending, credits_posted = stored
            pending_minor[currency] += debits_pending - credits_pending
            posted_minor[currency] += debits_posted - credits_posted
            if first_different is None and stored != computed:
                first_different = account_id
        for currency in posted_minor:
            if posted_minor[currency] or pending_minor[currency]:
                raise Broken(BreakCode.DEBITS_DIFFER_FROM_CREDITS, f"currency {currency}")
        if first_different is not None:
            raise Broken(BreakCode.COUNTERS_DIFFER, f"account {first_different.hex()}")

    def _columns(self) -> tuple[array[int], array[int], array[int], array[int]]:
        return self.debits_pending, self.debits_posted, self.credits_pending, self.credits_posted
