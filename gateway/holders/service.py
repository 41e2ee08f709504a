"""The paying side: wallets, what pays from them, card keys, and numeric payment codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.entropy import Entropy, draw_digits, draw_ulid
from gateway.errors import (
    AuthenticationFailed,
    ConfigurationError,
    GatewayBusy,
    IdempotencyConflict,
    NotFound,
    SealBroken,
)
from gateway.holders.model import (
    ENTRY_MODES_OF,
    CardKeyBatch,
    Instrument,
    InstrumentKind,
    InstrumentStatus,
    Limits,
    RequestNonce,
    Wallet,
    WalletStatus,
)
from gateway.names import LABEL_CHARS_MAX, check_name
from gateway.payments.card_keys import CardKeyRing
from gateway.pins import SALT_BYTES, PinHasher, check_pin
from gateway.storage.store import Store, WalletBalance
from gateway.vault import Vault, file_master_purpose, meta_key_purpose
from wire import es256
from wire.cards.ntag424.card_profile import KEY_VERSION_MAX
from wire.codes.numeric import make_numeric_code
from wire.errors import MoneyError, WireError
from wire.ids import check_ulid, ulid_to_bytes
from wire.messages.payments import EntryMode
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency

PAYMENT_CODE_LIFE_MS: Final = 60_000
PAYMENT_CODE_DIGITS: Final = 15
PAYMENT_CODE_DRAWS_MAX: Final = 5
CARD_KEY_BYTES: Final = 16
BATCH_NUMBER_MAX: Final = 65_535

_DEFAULT_MAJOR_UNITS: Final[Mapping[InstrumentKind, tuple[int, int]]] = MappingProxyType(
    {
        InstrumentKind.PHONE_KEY: (500, 2_000),
        InstrumentKind.APPLET_CARD: (500, 2_000),
        # Its link is fresh but bound to no amount, so a card like this is capped low (protocol section 7).
        InstrumentKind.NTAG424_CARD: (50, 150),
    }
)
"""Limits per payment and per day where the operator gives none, in whole units of the currency."""


@dataclass(frozen=True, slots=True)
class NewInstrument:
    """What an operator says of a new instrument; what is None takes the default of its kind."""

    wallet_id: str
    kind: InstrumentKind
    public_key: bytes | None = None
    """Compressed point; of phones and applet cards, and only of these."""
    uid: bytes | None = None
    """Seven bytes; of NTAG 424 cards, and only of these. It is not stored."""
    batch_number: int | None = None
    key_version: int = 1
    """Which of the batch's keys the card has."""
    label: str | None = None
    weakest_entry_mode: EntryMode | None = None
    per_payment_minor: int | None = None
    per_day_minor: int | None = None


@dataclass(frozen=True, slots=True)
class IssuedCode:
    """A numeric payment code; it exists nowhere else."""

    code: str
    expires_ms: int


class HolderService:
    """What an operator does for holders, and what a holder's phone asks."""

    __slots__ = ("_cards", "_entropy", "_store", "_vault")

    def __init__(self, store: Store, vault: Vault, entropy: Entropy) -> None:
        self._store = store
        self._vault = vault
        self._cards = CardKeyRing(store, vault)
        self._entropy = entropy

    async def add_wallet(self, holder_name: str, currency: str, *, now_ms: int) -> Wallet:
        """Store a new empty wallet with its ledger account, and return it.

        Raises:
            WireError: the name; MoneyError: no such currency.
        """
        wallet = Wallet(
            wallet_id=draw_ulid(self._entropy, now_ms),
            holder_name=check_name(holder_name, "a holder's name"),
            currency=find_currency(currency).code,
            account_id=ulid_to_bytes(draw_ulid(self._entropy, now_ms)),
            status=WalletStatus.ACTIVE,
            created_ms=now_ms,
        )
        await self._store.add_wallet(wallet)
        return wallet

    async def fund_wallet(
        self, wallet_id: str, amount: Money, *, transfer_id: str | None = None, now_ms: int
    ) -> WalletBalance:
        """Move money that came from outside into a wallet, and return what it then holds.

        Args:
            transfer_id: a ULID that makes a retry safe: the same id funds once. None makes a new one.

        Raises:
            NotFound: no such wallet. MoneyError: another currency, or nothing to move.
            IdempotencyConflict: the id was used for something else.
        """
        if not 0 < amount.minor <= AMOUNT_MINOR_MAX:
            raise MoneyError("a wallet is funded with more than nothing and at most one payment's maximum")
        held = await self.find_wallet(wallet_id)
        if held.wallet.currency != amount.currency.code:
            raise MoneyError(f"this wallet holds {held.wallet.currency}", code="currency_mismatch")
        raw_id = ulid_to_bytes(transfer_id or draw_ulid(self._entropy, now_ms))
        await self._store.fund_wallet(wallet_id, raw_id, amount.minor, now_ms)
        return await self.find_wallet(wallet_id)

    async def find_wallet(self, wallet_id: str) -> WalletBalance:
        """Return a wallet with its balance, or raise NotFound."""
        held = await self._store.find_wallet(check_ulid(wallet_id))
        if held is None:
            raise NotFound("there is no such wallet")
        return held

    async def set_wallet_status(self, wallet_id: str, status: WalletStatus) -> None:
        """Freeze or unfreeze, from the next payment on; NotFound if there is none. Repeatable."""
        await self._store.set_wallet_status(check_ulid(wallet_id), status)

    async def set_pin(self, wallet_id: str, pin: str, pins: PinHasher) -> None:
        """Give a wallet a new PIN and forget wrong tries.

        Raises:
            WireError: not 4 to 12 digits. NotFound: no such wallet.
        """
        pin_hash = await pins.hash(check_pin(pin), self._entropy(SALT_BYTES))
        await self._store.set_wallet_pin(check_ulid(wallet_id), pin_hash)

    async def add_instrument(self, new: NewInstrument, *, now_ms: int) -> Instrument:
        """Store a new active instrument, and return it.

        Raises:
            WireError: something of it does not fit its kind; the detail says what.
            NotFound: no such wallet or batch. IdempotencyConflict: its key is registered already.
        """
        held = await self.find_wallet(new.wallet_id)
        key_id = await self._key_id_of(new)
        instrument = Instrument(
            instrument_id=draw_ulid(self._entropy, now_ms),
            wallet_id=new.wallet_id,
            kind=new.kind,
            label=_label_of(new, key_id),
            status=InstrumentStatus.ACTIVE,
            key_id=key_id,
            public_key=new.public_key,
            weakest_entry_mode=_weakest_entry_mode_of(new),
            limits=_limits_of(new, held.wallet.currency),
            card_counter=0,
            card_key_batch=new.batch_number,
            card_key_version=None if new.batch_number is None else new.key_version,
            created_ms=now_ms,
        )
        await self._store.add_instrument(instrument)
        return instrument

    async def set_instrument_status(self, instrument_id: str, status: InstrumentStatus) -> None:
        """Suspend or reactivate, from the next payment on; NotFound if there is none. Repeatable."""
        await self._store.set_instrument_status(check_ulid(instrument_id), status)

    async def add_card_key_batch(
        self, batch_number: int, meta_key: bytes, file_master: bytes, *, key_version: int = 1, now_ms: int
    ) -> CardKeyBatch:
        """Seal and store keys of a batch of NTAG 424 cards; cards of its older keys go on paying.

        Raises:
            WireError: a key that has not 16 bytes, or two equal keys.
            ConfigurationError: one batch too many. IdempotencyConflict: the batch has this version already.
        """
        if not 0 <= batch_number <= BATCH_NUMBER_MAX:
            raise WireError(f"a batch number is 0 to {BATCH_NUMBER_MAX}")
        if not 1 <= key_version <= KEY_VERSION_MAX:
            raise WireError(f"a key version is 1 to {KEY_VERSION_MAX}")
        if len(meta_key) != CARD_KEY_BYTES or len(file_master) != CARD_KEY_BYTES:
            raise WireError(f"a card key has {CARD_KEY_BYTES} bytes")
        if meta_key == file_master:
            raise WireError("the meta key and the file master key must differ")
        batch = CardKeyBatch(
            batch_number=batch_number,
            key_version=key_version,
            meta_key_sealed=self._vault.seal(meta_key, meta_key_purpose(batch_number, key_version)),
            file_master_sealed=self._vault.seal(file_master, file_master_purpose(batch_number, key_version)),
            created_ms=now_ms,
        )
        await self._store.add_card_key_batch(batch)
        return batch

    async def check_card_keys(self) -> None:
        """Return if all card keys open with this vault's key.

        Raises:
            ConfigurationError: some don't: better now than at the first tap.
        """
        try:
            await self._cards.open_all()
        except SealBroken as error:
            raise ConfigurationError(f"the vault key is another one: {error}") from None

    async def issue_payment_code(
        self, instrument: Instrument, *, now_ms: int, nonce: RequestNonce | None = None
    ) -> IssuedCode:
        """Draw a fresh numeric code for a phone; its earlier unused code stops working.

        Args:
            nonce: of the phone's request, which is good for one code.

        Raises:
            AuthenticationFailed: `device_unknown` for what is no phone, `device_suspended`,
                `nonce_replayed`.
            GatewayBusy: PAYMENT_CODE_DRAWS_MAX draws were all in use; practically never.
        """
        if instrument.kind is not InstrumentKind.PHONE_KEY:
            raise AuthenticationFailed("only a phone asks for payment codes", code="device_unknown")
        if instrument.status is not InstrumentStatus.ACTIVE:
            raise AuthenticationFailed("this device is suspended", code="device_suspended")
        expires_ms = now_ms + PAYMENT_CODE_LIFE_MS
        for _ in range(PAYMENT_CODE_DRAWS_MAX):
            code = make_numeric_code(draw_digits(self._entropy, PAYMENT_CODE_DIGITS))
            try:
                await self._store.add_payment_code(
                    self._vault.hash_code(code), instrument.instrument_id, expires_ms, now_ms, nonce
                )
            except IdempotencyConflict:
                continue
            return IssuedCode(code, expires_ms)
        raise GatewayBusy("no free payment code was drawn")

    async def _key_id_of(self, new: NewInstrument) -> bytes:
        if new.kind is InstrumentKind.NTAG424_CARD:
            return await self._card_key_id_of(new)
        if new.uid is not None or new.batch_number is not None:
            raise WireError("only an NTAG 424 card has a UID and a batch")
        if new.public_key is None:
            raise WireError("a phone or an applet card has a public key")
        return es256.key_id_of(es256.load_public_key(new.public_key))

    async def _card_key_id_of(self, new: NewInstrument) -> bytes:
        if new.public_key is not None:
            raise WireError("an NTAG 424 card has no public key")
        if new.uid is None or new.batch_number is None:
            raise WireError("an NTAG 424 card has a UID and a batch")
        return await self._cards.find_key_id(new.batch_number, new.key_version, new.uid)


def _weakest_entry_mode_of(new: NewInstrument) -> EntryMode:
    modes = ENTRY_MODES_OF[new.kind]
    chosen = new.weakest_entry_mode or modes[-1]
    if chosen not in modes:
        raise WireError(f"{new.kind} is presented as {', '.join(modes)}")
    return chosen


def default_limits_of(kind: InstrumentKind, currency: str) -> Limits:
    """Return the limits of an instrument about which the operator said nothing."""
    scale = 10 ** find_currency(currency).exponent
    per_payment_minor, per_day_minor = (units * scale for units in _DEFAULT_MAJOR_UNITS[kind])
    return Limits(per_payment_minor=per_payment_minor, per_day_minor=per_day_minor)


def label_of_card(key_id: bytes) -> str:
    """Return what a receipt shows of a card without a label of its own.

    Digits of the key id, not of the UID: enough to tell two cards apart, nothing to copy.
    """
    return f"Card ·· {int.from_bytes(key_id[-2:], 'big') % 10_000:04d}"


def _limits_of(new: NewInstrument, currency: str) -> Limits:
    default = default_limits_of(new.kind, currency)
    per_payment = default.per_payment_minor if new.per_payment_minor is None else new.per_payment_minor
    per_day = max(default.per_day_minor, per_payment) if new.per_day_minor is None else new.per_day_minor
    if not 0 < per_payment <= per_day <= AMOUNT_MINOR_MAX:
        raise MoneyError("a limit is above nothing, and the one per day not below the one per payment")
    return Limits(per_payment_minor=per_payment, per_day_minor=per_day)


def _label_of(new: NewInstrument, key_id: bytes) -> str:
    if new.label is not None:
        return check_name(new.label, "a label", chars_max=LABEL_CHARS_MAX)
    card = label_of_card(key_id)
    return card.replace("Card", "Phone", 1) if new.kind is InstrumentKind.PHONE_KEY else card
