"""Attempts, decided and booked batch by batch inside the writer's transaction.

What a batch names is read set by set, decided in memory (gateway/payments/decide.py), and written set by
set, each row by a statement that carries its own guard.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.errors import GatewayError
from gateway.holders.model import InstrumentStatus
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import Account, AccountKind, TransferGroup
from gateway.ledger.workbook import Workbook
from gateway.merchants.model import MerchantStatus, TerminalStatus
from gateway.payments.changes import Draft, PaymentChanges, SpendChange
from gateway.payments.decide import WEAKNESS, Register
from gateway.payments.facts import (
    AttemptKey,
    CodeState,
    DayKey,
    KnownAttempt,
    OrderKey,
    OrderState,
    Payer,
    PaymentFacts,
    Site,
    Tier,
)
from gateway.payments.model import PaymentBooking, PaymentCodeUse, PaymentRecord, TokenUse
from gateway.payments.settlement import utc_day_of
from gateway.storage.records import read_payment
from gateway.storage.sqlite import ledger
from gateway.storage.sqlite.ledger import require_all
from gateway.storage.sqlite.queries import Row, list_rows, load_queries, write_rows
from wire.messages.payments import CaptureMode, EntryMode

SQL = load_queries("payments")

_ENTRY_MODES: Final = {mode.value: mode for mode in EntryMode}
_INSTRUMENT_STATUSES: Final = {status.value: status for status in InstrumentStatus}
_MERCHANT_STATUSES: Final = {status.value: status for status in MerchantStatus}
_TERMINAL_STATUSES: Final = {status.value: status for status in TerminalStatus}
_SITE_COLUMNS: Final = 9
_PAYER_COLUMNS: Final = 16
"""How many columns stand before those of the account."""
# Plain texts: a member of an enumeration goes through sqlite3's adapters, which costs microseconds.
_TEXT_OF: Final = {mode: mode.value for mode in EntryMode}


def book_payments(
    connection: sqlite3.Connection, bookings: Sequence[PaymentBooking]
) -> list[PaymentRecord | GatewayError]:
    """Decide attempts and store the decisions, each answered by its record or by its own error.

    Raises:
        GatewayError, sqlite3.Error: one of them can't be booked for a reason of our own; nothing may stay
            of the batch, and whoever is innocent is to be booked without it.
    """
    now_ms = max(booking.now_ms for booking in bookings)
    facts, accounts = read_facts(connection, bookings)
    expiries = ledger.list_due_expiries(connection, now_ms)
    head = ledger.find_chain_head(connection)
    workbook = open_workbook(connection, accounts, expiries, head.sequence + 1)
    ledger.let_go(workbook, expiries, now_ms)
    register = Register(facts, workbook)
    decisions = [register.decide(booking) for booking in bookings]
    receipt_counts = {site.merchant_id: site.receipt_count for site in facts.sites.values()}
    ledger.write_changes(connection, workbook.changes(), head)
    write_changes(connection, register.changes, head.sequence + 1, receipt_counts)
    return [one.record(receipt_counts) if isinstance(one, Draft) else one for one in decisions]


def find_payment(connection: sqlite3.Connection, terminal_id: str, payment_id: str) -> PaymentRecord | None:
    """Return a payment of this terminal's merchant, or None."""
    values = {"terminal_id": terminal_id, "payment_id": payment_id}
    row = connection.execute(SQL["find_payment"], values).fetchone()
    return None if row is None else read_payment(row)


def find_payment_by_attempt(
    connection: sqlite3.Connection, terminal_id: str, attempt_id: str
) -> PaymentRecord | None:
    """Return what became of an attempt of this terminal, or None."""
    values = {"terminal_id": terminal_id, "attempt_id": attempt_id}
    row = connection.execute(SQL["find_attempt"], values).fetchone()
    return None if row is None else read_payment(row)


# Facts


@dataclass(slots=True)
class _Keys:
    """The keys of everything that a batch names, each once, as the queries want them."""

    attempts: set[AttemptKey] = field(default_factory=set)
    terminals: set[tuple[str]] = field(default_factory=set)
    instruments: set[tuple[str]] = field(default_factory=set)
    tokens: set[tuple[bytes, int]] = field(default_factory=set)
    nonces: set[tuple[int, bytes, str]] = field(default_factory=set)
    codes: set[tuple[bytes]] = field(default_factory=set)
    orders: set[OrderKey] = field(default_factory=set)
    days: set[DayKey] = field(default_factory=set)


def _keys_of(bookings: Sequence[PaymentBooking]) -> _Keys:
    keys = _Keys()
    for booking in bookings:
        keys.attempts.add((booking.attempt_id, booking.terminal_id))
        keys.terminals.add((booking.terminal_id,))
        keys.orders.add((booking.order_id, booking.merchant_id))
        day, instrument_id = utc_day_of(booking.now_ms), booking.verdict.instrument_id
        if instrument_id is not None:
            keys.instruments.add((instrument_id,))
            keys.days.add((day, instrument_id))
        use = booking.single_use
        if isinstance(use, TokenUse):
            keys.tokens.add((use.key_id, use.counter))
            if use.terminal_nonce is not None:
                keys.nonces.add((day, use.terminal_nonce, booking.terminal_id))
                keys.nonces.add((day - 1, use.terminal_nonce, booking.terminal_id))
        elif isinstance(use, PaymentCodeUse):
            keys.codes.add((use.code_hash,))
    return keys


def read_facts(
    connection: sqlite3.Connection, bookings: Sequence[PaymentBooking]
) -> tuple[PaymentFacts, dict[bytes, Account]]:
    """Read everything that a batch names, and the accounts of its wallets and merchants."""
    keys = _keys_of(bookings)
    sites = _list(connection, "list_sites", keys.terminals)
    payers = _list(connection, "list_payers", keys.instruments)
    days = _list(connection, "list_spent_days", keys.days)
    facts = PaymentFacts(
        attempts=_read_attempts(connection, keys.attempts),
        sites={row[0]: _site(row) for row in sites},
        payers={row[0]: _payer(row) for row in payers},
        token_uses={row[:2]: row[2] for row in _list(connection, "list_token_uses", keys.tokens)},
        terminal_nonces=set(_list(connection, "list_terminal_nonces", keys.nonces)),
        codes={
            row[0]: CodeState(row[1], bool(row[2])) for row in _list(connection, "list_codes", keys.codes)
        },
        orders={row[:2]: OrderState(*row[2:]) for row in _list(connection, "list_orders", keys.orders)},
        spent_minor={row[:2]: row[2] for row in days},
        recent={row[:2]: row[3:] for row in days},
    )
    tiered = {(day, facts.payers[one].wallet_id) for day, one in keys.days if _has_tier(facts, one)}
    wallet_days = _list(connection, "list_wallet_days", tiered)
    facts.wallet_spent_minor = {row[:2]: row[2] for row in wallet_days}
    accounts = {row[_SITE_COLUMNS]: ledger.account_of(row[_SITE_COLUMNS:]) for row in sites}
    accounts |= {row[_PAYER_COLUMNS]: ledger.account_of(row[_PAYER_COLUMNS:]) for row in payers}
    return facts, accounts


def _has_tier(facts: PaymentFacts, instrument_id: str) -> bool:
    payer = facts.payers.get(instrument_id)
    return payer is not None and payer.tier is not None


def _read_attempts(
    connection: sqlite3.Connection, keys: Collection[AttemptKey]
) -> dict[AttemptKey, KnownAttempt]:
    # Almost never is there any, so the few are read by name.
    found = set(_list(connection, "list_attempts", keys))
    known = {}
    for attempt_id, terminal_id in found:
        values = {"attempt_id": attempt_id, "terminal_id": terminal_id}
        row = connection.execute(SQL["find_attempt"], values).fetchone()
        known[attempt_id, terminal_id] = KnownAttempt(row["request_digest"], read_payment(row))
    return known


def open_workbook(
    connection: sqlite3.Connection,
    accounts: dict[bytes, Account],
    expiries: Sequence[TransferGroup],
    first_sequence: int,
) -> Workbook:
    """Read the accounts that fees go to, and what is needed to let go of due holds.

    Whether a payment's transfers exist is not asked: their ids follow from a payment id that is new, and
    are UNIQUE.
    """
    facts = ledger.read_facts(connection, expiries)
    fees = {operator_account_id(AccountKind.FEES, account.currency) for account in accounts.values()}
    facts.accounts |= accounts | ledger.read_accounts(connection, fees)
    return Workbook(facts, first_sequence)


def _list(connection: sqlite3.Connection, name: str, keys: Collection[Sequence[object]]) -> list[Row]:
    return list_rows(connection, SQL[name], keys)


# Changes


def write_changes(
    connection: sqlite3.Connection,
    changes: PaymentChanges,
    first_sequence: int,
    receipt_counts: Mapping[str, int],
) -> None:
    """Write what attempts change beside the ledger, their groups being numbered from `first_sequence` on.

    Raises:
        GatewayError: a guard refused what was decided under the same lock: our own bug.
    """
    drafts = changes.drafts
    withdrawn = _list(connection, "list_withdrawn_terminals", {(one.site.terminal_id,) for one in drafts})
    require_all(len(withdrawn), (), "list_withdrawn_terminals")
    _write_single_uses(connection, changes)
    _write_approvals(connection, changes, receipt_counts)
    # Last, because what was approved in this batch before a copy was seen stays approved.
    write_rows(connection, SQL["suspend_key"], [(key_id,) for key_id in changes.suspended_key_ids])
    rows = [_payment_row(draft, first_sequence, receipt_counts) for draft in drafts]
    write_rows(connection, SQL["add_payment"], rows)
    _write_what_follows(connection, drafts)


def _write_single_uses(connection: sqlite3.Connection, changes: PaymentChanges) -> None:
    tokens = [
        (
            one.use.key_id,
            one.use.counter,
            one.use.claims_digest,
            one.terminal_id,
            one.terminal_nonce,
            one.nonce_day,
            one.payment_id,
        )
        for one in changes.tokens
    ]
    write_rows(connection, SQL["spend_token"], tokens)
    codes = [(one.code_hash, one.payment_id, one.now_ms) for one in changes.codes]
    require_all(write_rows(connection, SQL["spend_code"], codes), codes, "spend_code")
    cards = [(instrument_id, card.first, card.last) for instrument_id, card in changes.cards.items()]
    require_all(write_rows(connection, SQL["raise_card_counter"], cards), cards, "raise_card_counter")


def _write_approvals(
    connection: sqlite3.Connection, changes: PaymentChanges, receipt_counts: Mapping[str, int]
) -> None:
    orders = [
        (*key, order.amount_minor, order.taken_minor, order.details) for key, order in changes.orders.items()
    ]
    require_all(write_rows(connection, SQL["take_order"], orders), orders, "take_order")
    days = [(*key, *_spend_row(spend)) for key, spend in changes.spent_days.items()]
    require_all(write_rows(connection, SQL["take_allowance"], days), days, "take_allowance")
    overspent = _list(connection, "list_overspent_wallets", changes.wallet_days)
    require_all(len(overspent), (), "list_overspent_wallets")
    receipts = [
        (merchant_id, count, receipt_counts[merchant_id]) for merchant_id, count in changes.receipts.items()
    ]
    require_all(
        write_rows(connection, SQL["take_receipt_numbers"], receipts), receipts, "take_receipt_numbers"
    )


def _write_what_follows(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> None:
    """Write the deadlines of what is open, and what a terminal has to be told because it did not ask."""
    opened = [
        (one.booking.payment_id, one.ruling.outcome, one.ruling.due_ms)
        for one in drafts
        if one.ruling.due_ms is not None
    ]
    write_rows(connection, SQL["open_payment"], opened)
    events = [
        (one.booking.terminal_id, one.booking.payment_id, one.booking.now_ms)
        for one in drafts
        if one.booking.entry_mode is EntryMode.QR_MERCHANT
    ]
    write_rows(connection, SQL["add_terminal_event"], events)


def _spend_row(spend: SpendChange) -> Row:
    return (
        spend.spent_minor,
        spend.largest_minor,
        spend.largest_unconfirmed_minor,
        WEAKNESS[spend.weakest_entry_mode],
        spend.payment_count,
        spend.recent_window,
        spend.recent_count,
        spend.recent_before_max,
    )


def _payment_row(draft: Draft, first_sequence: int, receipt_counts: Mapping[str, int]) -> Row:
    booking, site, payer, ruling = draft.booking, draft.site, draft.payer, draft.ruling
    return (
        booking.payment_id,
        booking.attempt_id,
        booking.request_digest,
        booking.terminal_id,
        booking.merchant_id,
        booking.order_id,
        ruling.outcome,
        ruling.decline_code,
        booking.amount_minor,
        booking.terms.tip_max_minor,
        ruling.fee_minor,
        booking.currency,
        _TEXT_OF[booking.entry_mode],
        booking.terms.capture is CaptureMode.MANUAL,
        ruling.confirm_code,
        " ".join(ruling.confirm_ways) or None,
        payer.instrument_id if payer else None,
        payer.label if payer else None,
        site.merchant_name,
        site.location_name,
        draft.receipt_number(receipt_counts),
        None if draft.group_index is None else first_sequence + draft.group_index,
        booking.presented_ms,
        booking.card_exchange_ms,
        booking.now_ms,
    )


def _site(row: Row) -> Site:
    (
        terminal_id,
        terminal_status,
        merchant_id,
        merchant_status,
        name,
        fee,
        receipts,
        place,
        tip_margin,
        account_id,
    ) = row[: _SITE_COLUMNS + 1]
    return Site(
        terminal_id=terminal_id,
        terminal_status=_TERMINAL_STATUSES[terminal_status],
        merchant_id=merchant_id,
        merchant_status=_MERCHANT_STATUSES[merchant_status],
        merchant_name=name,
        merchant_account_id=account_id,
        fee_basis_points=fee,
        tip_margin_basis_points=tip_margin,
        receipt_count=receipts,
        location_name=place,
    )


def _payer(row: Row) -> Payer:
    instrument_id, key_id, label, status, weakest, per_payment, per_day, card_counter = row[:8]
    wallet_id, confirm_above, has_pin, has_phone = row[8:12]
    tier = row[12:_PAYER_COLUMNS]
    return Payer(
        instrument_id=instrument_id,
        key_id=key_id,
        label=label,
        status=_INSTRUMENT_STATUSES[status],
        weakest_entry_mode=_ENTRY_MODES[weakest],
        per_payment_minor=per_payment,
        per_day_minor=per_day,
        card_counter=card_counter,
        wallet_account_id=row[_PAYER_COLUMNS],
        wallet_id=wallet_id,
        confirm_above_minor=confirm_above,
        has_pin=bool(has_pin),
        has_phone=bool(has_phone),
        tier=None if tier[0] is None else Tier(*tier),
    )
