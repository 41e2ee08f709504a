"""Merchants, locations, terminals and enrolment; wallets, instruments, card keys and codes.

Functions over an open connection; the writing ones run inside the writer's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from gateway.errors import (
    AuthenticationFailed,
    ConfigurationError,
    EnrolmentRefused,
    IdempotencyConflict,
    NotFound,
)
from gateway.holders.funding import check_funded, funding_of
from gateway.holders.model import (
    CardKeyBatch,
    Instrument,
    InstrumentStatus,
    RequestNonce,
    Wallet,
    WalletStatus,
)
from gateway.ledger.model import Account, AccountKind
from gateway.merchants.model import (
    EnrolledTerminal,
    Location,
    Merchant,
    Terminal,
)
from gateway.storage.records import (
    read_card_key_batch,
    read_enrolled_terminal,
    read_instrument,
    read_merchant,
    read_wallet_balance,
)
from gateway.storage.sqlite import ledger
from gateway.storage.sqlite.database import insert
from gateway.storage.sqlite.queries import list_named_rows, load_queries
from gateway.storage.store import (
    CARD_KEY_BATCHES_MAX,
    NONCES_FORGOTTEN_MAX,
    PAGE_ROWS_MAX,
    WalletBalance,
)

SQL = load_queries("directory")


def add_merchant(connection: sqlite3.Connection, merchant: Merchant) -> None:
    """Store a merchant, open its account, and the fee account of its currency if it is the first."""
    account = Account(merchant.account_id, AccountKind.MERCHANT, merchant.currency)
    ledger.open_account(connection, account, merchant.created_ms)
    ledger.open_operator_account(connection, AccountKind.FEES, merchant.currency, merchant.created_ms)
    values = {
        "merchant_id": merchant.merchant_id,
        "name": merchant.name,
        "fee_basis_points": merchant.fee_basis_points,
        "account_id": merchant.account_id,
        "status": merchant.status,
        "created_ms": merchant.created_ms,
    }
    insert(connection, SQL["add_merchant"], values)


def list_merchants(connection: sqlite3.Connection, after_id: str) -> list[Merchant]:
    """Return a page of merchants in id order."""
    return [read_merchant(row) for row in _page(connection, "list_merchants", after_id)]


def add_location(connection: sqlite3.Connection, location: Location) -> None:
    """Store a location of a merchant."""
    values = {
        "location_id": location.location_id,
        "merchant_id": location.merchant_id,
        "name": location.name,
    }
    insert(connection, SQL["add_location"], values)


def add_terminal(
    connection: sqlite3.Connection, terminal: Terminal, code_hash: bytes, code_expires_ms: int
) -> None:
    """Store a terminal that waits for its enrolment code; its location must be of its merchant."""
    values = {
        "terminal_id": terminal.terminal_id,
        "merchant_id": terminal.merchant_id,
        "location_id": terminal.location_id,
        "status": terminal.status,
        "key_id": terminal.key_id,
        "public_key": terminal.public_key,
        "software": terminal.software,
        "code_hash": code_hash,
        "code_expires_ms": code_expires_ms,
        "created_ms": terminal.created_ms,
        "enrolled_ms": terminal.enrolled_ms,
    }
    insert(connection, SQL["add_terminal"], values)


def enrol_terminal(
    connection: sqlite3.Connection,
    code_hash: bytes,
    key_id: bytes,
    public_key: bytes,
    software: str,
    now_ms: int,
) -> EnrolledTerminal:
    """Use up a code with a key; the same code with the same key answers again."""
    values = {"code_hash": code_hash, "key_id": key_id}
    more = {"public_key": public_key, "software": software, "now_ms": now_ms}
    try:
        connection.execute(SQL["use_enrolment_code"], values | more)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE":
            raise
        raise EnrolmentRefused("another terminal has this key", code="key_already_enrolled") from error
    row = connection.execute(SQL["find_terminal_by_code_and_key"], values).fetchone()
    if row is None:
        raise EnrolmentRefused("the code is unknown, used or expired")
    return _find_enrolled_terminal(connection, row["terminal_id"])


def find_terminal_by_key(connection: sqlite3.Connection, key_id: bytes) -> EnrolledTerminal | None:
    """Return the terminal with this key, whatever its status."""
    row = connection.execute(SQL["find_enrolled_terminal_by_key"], {"key_id": key_id}).fetchone()
    return None if row is None else read_enrolled_terminal(row)


def find_terminal(connection: sqlite3.Connection, terminal_id: str) -> EnrolledTerminal | None:
    """Return a terminal, whatever its status; None if there is none."""
    row = connection.execute(SQL["find_enrolled_terminal_by_id"], {"terminal_id": terminal_id}).fetchone()
    return None if row is None else read_enrolled_terminal(row)


def list_terminals(connection: sqlite3.Connection, after_id: str) -> list[EnrolledTerminal]:
    """Return a page of terminals in id order."""
    return [read_enrolled_terminal(row) for row in _page(connection, "list_enrolled_terminals", after_id)]


def revoke_terminal(connection: sqlite3.Connection, terminal_id: str) -> None:
    """Withdraw a terminal for good."""
    _update_one(connection, "revoke_terminal", {"terminal_id": terminal_id})


def add_wallet(connection: sqlite3.Connection, wallet: Wallet) -> None:
    """Store a wallet, open its account, and the outside account of its currency if it is the first."""
    account = Account(
        wallet.account_id,
        AccountKind.WALLET,
        wallet.currency,
        debits_must_not_exceed_credits=True,
        frozen=wallet.status is WalletStatus.FROZEN,
    )
    ledger.open_account(connection, account, wallet.created_ms)
    ledger.open_operator_account(connection, AccountKind.OUTSIDE, wallet.currency, wallet.created_ms)
    values = {
        "wallet_id": wallet.wallet_id,
        "holder_name": wallet.holder_name,
        "account_id": wallet.account_id,
        "created_ms": wallet.created_ms,
    }
    insert(connection, SQL["add_wallet"], values)


def fund_wallet(
    connection: sqlite3.Connection, wallet_id: str, transfer_id: bytes, amount_minor: int, now_ms: int
) -> None:
    """Move money from outside into a wallet; the same transfer again is a no-op."""
    balance = find_wallet(connection, wallet_id)
    if balance is None:
        raise NotFound("there is no such wallet")
    funding = funding_of(balance.wallet, transfer_id, amount_minor)
    (answer,) = ledger.book(connection, [funding], now_ms)
    check_funded(answer.outcome)


def find_wallet(connection: sqlite3.Connection, wallet_id: str) -> WalletBalance | None:
    """Return a wallet with its balance, or None."""
    row = connection.execute(SQL["find_wallet"], {"wallet_id": wallet_id}).fetchone()
    return None if row is None else read_wallet_balance(row)


def list_wallets(connection: sqlite3.Connection, after_id: str) -> list[WalletBalance]:
    """Return a page of wallets in id order."""
    return [read_wallet_balance(row) for row in _page(connection, "list_wallets", after_id)]


def set_wallet_status(connection: sqlite3.Connection, wallet_id: str, status: WalletStatus) -> None:
    """Freeze or unfreeze a wallet's account."""
    values = {"wallet_id": wallet_id, "frozen": status is WalletStatus.FROZEN}
    _update_one(connection, "set_wallet_frozen", values)


def add_instrument(connection: sqlite3.Connection, instrument: Instrument) -> None:
    """Store an instrument of a wallet."""
    values = {
        "instrument_id": instrument.instrument_id,
        "wallet_id": instrument.wallet_id,
        "kind": instrument.kind,
        "label": instrument.label,
        "status": instrument.status,
        "key_id": instrument.key_id,
        "public_key": instrument.public_key,
        "weakest_entry_mode": instrument.weakest_entry_mode,
        "per_payment_minor": instrument.limits.per_payment_minor,
        "per_day_minor": instrument.limits.per_day_minor,
        "card_counter": instrument.card_counter,
        "card_key_batch": instrument.card_key_batch,
        "card_key_version": instrument.card_key_version,
        "created_ms": instrument.created_ms,
    }
    if insert(connection, SQL["add_instrument"], values) == 0:
        raise IdempotencyConflict("this card is somebody's staff tag")


def find_instrument_by_key(connection: sqlite3.Connection, key_id: bytes) -> Instrument | None:
    """Return the instrument with this key id, whatever its status."""
    row = connection.execute(SQL["find_instrument_by_key"], {"key_id": key_id}).fetchone()
    return None if row is None else read_instrument(row)


def find_instruments_by_keys(connection: sqlite3.Connection, key_ids: Sequence[bytes]) -> list[Instrument]:
    """Return the instruments with these key ids, whatever their status."""
    rows = list_named_rows(connection, SQL["find_instruments_by_keys"], [(key_id,) for key_id in key_ids])
    return list({row["key_id"]: read_instrument(row) for row in rows}.values())


def list_instruments(connection: sqlite3.Connection, after_id: str) -> list[Instrument]:
    """Return a page of instruments in id order."""
    return [read_instrument(row) for row in _page(connection, "list_instruments", after_id)]


def set_instrument_status(
    connection: sqlite3.Connection, instrument_id: str, status: InstrumentStatus
) -> None:
    """Suspend or reactivate an instrument."""
    _update_one(connection, "set_instrument_status", {"instrument_id": instrument_id, "status": status})


def add_card_key_batch(connection: sqlite3.Connection, batch: CardKeyBatch) -> None:
    """Store the sealed keys of a batch; ConfigurationError if there are CARD_KEY_BATCHES_MAX already."""
    values = {
        "batch_number": batch.batch_number,
        "key_version": batch.key_version,
        "meta_key_sealed": batch.meta_key_sealed,
        "file_master_sealed": batch.file_master_sealed,
        "created_ms": batch.created_ms,
        "batches_max": CARD_KEY_BATCHES_MAX,
    }
    if insert(connection, SQL["add_card_key_batch"], values) == 0:
        raise ConfigurationError(f"at most {CARD_KEY_BATCHES_MAX} batches of card keys may exist")


def list_card_key_batches(connection: sqlite3.Connection) -> list[CardKeyBatch]:
    """Return all batches, newest first."""
    return [read_card_key_batch(row) for row in connection.execute(SQL["list_card_key_batches"])]


def add_payment_code(
    connection: sqlite3.Connection,
    code_hash: bytes,
    instrument_id: str,
    expires_ms: int,
    now_ms: int,
    nonce: RequestNonce | None,
) -> None:
    """Store a fresh code, withdrawing the instrument's earlier unused ones."""
    if nonce is not None:
        _use_nonce(connection, nonce, now_ms)
    connection.execute(SQL["withdraw_unused_codes"], {"instrument_id": instrument_id})
    values = {
        "code_hash": code_hash,
        "instrument_id": instrument_id,
        "expires_ms": expires_ms,
        "now_ms": now_ms,
    }
    if insert(connection, SQL["add_payment_code"], values) == 0:
        raise IdempotencyConflict("the code is in use")


def find_payment_code(connection: sqlite3.Connection, code_hash: bytes, now_ms: int) -> Instrument | None:
    """Return whose an unexpired code is, used or not."""
    values = {"code_hash": code_hash, "now_ms": now_ms}
    row = connection.execute(SQL["find_instrument_by_code"], values).fetchone()
    return None if row is None else read_instrument(row)


def check_health(connection: sqlite3.Connection) -> None:
    """Write something that means nothing."""
    connection.execute(SQL["check_health"])


def _use_nonce(connection: sqlite3.Connection, nonce: RequestNonce, now_ms: int) -> None:
    connection.execute(SQL["forget_nonces"], {"now_ms": now_ms, "rows_max": NONCES_FORGOTTEN_MAX})
    values = {"key_id": nonce.key_id, "nonce": nonce.nonce, "expires_ms": nonce.expires_ms}
    if connection.execute(SQL["use_nonce"], values).rowcount == 0:
        raise AuthenticationFailed("this request was seen before", code="nonce_replayed")


def _page(connection: sqlite3.Connection, name: str, after_id: str) -> list[sqlite3.Row]:
    return connection.execute(SQL[name], {"after_id": after_id, "rows_max": PAGE_ROWS_MAX}).fetchall()


def _update_one(connection: sqlite3.Connection, name: str, values: dict[str, object]) -> None:
    if connection.execute(SQL[name], values).rowcount == 0:
        raise NotFound("there is none with this id")


def _find_enrolled_terminal(connection: sqlite3.Connection, terminal_id: str) -> EnrolledTerminal:
    terminal = find_terminal(connection, terminal_id)
    assert terminal is not None, "it was enrolled in this transaction"
    return terminal
