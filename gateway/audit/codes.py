"""Everything an audit can find, by a stable code: never renamed, never reused."""

from __future__ import annotations

from enum import StrEnum


class BreakCode(StrEnum):
    """What is not so; the first one found ends the audit."""

    FILE_DAMAGED = "file_damaged"
    """The database can't be read to its end."""
    ROW_UNREADABLE = "row_unreadable"
    """A row holds what no booking could have written."""

    # Groups and their chain
    SEQUENCE_GAP = "sequence_gap"
    """A group is missing, or stands where it does not belong."""
    LEGS_MISSING = "legs_missing"
    """A group has fewer transfers than it was sealed with, or others."""
    LEGS_ADDED = "legs_added"
    """A group has more transfers than it was sealed with."""
    TRANSFER_WITHOUT_GROUP = "transfer_without_group"
    HASH_MISMATCH = "hash_mismatch"
    """Something of this group, or of one before it, was changed after it was booked."""

    # Transfers
    ACCOUNT_MISSING = "account_missing"
    ACCOUNTS_EQUAL = "accounts_equal"
    """A transfer goes from an account to itself."""
    CURRENCY_MISMATCH = "currency_mismatch"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    AMOUNT_TOO_LARGE = "amount_too_large"
    BALANCE_NEGATIVE = "balance_negative"
    """An account had less than nothing that may not."""
    COUNTER_OUT_OF_RANGE = "counter_out_of_range"

    # Holds
    PENDING_MISSING = "pending_missing"
    """A hold was booked, and nothing is stored about what became of it."""
    PENDING_WITHOUT_TRANSFER = "pending_without_transfer"
    PENDING_EXPIRY_DIFFERS = "pending_expiry_differs"
    """A hold is stored with another time of expiry than it was booked with."""
    PENDING_STATE_DIFFERS = "pending_state_differs"
    """A hold is stored as open, posted, voided or expired, and the transfers say otherwise."""
    PENDING_NOT_OPEN = "pending_not_open"
    """A transfer ends a hold that there was not, or that had ended."""
    PENDING_DIFFERS = "pending_differs"
    """A transfer ends a hold of other accounts, with more than it held, or at the wrong side of its time."""

    # Counters
    DEBITS_DIFFER_FROM_CREDITS = "debits_differ_from_credits"
    COUNTERS_DIFFER = "counters_differ"
    """An account's stored counters are not what its transfers add up to."""

    # Payments
    GROUP_WITHOUT_PAYMENT = "group_without_payment"
    PAYMENT_WITHOUT_GROUP = "payment_without_group"
    """A payment was not declined, and no money moved or was held."""
    PAYMENT_REFERS_TO_NOTHING = "payment_refers_to_nothing"
    """A payment names a terminal that its merchant has not, or an instrument or entry mode there is not."""
    PAYMENT_OF_OTHER_GROUP = "payment_of_other_group"
    """A payment names a group that has another, or that was not booked for a payment."""
    PAYMENT_DIFFERS_FROM_GROUP = "payment_differs_from_group"
    """Amount, currency, payer, merchant or fee of a payment is not what moved or was held; or it was
    declined."""
    RECEIPT_NUMBER_DIFFERS = "receipt_number_differs"
    """A merchant's receipts are not numbered 1, 2, 3, … over all it charged, in the order of booking."""
    RECEIPT_COUNT_DIFFERS = "receipt_count_differs"
    """A merchant's count of receipts is not the last one's number."""
    ORDER_TOTAL_DIFFERS = "order_total_differs"
    ORDER_OVERPAID = "order_overpaid"
    """More was charged and held for an order than it is for."""
    DAY_TOTAL_DIFFERS = "day_total_differs"
    """What an instrument is said to have spent in a day is not what its payments add up to."""
    TOKEN_USE_MISSING = "token_use_missing"  # noqa: S105  a code, no password
    """A payment was approved with a token that is not stored as used: it could be used again."""
    TOKEN_USE_WITHOUT_PAYMENT = "token_use_without_payment"  # noqa: S105  a code, no password
    """A token is stored as used by an attempt that there was not."""

    # What became of payments
    GROUP_WITHOUT_STEP = "group_without_step"
    """A hold was captured or let go, and no payment had such a step."""
    STEP_WITHOUT_GROUP = "step_without_group"
    """A step charged, let go or gave back what did not move, and the ledger had not let go of it itself."""
    STEP_OF_OTHER_GROUP = "step_of_other_group"
    """A step names a group that has another, or that was booked for something else."""
    STEP_DIFFERS_FROM_GROUP = "step_differs_from_group"
    """Amount, fee, currency, payer or merchant of a step is not what moved."""
    STEP_WITHOUT_PAYMENT = "step_without_payment"
    STEP_MISSING = "step_missing"
    """The steps of a payment are not numbered 1, 2, 3, …"""
    STEP_NOT_ALLOWED = "step_not_allowed"
    """A payment came to a state to which no step leads from where it stood."""
    STEP_AMOUNTS_DIFFER = "step_amounts_differ"
    """A step charged more than was held for goods or tip, or gave back of order or day what it should not."""
    OPEN_PAYMENT_MISSING = "open_payment_missing"
    """A payment waits or is held, and nothing is stored of its deadline: nobody would end it."""
    OPEN_PAYMENT_DIFFERS = "open_payment_differs"
    """A payment is stored as open that is not, or with another state or deadline."""
    GROUP_WITHOUT_REFUND = "group_without_refund"
    """Money was given back, and there is no refund or reversal."""
    REFUND_WITHOUT_GROUP = "refund_without_group"
    REFUND_OF_OTHER_GROUP = "refund_of_other_group"
    """A refund names a group that has another, or that was booked for something else."""
    REFUND_DIFFERS_FROM_GROUP = "refund_differs_from_group"
    """Amount, fee, currency, payer or merchant of a refund is not what moved."""
    REFUND_TOTAL_DIFFERS = "refund_total_differs"
    """The refunds of a payment do not add up to the totals they name."""
    REFUND_ABOVE_CHARGED = "refund_above_charged"
    """More of a payment was given back than was charged."""
    REFUND_FEE_DIFFERS = "refund_fee_differs"
    """A refund returned another part of the fee than falls to it."""
    REFUND_DAY_DIFFERS = "refund_day_differs"
    """A refund counts for another day than that on which it was made."""
