"""Records of the paying side, as the store keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from wire.messages.payments import EntryMode


class WalletStatus(StrEnum):
    """Whether a wallet may be spent from."""

    ACTIVE = "active"
    FROZEN = "frozen"


class InstrumentKind(StrEnum):
    """What a holder pays with; protocol section 3 and 4."""

    PHONE_KEY = "phone_key"
    """A key in a phone: taps (nfc_app), pays tills' codes (qr_merchant), shows codes (qr_consumer), asks for
    numeric codes."""
    APPLET_CARD = "applet_card"
    """A smart card with the payment application: taps (nfc_app) only."""
    NTAG424_CARD = "ntag424_card"
    """An NTAG 424 DNA card: one-time links (nfc_sdm) only."""


ENTRY_MODES_OF: Final[Mapping[InstrumentKind, tuple[EntryMode, ...]]] = MappingProxyType(
    {
        InstrumentKind.PHONE_KEY: (
            EntryMode.NFC_APP,
            EntryMode.QR_MERCHANT,
            EntryMode.QR_CONSUMER,
            EntryMode.CODE_NUMERIC,
        ),
        InstrumentKind.APPLET_CARD: (EntryMode.NFC_APP,),
        InstrumentKind.NTAG424_CARD: (EntryMode.NFC_SDM,),
    }
)
"""How each kind can be presented, strongest first."""


class InstrumentStatus(StrEnum):
    """Whether an instrument may pay."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Wallet:
    """Stored money of one holder in one currency, kept in one ledger account."""

    wallet_id: str
    holder_name: str
    currency: str
    account_id: bytes
    status: WalletStatus
    created_ms: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an instrument may spend, in minor units of its wallet's currency."""

    per_payment_minor: int
    per_day_minor: int
    """Per day of UTC."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """Something that can pay from a wallet, with its own limits."""

    instrument_id: str
    wallet_id: str
    kind: InstrumentKind
    label: str
    """What a receipt shows of it, such as `Card ·· 4821`."""
    status: InstrumentStatus
    key_id: bytes
    """Eight bytes: for keys as in Terminal.key_id, for NTAG 424 cards a CMAC of the UID, so that the
    database holds no UID."""
    public_key: bytes | None
    """Compressed SEC 1 point; None for NTAG 424 cards."""
    weakest_entry_mode: EntryMode
    """No presentation weaker than this is accepted."""
    limits: Limits
    card_counter: int
    """Highest SUN counter accepted; 0 for keys, whose uses are recorded one by one."""
    card_key_batch: int | None
    """Which batch an NTAG 424 card is of."""
    card_key_version: int | None
    """Which of its batch's keys it has; its key id comes from them and changes with them."""
    created_ms: int


@dataclass(frozen=True, slots=True)
class CardKeyBatch:
    """One version of the keys of a batch of NTAG 424 cards, encrypted at rest (gateway/vault.py)."""

    batch_number: int
    key_version: int
    """1 to 255, as every key on a card says; the highest one is what cards are brought to."""
    meta_key_sealed: bytes
    """Decrypts PICCData; cannot be per card, since the UID is inside the ciphertext."""
    file_master_sealed: bytes
    """Diversified per card by AN10922 into the key that makes the MAC."""
    created_ms: int


@dataclass(frozen=True, slots=True)
class RequestNonce:
    """The nonce of a signed request that must work once, whichever process it meets."""

    key_id: bytes
    """Eight bytes; whose key signed the request."""
    nonce: str
    expires_ms: int
    """Unix milliseconds from which the request's signature is stale anyway."""


class IdentityLevel(StrEnum):
    """How much is known of who a wallet's holder is."""

    ANONYMOUS = "anonymous"
    BASIC = "basic"
    """A name and a telephone number that answers."""
    VERIFIED = "verified"
    """An identity document was seen."""


@dataclass(frozen=True, slots=True)
class LimitTier:
    """What a wallet of a level may spend in its currency, in minor units."""

    currency: str
    identity_level: IdentityLevel
    confirm_above_minor: int
    """More than this needs the holder's confirmation."""
    pin_max_minor: int
    """More than this needs a device's signature: a PIN is not enough."""
    per_payment_minor: int
    per_day_minor: int
    """Over all instruments of the wallet, holds included."""


@dataclass(frozen=True, slots=True)
class PinTry:
    """A try at a PIN that was counted and is still to be judged."""

    pin_hash: str
    try_count: int
    """Since the last right one, this one included."""


@dataclass(frozen=True, slots=True)
class Habit:
    """What an instrument paid on the days before."""

    payment_count: int
    spent_minor: int
