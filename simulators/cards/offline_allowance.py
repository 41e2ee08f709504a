"""What a device may spend where nobody can be asked: its credential and what it has spent under it."""

from __future__ import annotations

import threading

from wire.money import Money
from wire.tokens.credential import CredentialClaims, parse_credential, read_credential


class AllowanceExceeded(Exception):
    """The amount is above the most of one payment, or would take the running total past the allowance."""


class OfflineAllowance:
    """A credential and its running total; shared by everything that signs with the device's key.

    It stands for the non-volatile memory of the device, as TransactionCounter does: what is added stays
    added, whatever happens to the signature it was added for.
    """

    def __init__(self, credential: bytes, *, spent_minor: int = 0) -> None:
        """Hold a credential of which so much is spent.

        Raises:
            TokenError: it is no credential. Its signature is not verified: the device has no issuer's key.
        """
        self.credential = credential
        self.claims: CredentialClaims = read_credential(parse_credential(credential))
        self._spent_minor = spent_minor
        self._lock = threading.Lock()

    @property
    def spent_minor(self) -> int:
        """The running total, in minor units of the allowance's currency."""
        return self._spent_minor

    def add(self, amount: Money) -> int:
        """Add an amount and return the running total; it is stored before this returns.

        Raises:
            AllowanceExceeded: the limits do not cover it; the running total is as before.
        """
        assert amount.currency == self.claims.allowance.currency, "another currency is refused before"
        with self._lock:
            total_minor = self._spent_minor + amount.minor
            if amount.minor > self.claims.per_payment_minor or total_minor > self.claims.allowance.minor:
                raise AllowanceExceeded
            self._spent_minor = total_minor
            return total_minor

    def copy(self) -> OfflineAllowance:
        """Return what an attacker reads out of the memory: the same credential, the total as it is now."""
        return OfflineAllowance(self.credential, spent_minor=self._spent_minor)
