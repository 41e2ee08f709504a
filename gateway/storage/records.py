"""From rows to records: columns as gateway/storage/*/schema.sql names them, the same in every store."""

from __future__ import annotations

from typing import Any, Protocol

from gateway.cards.model import CardOrder, CardOrderState, CardSession
from gateway.holders.model import (
    CardKeyBatch,
    IdentityLevel,
    Instrument,
    InstrumentKind,
    InstrumentStatus,
    Limits,
    LimitTier,
    Wallet,
    WalletStatus,
)
from gateway.ledger.model import Account, AccountKind, Transfer, TransferKind
from gateway.merchants.model import (
    EnrolledTerminal,
    Intent,
    Location,
    Merchant,
    MerchantStatus,
    StaffMember,
    StaffRights,
    StaffStatus,
    StaffTagRecord,
    Terminal,
    TerminalStatus,
)
from gateway.payments.life_changes import RefundRecord
from gateway.payments.model import STATE_WHEN_DECIDED, Life, PaymentAct, PaymentRecord
from gateway.payments.settlement import receipt_number_text
from gateway.storage.store import WalletBalance
from wire.messages.payments import CaptureMode, ConfirmationWay, EntryMode, PaymentState
from wire.messages.staff import StaffRight, StaffRole


class Row(Protocol):
    """A row of either database."""

    def __getitem__(self, column: str, /) -> Any:
        """Return the value of a column."""


def read_account(row: Row) -> Account:
    """Return the account in a row that holds all columns of accounts."""
    return Account(
        account_id=row["account_id"],
        kind=AccountKind(row["kind"]),
        currency=row["currency"],
        debits_must_not_exceed_credits=bool(row["debits_must_not_exceed_credits"]),
        frozen=bool(row["frozen"]),
        debits_pending=row["debits_pending"],
        debits_posted=row["debits_posted"],
        credits_pending=row["credits_pending"],
        credits_posted=row["credits_posted"],
    )


def read_transfer(row: Row) -> Transfer:
    """Return the transfer in a row that holds all columns of transfers."""
    return Transfer(
        transfer_id=row["transfer_id"],
        kind=TransferKind(row["kind"]),
        debit_account_id=row["debit_account_id"],
        credit_account_id=row["credit_account_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        pending_id=row["pending_id"],
        expires_ms=row["expires_ms"],
    )


def read_merchant(row: Row) -> Merchant:
    """Return the merchant in a row of merchants with its account's currency."""
    return Merchant(
        merchant_id=row["merchant_id"],
        name=row["name"],
        currency=row["currency"],
        fee_basis_points=row["fee_basis_points"],
        account_id=row["account_id"],
        status=MerchantStatus(row["status"]),
        created_ms=row["created_ms"],
    )


def read_enrolled_terminal(row: Row) -> EnrolledTerminal:
    """Return the terminal in a row of terminals, with its merchant's columns and its location's name."""
    merchant = Merchant(
        merchant_id=row["merchant_id"],
        name=row["merchant_name"],
        currency=row["currency"],
        fee_basis_points=row["fee_basis_points"],
        account_id=row["account_id"],
        status=MerchantStatus(row["merchant_status"]),
        created_ms=row["merchant_created_ms"],
    )
    location = Location(row["location_id"], row["merchant_id"], row["location_name"])
    return EnrolledTerminal(_read_terminal(row), merchant, location)


def read_wallet_balance(row: Row) -> WalletBalance:
    """Return the wallet in a row of wallets with all columns of its account."""
    account = read_account(row)
    wallet = Wallet(
        wallet_id=row["wallet_id"],
        holder_name=row["holder_name"],
        currency=account.currency,
        account_id=account.account_id,
        status=WalletStatus.FROZEN if account.frozen else WalletStatus.ACTIVE,
        created_ms=row["created_ms"],
    )
    return WalletBalance(wallet, account.available_minor, account.debits_pending)


def read_instrument(row: Row) -> Instrument:
    """Return the instrument in a row of instruments."""
    return Instrument(
        instrument_id=row["instrument_id"],
        wallet_id=row["wallet_id"],
        kind=InstrumentKind(row["kind"]),
        label=row["label"],
        status=InstrumentStatus(row["status"]),
        key_id=row["key_id"],
        public_key=row["public_key"],
        weakest_entry_mode=EntryMode(row["weakest_entry_mode"]),
        limits=Limits(row["per_payment_minor"], row["per_day_minor"]),
        card_counter=row["card_counter"],
        card_key_batch=row["card_key_batch"],
        card_key_version=row["card_key_version"],
        created_ms=row["created_ms"],
    )


def read_staff(row: Row) -> StaffMember:
    """Return the member of staff in a row of staff."""
    return StaffMember(
        staff_id=row["staff_id"],
        merchant_id=row["merchant_id"],
        name=row["name"],
        role=StaffRole(row["role"]),
        pin_hash=row["pin_hash"],
        pin_tries=row["pin_tries"],
        status=StaffStatus(row["status"]),
        created_ms=row["created_ms"],
    )


def read_staff_tag(row: Row) -> StaffTagRecord:
    """Return the tag in a row of staff_tags."""
    return StaffTagRecord(
        row["key_id"], row["staff_id"], row["card_key_batch"], row["card_key_version"], row["created_ms"]
    )


def read_staff_rights(row: Row) -> StaffRights:
    """Return the rights in a row of staff_rights."""
    rights = tuple(StaffRight(right) for right in row["rights"].split())
    return StaffRights(row["merchant_id"], StaffRole(row["role"]), rights)


def read_limit_tier(row: Row) -> LimitTier:
    """Return the tier in a row of limit_tiers."""
    return LimitTier(
        currency=row["currency"],
        identity_level=IdentityLevel(row["identity_level"]),
        confirm_above_minor=row["confirm_above_minor"],
        pin_max_minor=row["pin_max_minor"],
        per_payment_minor=row["per_payment_minor"],
        per_day_minor=row["per_day_minor"],
    )


def read_intent(row: Row) -> Intent:
    """Return the intent in a row of intents."""
    return Intent(
        intent_id=row["intent_id"],
        terminal_id=row["terminal_id"],
        merchant_id=row["merchant_id"],
        order_id=row["order_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        order_amount_minor=row["order_amount_minor"],
        order_details=row["order_details"],
        created_ms=row["created_ms"],
        expires_ms=row["expires_ms"],
    )


def read_card_key_batch(row: Row) -> CardKeyBatch:
    """Return the batch in a row of card_key_batches."""
    return CardKeyBatch(
        batch_number=row["batch_number"],
        key_version=row["key_version"],
        meta_key_sealed=row["meta_key_sealed"],
        file_master_sealed=row["file_master_sealed"],
        created_ms=row["created_ms"],
    )


def read_card_order(row: Row) -> CardOrder:
    """Return the order in a row of card_orders."""
    return CardOrder(
        order_id=row["order_id"],
        wallet_id=row["wallet_id"],
        batch_number=row["batch_number"],
        label=row["label"],
        state=CardOrderState(row["state"]),
        card_key_id=row["card_key_id"],
        instrument_id=row["instrument_id"],
        created_ms=row["created_ms"],
        expires_ms=row["expires_ms"],
    )


def read_card_session(row: Row) -> CardSession:
    """Return the session in a row of card_sessions."""
    return CardSession(
        session_id=row["session_id"],
        terminal_id=row["terminal_id"],
        request_digest=row["request_digest"],
        step=row["step"],
        state_sealed=row["state_sealed"],
        created_ms=row["created_ms"],
        expires_ms=row["expires_ms"],
    )


def read_payment(row: Row) -> PaymentRecord:
    """Return the payment in a row of the view payments_now."""
    number = row["receipt_number"] or row["step_receipt_number"]
    return PaymentRecord(
        payment_id=row["payment_id"],
        attempt_id=row["attempt_id"],
        terminal_id=row["terminal_id"],
        merchant_id=row["merchant_id"],
        order_id=row["order_id"],
        outcome=row["outcome"],
        decline_code=row["decline_code"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        entry_mode=EntryMode(row["entry_mode"]),
        instrument_id=row["instrument_id"],
        instrument_label=row["instrument_label"],
        merchant_name=row["merchant_name"],
        location_name=row["location_name"],
        receipt_number=None if number is None else receipt_number_text(number),
        decided_ms=row["decided_ms"],
        life=_read_life(row),
        capture=CaptureMode.MANUAL if row["is_manual"] else CaptureMode.AUTOMATIC,
        tip_max_minor=row["tip_max_minor"],
        confirm_code=row["confirm_code"],
        confirm_ways=tuple(ConfirmationWay(way) for way in (row["confirm_ways"] or "").split()),
        is_offline=row["offline_loss_minor"] is not None,
    )


def read_refund(row: Row) -> RefundRecord:
    """Return the refund in a row of refunds."""
    return RefundRecord(
        refund_id=row["refund_id"],
        payment_id=row["payment_id"],
        terminal_id=row["terminal_id"],
        amount_minor=row["amount_minor"],
        total_minor=row["total_minor"],
        fee_minor=row["fee_minor"],
        reason=row["reason"],
        staff_id=row["staff_id"],
        refunded_ms=row["refunded_ms"],
    )


def read_act(row: Row) -> PaymentAct:
    """Return what happened to a payment, in a row of list_payment_acts."""
    return PaymentAct(
        at_ms=row["at_ms"],
        act=row["act"],
        amount_minor=row["amount_minor"],
        code=row["code"],
        staff_id=row["staff_id"],
        staff_name=row["staff_name"],
    )


def _read_life(row: Row) -> Life:
    if row["step_index"] is None:
        is_charged = row["outcome"] == "approved"
        return Life(
            state=STATE_WHEN_DECIDED[row["outcome"]],
            charged_minor=row["amount_minor"] if is_charged else 0,
            fee_minor=row["fee_minor"],
            refunded_minor=row["refunded_minor"] or 0,
            due_ms=row["due_ms"],
        )
    state = PaymentState(row["state"])
    is_reversed = state is PaymentState.REVERSED
    return Life(
        state=state,
        step_count=row["step_index"],
        code=row["step_code"],
        charged_minor=row["charged_minor"],
        tip_minor=row["tip_minor"],
        fee_minor=row["step_fee_minor"],
        refunded_minor=row["charged_minor"] if is_reversed else row["refunded_minor"] or 0,
        due_ms=row["due_ms"],
    )


def _read_terminal(row: Row) -> Terminal:
    return Terminal(
        terminal_id=row["terminal_id"],
        merchant_id=row["merchant_id"],
        location_id=row["location_id"],
        status=TerminalStatus(row["status"]),
        key_id=row["key_id"],
        public_key=row["public_key"],
        software=row["software"],
        created_ms=row["created_ms"],
        enrolled_ms=row["enrolled_ms"],
    )
