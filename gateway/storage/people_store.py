"""The part of the store's contract that is about people: staff, their tags and rights, and shifts."""

from __future__ import annotations

from typing import Protocol

from gateway.merchants.model import (
    Shift,
    ShiftSums,
    StaffMember,
    StaffRights,
    StaffStatus,
    StaffTagRecord,
)
from gateway.payments.model import PaymentAct
from wire.messages.staff import StaffRole


class StaffStore(Protocol):
    """Who works at a merchant's tills, what proves it, what they may do, and what they answered for."""

    async def add_staff(self, member: StaffMember) -> None:
        """Store a member of staff."""

    async def list_staff(self, after_id: str = "") -> list[StaffMember]:
        """Return up to PAGE_ROWS_MAX members of staff in id order, after the given id."""

    async def set_staff_pin(self, staff_id: str, pin_hash: str) -> None:
        """Set somebody's PIN and forget wrong tries; NotFound if there is none."""

    async def set_staff_status(self, staff_id: str, status: StaffStatus) -> None:
        """Let somebody leave or come back; NotFound if there is none. Repeatable."""

    async def take_staff_try(self, staff_id: str, entry_mark: bytes) -> StaffMember | None:
        """Count a try at somebody's PIN, before it is judged; None if there is none who may try.

        The entry that was counted last is not counted again.
        """

    async def find_staff(self, staff_id: str) -> StaffMember | None:
        """Return a member of staff, or None."""

    async def reset_staff_tries(self, staff_id: str) -> None:
        """Forget wrong tries, since the right PIN was given."""

    async def list_merchant_staff(self, merchant_id: str, after_id: str = "") -> list[StaffMember]:
        """Return a merchant's active members of staff in id order, after an id.

        At most STAFF_PER_PAGE_MAX and one more, by which it is seen that more come.
        """

    async def add_staff_tag(self, tag: StaffTagRecord) -> None:
        """Store a tag of somebody's.

        Raises:
            NotFound: no such member of staff, or batch of card keys.
            IdempotencyConflict: the card is an instrument that pays, or somebody's tag already.
        """

    async def remove_staff_tag(self, key_id: bytes) -> None:
        """Forget a tag; NotFound if there is none."""

    async def list_staff_tags(self, staff_id: str) -> list[StaffTagRecord]:
        """Return somebody's tags, at most PAGE_ROWS_MAX."""

    async def take_staff_tag(self, key_id: bytes, counter: int, entry_mark: bytes) -> StaffMember | None:
        """Use up a tap of a tag, and return whose it is; None for an unknown tag or an old or used tap.

        The tap that was used last, given again for the same entry, is answered again.
        """

    async def set_staff_rights(self, rights: StaffRights) -> None:
        """Write down what a role may do at a merchant's; NotFound without the merchant. Repeatable."""

    async def forget_staff_rights(self, merchant_id: str, role: StaffRole) -> None:
        """Go back to the defaults of a role; NotFound if nothing was written down."""

    async def list_staff_rights(self, merchant_id: str) -> list[StaffRights]:
        """Return what a merchant has written down, at most one for each role."""

    async def list_payment_acts(self, payment_id: str) -> list[PaymentAct]:
        """Return what happened to a payment after its decision, in order, with who answered for it."""


class ShiftStore(Protocol):
    """Shifts of terminals, and what their totals are reckoned from."""

    async def open_shift(
        self, shift_id: str, terminal_id: str, opened_ms: int, opened_by: str | None, now_ms: int
    ) -> Shift | None:
        """Open a shift unless one is open at this terminal, and return the one with this id.

        It begins no earlier than the last one ended. One that nobody closed within SHIFT_MS_MAX ends before.
        The same again changes nothing. None: another shift is open, or another terminal has this id.
        """

    async def close_shift(
        self, shift_id: str, terminal_id: str, closed_ms: int, closed_by: str | None
    ) -> Shift | None:
        """End a shift of this terminal, SHIFT_MS_MAX after its beginning at the latest; None if it has none.

        The same again changes nothing.
        """

    async def find_shift(self, terminal_id: str, shift_id: str) -> Shift | None:
        """Return a shift of this terminal, or None."""

    async def find_open_shift(self, terminal_id: str) -> Shift | None:
        """Return the shift that is open at this terminal, or None."""

    async def reckon_shift(self, terminal_id: str, from_ms: int, to_ms: int) -> ShiftSums:
        """Return what happened at a terminal from a time on and before another, at most SHIFT_MS_MAX on."""
