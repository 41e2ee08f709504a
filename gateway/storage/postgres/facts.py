"""What a batch names, as it is stored: read without a lock, so never trusted (docs/adr/0005)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from gateway.holders.model import InstrumentStatus
from gateway.ledger.accounts import expiry_of, operator_account_id
from gateway.ledger.book import EXPIRIES_PER_BOOKING_MAX
from gateway.ledger.model import Account, AccountKind, GroupPurpose, PendingState, TransferGroup
from gateway.ledger.rules import BookedLeg, Pending
from gateway.ledger.workbook import LedgerFacts, ids_of
from gateway.merchants.model import MerchantStatus, TerminalStatus
from gateway.payments.facts import CodeState, KnownAttempt, OrderState, Payer, PaymentFacts, Site, Tier
from gateway.payments.model import PaymentBooking, PaymentCodeUse, TokenUse
from gateway.payments.settlement import utc_day_of
from gateway.storage.postgres.database import Connection, Row, fetch
from gateway.storage.postgres.queries import load_queries
from gateway.storage.records import read_account, read_payment, read_transfer
from wire.messages.payments import EntryMode

SQL = load_queries("ledger")
PAYMENTS_SQL = load_queries("payments")

_ENTRY_MODES: Final = {mode.value: mode for mode in EntryMode}
_INSTRUMENT_STATUSES: Final = {status.value: status for status in InstrumentStatus}
_MERCHANT_STATUSES: Final = {status.value: status for status in MerchantStatus}
_TERMINAL_STATUSES: Final = {status.value: status for status in TerminalStatus}
_FEES: Final = AccountKind.FEES


async def read_payment_facts(
    connection: Connection, bookings: Sequence[PaymentBooking], now_ms: int
) -> tuple[PaymentFacts, LedgerFacts, list[TransferGroup]]:
    """Read what attempts name and what their money moves between, in one round trip.

    A second one is made for attempts that were decided before, and more when holds are due.

    Returns:
        The facts of both, and the groups that let go of what is due at `now_ms`, which the ledger's facts
        cover too.
    """
    values = {"attempts": [_keys_of(booking) for booking in bookings], "now_ms": now_ms}
    rows = await fetch(connection, PAYMENTS_SQL["payment_facts"], values)
    facts, ledger = PaymentFacts(), LedgerFacts()
    for booking, row in zip(bookings, rows, strict=True):
        _add_site(facts, ledger, booking, row)
        _add_payer(facts, ledger, booking, row)
        _add_single_use(facts, booking, row)
        _add_totals(facts, booking, row)
    repeated = [booking for booking, row in zip(bookings, rows, strict=True) if row["is_known"]]
    if repeated:
        await _add_attempts(connection, facts, repeated)
    if not rows[0]["holds_are_due"]:
        return facts, ledger, []
    expiries = await list_due_expiries(connection, now_ms)
    due = await read_ledger_facts(connection, expiries)
    due.accounts |= ledger.accounts
    return facts, due, expiries


async def read_ledger_facts(connection: Connection, groups: Iterable[TransferGroup]) -> LedgerFacts:
    """Read everything that groups name."""
    transfer_ids, pending_ids, account_ids = ids_of(groups)
    facts = await read_touched(connection, account_ids, pending_ids)
    legs = await fetch(connection, SQL["list_booked_legs"], {"transfer_ids": list(transfer_ids)})
    facts.booked_legs |= {row["transfer_id"]: _booked_leg(row) for row in legs}
    return facts


async def read_touched(
    connection: Connection, account_ids: Collection[bytes], pending_ids: Collection[bytes]
) -> LedgerFacts:
    """Read accounts, and pending transfers with what became of them."""
    accounts = await fetch(connection, SQL["list_accounts"], {"account_ids": list(account_ids)})
    pendings: list[Row] = []
    if pending_ids:
        pendings = await fetch(connection, SQL["list_pendings"], {"transfer_ids": list(pending_ids)})
    return LedgerFacts(
        accounts={row["account_id"]: read_account(row) for row in accounts},
        pendings={
            row["transfer_id"]: Pending(read_transfer(row), PendingState(row["state"])) for row in pendings
        },
    )


async def list_due_expiries(connection: Connection, now_ms: int) -> list[TransferGroup]:
    """Return the groups that let go of due holds, longest due first, EXPIRIES_PER_BOOKING_MAX at most."""
    values = {"now_ms": now_ms, "rows_max": EXPIRIES_PER_BOOKING_MAX}
    rows = await fetch(connection, SQL["list_due_pendings"], values)
    return [expiry_of(read_transfer(row)) for row in rows]


def _keys_of(booking: PaymentBooking) -> tuple[object, ...]:
    use = booking.single_use
    token = use if isinstance(use, TokenUse) else None
    return (
        booking.attempt_id,
        booking.terminal_id,
        booking.verdict.instrument_id,
        booking.order_id,
        booking.merchant_id,
        utc_day_of(booking.now_ms),
        operator_account_id(_FEES, booking.currency),
        token and token.key_id,
        token and token.counter,
        token and token.terminal_nonce,
        use.code_hash if isinstance(use, PaymentCodeUse) else None,
    )


def _add_site(facts: PaymentFacts, ledger: LedgerFacts, booking: PaymentBooking, row: Row) -> None:
    terminal_id, status = booking.terminal_id, row["terminal_status"]
    if terminal_id not in facts.sites and status is not None:
        facts.sites[terminal_id] = Site(
            terminal_id=terminal_id,
            terminal_status=_TERMINAL_STATUSES[status],
            merchant_id=row["merchant_id"],
            merchant_status=_MERCHANT_STATUSES[row["merchant_status"]],
            merchant_name=row["merchant_name"],
            merchant_account_id=row["merchant_account_id"],
            fee_basis_points=row["fee_basis_points"],
            tip_margin_basis_points=row["tip_margin_basis_points"],
            # Numbers are given by the statement that counts them.
            receipt_count=0,
            location_name=row["location_name"],
        )
        _add_account(ledger, row["merchant_account_id"], AccountKind.MERCHANT, "merchant", row)
    _add_account(ledger, operator_account_id(_FEES, booking.currency), _FEES, "fees", row)


def _add_payer(facts: PaymentFacts, ledger: LedgerFacts, booking: PaymentBooking, row: Row) -> None:
    instrument_id, status = booking.verdict.instrument_id, row["instrument_status"]
    if instrument_id is None or status is None or instrument_id in facts.payers:
        return
    facts.payers[instrument_id] = Payer(
        instrument_id=instrument_id,
        key_id=row["key_id"],
        label=row["label"],
        status=_INSTRUMENT_STATUSES[status],
        weakest_entry_mode=_ENTRY_MODES[row["weakest_entry_mode"]],
        per_payment_minor=row["per_payment_minor"],
        per_day_minor=row["per_day_minor"],
        card_counter=row["card_counter"],
        wallet_account_id=row["wallet_account_id"],
        wallet_id=row["wallet_id"],
        confirm_above_minor=row["confirm_above_minor"],
        has_pin=row["has_pin"],
        has_phone=row["has_phone"],
        tier=_read_tier(row),
    )
    _add_account(ledger, row["wallet_account_id"], AccountKind.WALLET, "wallet", row)


def _read_tier(row: Row) -> Tier | None:
    if row["tier_per_day_minor"] is None:
        return None
    return Tier(
        confirm_above_minor=row["tier_confirm_above_minor"],
        pin_max_minor=row["tier_pin_max_minor"],
        per_payment_minor=row["tier_per_payment_minor"],
        per_day_minor=row["tier_per_day_minor"],
    )


def _add_account(ledger: LedgerFacts, account_id: bytes, kind: AccountKind, of: str, row: Row) -> None:
    currency = row[f"{of}_currency"]
    if account_id in ledger.accounts or currency is None:
        return
    ledger.accounts[account_id] = Account(
        account_id,
        kind,
        currency,
        row[f"{of}_is_bounded"],
        row[f"{of}_frozen"],
        row[f"{of}_debits_pending"],
        row[f"{of}_debits_posted"],
        row[f"{of}_credits_pending"],
        row[f"{of}_credits_posted"],
    )


def _add_single_use(facts: PaymentFacts, booking: PaymentBooking, row: Row) -> None:
    use = booking.single_use
    if isinstance(use, TokenUse):
        if row["claims_digest"] is not None:
            facts.token_uses[use.key_id, use.counter] = row["claims_digest"]
        if row["nonce_is_known"] and use.terminal_nonce is not None:
            facts.terminal_nonces.add((use.terminal_nonce, booking.terminal_id))
    elif isinstance(use, PaymentCodeUse) and row["code_expires_ms"] is not None:
        facts.codes[use.code_hash] = CodeState(row["code_expires_ms"], row["code_is_used"])


def _add_totals(facts: PaymentFacts, booking: PaymentBooking, row: Row) -> None:
    if row["order_minor"] is not None:
        order = OrderState(row["order_minor"], row["order_taken_minor"])
        facts.orders[booking.order_id, booking.merchant_id] = order
    day, instrument_id = utc_day_of(booking.now_ms), booking.verdict.instrument_id
    if row["spent_minor"] is not None and instrument_id is not None:
        facts.spent_minor[day, instrument_id] = row["spent_minor"]
        facts.recent[day, instrument_id] = row["recent_window"], row["recent_count"]
    if row["wallet_spent_minor"] is not None:
        facts.wallet_spent_minor[day, row["wallet_id"]] = row["wallet_spent_minor"]


async def _add_attempts(
    connection: Connection, facts: PaymentFacts, repeated: Sequence[PaymentBooking]
) -> None:
    values = {
        "attempt_ids": [booking.attempt_id for booking in repeated],
        "terminal_ids": [booking.terminal_id for booking in repeated],
    }
    for row in await fetch(connection, PAYMENTS_SQL["list_attempts"], values):
        key = (row["attempt_id"], row["terminal_id"])
        facts.attempts[key] = KnownAttempt(row["request_digest"], read_payment(row))


def _booked_leg(row: Row) -> BookedLeg:
    return BookedLeg(
        transfer=read_transfer(row),
        sequence=row["group_sequence"],
        leg_index=row["leg_index"],
        leg_count=row["leg_count"],
        purpose=GroupPurpose(row["purpose"]),
    )
