"""Every allowance was set aside once, for a credential, and what was left of it went back when that ended.

Credentials are kept in memory, one for each account of an allowance that the table of accounts holds anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gateway.audit.accounts import AccountTable
from gateway.audit.codes import BreakCode
from gateway.audit.report import Broken
from gateway.ledger.model import ID_BYTES
from gateway.storage.audit_source import AuditSource, TransferRow

_SET_ASIDE: Final = b"tapscan allowance reserve\0"
_GIVEN_BACK: Final = b"tapscan allowance give back\0"
_ENDED: Final = "ended"


@dataclass(slots=True)
class _Allowance:
    """A credential's money, as the walk knows it."""

    credential_id: str
    wallet_account_id: bytes | None
    allowance_minor: int
    is_ended: bool
    is_set_aside: bool = False


class Allowances:
    """Holds the groups that set money aside, and give it back, against the credentials."""

    def __init__(self, source: AuditSource, accounts: AccountTable) -> None:
        self._accounts = accounts
        self._of_account = {
            account_id: _Allowance(credential_id, wallet_account_id, allowance_minor, state == _ENDED)
            for account_id, credential_id, wallet_account_id, allowance_minor, state in source.credentials()
        }

    def check_group(self, sequence: int, legs: list[TransferRow]) -> None:
        """See that a group sets aside what a credential is for, or gives back all that is left of it.

        Raises:
            Broken: it does neither.
        """
        debit_id, credit_id = legs[0][4:6]
        aside = self._of_account.get(credit_id)
        back = self._of_account.get(debit_id)
        is_right = len(legs) == 1 and (
            (aside is not None and self._is_set_aside(legs[0], aside))
            or (back is not None and self._is_given_back(legs[0], back))
        )
        if not is_right:
            raise Broken(BreakCode.ALLOWANCE_DIFFERS_FROM_GROUP, f"group {sequence}")

    def check_all(self) -> None:
        """See, after the last group, that all were set aside, and nothing is left of those that ended.

        Raises:
            Broken: one was not, or something is.
        """
        for account_id, allowance in self._of_account.items():
            if not allowance.is_set_aside:
                raise Broken(BreakCode.CREDENTIAL_WITHOUT_GROUP, f"credential {allowance.credential_id}")
            if allowance.is_ended and self._accounts.available_minor(account_id):
                raise Broken(BreakCode.ALLOWANCE_LEFT, f"credential {allowance.credential_id}")

    def _is_set_aside(self, leg: TransferRow, allowance: _Allowance) -> bool:
        was_set_aside, allowance.is_set_aside = allowance.is_set_aside, True
        wanted = (_id_of(_SET_ASIDE, allowance), "single", allowance.wallet_account_id)
        return not was_set_aside and leg[2:5] == wanted and leg[6] == allowance.allowance_minor

    def _is_given_back(self, leg: TransferRow, allowance: _Allowance) -> bool:
        transfer_id, kind, debit_id, credit_id, amount_minor = leg[2:7]
        return (
            allowance.is_ended
            and (transfer_id, kind) == (_id_of(_GIVEN_BACK, allowance), "single")
            and credit_id == allowance.wallet_account_id
            and amount_minor == self._accounts.available_minor(debit_id)
        )


def _id_of(use: bytes, allowance: _Allowance) -> bytes:
    return sha256(use + allowance.credential_id.encode("ascii")).digest()[:ID_BYTES]
