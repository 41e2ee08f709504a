"""What was accepted without a connection: who had to pay it, and that what was set aside for it adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from simulators.auditor.books.histories import History, StoredRecord
from simulators.auditor.findings import Finding
from simulators.auditor.model.ledger import Account, Leg

_OUTCOME_OF: Final = {"settled": "approved", "declined": "declined"}


def check_records(histories: Iterable[History], records: Iterable[StoredRecord]) -> Iterator[Finding]:
    """Yield records whose own payment is not what they say it is."""
    payments = {history.payment.payment_id: history.payment for history in histories}
    for record in records:
        payment = payments.get(record.payment_id)
        is_right = (
            payment is not None
            and payment.outcome == _OUTCOME_OF.get(record.outcome)
            and payment.amount_minor == record.amount_minor
            and (record.outcome == "settled" or record.loss_minor == record.amount_minor)
        )
        if not is_right:
            yield Finding("record_differs", record.payment_id)


def check_allowances(
    allowances: Mapping[bytes, tuple[int, str]], accounts: Mapping[bytes, Account]
) -> Iterator[Finding]:
    """Yield allowances that were not set aside once and whole, or left something when they ended."""
    for account_id, (allowance_minor, state) in allowances.items():
        account = accounts.get(account_id)
        is_left = account is not None and state == "ended" and account.available_minor
        if account is None or account.credits_posted != allowance_minor or is_left:
            yield Finding("allowance_differs", account_id.hex())


def must_be_spent(histories: Iterable[History]) -> Callable[[int, Sequence[Leg]], list[bytes]]:
    """Return what tells, of a group and its legs, which accounts must have nothing left once it is booked.

    Of a payment accepted without a connection these are the accounts that come before the last payer: the
    allowance comes first, then the wallet, then the operator.
    """
    allowance_of = {
        history.payment.group_sequence: history.record.allowance_account_id
        for history in histories
        if history.record is not None
    }

    def accounts_of(sequence: int, legs: Sequence[Leg]) -> list[bytes]:
        if sequence not in allowance_of:
            return []
        payers = [leg.debit_account_id for leg in legs if leg.credit_account_id == legs[0].credit_account_id]
        allowance_id = allowance_of[sequence]
        before = payers[:-1]
        if allowance_id is not None and allowance_id not in payers:
            before.append(allowance_id)
        return before

    return accounts_of
