"""The words of the auditor's model, said in the gateway's."""

from __future__ import annotations

from gateway.ledger.model import GroupPurpose, Transfer, TransferGroup, TransferKind
from gateway.ledger.outcomes import GroupOutcome
from simulators.auditor.model.ledger import Group, Leg


def group_of(group: Group) -> TransferGroup:
    """Return a group as a ledger books it."""
    return TransferGroup(tuple(map(_transfer_of, group.legs)), GroupPurpose(group.purpose))


def names_of(answer: GroupOutcome) -> tuple[str, ...]:
    """Return a ledger's answer as the model gives it."""
    return tuple(leg.name.lower() for leg in answer.legs)


def _transfer_of(leg: Leg) -> Transfer:
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
