"""PostgresStore: the Store contract and the ledger's book, over one database that gateways may share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.cards.model import CardOrder, CardSession
from gateway.errors import NotFound
from gateway.holders.funding import check_funded, funding_of
from gateway.holders.model import (
    CardKeyBatch,
    Instrument,
    InstrumentStatus,
    RequestNonce,
    Wallet,
    WalletStatus,
)
from gateway.ledger.book import GROUPS_PER_CALL_MAX
from gateway.ledger.model import Account, TransferGroup
from gateway.ledger.outcomes import GroupOutcome
from gateway.merchants.model import EnrolledTerminal, Location, Merchant, Terminal
from gateway.offline.model import Credential, CredentialWish, OfflineAlarm, SealedPayment, SettledRecord
from gateway.payments.life import PaymentChange
from gateway.payments.life_changes import Changed
from gateway.payments.model import PaymentBooking, PaymentRecord, TerminalEvent
from gateway.storage.cards import CardQueries, values_of_renewal
from gateway.storage.people import PeopleQueries
from gateway.storage.policies import PolicyQueries
from gateway.storage.postgres import booking, cards, directory, life, offline
from gateway.storage.postgres.batches import QUEUE_MAX, Batches
from gateway.storage.postgres.database import (
    PATIENCE,
    Database,
    Patience,
    execute,
    fetch,
    fetch_row,
    insert,
)
from gateway.storage.postgres.migrate import migrate_database
from gateway.storage.postgres.queries import load_queries
from gateway.storage.records import Row, read_payment
from gateway.storage.shifts import ShiftQueries
from gateway.storage.statements import Values
from gateway.storage.store import KEYS_PER_CALL_MAX, WalletBalance

SQL = load_queries("payments")
LEDGER_SQL = load_queries("ledger")
SHARED_SQL = {
    **load_queries("policy"),
    **load_queries("people"),
    **load_queries("shifts"),
    **load_queries("cards"),
}
"""Statements that mean the same in every store, as policies.py, people.py, shifts.py and cards.py say."""


async def open_postgres_store(
    url: str, *, queue_max: int = QUEUE_MAX, patience: Patience = PATIENCE
) -> PostgresStore:
    """Open a database, bringing it up to date first.

    Args:
        url: as PostgreSQL's own programs take it: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS.
        queue_max: most bookings that wait for the database.

    Raises:
        ConfigurationError: the URL leads to no database that we can use; says why.
        StoreUnavailable: the server can't be reached now.
    """
    await migrate_database(url)
    database = await Database.open(url, patience)
    return PostgresStore(database, Batches(url, patience, queue_max=queue_max))


class PostgresStore(PolicyQueries, PeopleQueries, ShiftQueries, CardQueries):
    """Keeps gateway.storage.store.Store and gateway.ledger.book.LedgerBook; see there for each method.

    Bound to the event loop it was opened in. Any number of stores may use one database at the same time.
    """

    def __init__(self, database: Database, batches: Batches) -> None:
        self._database = database
        self._batches = batches

    # Payments

    async def book_payment(self, booking: PaymentBooking) -> PaymentRecord:
        return await self._batches.submit_booking(booking)

    async def change_payment(self, change: PaymentChange, now_ms: int) -> Changed:
        return await self._batches.submit(lambda connection: life.change_payment(connection, change, now_ms))

    async def list_due_payments(self, now_ms: int, after_id: str = "") -> list[str]:
        async with self._database.connection() as connection:
            return await life.list_due_payments(connection, now_ms, after_id)

    async def list_terminal_events(self, terminal_id: str, after: int) -> list[TerminalEvent]:
        async with self._database.connection() as connection:
            return await life.list_terminal_events(connection, terminal_id, after)

    async def find_last_event(self, terminal_id: str) -> int:
        async with self._database.connection() as connection:
            return await life.find_last_event(connection, terminal_id)

    async def forget_terminal_events(self, before_ms: int) -> int:
        async with self._database.transaction() as connection:
            return await life.forget_terminal_events(connection, before_ms)

    async def find_payment(self, terminal_id: str, payment_id: str) -> PaymentRecord | None:
        values = {"terminal_id": terminal_id, "payment_id": payment_id}
        async with self._database.connection() as connection:
            row = await fetch_row(connection, SQL["find_payment"], values)
        return None if row is None else read_payment(row)

    async def find_payment_by_attempt(self, terminal_id: str, attempt_id: str) -> PaymentRecord | None:
        values = {"terminal_id": terminal_id, "attempt_id": attempt_id}
        async with self._database.connection() as connection:
            row = await fetch_row(connection, SQL["find_attempt"], values)
        return None if row is None else read_payment(row)

    # Merchants

    async def add_merchant(self, merchant: Merchant) -> None:
        async with self._database.transaction() as connection:
            await directory.add_merchant(connection, merchant)

    async def list_merchants(self, after_id: str = "") -> list[Merchant]:
        async with self._database.connection() as connection:
            return await directory.list_merchants(connection, after_id)

    async def add_location(self, location: Location) -> None:
        async with self._database.connection() as connection:
            await directory.add_location(connection, location)

    async def add_terminal(self, terminal: Terminal, code_hash: bytes, code_expires_ms: int) -> None:
        async with self._database.connection() as connection:
            await directory.add_terminal(connection, terminal, code_hash, code_expires_ms)

    async def enrol_terminal(
        self, code_hash: bytes, key_id: bytes, public_key: bytes, software: str, now_ms: int
    ) -> EnrolledTerminal:
        async with self._database.transaction() as connection:
            return await directory.enrol_terminal(connection, code_hash, key_id, public_key, software, now_ms)

    async def find_terminal_by_key(self, key_id: bytes) -> EnrolledTerminal | None:
        async with self._database.connection() as connection:
            return await directory.find_terminal_by_key(connection, key_id)

    async def find_terminal(self, terminal_id: str) -> EnrolledTerminal | None:
        async with self._database.connection() as connection:
            return await directory.find_terminal(connection, terminal_id)

    async def list_terminals(self, after_id: str = "") -> list[EnrolledTerminal]:
        async with self._database.connection() as connection:
            return await directory.list_terminals(connection, after_id)

    async def revoke_terminal(self, terminal_id: str) -> None:
        async with self._database.transaction() as connection:
            await directory.revoke_terminal(connection, terminal_id)

    # Holders

    async def add_wallet(self, wallet: Wallet) -> None:
        async with self._database.transaction() as connection:
            await directory.add_wallet(connection, wallet)

    async def fund_wallet(self, wallet_id: str, transfer_id: bytes, amount_minor: int, now_ms: int) -> None:
        balance = await self.find_wallet(wallet_id)
        if balance is None:
            raise NotFound("there is no such wallet")
        funding = funding_of(balance.wallet, transfer_id, amount_minor)
        (answer,) = await self.book([funding], now_ms)
        check_funded(answer.outcome)

    async def find_wallet(self, wallet_id: str) -> WalletBalance | None:
        async with self._database.connection() as connection:
            return await directory.find_wallet(connection, wallet_id)

    async def list_wallets(self, after_id: str = "") -> list[WalletBalance]:
        async with self._database.connection() as connection:
            return await directory.list_wallets(connection, after_id)

    async def set_wallet_status(self, wallet_id: str, status: WalletStatus) -> None:
        async with self._database.connection() as connection:
            await directory.set_wallet_status(connection, wallet_id, status)

    async def add_instrument(self, instrument: Instrument) -> None:
        async with self._database.connection() as connection:
            await directory.add_instrument(connection, instrument)

    async def find_instrument_by_key(self, key_id: bytes) -> Instrument | None:
        async with self._database.connection() as connection:
            return await directory.find_instrument_by_key(connection, key_id)

    async def find_instruments_by_keys(self, key_ids: Sequence[bytes]) -> list[Instrument]:
        assert len(key_ids) <= KEYS_PER_CALL_MAX, "a call has a bound"
        async with self._database.connection() as connection:
            return await directory.find_instruments_by_keys(connection, key_ids)

    async def list_instruments(self, after_id: str = "") -> list[Instrument]:
        async with self._database.connection() as connection:
            return await directory.list_instruments(connection, after_id)

    async def set_instrument_status(self, instrument_id: str, status: InstrumentStatus) -> None:
        async with self._database.transaction() as connection:
            await directory.set_instrument_status(connection, instrument_id, status)

    async def add_card_key_batch(self, batch: CardKeyBatch) -> None:
        async with self._database.transaction() as connection:
            await directory.add_card_key_batch(connection, batch)

    async def list_card_key_batches(self) -> list[CardKeyBatch]:
        async with self._database.connection() as connection:
            return await directory.list_card_key_batches(connection)

    async def add_payment_code(
        self,
        code_hash: bytes,
        instrument_id: str,
        expires_ms: int,
        now_ms: int,
        nonce: RequestNonce | None = None,
    ) -> None:
        async with self._database.transaction() as connection:
            await directory.add_payment_code(connection, code_hash, instrument_id, expires_ms, now_ms, nonce)

    async def find_payment_code(self, code_hash: bytes, now_ms: int) -> Instrument | None:
        async with self._database.connection() as connection:
            return await directory.find_payment_code(connection, code_hash, now_ms)

    # Cards

    async def find_card_orders_by_card(self, key_ids: Sequence[bytes]) -> list[CardOrder]:
        assert len(key_ids) <= KEYS_PER_CALL_MAX, "a call has a bound"
        async with self._database.connection() as connection:
            return await cards.find_card_orders_by_card(connection, key_ids)

    async def finish_card_order(self, order_id: str, instrument: Instrument) -> Instrument:
        async with self._database.transaction() as connection:
            return await cards.finish_card_order(connection, order_id, instrument)

    async def renew_card(
        self, instrument_id: str, old_key_id: bytes, key_id: bytes, key_version: int, counter: int
    ) -> bool:
        renewal = values_of_renewal(instrument_id, old_key_id, key_id, key_version, counter)
        async with self._database.transaction() as connection:
            return await cards.renew_card(connection, renewal)

    async def add_card_session(self, session: CardSession) -> None:
        async with self._database.transaction() as connection:
            await cards.add_card_session(connection, session)

    # Payments without a connection

    async def issue_credential(self, wish: CredentialWish) -> Credential:
        return await self._batches.submit(lambda connection: offline.issue_credential(connection, wish))

    async def list_credentials(self, after_id: str = "") -> list[Credential]:
        async with self._database.connection() as connection:
            return await offline.list_credentials(connection, after_id)

    async def list_due_credentials(self, now_ms: int, after_id: str = "") -> list[str]:
        async with self._database.connection() as connection:
            return await offline.list_due_credentials(connection, now_ms, after_id)

    async def end_credential(self, credential_id: str, now_ms: int) -> int:
        return await self._batches.submit(
            lambda connection: offline.end_credential(connection, credential_id, now_ms)
        )

    async def list_suspended(self, now_ms: int) -> list[int]:
        async with self._database.connection() as connection:
            indexes, is_noted = await offline.read_suspended(connection)
            return indexes if is_noted else await offline.note_suspended(connection, now_ms)

    async def settle_record(self, sealed: SealedPayment) -> SettledRecord:
        return await self._batches.submit(lambda connection: offline.settle_record(connection, sealed))

    async def find_last_sequence(self, terminal_id: str) -> int:
        async with self._database.connection() as connection:
            return await offline.find_last_sequence(connection, terminal_id)

    async def list_offline_alarms(self) -> list[OfflineAlarm]:
        async with self._database.connection() as connection:
            return await offline.list_alarms(connection)

    async def list_offline_losses(self) -> list[SettledRecord]:
        async with self._database.connection() as connection:
            return await offline.list_losses(connection)

    # How the queries it inherits run their statements

    async def _set(self, name: str, /, **values: Any) -> None:
        async with self._database.transaction() as connection:
            # Limits and PINs are judged by bookings: whoever changes them takes its turn among those.
            await fetch_row(connection, LEDGER_SQL["lock_chain_head"], {})
            if await execute(connection, SHARED_SQL[name], values) == 0:
                raise NotFound("there is none with this id")

    async def _add(self, name: str, values: Values, /) -> bool:
        async with self._database.connection() as connection:
            return await insert(connection, SHARED_SQL[name], values) > 0

    async def _take(self, name: str, /, **values: Any) -> Row | None:
        async with self._database.transaction() as connection:
            return await fetch_row(connection, SHARED_SQL[name], values)

    async def _list(self, name: str, /, **values: Any) -> Sequence[Row]:
        async with self._database.connection() as connection:
            return await fetch(connection, SHARED_SQL[name], values)

    async def _list_habit(self, instrument_id: str, days: Sequence[int], /) -> Sequence[Row]:
        return await self._list("list_habit", instrument_id=instrument_id, days=list(days))

    # The ledger's book

    async def open_account(self, account: Account, now_ms: int) -> None:
        async with self._database.connection() as connection:
            await directory.open_account(connection, account, now_ms)

    async def find_account(self, account_id: bytes) -> Account | None:
        async with self._database.connection() as connection:
            return await directory.find_account(connection, account_id)

    async def set_account_frozen(self, account_id: bytes, frozen: bool) -> None:
        async with self._database.connection() as connection:
            await directory.set_account_frozen(connection, account_id, frozen)

    async def book(self, groups: Sequence[TransferGroup], now_ms: int) -> list[GroupOutcome]:
        assert len(groups) <= GROUPS_PER_CALL_MAX, "a batch has a bound"
        return await self._batches.submit(lambda connection: booking.book_groups(connection, groups, now_ms))

    async def expire_pendings(self, now_ms: int) -> int:
        return await self._batches.submit(lambda connection: booking.expire_pendings(connection, now_ms))

    # The store itself

    async def check_health(self) -> None:
        async with self._database.connection() as connection:
            await directory.check_health(connection)

    async def close(self) -> None:
        await self._batches.close()
        await self._database.close()
