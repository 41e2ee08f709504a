"""A small world of shops and payers, furnished twice: in a real store and in the auditor's model.

Everything has a short name; ids follow from it and from the world's number, so that many worlds fit into
one database and none meets another.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gateway.errors import GatewayError, IdempotencyConflict
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
from gateway.merchants.model import Location, Merchant, MerchantStatus, Terminal, TerminalStatus
from simulators.auditor.model import attempts as model
from simulators.auditor.model.attempts import Attempt, Payment, TurnedAway
from simulators.auditor.model.changes import Change, change_payment
from simulators.auditor.model.ledger import Group, Leg
from simulators.auditor.model.payments import PaymentModel
from tests.gateway.payments.payment_words import booking_of, change_of, payment_of
from tests.gateway.translation import group_of, names_of
from wire.ids import make_ulid
from wire.messages.payments import EntryMode

if TYPE_CHECKING:
    from tests.databases import Database

CARD_KEY_BATCH = 1
Answer = Payment | TurnedAway


@dataclass(frozen=True)
class Standing:
    """What stands besides counters and decisions, though answers may not have told of it."""

    frozen: dict[bytes, bool]
    instruments: dict[str, tuple[bool, int]]
    """Whether it may pay, and its card counter."""
    codes: dict[bytes, tuple[str, bool]]
    """Whose a code is that has not expired, and whether it was used."""
    tokens: dict[tuple[bytes, int], bytes]
    nonces: set[tuple[str, bytes, int]]
    orders: dict[tuple[str, str], tuple[int, int]]
    """What it is for and what is taken of it, by merchant and order id."""
    spent: dict[tuple[str, int], int]
    recent: dict[tuple[str, int], tuple[int, int]]
    told: list[tuple[str, str]]
    """Terminals and payments, in the order in which it was told of them."""


@dataclass
class World:
    """What exists, and how it is called on either side."""

    number: int
    created_ms: int
    model: PaymentModel = field(default_factory=PaymentModel)
    merchants: dict[str, str] = field(default_factory=dict)
    """The merchant of each till, by their names."""
    operators: set[bytes] = field(default_factory=set)
    """The model's accounts for fees and for the outside; the gateway has its own for all worlds."""

    # Ids

    def hash_of(self, what: str, name: object) -> bytes:
        return hashlib.sha256(f"{self.number}/{what}/{name}".encode()).digest()

    def account(self, name: str) -> bytes:
        return self.hash_of("account", name)[:16]

    def key(self, instrument: str) -> bytes:
        return self.hash_of("key", instrument)[:8]

    def ulid(self, what: str, name: object) -> str:
        return make_ulid(self.created_ms, self.hash_of(what, name)[:10])

    def text(self, name: str) -> str:
        return f"{self.number:05d}-{name}"

    # Furnishing

    async def add_merchant(
        self, store: Any, name: str, currency: str, *, fee_basis_points: int, active: bool = True
    ) -> None:
        status = MerchantStatus.ACTIVE if active else MerchantStatus.SUSPENDED
        record = Merchant(
            merchant_id=self.text(name),
            name=name,
            currency=currency,
            fee_basis_points=fee_basis_points,
            account_id=self.account(name),
            status=status,
            created_ms=self.created_ms,
        )
        await store.add_merchant(record)
        await store.add_location(Location(self.text(f"{name} place"), record.merchant_id, f"{name} place"))
        fees = self._open_operator_account("fees", currency)
        self.model.ledger.open_account(record.account_id, currency)
        self.model.merchants[record.merchant_id] = model.Merchant(
            record.account_id, fees, fee_basis_points, active
        )

    async def add_till(self, store: Any, name: str, merchant: str) -> None:
        code_hash, key = self.hash_of("enrolment", name), self.hash_of("till", name)
        record = Terminal(
            terminal_id=self.text(name),
            merchant_id=self.text(merchant),
            location_id=self.text(f"{merchant} place"),
            status=TerminalStatus.PENDING,
            key_id=None,
            public_key=None,
            software="",
            created_ms=self.created_ms,
            enrolled_ms=None,
        )
        await store.add_terminal(record, code_hash, self.created_ms + 1)
        await store.enrol_terminal(code_hash, key[:8], b"\x02" + key, "test", self.created_ms)
        self.model.terminals[record.terminal_id] = (record.merchant_id, True)
        self.merchants[name] = merchant

    async def add_wallet(self, store: Any, name: str, currency: str, funds_minor: int) -> None:
        account_id = self.account(name)
        record = Wallet(self.text(name), name, currency, account_id, WalletStatus.ACTIVE, self.created_ms)
        await store.add_wallet(record)
        self.model.ledger.open_account(account_id, currency, limited=True)
        self._open_operator_account("outside", currency)
        if funds_minor:
            await self.fund(store, name, currency, funds_minor, f"first of {name}", self.created_ms)
            self.model_fund(self.model, name, currency, funds_minor, f"first of {name}", self.created_ms)

    async def add_instrument(
        self,
        store: Any,
        name: str,
        wallet: str,
        *,
        limits: tuple[int, int],
        weakest: str = "code_numeric",
        is_card: bool = False,
    ) -> None:
        record = Instrument(
            instrument_id=self.text(name),
            wallet_id=self.text(wallet),
            kind=InstrumentKind.NTAG424_CARD if is_card else InstrumentKind.PHONE_KEY,
            label=name,
            status=InstrumentStatus.ACTIVE,
            key_id=self.key(name),
            public_key=None if is_card else b"\x02" + self.hash_of("public key", name),
            weakest_entry_mode=EntryMode(weakest),
            limits=Limits(*limits),
            card_counter=0,
            card_key_batch=CARD_KEY_BATCH if is_card else None,
            card_key_version=1 if is_card else None,
            created_ms=self.created_ms,
        )
        await store.add_instrument(record)
        self.model.instruments[record.instrument_id] = model.Instrument(
            self.account(wallet),
            record.key_id,
            weakest,
            *limits,
            wallet_id=record.wallet_id,
            is_phone=not is_card,
        )

    # Terms

    async def set_tips(self, store: Any, merchant: str, basis_points: int) -> None:
        merchant_id = self.text(merchant)
        await store.set_tip_margin(merchant_id, basis_points)
        known = self.model.merchants[merchant_id]
        self.model.merchants[merchant_id] = replace(known, tip_basis_points=basis_points)

    async def set_refunds(self, store: Any, till: str, amount_minor: int) -> None:
        await store.set_refund_limit(self.text(till), amount_minor)
        self.model.refund_limits[self.text(till)] = amount_minor

    async def set_confirm_above(self, store: Any, instrument: str, amount_minor: int) -> None:
        instrument_id = self.text(instrument)
        await store.set_confirm_above(instrument_id, amount_minor)
        known = self.model.instruments[instrument_id]
        self.model.instruments[instrument_id] = replace(known, confirm_above_minor=amount_minor)

    async def set_pin(self, store: Any, wallet: str, *, has_pin: bool = True) -> None:
        """Give a wallet a PIN that nobody judges here, or take it away."""
        await store.set_wallet_pin(self.text(wallet), "argon2id" if has_pin else None)
        known = self.model.wallets.get(self.text(wallet), model.Wallet())
        self.model.wallets[self.text(wallet)] = replace(known, has_pin=has_pin)

    async def set_level(self, store: Any, wallet: str, level: str) -> None:
        """Give a wallet a level that has no tier."""
        await store.set_identity_level(self.text(wallet), IdentityLevel(level))

    async def set_tier(self, store: Any, wallet: str, currency: str, level: str, tier: model.Tier) -> None:
        """Give a wallet a level, and the level a tier; other wallets of it have that tier from now on too."""
        limits = (tier.confirm_above, tier.pin_max, tier.per_payment, tier.per_day)
        await store.set_limit_tier(LimitTier(currency, IdentityLevel(level), *limits))
        await self.set_level(store, wallet, level)
        known = self.model.wallets.get(self.text(wallet), model.Wallet())
        self.model.wallets[self.text(wallet)] = replace(known, tier=tier)

    def _open_operator_account(self, kind: str, currency: str) -> bytes:
        account_id = self.account(f"{kind} {currency}")
        if account_id not in self.operators:
            self.operators.add(account_id)
            self.model.ledger.open_account(account_id, currency)
        return account_id

    # Asking the store, and asking a model; the two give comparable answers

    async def fund(
        self, store: Any, wallet: str, currency: str, amount_minor: int, name: str, now_ms: int
    ) -> None:
        await store.fund_wallet(self.text(wallet), self.hash_of("funding", name)[:16], amount_minor, now_ms)

    def model_fund(
        self, state: PaymentModel, wallet: str, currency: str, amount_minor: int, name: str, now_ms: int
    ) -> None:
        leg = Leg(
            transfer_id=self.hash_of("funding", name)[:16],
            kind="single",
            debit_account_id=self.account(f"outside {currency}"),
            credit_account_id=self.account(wallet),
            amount_minor=amount_minor,
            currency=currency,
        )
        assert state.ledger.book([Group((leg,), "funding")], now_ms)[0].sequence is not None

    async def pay(self, store: Any, attempt: Attempt) -> Answer:
        try:
            merchant_id, _ = self.model.terminals.get(attempt.terminal_id, ("NOWHERE", False))
            return payment_of(await store.book_payment(booking_of(attempt, merchant_id)))
        except GatewayError as error:
            return TurnedAway(error.code)

    async def change(self, store: Any, change: Change, now_ms: int) -> Answer:
        try:
            return payment_of((await store.change_payment(change_of(change), now_ms)).payment)
        except GatewayError as error:
            return TurnedAway(error.code)

    def model_change(self, state: PaymentModel, change: Change, now_ms: int) -> Answer:
        return change_payment(state, change, now_ms)

    async def add_code(
        self, store: Any, code_hash: bytes, instrument: str, expires_ms: int, now_ms: int
    ) -> bool:
        try:
            await store.add_payment_code(code_hash, self.text(instrument), expires_ms, now_ms)
        except IdempotencyConflict:
            return False
        return True

    async def book(self, store: Any, group: Group, now_ms: int) -> tuple[str, ...]:
        (answer,) = await store.book([group_of(group)], now_ms)
        return names_of(answer)

    async def freeze(self, store: Any, wallet: str, frozen: bool) -> None:
        status = WalletStatus.FROZEN if frozen else WalletStatus.ACTIVE
        await store.set_wallet_status(self.text(wallet), status)

    async def set_active(self, store: Any, instrument: str, active: bool) -> None:
        status = InstrumentStatus.ACTIVE if active else InstrumentStatus.SUSPENDED
        await store.set_instrument_status(self.text(instrument), status)

    # Looking

    async def standing_in(self, database: Database, store: Any, now_ms: int) -> Standing:
        """Return what stands in a database."""
        mine = f"LIKE '{self.text('%')}'"
        codes, tokens, orders, spent, told = await database.read(
            (
                "SELECT code_hash, instrument_id, used_by IS NOT NULL, expires_ms FROM payment_codes"
                f" WHERE instrument_id {mine}",
                "SELECT key_id, counter, claims_digest, terminal_id, terminal_nonce, nonce_day"
                f" FROM token_uses WHERE terminal_id {mine}",
                "SELECT merchant_id, order_id, amount_minor, taken_minor FROM orders"
                f" WHERE merchant_id {mine}",
                "SELECT instrument_id, day, spent_minor, recent_window, recent_count FROM spent_days"
                f" WHERE instrument_id {mine}",
                "SELECT terminal_id, payment_id FROM terminal_events"
                f" WHERE terminal_id {mine} ORDER BY sequence",
            )
        )
        keys = [one.key_id for one in self.model.instruments.values()]
        found = await asyncio.gather(*(store.find_instrument_by_key(key) for key in keys))
        return Standing(
            frozen={name: (await store.find_account(name)).frozen for name in self.accounts()},
            instruments={
                one.instrument_id: (one.status is InstrumentStatus.ACTIVE, one.card_counter) for one in found
            },
            codes={code: (owner, bool(used)) for code, owner, used, until in codes if until > now_ms},
            tokens={(key_id, counter): digest for key_id, counter, digest, *_ in tokens},
            nonces={(till, nonce, day) for *_, till, nonce, day in tokens if nonce is not None},
            orders={row[:2]: row[2:] for row in orders},
            spent={row[:2]: row[2] for row in spent},
            recent={row[:2]: row[3:] for row in spent},
            told=told,
        )

    def standing_of(self, state: PaymentModel, now_ms: int) -> Standing:
        """Return what stands in a model."""
        return Standing(
            frozen={name: state.ledger.accounts[name].frozen for name in self.accounts()},
            instruments={name: (one.active, one.card_counter) for name, one in state.instruments.items()},
            codes={
                code: (one.instrument_id, one.used)
                for code, one in state.codes.items()
                if one.expires_ms > now_ms
            },
            tokens=state.tokens,
            nonces=state.nonces,
            orders=state.orders,
            spent=state.spent,
            recent=state.recent,
            told=list(state.told),
        )

    async def differences(self, store: Any, now_ms: int) -> list[str]:
        """Return what the store knows otherwise than the model, once nothing is due any more."""
        while await store.expire_pendings(now_ms):
            pass
        while self.model.ledger.expire(now_ms):
            pass
        found = [
            f"account {account_id.hex()}: {counters} instead of {expected}"
            for account_id in self.accounts()
            if (counters := await counters_of(store, account_id))
            != (expected := self.model.ledger.accounts[account_id].counters)
        ]
        records = await asyncio.gather(*(store.find_payment_by_attempt(*key) for key in self.model.decided))
        for record, (key, payment_id) in zip(records, self.model.decided.items(), strict=True):
            expected_payment = self.model.payments[payment_id].payment
            if record is None or payment_of(record) != expected_payment:
                found.append(f"attempt {key}: {record} instead of {expected_payment}")
        return found

    def accounts(self) -> list[bytes]:
        """Return the accounts that both sides call alike."""
        return [name for name in self.model.ledger.accounts if name not in self.operators]


async def add_card_keys(store: Any, now_ms: int) -> None:
    """Store the one batch of card keys that all cards of all worlds name."""
    await store.add_card_key_batch(CardKeyBatch(CARD_KEY_BATCH, 1, b"sealed", b"sealed", now_ms))


async def counters_of(store: Any, account_id: bytes) -> tuple[int, int, int, int]:
    """Return an account's counters, debits pending and posted, then credits."""
    found = await store.find_account(account_id)
    return found.debits_pending, found.debits_posted, found.credits_pending, found.credits_posted
