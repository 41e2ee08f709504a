"""The audit: recompute the books from their transfers, and name the first thing that is not so.

It shares no arithmetic with the code that books. Walking the groups in order, it checks the hash chain,
that every payment has its one group and every group of a payment its payment, that holds are ended once
and by no more than they held, and that no account ever went below what it may; then that the counters,
states and totals stored beside the transfers are what the transfers add up to.

Memory grows with the number of accounts and of holds, not with that of payments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.ledger.chain import GENESIS, hash_group
from gateway.ledger.model import Account, AccountKind, GroupPurpose, PendingState, Transfer, TransferKind
from gateway.payments.settlement import transfer_id_of
from gateway.storage.audit_source import AuditSource, GroupPayment, StoredGroup, UnreadableRow
from gateway.storage.sqlite.audit_source import open_audit_source

PROGRESS_EVERY: Final = 1_000
"""Groups between two calls of `progress`."""

Progress = Callable[[int, int], None]
"""Told how many groups were walked, of how many."""


@dataclass(frozen=True, slots=True)
class AuditBreak:
    """The first thing that is not so: a stable code, and where."""

    code: str
    where: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was walked, and the first break if there is one."""

    group_count: int
    transfer_count: int
    account_count: int
    payment_count: int
    chain_head: bytes
    """Hash of the last group walked; noted elsewhere, it later proves that nothing before it changed."""
    first_break: AuditBreak | None

    @property
    def is_ok(self) -> bool:
        """Say whether everything held."""
        return self.first_break is None


def audit(path: Path | str, progress: Progress | None = None) -> AuditReport:
    """Audit a database file; a gateway may use it meanwhile, the audit sees one snapshot.

    Raises:
        ConfigurationError: the file has another schema version.
        StoreUnavailable: it can't be opened. Damage found later is a break, `file_damaged`.
    """
    with open_audit_source(Path(path)) as source:
        return audit_books(source, progress)


def audit_books(source: AuditSource, progress: Progress | None = None) -> AuditReport:
    """Audit the books of any store."""
    auditor = _Auditor(source, progress)
    first_break = None
    try:
        auditor.run()
    except _Broken as broken:
        first_break = AuditBreak(broken.code, broken.where)
    except UnreadableRow as error:
        first_break = AuditBreak("row_unreadable", str(error))
    except StoreUnavailable as error:
        first_break = AuditBreak("file_damaged", str(error))
    return AuditReport(
        group_count=auditor.group_count,
        transfer_count=auditor.transfer_count,
        account_count=len(auditor.accounts),
        payment_count=auditor.payment_count,
        chain_head=auditor.chain_head,
        first_break=first_break,
    )


@dataclass(slots=True)
class _Counters:
    """An account's counters as the transfers make them."""

    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0


class _Broken(Exception):
    """Ends the audit at the first break."""

    def __init__(self, code: str, where: str) -> None:
        super().__init__(code)
        self.code = code
        self.where = where


@dataclass(slots=True)
class _Auditor:
    source: AuditSource
    progress: Progress | None
    group_count: int = 0
    transfer_count: int = 0
    payment_count: int = 0
    chain_head: bytes = GENESIS
    accounts: dict[bytes, Account] = field(default_factory=dict)
    counters: dict[bytes, _Counters] = field(default_factory=dict)
    open_holds: dict[bytes, Transfer] = field(default_factory=dict)
    ended: dict[bytes, PendingState] = field(default_factory=dict)

    def run(self) -> None:
        self.accounts = {account.account_id: account for account in self.source.accounts()}
        self.counters = {account_id: _Counters() for account_id in self.accounts}
        self._walk_groups()
        self._check_currencies()
        self._check_counters()
        self._check_pendings()
        self._check_payments()

    def _walk_groups(self) -> None:
        total = self.source.count_groups()
        for stored in self.source.groups():
            self._check_place(stored)
            self._check_payment(stored)
            for leg_index, leg in enumerate(stored.group.legs):
                self._walk_leg(leg, stored, f"group {stored.sequence}, leg {leg_index}")
            self._report_progress(total)

    def _check_place(self, stored: StoredGroup) -> None:
        where = f"group {stored.sequence}"
        if stored.sequence != self.group_count + 1:
            raise _Broken("sequence_gap", where)
        if stored.leg_count != len(stored.group.legs):
            raise _Broken("legs_missing", where)
        self.chain_head, expected = (
            stored.hash,
            hash_group(self.chain_head, stored.sequence, stored.booked_ms, stored.group),
        )
        if stored.hash != expected:
            raise _Broken("hash_mismatch", where)
        self.group_count += 1

    def _check_payment(self, stored: StoredGroup) -> None:
        where = f"group {stored.sequence}"
        if (stored.group.purpose is GroupPurpose.PAYMENT) != (stored.payment is not None):
            raise _Broken(
                "group_without_payment" if stored.payment is None else "payment_of_other_group", where
            )
        if stored.payment is None:
            return
        if not _is_settlement_of(stored.payment, stored.group.legs, self.accounts):
            raise _Broken("payment_differs_from_group", f"{where}, payment {stored.payment.payment_id}")
        self.payment_count += 1

    def _walk_leg(self, leg: Transfer, stored: StoredGroup, where: str) -> None:
        debit = self._find_account(leg.debit_account_id, where)
        credit = self._find_account(leg.credit_account_id, where)
        if not debit.currency == credit.currency == leg.currency:
            raise _Broken("currency_mismatch", where)
        if leg.amount_minor <= 0:
            raise _Broken("amount_not_positive", where)
        self._move(leg, self._end_hold(leg, stored, where) if leg.pending_id is not None else 0)
        self._check_balance(debit, where)
        self.transfer_count += 1

    def _find_account(self, account_id: bytes, where: str) -> Account:
        account = self.accounts.get(account_id)
        if account is None:
            raise _Broken("account_missing", where)
        return account

    def _end_hold(self, leg: Transfer, stored: StoredGroup, where: str) -> int:
        """Take the hold a leg ends out of the open ones, and return its amount."""
        assert leg.pending_id is not None
        hold = self.open_holds.pop(leg.pending_id, None)
        if hold is None:
            raise _Broken("pending_not_open", where)
        same = (hold.debit_account_id, hold.credit_account_id, hold.currency)
        if same != (leg.debit_account_id, leg.credit_account_id, leg.currency):
            raise _Broken("pending_differs", where)
        assert hold.expires_ms is not None
        is_over = hold.expires_ms <= stored.booked_ms
        fits = leg.amount_minor <= hold.amount_minor
        if leg.kind is not TransferKind.POST:
            fits = leg.amount_minor == hold.amount_minor
        if not fits or is_over != (leg.kind is TransferKind.EXPIRE):
            raise _Broken("pending_differs", where)
        self.ended[leg.pending_id] = {
            TransferKind.POST: PendingState.POSTED,
            TransferKind.VOID: PendingState.VOIDED,
        }.get(leg.kind, PendingState.EXPIRED)
        return hold.amount_minor

    def _move(self, leg: Transfer, held_minor: int) -> None:
        debit, credit = self.counters[leg.debit_account_id], self.counters[leg.credit_account_id]
        held = leg.amount_minor if leg.kind is TransferKind.PENDING else -held_minor
        moved = leg.amount_minor if leg.kind in (TransferKind.SINGLE, TransferKind.POST) else 0
        debit.debits_pending += held
        debit.debits_posted += moved
        credit.credits_pending += held
        credit.credits_posted += moved
        if leg.kind is TransferKind.PENDING:
            self.open_holds[leg.transfer_id] = leg

    def _check_balance(self, account: Account, where: str) -> None:
        counters = self.counters[account.account_id]
        taken = counters.debits_pending + counters.debits_posted
        if account.debits_must_not_exceed_credits and taken > counters.credits_posted:
            raise _Broken("balance_negative", f"account {account.account_id.hex()} at {where}")

    def _check_counters(self) -> None:
        for account_id, account in self.accounts.items():
            computed = self.counters[account_id]
            stored = _Counters(
                account.debits_pending,
                account.debits_posted,
                account.credits_pending,
                account.credits_posted,
            )
            if stored != computed:
                raise _Broken("counters_differ", f"account {account_id.hex()}")

    def _check_currencies(self) -> None:
        pending: dict[str, int] = defaultdict(int)
        posted: dict[str, int] = defaultdict(int)
        for account in self.accounts.values():
            pending[account.currency] += account.debits_pending - account.credits_pending
            posted[account.currency] += account.debits_posted - account.credits_posted
        for currency in posted:
            if posted[currency] or pending[currency]:
                raise _Broken("debits_differ_from_credits", f"currency {currency}")

    def _check_pendings(self) -> None:
        expected = self.ended | dict.fromkeys(self.open_holds, PendingState.OPEN)
        for pending in self.source.pendings():
            if expected.pop(pending.transfer_id, None) is not pending.state:
                raise _Broken("pending_state_differs", f"pending transfer {pending.transfer_id.hex()}")
        for transfer_id in expected:
            raise _Broken("pending_missing", f"pending transfer {transfer_id.hex()}")

    def _check_payments(self) -> None:
        found = self.source.find_derived_break()
        if found is not None:
            raise _Broken(*found)
        if self.source.count_approved_payments() != self.payment_count:
            raise _Broken("payment_without_group", "the number of approved payments")

    def _report_progress(self, total: int) -> None:
        is_due = self.group_count % PROGRESS_EVERY == 0 or self.group_count == total
        if self.progress is not None and is_due:
            self.progress(self.group_count, total)


def _is_settlement_of(
    payment: GroupPayment, legs: tuple[Transfer, ...], accounts: dict[bytes, Account]
) -> bool:
    """Say whether the legs are this payment: the amount to the merchant, then perhaps a fee from it."""
    leg = legs[0]
    is_payment = (
        payment.outcome == "approved"
        and leg.transfer_id == transfer_id_of(payment.payment_id, 0)
        and leg.kind is TransferKind.SINGLE
        and (leg.amount_minor, leg.currency) == (payment.amount_minor, payment.currency)
        and leg.debit_account_id == payment.wallet_account_id
        and leg.credit_account_id == payment.merchant_account_id
    )
    if not is_payment or len(legs) == 1:
        return is_payment
    fee = legs[1]
    fees_account = accounts.get(fee.credit_account_id)
    return (
        len(legs) == 2
        and fee.transfer_id == transfer_id_of(payment.payment_id, 1)
        and fee.kind is TransferKind.SINGLE
        and fee.amount_minor <= payment.amount_minor
        and fee.debit_account_id == payment.merchant_account_id
        and fees_account is not None
        and fees_account.kind is AccountKind.FEES
    )
