"""SqliteStore: the Store contract and the ledger's book, over one file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from gateway.cards.model import CardOrder, CardSession
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
from gateway.storage.records import Row
from gateway.storage.shifts import ShiftQueries
from gateway.storage.sqlite import cards, directory, ledger, life, offline, payments, statements
from gateway.storage.sqlite.database_lock import DatabaseLock, share_database
from gateway.storage.sqlite.migrate import migrate
from gateway.storage.sqlite.readers import Readers
from gateway.storage.sqlite.writer import QUEUE_MAX, Writer
from gateway.storage.statements import Values
from gateway.storage.store import KEYS_PER_CALL_MAX, WalletBalance

T = TypeVar("T")


async def open_sqlite_store(path: Path | str, *, queue_max: int = QUEUE_MAX) -> SqliteStore:
    """Open the file, bringing it up to date first; it is created if it is missing.

    Raises:
        ConfigurationError: the file is another program's, or newer than this program.
        StoreUnavailable: it can't be written.
    """
    return await SqliteStore.open(path, queue_max=queue_max)


class SqliteStore(PolicyQueries, PeopleQueries, ShiftQueries, CardQueries):
    """Keeps gateway.storage.store.Store and gateway.ledger.book.LedgerBook; see there for each method.

    Bound to the event loop it was opened in. Other processes may use the same file at the same time.
    """

    def __init__(self, writer: Writer, readers: Readers, lock: DatabaseLock) -> None:
        self._writer = writer
        self._readers = readers
        self._lock = lock

    @classmethod
    async def open(cls, path: Path | str, *, queue_max: int = QUEUE_MAX) -> SqliteStore:
        """As `open_sqlite_store`."""
        lock = await asyncio.to_thread(share_database, Path(path))
        try:
            await asyncio.to_thread(migrate, path)
        except BaseException:
            lock.release()
            raise
        return cls(Writer(Path(path), queue_max), Readers(Path(path)), lock)

    # Payments

    async def book_payment(self, booking: PaymentBooking) -> PaymentRecord:
        return await self._writer.submit_booking(booking)

    def submit_booking(self, booking: PaymentBooking) -> asyncio.Future[PaymentRecord]:
        """As `book_payment` without a coroutine, for whoever books for many (gateway/storage/link/server.py).

        Raises:
            GatewayBusy, StoreUnavailable: at once; what happens later comes through the future.
        """
        return self._writer.submit_booking(booking)

    async def change_payment(self, change: PaymentChange, now_ms: int) -> Changed:
        return await self._writer.submit(lambda c: life.change_payment(c, change, now_ms))

    async def list_due_payments(self, now_ms: int, after_id: str = "") -> list[str]:
        return await self._readers.read(lambda c: life.list_due_payments(c, now_ms, after_id))

    async def list_terminal_events(self, terminal_id: str, after: int) -> list[TerminalEvent]:
        return await self._readers.read(lambda c: life.list_terminal_events(c, terminal_id, after))

    async def find_last_event(self, terminal_id: str) -> int:
        return await self._readers.read(lambda c: life.find_last_event(c, terminal_id))

    async def forget_terminal_events(self, before_ms: int) -> int:
        return await self._writer.submit(lambda c: life.forget_terminal_events(c, before_ms))

    async def find_payment(self, terminal_id: str, payment_id: str) -> PaymentRecord | None:
        return await self._readers.read(lambda c: payments.find_payment(c, terminal_id, payment_id))

    async def find_payment_by_attempt(self, terminal_id: str, attempt_id: str) -> PaymentRecord | None:
        return await self._readers.read(
            lambda c: payments.find_payment_by_attempt(c, terminal_id, attempt_id)
        )

    # Merchants

    async def add_merchant(self, merchant: Merchant) -> None:
        await self._writer.submit(lambda c: directory.add_merchant(c, merchant))

    async def list_merchants(self, after_id: str = "") -> list[Merchant]:
        return await self._readers.read(lambda c: directory.list_merchants(c, after_id))

    async def add_location(self, location: Location) -> None:
        await self._writer.submit(lambda c: directory.add_location(c, location))

    async def add_terminal(self, terminal: Terminal, code_hash: bytes, code_expires_ms: int) -> None:
        await self._writer.submit(lambda c: directory.add_terminal(c, terminal, code_hash, code_expires_ms))

    async def enrol_terminal(
        self, code_hash: bytes, key_id: bytes, public_key: bytes, software: str, now_ms: int
    ) -> EnrolledTerminal:
        return await self._writer.submit(
            lambda c: directory.enrol_terminal(c, code_hash, key_id, public_key, software, now_ms)
        )

    async def find_terminal_by_key(self, key_id: bytes) -> EnrolledTerminal | None:
        return await self._readers.read(lambda c: directory.find_terminal_by_key(c, key_id))

    async def find_terminal(self, terminal_id: str) -> EnrolledTerminal | None:
        return await self._readers.read(lambda c: directory.find_terminal(c, terminal_id))

    async def list_terminals(self, after_id: str = "") -> list[EnrolledTerminal]:
        return await self._readers.read(lambda c: directory.list_terminals(c, after_id))

    async def revoke_terminal(self, terminal_id: str) -> None:
        await self._writer.submit(lambda c: directory.revoke_terminal(c, terminal_id))

    # Holders

    async def add_wallet(self, wallet: Wallet) -> None:
        await self._writer.submit(lambda c: directory.add_wallet(c, wallet))

    async def fund_wallet(self, wallet_id: str, transfer_id: bytes, amount_minor: int, now_ms: int) -> None:
        await self._writer.submit(
            lambda c: directory.fund_wallet(c, wallet_id, transfer_id, amount_minor, now_ms)
        )

    async def find_wallet(self, wallet_id: str) -> WalletBalance | None:
        return await self._readers.read(lambda c: directory.find_wallet(c, wallet_id))

    async def list_wallets(self, after_id: str = "") -> list[WalletBalance]:
        return await self._readers.read(lambda c: directory.list_wallets(c, after_id))

    async def set_wallet_status(self, wallet_id: str, status: WalletStatus) -> None:
        await self._writer.submit(lambda c: directory.set_wallet_status(c, wallet_id, status))

    async def add_instrument(self, instrument: Instrument) -> None:
        await self._writer.submit(lambda c: directory.add_instrument(c, instrument))

    async def find_instrument_by_key(self, key_id: bytes) -> Instrument | None:
        return await self._readers.read(lambda c: directory.find_instrument_by_key(c, key_id))

    async def find_instruments_by_keys(self, key_ids: Sequence[bytes]) -> list[Instrument]:
        assert len(key_ids) <= KEYS_PER_CALL_MAX, "a call has a bound"
        return await self._readers.read(lambda c: directory.find_instruments_by_keys(c, key_ids))

    async def list_instruments(self, after_id: str = "") -> list[Instrument]:
        return await self._readers.read(lambda c: directory.list_instruments(c, after_id))

    async def set_instrument_status(self, instrument_id: str, status: InstrumentStatus) -> None:
        await self._writer.submit(lambda c: directory.set_instrument_status(c, instrument_id, status))

    async def add_card_key_batch(self, batch: CardKeyBatch) -> None:
        await self._writer.submit(lambda c: directory.add_card_key_batch(c, batch))

    async def list_card_key_batches(self) -> list[CardKeyBatch]:
        return await self._readers.read(directory.list_card_key_batches)

    async def add_payment_code(
        self,
        code_hash: bytes,
        instrument_id: str,
        expires_ms: int,
        now_ms: int,
        nonce: RequestNonce | None = None,
    ) -> None:
        await self._writer.submit(
            lambda c: directory.add_payment_code(c, code_hash, instrument_id, expires_ms, now_ms, nonce)
        )

    async def find_payment_code(self, code_hash: bytes, now_ms: int) -> Instrument | None:
        return await self._readers.read(lambda c: directory.find_payment_code(c, code_hash, now_ms))

    # Cards

    async def find_card_orders_by_card(self, key_ids: Sequence[bytes]) -> list[CardOrder]:
        assert len(key_ids) <= KEYS_PER_CALL_MAX, "a call has a bound"
        return await self._readers.read(lambda c: cards.find_card_orders_by_card(c, key_ids))

    async def finish_card_order(self, order_id: str, instrument: Instrument) -> Instrument:
        return await self._writer.submit(lambda c: cards.finish_card_order(c, order_id, instrument))

    async def renew_card(
        self, instrument_id: str, old_key_id: bytes, key_id: bytes, key_version: int, counter: int
    ) -> bool:
        renewal = values_of_renewal(instrument_id, old_key_id, key_id, key_version, counter)
        return await self._writer.submit(lambda c: cards.renew_card(c, renewal))

    async def add_card_session(self, session: CardSession) -> None:
        await self._writer.submit(lambda c: cards.add_card_session(c, session))

    # Payments without a connection

    async def issue_credential(self, wish: CredentialWish) -> Credential:
        return await self._writer.submit(lambda c: offline.issue_credential(c, wish))

    async def list_credentials(self, after_id: str = "") -> list[Credential]:
        return await self._readers.read(lambda c: offline.list_credentials(c, after_id))

    async def list_due_credentials(self, now_ms: int, after_id: str = "") -> list[str]:
        return await self._readers.read(lambda c: offline.list_due_credentials(c, now_ms, after_id))

    async def end_credential(self, credential_id: str, now_ms: int) -> int:
        return await self._writer.submit(lambda c: offline.end_credential(c, credential_id, now_ms))

    async def list_suspended(self, now_ms: int) -> list[int]:
        indexes, is_noted = await self._readers.read(offline.read_suspended)
        if is_noted:
            return indexes
        return await self._writer.submit(lambda c: offline.note_suspended(c, now_ms))

    async def settle_record(self, sealed: SealedPayment) -> SettledRecord:
        return await self._writer.submit(lambda c: offline.settle_record(c, sealed))

    async def find_last_sequence(self, terminal_id: str) -> int:
        return await self._readers.read(lambda c: offline.find_last_sequence(c, terminal_id))

    async def list_offline_alarms(self) -> list[OfflineAlarm]:
        return await self._readers.read(offline.list_alarms)

    async def list_offline_losses(self) -> list[SettledRecord]:
        return await self._readers.read(offline.list_losses)

    # How the queries it inherits run their statements

    async def _set(self, name: str, /, **values: Any) -> None:
        await self._writer.submit(lambda c: statements.change_one(c, name, values))

    async def _add(self, name: str, values: Values, /) -> bool:
        return await self._writer.submit(lambda c: statements.add(c, name, values))

    async def _take(self, name: str, /, **values: Any) -> Row | None:
        return await self._writer.submit(lambda c: statements.take(c, name, values))

    async def _list(self, name: str, /, **values: Any) -> Sequence[Row]:
        return await self._readers.read(lambda c: statements.list_rows(c, name, values))

    async def _list_habit(self, instrument_id: str, days: Sequence[int], /) -> Sequence[Row]:
        return await self._readers.read(lambda c: statements.list_habit(c, instrument_id, days))

    # The ledger's book

    async def open_account(self, account: Account, now_ms: int) -> None:
        await self._writer.submit(lambda c: ledger.open_account(c, account, now_ms))

    async def find_account(self, account_id: bytes) -> Account | None:
        return await self._readers.read(lambda c: ledger.find_account(c, account_id))

    async def set_account_frozen(self, account_id: bytes, frozen: bool) -> None:
        await self._writer.submit(lambda c: ledger.set_account_frozen(c, account_id, frozen))

    async def book(self, groups: Sequence[TransferGroup], now_ms: int) -> list[GroupOutcome]:
        assert len(groups) <= GROUPS_PER_CALL_MAX, "a batch has a bound"
        return await self._writer.submit(lambda c: ledger.book(c, groups, now_ms))

    async def expire_pendings(self, now_ms: int) -> int:
        return await self._writer.submit(lambda c: ledger.expire_pendings(c, now_ms))

    # The store itself

    async def check_health(self) -> None:
        await self._writer.submit(directory.check_health)

    async def close(self) -> None:
        await self._writer.close()
        await self._readers.close()
        self._lock.release()
