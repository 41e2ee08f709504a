"""One attempt, decided and booked inside the writer's transaction.

The order of what can be wrong, the first found being the answer: a copied key, a suspended merchant, what
verification refused, an order already paid, a second use, a suspended instrument, too weak an entry mode,
limits, and what the ledger says of the wallet.

What presented itself is spent before anything else is judged, and outside the part that a decline undoes:
so a declined attempt uses up its token, and nothing of an allowance, an order or a balance.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.errors import AuthenticationFailed, GatewayError, IdempotencyConflict
from gateway.holders.model import InstrumentStatus
from gateway.ledger.model import AccountKind
from gateway.ledger.outcomes import Outcome
from gateway.merchants.model import MerchantStatus, TerminalStatus
from gateway.payments.model import (
    CardCounter,
    PaymentBooking,
    PaymentCodeUse,
    PaymentRecord,
    Refused,
    TokenUse,
    Verified,
)
from gateway.payments.settlement import receipt_number_text, settle, utc_day_of
from gateway.storage.sqlite import ledger
from gateway.storage.sqlite.database import savepoint
from gateway.storage.sqlite.queries import load_queries
from wire.messages.payments import EntryMode

SQL = load_queries("payments")

_DECLINE_OF: Final = {
    Outcome.ACCOUNT_FROZEN: "wallet_frozen",
    Outcome.CURRENCY_MISMATCH: "currency_mismatch",
    Outcome.INSUFFICIENT_FUNDS: "insufficient_funds",
}


def book_payment(connection: sqlite3.Connection, booking: PaymentBooking) -> PaymentRecord:
    """Decide one attempt and store the decision, or return the decision it already got."""
    known = _find_attempt_row(connection, booking.terminal_id, booking.attempt_id)
    if known is not None:
        if known["request_digest"] != booking.request_digest:
            raise IdempotencyConflict("the attempt id was used for another request")
        return _record(known)
    site = _find_site(connection, booking)
    payer = _find_payer(connection, booking)
    decision = _decide(connection, booking, site, payer)
    connection.execute(SQL["add_payment"], _row_values(booking, site, payer, decision))
    stored = _find_attempt_row(connection, booking.terminal_id, booking.attempt_id)
    assert stored is not None
    return _record(stored)


def find_payment(connection: sqlite3.Connection, terminal_id: str, payment_id: str) -> PaymentRecord | None:
    """Return a payment of this terminal's merchant, or None."""
    values = {"terminal_id": terminal_id, "payment_id": payment_id}
    row = connection.execute(SQL["find_payment"], values).fetchone()
    return None if row is None else _record(row)


def find_payment_by_attempt(
    connection: sqlite3.Connection, terminal_id: str, attempt_id: str
) -> PaymentRecord | None:
    """Return what became of an attempt of this terminal, or None."""
    row = _find_attempt_row(connection, terminal_id, attempt_id)
    return None if row is None else _record(row)


@dataclass(frozen=True, slots=True)
class _Decision:
    decline_code: str | None = None
    group_sequence: int | None = None
    receipt_number: int | None = None


class _Declined(Exception):
    """Unwinds the savepoint of everything a decline must not change."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _decide(
    connection: sqlite3.Connection, booking: PaymentBooking, site: sqlite3.Row, payer: sqlite3.Row | None
) -> _Decision:
    spending = _spend(connection, booking)
    if spending == "instrument_cloned":
        return _Decision(spending)
    if site["merchant_status"] != MerchantStatus.ACTIVE:
        return _Decision("merchant_suspended")
    if isinstance(booking.verdict, Refused):
        return _Decision(booking.verdict.code)
    if payer is None:
        raise GatewayError("the verified instrument does not exist")
    # Before the savepoint: holds that are due stay let go even if this payment is then declined.
    ledger.expire_pendings(connection, booking.now_ms)
    try:
        with savepoint(connection):
            return _charge(connection, booking, site, payer, spending)
    except _Declined as declined:
        return _Decision(declined.code)


def _spend(connection: sqlite3.Connection, booking: PaymentBooking) -> str | None:
    """Use up what was presented; return the decline code if it was used before."""
    use = booking.verdict.single_use if isinstance(booking.verdict, Verified) else booking.verdict.spent
    if isinstance(use, TokenUse):
        return _spend_token(connection, booking, use)
    if isinstance(use, CardCounter):
        values = {"instrument_id": booking.verdict.instrument_id, "counter": use.counter}
        return _unless_changed(connection, "raise_card_counter", values, "card_counter_old")
    if isinstance(use, PaymentCodeUse):
        code = {
            "code_hash": use.code_hash,
            "payment_id": booking.payment_id,
            "now_ms": booking.now_ms,
        }
        return _unless_changed(connection, "use_payment_code", code, "payment_code_invalid")
    return None


def _unless_changed(
    connection: sqlite3.Connection, name: str, values: Mapping[str, object], code: str
) -> str | None:
    return None if connection.execute(SQL[name], values).rowcount else code


def _spend_token(connection: sqlite3.Connection, booking: PaymentBooking, use: TokenUse) -> str | None:
    values = {
        "key_id": use.key_id,
        "counter": use.counter,
        "claims_digest": use.claims_digest,
        "terminal_id": booking.terminal_id,
        "terminal_nonce": use.terminal_nonce,
        "payment_id": booking.payment_id,
    }
    if connection.execute(SQL["spend_token"], values).rowcount:
        return None
    earlier = connection.execute(SQL["find_token_use"], values).fetchone()
    if earlier is None:
        # Only the terminal's nonce was seen before: the token is refused, and spent like any other.
        connection.execute(SQL["spend_token"], values | {"terminal_nonce": None})
        return "token_replayed"
    if earlier["claims_digest"] == use.claims_digest:
        return "token_replayed"
    connection.execute(SQL["suspend_key"], values)
    return "instrument_cloned"


def _charge(
    connection: sqlite3.Connection,
    booking: PaymentBooking,
    site: sqlite3.Row,
    payer: sqlite3.Row,
    spending: str | None,
) -> _Decision:
    """Take everything an approval takes, or raise _Declined so that nothing of it stays."""
    order = {
        "merchant_id": booking.merchant_id,
        "order_id": booking.order_id,
        "amount_minor": booking.amount_minor,
    }
    if connection.execute(SQL["approve_order"], order).rowcount == 0:
        raise _Declined("order_already_paid")
    if spending is not None:
        raise _Declined(spending)
    _take_allowance(connection, booking, payer)
    sequence = _move_money(connection, booking, site, payer)
    (receipt_number,) = connection.execute(SQL["take_receipt_number"], order).fetchone()
    return _Decision(None, sequence, receipt_number)


def _take_allowance(connection: sqlite3.Connection, booking: PaymentBooking, payer: sqlite3.Row) -> None:
    values = {
        "instrument_id": payer["instrument_id"],
        "day": utc_day_of(booking.now_ms),
        "amount_minor": booking.amount_minor,
        "entry_mode": booking.entry_mode,
    }
    if connection.execute(SQL["take_allowance"], values).rowcount:
        return
    if payer["status"] != InstrumentStatus.ACTIVE:
        raise _Declined("instrument_suspended")
    if not payer["is_strong_enough"]:
        raise _Declined("entry_mode_not_allowed")
    if booking.amount_minor > payer["per_payment_minor"]:
        raise _Declined("limit_per_payment_exceeded")
    raise _Declined("limit_per_day_exceeded")


def _move_money(
    connection: sqlite3.Connection, booking: PaymentBooking, site: sqlite3.Row, payer: sqlite3.Row
) -> int:
    group = settle(
        booking,
        wallet_account_id=payer["account_id"],
        merchant_account_id=site["account_id"],
        fees_account_id=ledger.operator_account_id(AccountKind.FEES, booking.currency),
        fee_basis_points=site["fee_basis_points"],
    )
    answer = ledger.book_group(connection, group, booking.now_ms)
    if answer.outcome in _DECLINE_OF:
        raise _Declined(_DECLINE_OF[answer.outcome])
    if answer.outcome is not Outcome.BOOKED or answer.sequence is None:
        raise GatewayError(f"the ledger answered {answer.outcome.name} to a payment")
    return answer.sequence


def _find_attempt_row(
    connection: sqlite3.Connection, terminal_id: str, attempt_id: str
) -> sqlite3.Row | None:
    values = {"terminal_id": terminal_id, "attempt_id": attempt_id}
    row: sqlite3.Row | None = connection.execute(SQL["find_attempt"], values).fetchone()
    return row


def _find_site(connection: sqlite3.Connection, booking: PaymentBooking) -> sqlite3.Row:
    site: sqlite3.Row | None = connection.execute(
        SQL["find_site"], {"terminal_id": booking.terminal_id}
    ).fetchone()
    if site is None:
        raise AuthenticationFailed("there is no such terminal", code="terminal_unknown")
    if site["terminal_status"] != TerminalStatus.ACTIVE:
        raise AuthenticationFailed("the terminal was withdrawn", code="terminal_revoked")
    assert site["merchant_id"] == booking.merchant_id, "a terminal never changes its merchant"
    return site


def _find_payer(connection: sqlite3.Connection, booking: PaymentBooking) -> sqlite3.Row | None:
    values = {"instrument_id": booking.verdict.instrument_id, "entry_mode": booking.entry_mode}
    payer: sqlite3.Row | None = connection.execute(SQL["find_payer"], values).fetchone()
    return payer


def _row_values(
    booking: PaymentBooking, site: sqlite3.Row, payer: sqlite3.Row | None, decision: _Decision
) -> dict[str, object]:
    return {
        "payment_id": booking.payment_id,
        "attempt_id": booking.attempt_id,
        "request_digest": booking.request_digest,
        "terminal_id": booking.terminal_id,
        "merchant_id": booking.merchant_id,
        "order_id": booking.order_id,
        "outcome": "approved" if decision.decline_code is None else "declined",
        "decline_code": decision.decline_code,
        "amount_minor": booking.amount_minor,
        "currency": booking.currency,
        "entry_mode": booking.entry_mode,
        "instrument_id": payer["instrument_id"] if payer else None,
        "instrument_label": payer["label"] if payer else None,
        "merchant_name": site["merchant_name"],
        "location_name": site["location_name"],
        "receipt_number": decision.receipt_number,
        "group_sequence": decision.group_sequence,
        "presented_ms": booking.presented_ms,
        "card_exchange_ms": booking.card_exchange_ms,
        "decided_ms": booking.now_ms,
    }


def _record(row: sqlite3.Row) -> PaymentRecord:
    number = row["receipt_number"]
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
    )
