"""What became of payments, as it is stored: each with its steps and refunds, and what these have to move."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from simulators.auditor.model.ledger import Leg
from simulators.auditor.states import CHARGES, OPEN, STATE_OF_OUTCOME

PAYERS_MAX: Final = 3
"""Of a payment accepted without a connection: its allowance, the wallet, the operator."""


@dataclass(frozen=True, slots=True)
class StoredPayment:
    """A decided attempt."""

    payment_id: str
    attempt_id: str
    terminal_id: str
    merchant_id: str
    order_id: str
    amount_minor: int
    currency: str
    instrument_id: str | None
    decline_code: str | None
    """None if it was not declined."""
    receipt_number: int | None
    group_sequence: int | None
    decided_ms: int
    outcome: str = "approved"
    tip_max_minor: int = 0
    fee_minor: int = 0

    @property
    def approved(self) -> bool:
        """Say whether it was charged at once."""
        return self.outcome == "approved"

    @property
    def taken(self) -> bool:
        """Say whether it moved or held money when it was decided."""
        return self.outcome != "declined"


@dataclass(frozen=True, slots=True)
class StoredStep:
    """What happened to a payment after its decision."""

    payment_id: str
    step_index: int
    step: str
    state: str
    charged_minor: int
    tip_minor: int
    fee_minor: int
    order_released_minor: int
    day_released_minor: int
    receipt_number: int | None
    group_sequence: int | None
    due_ms: int | None


@dataclass(frozen=True, slots=True)
class StoredRefund:
    """Money given back of a payment."""

    refund_id: str
    payment_id: str
    amount_minor: int
    total_minor: int
    fee_minor: int
    group_sequence: int


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """What a terminal accepted without a connection, and which payment it became."""

    payment_id: str
    outcome: str
    """`settled` or `declined`."""
    amount_minor: int
    loss_minor: int
    allowance_account_id: bytes | None


@dataclass(frozen=True, slots=True)
class Move:
    """A row that names a group, and what that group must move."""

    row: str
    """`payment`, `step` or `refund`."""
    group_sequence: int
    kind: str
    """Of its main leg."""
    amount_minor: int
    fee_minor: int
    currency: str
    gives_back: bool
    where: str
    offline: bool = False
    """Accepted without a connection: up to three payers share the amount."""
    lost_minor: int = 0
    """The operator's part of it."""

    def fits(self, legs: tuple[Leg, ...]) -> bool:
        """Say whether legs are this: the amount, and its fee behind it, or before it where both go back."""
        count = 1 if self.fee_minor else 0
        if self.gives_back:
            fees, parts = legs[:count], legs[count:]
        else:
            parts, fees = legs[: len(legs) - count], legs[len(legs) - count :]
        merchants = {self._merchant_of(leg) for leg in parts}
        if len(merchants) != 1 or not self._are_parts([leg.amount_minor for leg in parts]):
            return False
        is_right_kind = all((leg.kind, leg.currency) == (self.kind, self.currency) for leg in parts)
        # A fee goes the other way than its amount.
        between = [
            (leg.kind, leg.amount_minor, leg.credit_account_id if self.gives_back else leg.debit_account_id)
            for leg in fees
        ]
        return is_right_kind and between == [("single", self.fee_minor, *merchants)][:count]

    def _merchant_of(self, leg: Leg) -> bytes:
        return leg.debit_account_id if self.gives_back else leg.credit_account_id

    def _are_parts(self, amounts: list[int]) -> bool:
        if self.gives_back or not self.offline:
            # What the operator lost is given back to it before the payer gets anything.
            lost_minor = self.lost_minor if self.gives_back else 0
            return amounts == [part for part in (lost_minor, self.amount_minor - lost_minor) if part]
        ends_in_loss = not self.lost_minor or amounts[-1] == self.lost_minor
        return sum(amounts) == self.amount_minor and len(amounts) <= PAYERS_MAX and ends_in_loss


@dataclass(frozen=True, slots=True)
class History:
    """One payment, its steps by their numbers, its refunds by their totals."""

    payment: StoredPayment
    steps: tuple[StoredStep, ...] = ()
    refunds: tuple[StoredRefund, ...] = ()
    record: StoredRecord | None = None
    """What a terminal accepted, if this came from there."""

    @property
    def lost_minor(self) -> int:
        """What the operator paid of it."""
        return self.record.loss_minor if self.record is not None and self.payment.approved else 0

    @property
    def state(self) -> str:
        """Where it stands."""
        return self.steps[-1].state if self.steps else STATE_OF_OUTCOME[self.payment.outcome]

    @property
    def charge(self) -> tuple[int, int, int]:
        """What was charged, the tip in it, and the fee of it; zeros if nothing was."""
        for step in self.steps:
            if step.step in CHARGES:
                return step.charged_minor, step.tip_minor, step.fee_minor
        if self.payment.approved:
            return self.payment.amount_minor, 0, self.payment.fee_minor
        return 0, 0, 0

    @property
    def refunded_minor(self) -> int:
        """What its refunds gave back in all."""
        return sum(refund.amount_minor for refund in self.refunds)

    @property
    def spent_minor(self) -> int:
        """What it is of its instrument's day: what it holds, or what it charged and did not reverse."""
        if self.state in OPEN:
            return self.payment.amount_minor
        return self.charge[0] if self.state == "succeeded" else 0

    @property
    def ordered_minor(self) -> int:
        """What it is of its order: the same without tips."""
        if self.state in OPEN:
            return self.payment.amount_minor - self.payment.tip_max_minor
        return self.charge[0] - self.charge[1] if self.state == "succeeded" else 0

    def moves(self) -> Iterator[Move]:
        """Yield every row that names a group, with what it must have moved."""
        payment = self.payment
        if payment.group_sequence is not None:
            kind = "single" if payment.approved else "pending"
            yield self._move(
                "payment",
                payment.group_sequence,
                kind,
                payment.amount_minor,
                payment.fee_minor,
                lost=self.lost_minor,
            )
        for step in self.steps:
            if step.group_sequence is not None:
                yield self._move_of_step(step, step.group_sequence)
        refunded_minor = 0
        for one in self.refunds:
            yield self._move_back(
                "refund", one.group_sequence, one.amount_minor, one.fee_minor, refunded_minor
            )
            refunded_minor += one.amount_minor

    def receipts(self) -> Iterator[tuple[int, str, int | None]]:
        """Yield the group, merchant and number of each receipt that it should have."""
        merchant_id = self.payment.merchant_id
        if self.payment.approved:
            yield self.payment.group_sequence or 0, merchant_id, self.payment.receipt_number
        for step in self.steps:
            if step.step in CHARGES:
                yield step.group_sequence or 0, merchant_id, step.receipt_number

    def _move_of_step(self, step: StoredStep, group_sequence: int) -> Move:
        if step.step in CHARGES:
            return self._move("step", group_sequence, "post", step.charged_minor, step.fee_minor)
        if step.step != "reversed":
            return self._move("step", group_sequence, "void", self.payment.amount_minor, 0)
        charged_minor, _, fee_minor = self.charge
        rest_minor = charged_minor - self.refunded_minor
        rest_of_fee = fee_minor - sum(refund.fee_minor for refund in self.refunds)
        return self._move_back("step", group_sequence, rest_minor, rest_of_fee, self.refunded_minor)

    def _move_back(self, row: str, group_sequence: int, amount: int, fee: int, refunded_minor: int) -> Move:
        lost = min(amount, max(0, self.lost_minor - refunded_minor))
        return self._move(row, group_sequence, "single", amount, fee, lost=lost, gives_back=True)

    def _move(
        self,
        row: str,
        group_sequence: int,
        kind: str,
        amount: int,
        fee: int,
        *,
        lost: int = 0,
        gives_back: bool = False,
    ) -> Move:
        return Move(
            row,
            group_sequence,
            kind,
            amount,
            fee,
            self.payment.currency,
            gives_back,
            f"payment {self.payment.payment_id}, group {group_sequence}",
            offline=self.record is not None,
            lost_minor=lost,
        )


def histories_of(
    payments: Iterable[StoredPayment],
    steps: Iterable[StoredStep],
    refunds: Iterable[StoredRefund],
    records: Iterable[StoredRecord] = (),
) -> list[History]:
    """Return each payment with its steps and refunds, in order, and the record that it came from."""
    record_of = {record.payment_id: record for record in records}
    steps_of: dict[str, list[StoredStep]] = defaultdict(list)
    refunds_of: dict[str, list[StoredRefund]] = defaultdict(list)
    for step in steps:
        steps_of[step.payment_id].append(step)
    for refund in refunds:
        refunds_of[refund.payment_id].append(refund)
    return [
        History(
            payment,
            tuple(sorted(steps_of[payment.payment_id], key=lambda one: one.step_index)),
            tuple(sorted(refunds_of[payment.payment_id], key=lambda one: one.total_minor)),
            record_of.get(payment.payment_id),
        )
        for payment in payments
    ]
