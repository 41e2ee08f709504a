"""Records of the selling side, as the store keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wire.messages.payments import EntryMode
from wire.messages.staff import StaffRight, StaffRole


class MerchantStatus(StrEnum):
    """Whether a merchant may take payments."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class TerminalStatus(StrEnum):
    """A terminal waits for its code, works, or was withdrawn for good."""

    PENDING = "pending"
    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Merchant:
    """A shop and the ledger account that holds what it is owed."""

    merchant_id: str
    name: str
    currency: str
    fee_basis_points: int
    """Hundredths of a percent kept from each payment, 0 to 1,000."""
    account_id: bytes
    status: MerchantStatus
    created_ms: int


@dataclass(frozen=True, slots=True)
class Location:
    """One place where a merchant sells."""

    location_id: str
    merchant_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Terminal:
    """A till's daemon: it holds its own private key, we hold the public one."""

    terminal_id: str
    merchant_id: str
    location_id: str
    status: TerminalStatus
    key_id: bytes | None
    """First eight bytes of the SHA-256 of the public key; None until enrolled."""
    public_key: bytes | None
    """Compressed SEC 1 point, 33 bytes."""
    software: str
    created_ms: int
    enrolled_ms: int | None


@dataclass(frozen=True, slots=True)
class EnrolledTerminal:
    """A terminal with the names it prints on its receipts."""

    terminal: Terminal
    merchant: Merchant
    location: Location


class StaffStatus(StrEnum):
    """Whether somebody still works here."""

    ACTIVE = "active"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class StaffMember:
    """Somebody who works at a merchant's tills and proves it by a PIN."""

    staff_id: str
    merchant_id: str
    name: str
    role: StaffRole
    pin_hash: str
    """argon2id, in its own text form."""
    pin_tries: int
    """Wrong ones since the last right one."""
    status: StaffStatus
    created_ms: int


@dataclass(frozen=True, slots=True)
class StaffTagRecord:
    """An NTAG 424 card that stands for a member of staff; it pays nothing."""

    key_id: bytes
    staff_id: str
    card_key_batch: int
    card_key_version: int
    created_ms: int


@dataclass(frozen=True, slots=True)
class StaffRights:
    """What a merchant has written down for a role, instead of the defaults of wire/messages/staff.py."""

    merchant_id: str
    role: StaffRole
    rights: tuple[StaffRight, ...]


@dataclass(frozen=True, slots=True)
class StaffRef:
    """Whose doing something was."""

    staff_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Shift:
    """From when to when a till was worked at; the end is not part of it."""

    shift_id: str
    terminal_id: str
    opened_ms: int
    opened_by: StaffRef | None
    closed_ms: int | None
    closed_by: StaffRef | None


@dataclass(frozen=True, slots=True)
class EntryModeSum:
    """What was charged by one way of presenting."""

    entry_mode: EntryMode
    payment_count: int
    charged_minor: int


@dataclass(frozen=True, slots=True)
class ShiftSums:
    """What happened at a terminal within a time; wire.messages.shifts.ShiftTotals says what each is."""

    payment_count: int = 0
    charged_minor: int = 0
    tip_minor: int = 0
    fee_minor: int = 0
    refund_count: int = 0
    refunded_minor: int = 0
    reversed_count: int = 0
    reversed_minor: int = 0
    voided_count: int = 0
    declined_count: int = 0
    offline_count: int = 0
    offline_minor: int = 0
    by_entry_mode: tuple[EntryModeSum, ...] = ()


@dataclass(frozen=True, slots=True)
class Intent:
    """What a till's code asks for."""

    intent_id: str
    """The attempt id under which it is paid, once."""
    terminal_id: str
    merchant_id: str
    order_id: str
    amount_minor: int
    currency: str
    order_amount_minor: int
    """What the whole order is for; 0: just this."""
    order_details: bytes | None
    created_ms: int
    expires_ms: int
