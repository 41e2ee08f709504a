"""The Store: everything the gateway asks of its database, in domain words.

Every write is durable when its call returns, and is one transaction. Writes that arrive while a commit
is in flight are committed together (group commit); one failing item never fails its neighbours.
All methods raise `StoreUnavailable` (nothing written) when the database cannot be used, and writes raise
`GatewayBusy` (nothing written) when the bounded queue is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.cards.model import CardOrder, CardSession
from gateway.holders.model import (
    CardKeyBatch,
    Habit,
    IdentityLevel,
    Instrument,
    InstrumentStatus,
    LimitTier,
    PinTry,
    RequestNonce,
    Wallet,
    WalletStatus,
)
from gateway.merchants.model import (
    EnrolledTerminal,
    Intent,
    Location,
    Merchant,
    MerchantStatus,
    Terminal,
)
from gateway.offline.model import Credential, CredentialWish, OfflineAlarm, SealedPayment, SettledRecord
from gateway.payments.life import PaymentChange
from gateway.payments.life_changes import Changed
from gateway.payments.model import PaymentBooking, PaymentRecord, TerminalEvent
from gateway.storage.people_store import ShiftStore, StaffStore

KEYS_PER_CALL_MAX = 256
PAGE_ROWS_MAX = 500
"""Most rows a list call returns; callers page by the last id they saw."""
CARD_KEY_BATCHES_MAX = 16
"""Every tap of an NTAG 424 card may have to try them all (protocol section 3b: try few)."""
EVENTS_PER_CALL_MAX = 100
PIN_TRIES_MAX = 3
"""Wrong PINs after which it is locked; the statements of booking know the number too."""
HABIT_DAYS_MAX = 31
CARD_SESSIONS_FORGOTTEN_MAX = 64
"""How many conversations with cards that are over go when one begins."""
NONCES_FORGOTTEN_MAX = 64
"""How many expired nonces go when one comes, so that their number stays bounded and no request pays much."""


@dataclass(frozen=True, slots=True)
class WalletBalance:
    """What a wallet holds, in minor units: `available` is what a payment may take now."""

    wallet: Wallet
    available_minor: int
    pending_minor: int


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """What a receipt is made from: a payment as it stands, and what is kept of its order."""

    payment: PaymentRecord
    order_details: bytes | None


class PaymentStore(Protocol):
    """Payments: booked once, read for ever."""

    async def book_payment(self, booking: PaymentBooking) -> PaymentRecord:
        """Decide one attempt and make the decision durable, all in one transaction.

        A repeat (same terminal and attempt id, same request digest) returns the first decision and
        changes nothing. Checks, each one conditional statement: terminal and merchant active, order not
        yet paid, single use, instrument active, entry mode strong enough, limits, wallet not frozen,
        currency, funds. A declined attempt eats no limit; an authentic token is spent all the same.

        Raises:
            IdempotencyConflict: the attempt id is known with another request digest.
            AuthenticationFailed: `terminal_revoked`; the terminal was withdrawn meanwhile.
        """

    async def change_payment(self, change: PaymentChange, now_ms: int) -> Changed:
        """Confirm, capture, void, expire, reverse or refund one payment, all in one transaction.

        Money, the order's amount and the day's limit move together; a repeat of a change is answered by
        what it did and changes nothing.

        Raises:
            NotFound: no such payment, or not the asking terminal's merchant's.
            PaymentRefused: it can't be changed so; nothing was changed.
        """

    async def list_due_payments(self, now_ms: int, after_id: str = "") -> list[str]:
        """Return up to PAGE_ROWS_MAX ids of open payments whose deadline has passed, in id order."""

    async def list_terminal_events(self, terminal_id: str, after: int) -> list[TerminalEvent]:
        """Return up to EVENTS_PER_CALL_MAX of what happened without a terminal's asking, after an event."""

    async def find_last_event(self, terminal_id: str) -> int:
        """Return the sequence of a terminal's last event; 0 if it has none."""

    async def forget_terminal_events(self, before_ms: int) -> int:
        """Remove up to PAGE_ROWS_MAX events from before a time; return how many it were."""

    async def find_payment(self, terminal_id: str, payment_id: str) -> PaymentRecord | None:
        """Return a payment of this terminal's merchant, or None."""

    async def find_payment_by_attempt(self, terminal_id: str, attempt_id: str) -> PaymentRecord | None:
        """Return what became of an attempt of this terminal, or None if it was never seen."""


class MerchantStore(Protocol):
    """Merchants, locations and terminals."""

    async def add_merchant(self, merchant: Merchant) -> None:
        """Store a merchant and open its ledger account."""

    async def list_merchants(self, after_id: str = "") -> list[Merchant]:
        """Return up to PAGE_ROWS_MAX merchants in id order, after the given id."""

    async def add_location(self, location: Location) -> None:
        """Store a location; NotFound if the merchant does not exist."""

    async def add_terminal(self, terminal: Terminal, code_hash: bytes, code_expires_ms: int) -> None:
        """Store a pending terminal and the hash of its one-time enrolment code."""

    async def enrol_terminal(
        self, code_hash: bytes, key_id: bytes, public_key: bytes, software: str, now_ms: int
    ) -> EnrolledTerminal:
        """Use up a code and activate its terminal with this key.

        The same code with the same key answers again (the first answer may have been lost).

        Raises:
            EnrolmentRefused: unknown, used with another key, or expired code; or
                `key_already_enrolled` when the key belongs to another terminal.
        """

    async def find_terminal_by_key(self, key_id: bytes) -> EnrolledTerminal | None:
        """Return the terminal with this key, whatever its status."""

    async def find_terminal(self, terminal_id: str) -> EnrolledTerminal | None:
        """Return a terminal, whatever its status; None if there is none."""

    async def list_terminals(self, after_id: str = "") -> list[EnrolledTerminal]:
        """Return up to PAGE_ROWS_MAX terminals in id order, after the given id."""

    async def revoke_terminal(self, terminal_id: str) -> None:
        """Withdraw a terminal for good; NotFound if there is none. Repeatable."""


class HolderStore(Protocol):
    """Wallets, instruments, card keys and payment codes."""

    async def add_wallet(self, wallet: Wallet) -> None:
        """Store a wallet and open its ledger account."""

    async def fund_wallet(self, wallet_id: str, transfer_id: bytes, amount_minor: int, now_ms: int) -> None:
        """Move money that came from outside into a wallet; a repeat of the same transfer is a no-op.

        Raises:
            NotFound: no such wallet.
            IdempotencyConflict: the transfer id was used with another amount or wallet.
        """

    async def find_wallet(self, wallet_id: str) -> WalletBalance | None:
        """Return a wallet with its balance, or None."""

    async def list_wallets(self, after_id: str = "") -> list[WalletBalance]:
        """Return up to PAGE_ROWS_MAX wallets in id order, after the given id."""

    async def set_wallet_status(self, wallet_id: str, status: WalletStatus) -> None:
        """Freeze or unfreeze; NotFound if there is none. Repeatable."""

    async def add_instrument(self, instrument: Instrument) -> None:
        """Store an instrument; NotFound without its wallet, IdempotencyConflict if its key is taken."""

    async def find_instrument_by_key(self, key_id: bytes) -> Instrument | None:
        """Return the instrument with this key id, whatever its status."""

    async def find_instruments_by_keys(self, key_ids: Sequence[bytes]) -> list[Instrument]:
        """Return each instrument with one of these key ids, at most KEYS_PER_CALL_MAX, in any order."""

    async def list_instruments(self, after_id: str = "") -> list[Instrument]:
        """Return up to PAGE_ROWS_MAX instruments in id order, after the given id."""

    async def set_instrument_status(self, instrument_id: str, status: InstrumentStatus) -> None:
        """Suspend or reactivate; NotFound if there is none. Repeatable."""

    async def add_card_key_batch(self, batch: CardKeyBatch) -> None:
        """Store sealed keys of a batch; IdempotencyConflict if it has this version already."""

    async def list_card_key_batches(self) -> list[CardKeyBatch]:
        """Return all batches' keys, newest first; at most CARD_KEY_BATCHES_MAX may exist."""

    async def add_payment_code(
        self,
        code_hash: bytes,
        instrument_id: str,
        expires_ms: int,
        now_ms: int,
        nonce: RequestNonce | None = None,
    ) -> None:
        """Store the hash of a fresh numeric code, withdrawing the instrument's earlier unused ones.

        Args:
            nonce: of the request that asks for it; remembered until it expires, if the code is stored.

        Raises:
            IdempotencyConflict: the code is in use by another instrument: draw another one.
            AuthenticationFailed: `nonce_replayed`; that request got its code before.
        """

    async def find_payment_code(self, code_hash: bytes, now_ms: int) -> Instrument | None:
        """Return whose an unexpired code is, used or not; None for every other code."""


class CardStore(Protocol):
    """Orders of cards, and conversations with them."""

    async def add_card_order(self, order: CardOrder, code_hash: bytes) -> None:
        """Store an open order under its code; NotFound without its wallet."""

    async def find_card_order(self, code_hash: bytes) -> CardOrder | None:
        """Return the order of a code, however far it is."""

    async def find_card_order_by_id(self, order_id: str) -> CardOrder | None:
        """Return an order, however far it is."""

    async def find_card_orders_by_card(self, key_ids: Sequence[bytes]) -> list[CardOrder]:
        """Return the orders begun with a card of one of these key ids, at most KEYS_PER_CALL_MAX of them."""

    async def list_card_orders(self, after_id: str = "") -> list[CardOrder]:
        """Return up to PAGE_ROWS_MAX orders in id order, after the given id."""

    async def cancel_card_order(self, order_id: str) -> None:
        """End an open order without a card; NotFound if there is none."""

    async def claim_card_order(self, order_id: str, card_key_id: bytes, now_ms: int) -> bool:
        """Begin an open order with this card; False if another card has it, or its time is over.

        The same card may begin it again at any time.
        """

    async def finish_card_order(self, order_id: str, instrument: Instrument) -> Instrument:
        """Store what an order's card became and end the order, in one transaction.

        An order that is done already answers with what its card became then.

        Raises:
            CardRefused: `card_code_invalid`; it was cancelled, or begun with another card.
            IdempotencyConflict: the card is an instrument already.
        """

    async def renew_card(
        self, instrument_id: str, old_key_id: bytes, key_id: bytes, key_version: int, counter: int
    ) -> bool:
        """Note a card's keys and the counter it proved; False if it has others by now, or counted further.

        Raises:
            IdempotencyConflict: another instrument has the new key id.
        """

    async def find_instrument(self, instrument_id: str) -> Instrument | None:
        """Return an instrument, whatever its status."""

    async def add_card_session(self, session: CardSession) -> None:
        """Store a conversation; of a terminal's, only the newest CARD_SESSIONS_PER_TERMINAL_MAX stay.

        Raises:
            IdempotencyConflict: the id is taken.
        """

    async def find_card_session(self, session_id: str, terminal_id: str, now_ms: int) -> CardSession | None:
        """Return a terminal's conversation that is not over."""

    async def advance_card_session(self, session: CardSession, state_sealed: bytes, now_ms: int) -> bool:
        """Put a conversation one step further; False if somebody did so before, or it is over."""


class PolicyStore(Protocol):
    """What is allowed to whom: tiers, limits and PINs."""

    async def set_merchant_status(self, merchant_id: str, status: MerchantStatus) -> None:
        """Let a merchant take payments or not, from the next on; NotFound if there is none. Repeatable."""

    async def set_tip_margin(self, merchant_id: str, basis_points: int) -> None:
        """Allow tips of up to so many hundredths of a percent of the goods; NotFound if there is none."""

    async def set_refund_limit(self, terminal_id: str, limit_minor: int) -> None:
        """Say what a terminal may refund on a day of UTC; NotFound if there is none."""

    async def set_confirm_above(self, instrument_id: str, confirm_above_minor: int | None) -> None:
        """Ask the holder above this amount; None leaves it to the tier. NotFound if there is none."""

    async def set_identity_level(self, wallet_id: str, level: IdentityLevel) -> None:
        """Say how much is known of a holder; NotFound if there is none."""

    async def set_limit_tier(self, tier: LimitTier) -> None:
        """Set what wallets of a currency and level may spend, from the next payment on. Repeatable."""

    async def list_limit_tiers(self) -> list[LimitTier]:
        """Return all tiers by currency and level."""

    async def set_wallet_pin(self, wallet_id: str, pin_hash: str | None) -> None:
        """Set or remove a wallet's PIN and forget wrong tries; NotFound if there is none."""

    async def take_pin_try(self, payment_id: str, entry_mark: bytes) -> PinTry | None:
        """Count a try at the PIN of a payment's wallet, before it is judged, and return what to judge it by.

        The entry that was counted last is not counted again. None: there is no PIN, or it was wrong
        PIN_TRIES_MAX times and is locked.
        """

    async def read_habit(self, instrument_id: str, days: Sequence[int]) -> Habit:
        """Return what an instrument paid on these days of UTC, at most HABIT_DAYS_MAX."""


class IntentStore(Protocol):
    """What tills ask for by code, and what holders are asked to agree to."""

    async def add_intent(self, intent: Intent) -> None:
        """Store what a code asks for; the same again is a no-op.

        Raises:
            IdempotencyConflict: the id is known with another content.
        """

    async def find_intent(self, intent_id: str) -> Intent | None:
        """Return what a code asks for, paid or not, over or not; None if it was never made."""

    async def find_open_intent(self, terminal_id: str, now_ms: int) -> Intent | None:
        """Return the terminal's last intent that is neither over nor attempted; None if there is none."""

    async def list_waiting_payments(self, wallet_id: str, now_ms: int) -> list[PaymentRecord]:
        """Return up to PAGE_ROWS_MAX payments that wait for this wallet's holder, by id."""

    async def find_receipt(self, payment_id: str) -> StoredReceipt | None:
        """Return any payment as it stands, with what is kept of its order; None if there is none.

        Whoever asks has shown before that they may know of it.
        """

    async def find_payment_of_wallet(self, wallet_id: str, payment_id: str) -> PaymentRecord | None:
        """Return a payment that one of this wallet's instruments made, or None."""


class OfflineStore(Protocol):
    """Credentials for payments without a connection, and the records terminals hand in (docs/adr/0008)."""

    async def issue_credential(self, wish: CredentialWish) -> Credential:
        """Set an allowance aside and issue its credential, all in one transaction.

        The money moves from the wallet into the credential's own account. An earlier live credential of the
        instrument is replaced, and keeps its money until it ends. The same request again gets the same
        credential, however it stands by now.

        Raises:
            NotFound: no such instrument.
            IdempotencyConflict: the id was used for another request.
            AuthenticationFailed: `device_suspended`.
            PaymentRefused: `allowance_not_covered`, `payer_wallet_frozen`; `offline_not_offered` where the
                instrument has OPEN_CREDENTIALS_MAX open ones, or no status index is free.
        """

    async def list_credentials(self, after_id: str = "") -> list[Credential]:
        """Return up to PAGE_ROWS_MAX credentials in id order, after the given id."""

    async def list_due_credentials(self, now_ms: int, after_id: str = "") -> list[str]:
        """Return up to PAGE_ROWS_MAX ids of credentials that are to be ended now, in id order."""

    async def end_credential(self, credential_id: str, now_ms: int) -> int:
        """End a credential whose time is over, and give back to its wallet what is left.

        Returns what was given back; 0 also where it was ended before, or is not over. NotFound if there is
        none.
        """

    async def list_suspended(self, now_ms: int) -> list[int]:
        """Return the status indexes of open credentials whose instruments are suspended, rising.

        What is returned for the first time is stored as listed since `now_ms`: records accepted by a list of
        a later second broke a rule.
        """

    async def settle_record(self, sealed: SealedPayment) -> SettledRecord:
        """Give a sealed record its word, and book what that moves, all in one transaction.

        The same seal gets the same word again; another one under its number is a conflict and books nothing.
        Alarms are stored with it, and a key that contradicts itself is suspended with it.

        Raises:
            AuthenticationFailed: `terminal_revoked`. PaymentRefused: `offline_not_offered`; the merchant is
                suspended, and the record has no word yet.
        """

    async def find_last_sequence(self, terminal_id: str) -> int:
        """Return the highest number among a terminal's records; 0 if there is none."""

    async def list_offline_alarms(self) -> list[OfflineAlarm]:
        """Return the last PAGE_ROWS_MAX alarms, newest first."""

    async def list_offline_losses(self) -> list[SettledRecord]:
        """Return the last PAGE_ROWS_MAX records that left a loss, whoever bears it, newest first."""


class Store(
    PaymentStore,
    MerchantStore,
    HolderStore,
    CardStore,
    PolicyStore,
    StaffStore,
    ShiftStore,
    IntentStore,
    OfflineStore,
    Protocol,
):
    """The whole contract; tests/contract/ holds every implementation to one suite."""

    async def check_health(self) -> None:
        """Return if a write would work now, else raise StoreUnavailable."""

    async def close(self) -> None:
        """Finish what is queued, then release files and threads."""
