"""People at a till: who works there, who is signed in, what they may do, and how they prove who they are."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec

from wire.messages.base import Message
from wire.messages.payments import AmountMinor, Pin, StaffProof, UlidText, UnixMs

STAFF_TARGET: Final = "/v1/staff"
SIGN_IN_TARGET: Final = "/v1/staff/sign-in"
STAFF_PER_PAGE_MAX: Final = 40
"""Members of staff in one answer of the gateway: with the longest names they fit a message's bound."""
STAFF_SHOWN_MAX: Final = 400
"""Members of staff a till knows; a shop with more has several merchants, or signs in by tag."""


class StaffRole(StrEnum):
    """What somebody is at a till; what that lets them do stands in a table of the merchant's."""

    CASHIER = "cashier"
    MANAGER = "manager"


class StaffRight(StrEnum):
    """One thing that somebody may do, or not."""

    SELL = "sell"
    """Start and end sales, capture holds, decide about attempts whose outcome is unknown."""
    CHANGE_AMOUNT = "change_amount"
    """Ask another amount for an order than it was begun with."""
    VOID = "void"
    REFUND = "refund"
    SHIFT = "shift"
    """Open and close shifts."""
    DRAIN = "drain"
    """Hand in what was accepted without a connection."""


RIGHTS_OF_ROLE: Final[Mapping[StaffRole, tuple[StaffRight, ...]]] = MappingProxyType(
    {
        StaffRole.CASHIER: (StaffRight.SELL, StaffRight.SHIFT),
        StaffRole.MANAGER: tuple(StaffRight),
    }
)
"""Where a merchant has not written it down otherwise: money back and other amounts are a manager's."""


class StaffEntry(Message, frozen=True):
    """A member of staff as tills list them."""

    staff_id: UlidText
    name: str
    role: StaffRole


class StaffPage(Message, frozen=True):
    """Who works at a merchant's tills, in the order of their ids."""

    members: Annotated[list[StaffEntry], msgspec.Meta(max_length=STAFF_PER_PAGE_MAX)]
    is_last: bool
    """Whether nobody comes after them; else ask for those after the last id."""


class SignInRequest(Message, frozen=True):
    """Somebody wants to work at this till."""

    sign_in_id: UlidText
    """Made once by the till, the Idempotency-Key too: the same entry again is counted once."""
    staff: StaffProof


class SignInAnswer(Message, frozen=True):
    """Who they are, and what they may do."""

    member: StaffEntry
    rights: Annotated[list[StaffRight], msgspec.Meta(max_length=len(StaffRight))]


class StaffWord(Message, frozen=True):
    """As StaffProof, from a screen at the till: names a tag that was read, whose link stays in the daemon."""

    staff_id: UlidText | None = None
    pin: Pin | None = None
    tag_read_id: UlidText | None = None

    def __post_init__(self) -> None:
        given = (self.staff_id is not None, self.pin is not None, self.tag_read_id is not None)
        if given not in ((True, True, False), (False, False, True)):
            raise ValueError("give staff_id and pin, or tag_read_id")


class VoidOrder(Message, frozen=True):
    """Let go of a payment that is not charged yet, as till software and screens ask for it."""

    void_id: UlidText
    staff: StaffWord | None = None
    """A person at a screen has to give it; software only where the merchant asks for it."""


class RefundOrder(Message, frozen=True):
    """Give back money of a charged payment up to a total, as till software and screens ask for it."""

    refund_id: UlidText
    total_minor: AmountMinor
    staff: StaffWord
    reason: Annotated[str, msgspec.Meta(max_length=140)] = ""


class SignedInStaff(Message, frozen=True):
    """Who works at this till now."""

    staff_id: UlidText
    name: str
    role: StaffRole
    rights: list[StaffRight]
    signed_in_ms: UnixMs
    idle_ends_ms: UnixMs
    """When they are signed out unless they do something before."""
    is_offline: bool = False
    """The gateway did not answer: this till knew their PIN from an earlier sign-in of this run."""


class StaffState(Message, frozen=True):
    """Whether somebody has to sign in, and who has."""

    is_required: bool
    """Whether persons need rights here; also while it was never learnt whether the merchant has staff."""
    signed_in: SignedInStaff | None = None


class StaffView(Message, frozen=True):
    """As StaffState, with everybody who may sign in."""

    is_required: bool
    members: Annotated[list[StaffEntry], msgspec.Meta(max_length=STAFF_SHOWN_MAX)]
    signed_in: SignedInStaff | None = None


class TagRead(Message, frozen=True):
    """A staff tag that is waited for, or was read; its link never leaves the daemon for a screen."""

    tag_read_id: UlidText
    state: Literal["waiting", "read", "refused", "timed_out", "cancelled"]
    expires_ms: UnixMs
    """While waiting: until when. Once read: until when it may be used."""
    code: str = ""
    """Why it was refused."""
    cashier_text: dict[str, str] = msgspec.field(default_factory=dict)
