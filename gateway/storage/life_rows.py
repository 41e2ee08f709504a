"""What a change of a payment reads and writes, between rows and values; the same in every store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.errors import NotFound
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import AccountKind
from gateway.payments.life import Capture, PaymentChange, Refund, Reverse, Void
from gateway.payments.life_changes import LifeFacts, RefundRecord, StepChange
from gateway.payments.model import PaymentRecord
from gateway.payments.settlement import Parties, transfer_id_of, utc_day_of
from gateway.payments.states import OPEN
from gateway.storage.records import Row, read_payment, read_refund

Values = Mapping[str, Any]

_ASKED_BY_TERMINALS: Final = (Capture, Void, Reverse, Refund)


def question_of_terminal(change: PaymentChange, now_ms: int) -> tuple[str, Values] | None:
    """Return the query that finds the terminal that asks, with its values; None if no terminal does."""
    if isinstance(change, Refund):
        # What a till refunded that day is added up for a refund only.
        values = {"terminal_id": change.terminal_id, "day": utc_day_of(now_ms), "refund_id": change.refund_id}
        return "find_refunding_terminal", values
    if isinstance(change, _ASKED_BY_TERMINALS):
        return "find_asking_terminal", {"terminal_id": change.terminal_id}
    return None


def read_life_facts(
    change: PaymentChange, payment: Row | None, refunds: Iterable[Row], terminal: Row | None
) -> LifeFacts:
    """Return what is stored about the payment of a change.

    Raises:
        NotFound: there is no such payment, or it is not of the merchant of the terminal that asks.
    """
    if payment is None:
        raise NotFound("there is no such payment")
    is_asked = isinstance(change, _ASKED_BY_TERMINALS)
    if is_asked and (terminal is None or terminal["merchant_id"] != payment["merchant_id"]):
        raise NotFound("there is no such payment of this terminal's merchant")
    record, refunding = read_payment(payment), terminal if isinstance(change, Refund) else None
    return LifeFacts(
        record=record,
        parties=Parties(
            payment["wallet_account_id"] or b"",
            payment["merchant_account_id"],
            operator_account_id(AccountKind.FEES, record.currency),
            operator_account_id(AccountKind.LOSSES, record.currency),
            payment["offline_loss_minor"] or 0,
        ),
        fee_basis_points=payment["fee_basis_points"],
        merchant_receipt_count=payment["receipt_count"],
        capture_id=payment["capture_id"],
        refunds=[read_refund(row) for row in refunds],
        refunded_today_minor=refunding["refunded_today_minor"] if refunding is not None else 0,
        refund_limit_minor=refunding["refund_limit_minor"] if refunding is not None else 0,
        payment_of_refund_id=refunding["payment_of_refund_id"] if refunding is not None else None,
    )


def hold_of(record: PaymentRecord) -> set[bytes]:
    """Return the id of the pending transfer that a payment's change may end; none if it is not open."""
    return {transfer_id_of(record.payment_id, 0)} if record.life.state in OPEN else set()


def statements_of_step(
    record: PaymentRecord, step: StepChange, group_sequence: int
) -> list[tuple[str, Values]]:
    """Return the statements that write a step, in order; each must change exactly one row."""
    values = {
        "payment_id": step.payment_id,
        "step_index": step.step_index,
        "step": step.step.value,
        "state": step.state.value,
        "state_before": step.state_before.value,
        "code": step.code,
        "request_id": step.request_id,
        "charged_minor": step.charged_minor,
        "tip_minor": step.tip_minor,
        "fee_minor": step.fee_minor,
        "order_released_minor": step.order_released_minor,
        "day_released_minor": step.day_released_minor,
        "receipt_number": step.receipt_number,
        "group_sequence": group_sequence if step.is_grouped else None,
        "due_ms": step.due_ms,
        "at_ms": step.at_ms,
        "terminal_id": record.terminal_id,
        "staff_id": step.staff_id,
        "order_id": record.order_id,
        "merchant_id": record.merchant_id,
        "day": utc_day_of(record.decided_ms),
        "instrument_id": record.instrument_id,
    }
    names = ["add_step"]
    if step.state_before in OPEN:
        names.insert(0, "move_open" if step.state in OPEN else "end_open")
    if step.order_released_minor:
        names.append("release_order")
    if step.day_released_minor:
        names.append("release_day")
    if step.receipt_number is not None:
        names.append("take_receipt_number")
    return [(name, values) for name in names]


def values_of_refund(refund: RefundRecord, group_sequence: int) -> Values:
    """Return what add_refund writes."""
    return {
        "refund_id": refund.refund_id,
        "payment_id": refund.payment_id,
        "terminal_id": refund.terminal_id,
        "day": utc_day_of(refund.refunded_ms),
        "amount_minor": refund.amount_minor,
        "total_minor": refund.total_minor,
        "fee_minor": refund.fee_minor,
        "reason": refund.reason,
        "staff_id": refund.staff_id,
        "group_sequence": group_sequence,
        "refunded_ms": refund.refunded_ms,
    }


def values_of_event(record: PaymentRecord, at_ms: int) -> Values:
    """Return what add_terminal_event writes."""
    return {"terminal_id": record.terminal_id, "payment_id": record.payment_id, "at_ms": at_ms}
