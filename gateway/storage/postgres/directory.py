"""Merchants, locations, terminals and enrolment; wallets, instruments, card keys and codes.

Functions over a lent connection; those that write more than one row are given one in a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.errors import (
    AuthenticationFailed,
    ConfigurationError,
    EnrolmentRefused,
    IdempotencyConflict,
    NotFound,
)
from gateway.holders.model import (
    CardKeyBatch,
    Instrument,
    InstrumentStatus,
    RequestNonce,
    Wallet,
    WalletStatus,
)
from gateway.ledger.accounts import operator_account_id
from gateway.ledger.model import Account, AccountKind
from gateway.merchants.model import EnrolledTerminal, Location, Merchant, Terminal
from gateway.storage.postgres.database import Connection, Row, execute, fetch, fetch_row, insert
from gateway.storage.postgres.queries import load_queries
from gateway.storage.records import (
    read_account,
    read_card_key_batch,
    read_enrolled_terminal,
    read_instrument,
    read_merchant,
    read_wallet_balance,
)
from gateway.storage.store import (
    CARD_KEY_BATCHES_MAX,
    NONCES_FORGOTTEN_MAX,
    PAGE_ROWS_MAX,
    WalletBalance,
)

SQL = load_queries("directory")
LEDGER_SQL = load_queries("ledger")


async def open_account(connection: Connection, account: Account, now_ms: int) -> None:
    """Open an account with zero counters; IdempotencyConflict if its id is taken."""
    values = {
        "account_id": account.account_id,
        "kind": account.kind,
        "currency": account.currency,
        "debits_must_not_exceed_credits": account.debits_must_not_exceed_credits,
        "frozen": account.frozen,
        "opened_ms": now_ms,
    }
    await insert(connection, LEDGER_SQL["open_account"], values)


async def find_account(connection: Connection, account_id: bytes) -> Account | None:
    """Return an account as it stands, or None."""
    row = await fetch_row(connection, LEDGER_SQL["find_account"], {"account_id": account_id})
    return None if row is None else read_account(row)


async def set_account_frozen(connection: Connection, account_id: bytes, frozen: bool) -> None:
    """Freeze or unfreeze an account; NotFound if there is none."""
    values = {"account_id": account_id, "frozen": frozen}
    if await execute(connection, LEDGER_SQL["set_account_frozen"], values) == 0:
        raise NotFound("there is no such account")


async def add_merchant(connection: Connection, merchant: Merchant) -> None:
    """Store a merchant, open its account, and the fee account of its currency if it is the first."""
    account = Account(merchant.account_id, AccountKind.MERCHANT, merchant.currency)
    await open_account(connection, account, merchant.created_ms)
    await open_operator_account(connection, AccountKind.FEES, merchant.currency, merchant.created_ms)
    values = {
        "merchant_id": merchant.merchant_id,
        "name": merchant.name,
        "fee_basis_points": merchant.fee_basis_points,
        "account_id": merchant.account_id,
        "status": merchant.status,
        "created_ms": merchant.created_ms,
    }
    await insert(connection, SQL["add_merchant"], values)


async def list_merchants(connection: Connection, after_id: str) -> list[Merchant]:
    """Return a page of merchants in id order."""
    return [read_merchant(row) for row in await _page(connection, "list_merchants", after_id)]


async def add_location(connection: Connection, location: Location) -> None:
    """Store a location of a merchant."""
    values = {
        "location_id": location.location_id,
        "merchant_id": location.merchant_id,
        "name": location.name,
    }
    await insert(connection, SQL["add_location"], values)


async def add_terminal(
    connection: Connection, terminal: Terminal, code_hash: bytes, code_expires_ms: int
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
    await insert(connection, SQL["add_terminal"], values)


async def enrol_terminal(
    connection: Connection, code_hash: bytes, key_id: bytes, public_key: bytes, software: str, now_ms: int
) -> EnrolledTerminal:
    """Use up a code with a key; the same code with the same key answers again."""
    values = {"code_hash": code_hash, "key_id": key_id}
    more = {"public_key": public_key, "software": software, "now_ms": now_ms}
    try:
        await insert(connection, SQL["use_enrolment_code"], values | more)
    except IdempotencyConflict as conflict:
        raise EnrolmentRefused("another terminal has this key", code="key_already_enrolled") from conflict
    found = await fetch_row(connection, SQL["find_terminal_by_code_and_key"], values)
    if found is None:
        raise EnrolmentRefused("the code is unknown, used or expired")
    terminal = await find_terminal(connection, found["terminal_id"])
    assert terminal is not None, "a terminal is never removed"
    return terminal


async def find_terminal(connection: Connection, terminal_id: str) -> EnrolledTerminal | None:
    """Return a terminal, whatever its status; None if there is none."""
    row = await fetch_row(connection, SQL["find_enrolled_terminal_by_id"], {"terminal_id": terminal_id})
    return None if row is None else read_enrolled_terminal(row)


async def find_terminal_by_key(connection: Connection, key_id: bytes) -> EnrolledTerminal | None:
    """Return the terminal with this key, whatever its status."""
    row = await fetch_row(connection, SQL["find_enrolled_terminal_by_key"], {"key_id": key_id})
    return None if row is None else read_enrolled_terminal(row)


async def list_terminals(connection: Connection, after_id: str) -> list[EnrolledTerminal]:
    """Return a page of terminals in id order."""
    return [
        read_enrolled_terminal(row) for row in await _page(connection, "list_enrolled_terminals", after_id)
    ]


async def revoke_terminal(connection: Connection, terminal_id: str) -> None:
    """Withdraw a terminal for good: no booking that ends later than this is one of its own."""
    await _take_turn(connection)
    await _update_one(connection, "revoke_terminal", {"terminal_id": terminal_id})


async def add_wallet(connection: Connection, wallet: Wallet) -> None:
    """Store a wallet, open its account, and the outside account of its currency if it is the first."""
    account = Account(
        wallet.account_id,
        AccountKind.WALLET,
        wallet.currency,
        debits_must_not_exceed_credits=True,
        frozen=wallet.status is WalletStatus.FROZEN,
    )
    await open_account(connection, account, wallet.created_ms)
    await open_operator_account(connection, AccountKind.OUTSIDE, wallet.currency, wallet.created_ms)
    values = {
        "wallet_id": wallet.wallet_id,
        "holder_name": wallet.holder_name,
        "account_id": wallet.account_id,
        "created_ms": wallet.created_ms,
    }
    await insert(connection, SQL["add_wallet"], values)


async def find_wallet(connection: Connection, wallet_id: str) -> WalletBalance | None:
    """Return a wallet with its balance, or None."""
    row = await fetch_row(connection, SQL["find_wallet"], {"wallet_id": wallet_id})
    return None if row is None else read_wallet_balance(row)


async def list_wallets(connection: Connection, after_id: str) -> list[WalletBalance]:
    """Return a page of wallets in id order."""
    return [read_wallet_balance(row) for row in await _page(connection, "list_wallets", after_id)]


async def set_wallet_status(connection: Connection, wallet_id: str, status: WalletStatus) -> None:
    """Freeze or unfreeze a wallet's account."""
    values = {"wallet_id": wallet_id, "frozen": status is WalletStatus.FROZEN}
    await _update_one(connection, "set_wallet_frozen", values)


async def add_instrument(connection: Connection, instrument: Instrument) -> None:
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
    if await insert(connection, SQL["add_instrument"], values) == 0:
        raise IdempotencyConflict("this card is somebody's staff tag")


async def find_instrument_by_key(connection: Connection, key_id: bytes) -> Instrument | None:
    """Return the instrument with this key id, whatever its status."""
    row = await fetch_row(connection, SQL["find_instrument_by_key"], {"key_id": key_id})
    return None if row is None else read_instrument(row)


async def find_instruments_by_keys(connection: Connection, key_ids: Sequence[bytes]) -> list[Instrument]:
    """Return the instruments with these key ids, whatever their status."""
    rows = await fetch(connection, SQL["find_instruments_by_keys"], {"key_ids": list(key_ids)})
    return [read_instrument(row) for row in rows]


async def list_instruments(connection: Connection, after_id: str) -> list[Instrument]:
    """Return a page of instruments in id order."""
    return [read_instrument(row) for row in await _page(connection, "list_instruments", after_id)]


async def set_instrument_status(connection: Connection, instrument_id: str, status: InstrumentStatus) -> None:
    """Suspend or reactivate an instrument: no booking that ends later than this judged it as before."""
    await _take_turn(connection)
    values = {"instrument_id": instrument_id, "status": status}
    await _update_one(connection, "set_instrument_status", values)


async def add_card_key_batch(connection: Connection, batch: CardKeyBatch) -> None:
    """Store the sealed keys of a batch; ConfigurationError if there are CARD_KEY_BATCHES_MAX already."""
    values = {
        "batch_number": batch.batch_number,
        "key_version": batch.key_version,
        "meta_key_sealed": batch.meta_key_sealed,
        "file_master_sealed": batch.file_master_sealed,
        "created_ms": batch.created_ms,
        "batches_max": CARD_KEY_BATCHES_MAX,
    }
    await connection.execute(SQL["lock_card_key_batches"].sql)
    if await insert(connection, SQL["add_card_key_batch"], values) == 0:
        raise ConfigurationError(f"at most {CARD_KEY_BATCHES_MAX} batches of card keys may exist")


async def list_card_key_batches(connection: Connection) -> list[CardKeyBatch]:
    """Return all batches, newest first."""
    return [read_card_key_batch(row) for row in await fetch(connection, SQL["list_card_key_batches"], {})]


async def add_payment_code(
    connection: Connection,
    code_hash: bytes,
    instrument_id: str,
    expires_ms: int,
    now_ms: int,
    nonce: RequestNonce | None,
) -> None:
    """Store a fresh code, withdrawing the instrument's earlier unused ones."""
    if nonce is not None:
        await _use_nonce(connection, nonce, now_ms)
    values = {
        "code_hash": code_hash,
        "instrument_id": instrument_id,
        "expires_ms": expires_ms,
        "now_ms": now_ms,
    }
    # Of two that are issued at once, neither would see the other to withdraw it.
    await fetch(connection, SQL["wait_for_other_codes"], {"instrument_id": instrument_id})
    await fetch(connection, SQL["lock_payment_codes"], values)
    await execute(connection, SQL["withdraw_unused_codes"], values)
    if await insert(connection, SQL["add_payment_code"], values) == 0:
        raise IdempotencyConflict("the code is in use")


async def find_payment_code(connection: Connection, code_hash: bytes, now_ms: int) -> Instrument | None:
    """Return whose an unexpired code is, used or not."""
    values = {"code_hash": code_hash, "now_ms": now_ms}
    row = await fetch_row(connection, SQL["find_instrument_by_code"], values)
    return None if row is None else read_instrument(row)


async def check_health(connection: Connection) -> None:
    """Write something that means nothing."""
    await execute(connection, SQL["check_health"], {})


async def _use_nonce(connection: Connection, nonce: RequestNonce, now_ms: int) -> None:
    forgotten = {"now_ms": now_ms, "rows_max": NONCES_FORGOTTEN_MAX}
    await execute(connection, SQL["forget_nonces"], forgotten)
    values = {"key_id": nonce.key_id, "nonce": nonce.nonce, "expires_ms": nonce.expires_ms}
    if await execute(connection, SQL["use_nonce"], values) == 0:
        raise AuthenticationFailed("this request was seen before", code="nonce_replayed")


async def open_operator_account(
    connection: Connection, kind: AccountKind, currency: str, now_ms: int
) -> None:
    """Open the operator's account of this kind and currency unless it is open."""
    account_id = operator_account_id(kind, currency)
    values = {"account_id": account_id, "kind": kind, "currency": currency, "opened_ms": now_ms}
    await execute(connection, LEDGER_SQL["open_operator_account"], values)


async def _take_turn(connection: Connection) -> None:
    await fetch_row(connection, LEDGER_SQL["lock_chain_head"], {})


async def _page(connection: Connection, name: str, after_id: str) -> list[Row]:
    return await fetch(connection, SQL[name], {"after_id": after_id, "rows_max": PAGE_ROWS_MAX})


async def _update_one(connection: Connection, name: str, values: Mapping[str, object]) -> None:
    if await execute(connection, SQL[name], values) == 0:
        raise NotFound("there is none with this id")
