"""Money that comes from outside into a wallet: what is booked, and what the ledger's answer means."""

from __future__ import annotations

from gateway.errors import IdempotencyConflict
from gateway.holders.model import Wallet
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind, GroupPurpose, Transfer, TransferGroup, TransferKind
from gateway.ledger.outcomes import Outcome
from wire.errors import MoneyError


def funding_of(wallet: Wallet, transfer_id: bytes, amount_minor: int) -> TransferGroup:
    """Return the group that moves an amount from outside into a wallet."""
    leg = Transfer(
        transfer_id=transfer_id,
        kind=TransferKind.SINGLE,
        debit_account_id=operator_account_id(AccountKind.OUTSIDE, wallet.currency),
        credit_account_id=wallet.account_id,
        amount_minor=amount_minor,
        currency=wallet.currency,
    )
    return TransferGroup((leg,), GroupPurpose.FUNDING)


def check_funded(outcome: Outcome) -> None:
    """Return if the wallet is funded, now or since before.

    Raises:
        IdempotencyConflict: the transfer id was used for something else.
        MoneyError: the amount is none, negative, or more than the ledger can count.
    """
    if outcome.is_booked:
        return
    if Outcome.EXISTS_WITH_DIFFERENT_KIND <= outcome <= Outcome.EXISTS_IN_DIFFERENT_GROUP:
        raise IdempotencyConflict("the transfer id was used for something else")
    # What is left for funding are amounts.
    raise MoneyError(f"the ledger answers {outcome.name.lower()}")
