"""What an auditor reads: the books as they are stored, in order, row by row, from one snapshot.

Rows are plain tuples, because ten million of them pass; their columns are named here, once. Texts are
ordered by their UTF-8 bytes (`COLLATE "C"` where a database has another default), so that an auditor may
merge two of these streams. Nothing here judges: what the rows should say is the auditor's to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeAlias

AccountRow: TypeAlias = tuple[bytes, str, str, int, int, int, int, int]
"""account_id, kind, currency, debits_must_not_exceed_credits (0 or 1), debits_pending, debits_posted,
credits_pending, credits_posted."""

MerchantRow: TypeAlias = tuple[str, bytes, int]
"""merchant_id, account_id, receipt_count."""

GroupRow: TypeAlias = tuple[int, str, int, int, bytes]
"""sequence, purpose, booked_ms, leg_count, hash."""

TransferRow: TypeAlias = tuple[
    int, int, bytes, str, bytes, bytes, int, str, bytes | None, int | None, str | None, int | None
]
"""group_sequence, leg_index, transfer_id, kind, debit_account_id, credit_account_id, amount_minor, currency,
pending_id, expires_ms; then of the row of `pendings` with this transfer's own id: state, expires_ms, which
are None where there is none."""

BookedPaymentRow: TypeAlias = tuple[int, str, str, int, str, bytes | None, str, int | None, int]
"""group_sequence, payment_id, outcome, amount_minor, currency, the account of the wallet of its instrument
(None where the instrument or its wallet is missing), merchant_id, receipt_number, fee_minor."""

BookedStepRow: TypeAlias = tuple[
    int, str, str, int, int, int | None, str | None, bytes | None, str | None, int | None, int, int
]
"""group_sequence, payment_id, step, charged_minor, fee_minor; then of its payment: amount_minor, currency,
the account of the wallet of its instrument, merchant_id (all None where it is missing); then the step's
receipt_number, how much of the payment its refunds returned in all, and how much of it the operator lost."""

BookedRefundRow: TypeAlias = tuple[int, str, str, int, int, str | None, bytes | None, str | None, int, int]
"""group_sequence, payment_id, refund_id, amount_minor, fee_minor; then of its payment, as above: currency,
wallet account, merchant_id; then the refund's total_minor, and how much of its payment the operator lost."""

BookedRecordRow: TypeAlias = tuple[int, str, bytes | None, int]
"""Of an offline record whose payment names a group: that group_sequence, payment_id, the account of its
credential (None where that is missing), loss_minor."""

CredentialRow: TypeAlias = tuple[bytes, str, bytes | None, int, str]
"""account_id, credential_id, the account of the wallet of its instrument (None where one of them is missing),
allowance_minor, state."""

PaymentRow: TypeAlias = tuple[str, str, str, int | None, bool, int, int, int, bool]
"""payment_id, outcome, entry_mode, group_sequence, whether its terminal (one of its merchant's), its
instrument, if it names one, and its entry mode exist, amount_minor, tip_max_minor, fee_minor, is_manual; true
or false may be 1 or 0."""

StepRow: TypeAlias = tuple[
    str, int, str, str, int, int, int, int, int, int | None, int | None, int | None, int, int | None
]
"""payment_id, step_index, step, state, charged_minor, tip_minor, fee_minor, order_released_minor,
day_released_minor, receipt_number, group_sequence, due_ms, at_ms; and where it has no group of its own, when
its payment's hold was over if that is not posted or voided, else None."""

RefundRow: TypeAlias = tuple[str, str, int, int, int, int, int]
"""payment_id, refund_id, day, amount_minor, total_minor, fee_minor, refunded_ms."""

OpenPaymentRow: TypeAlias = tuple[str, str, int, int | None]
"""payment_id, state, due_ms, and when its hold is over, None where it has none."""


class OfflineRecordRow(NamedTuple):
    """An offline record, the payment it became or refers to, and what was told about its place.

    Of the payment everything is None where it is missing. Flags may be 1 or 0.
    """

    terminal_id: str
    sequence: int
    link: bytes
    previous_link: bytes
    sealed: bytes
    attempt_id: str
    outcome: str
    amount_minor: int
    currency: str
    loss_minor: int
    loss_bearer: str | None
    accepted_ms: int
    has_payment: bool
    """Whether the payment is its own."""
    payment_outcome: str | None
    payment_digest: bytes | None
    payment_terminal_id: str | None
    payment_attempt_id: str | None
    payment_amount_minor: int | None
    payment_currency: str | None
    is_gap_told: bool
    """An alarm says that the record before it was missing."""
    is_break_told: bool
    """An alarm of this record, or of the one before it, says that the two do not fit."""


OrderRow: TypeAlias = tuple[str, str, int, int]
"""order_id, merchant_id, taken_minor, amount_minor."""

OrderSumRow: TypeAlias = tuple[str, str, int]
"""order_id, merchant_id, what its payments took of it, less what their steps gave back."""

DayRow: TypeAlias = tuple[int, str, int]
"""day (decided_ms divided by 86,400,000, rounded down), instrument_id, minor units."""


class AuditSource(Protocol):
    """One consistent snapshot of the books; every iterator streams, in memory that does not grow.

    Several iterators are open side by side: transfers, booked payments, steps, refunds and offline records
    beside the groups, steps, refunds, open payments and copied ones beside the payments, and each stored
    total beside what it should be. All of them raise StoreUnavailable when what is stored can't be read,
    which an auditor reports as damage.
    """

    def count_groups(self) -> int:
        """Return how many groups are stored."""

    def accounts(self) -> Iterator[AccountRow]:
        """Yield all accounts by id; asked for twice, in the same order."""

    def merchants(self) -> Iterator[MerchantRow]:
        """Yield all merchants by id; asked for twice."""

    def groups(self) -> Iterator[GroupRow]:
        """Yield all groups by sequence."""

    def transfers(self) -> Iterator[TransferRow]:
        """Yield all transfers by group_sequence and leg_index, also those whose group is missing."""

    def booked_payments(self) -> Iterator[BookedPaymentRow]:
        """Yield all payments that name a group, by group_sequence, whatever their outcome."""

    def booked_steps(self) -> Iterator[BookedStepRow]:
        """Yield all steps that name a group, by group_sequence."""

    def booked_refunds(self) -> Iterator[BookedRefundRow]:
        """Yield all refunds by group_sequence."""

    def booked_records(self) -> Iterator[BookedRecordRow]:
        """Yield all offline records whose own payment names a group, by group_sequence."""

    def credentials(self) -> Iterator[CredentialRow]:
        """Yield all credentials by id."""

    def offline_records(self) -> Iterator[OfflineRecordRow]:
        """Yield all offline records by terminal_id and sequence."""

    def count_pendings(self) -> int:
        """Return how many rows `pendings` has."""

    def payments(self) -> Iterator[PaymentRow]:
        """Yield all payments by id."""

    def steps(self) -> Iterator[StepRow]:
        """Yield all steps by payment_id and step_index."""

    def refunds(self) -> Iterator[RefundRow]:
        """Yield all refunds by payment_id and total_minor."""

    def open_payments(self) -> Iterator[OpenPaymentRow]:
        """Yield all rows of `open_payments` by payment_id."""

    def token_payment_ids(self) -> Iterator[tuple[str]]:
        """Yield the payment_id of every row of `token_uses`, in order."""

    def copied_payment_ids(self) -> Iterator[tuple[str]]:
        """Yield the id of each payment of a settled record whose token another one used, in order."""

    def orders(self) -> Iterator[OrderRow]:
        """Yield all orders by order_id and merchant_id."""

    def order_sums(self) -> Iterator[OrderSumRow]:
        """Yield what is taken of each order, computed from payments and steps, in the order of `orders`."""

    def days(self) -> Iterator[DayRow]:
        """Yield all rows of `spent_days` by day and instrument_id."""

    def day_sums(self) -> Iterator[DayRow]:
        """Yield what each instrument spent on each day, computed from payments and steps, in that order."""
