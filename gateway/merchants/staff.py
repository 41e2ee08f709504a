"""Who works at a merchant's tills: a name, a role, and a PIN that proves it is they who refund."""

from __future__ import annotations

from gateway.entropy import Entropy, draw_ulid
from gateway.errors import NotFound, PaymentRefused
from gateway.merchants.model import StaffMember, StaffRole, StaffStatus
from gateway.names import check_name
from gateway.pins import SALT_BYTES, PinHasher, check_pin
from gateway.storage.store import PIN_TRIES_MAX, PolicyStore
from wire.ids import check_merchant_id, check_ulid
from wire.messages.payments import StaffProof


class StaffService:
    """What an operator does for staff, and what a till asks about them."""

    __slots__ = ("_entropy", "_pins", "_store")

    def __init__(self, store: PolicyStore, pins: PinHasher, entropy: Entropy) -> None:
        self._store = store
        self._pins = pins
        self._entropy = entropy

    async def add_staff(
        self, merchant_id: str, name: str, role: StaffRole, pin: str, *, now_ms: int
    ) -> StaffMember:
        """Store a new member of staff, and return them.

        Raises:
            WireError: the name, or a PIN that is not 4 to 12 digits. NotFound: no such merchant.
        """
        member = StaffMember(
            staff_id=draw_ulid(self._entropy, now_ms),
            merchant_id=check_merchant_id(merchant_id),
            name=check_name(name, "a name"),
            role=role,
            pin_hash=await self._hash(pin),
            pin_tries=0,
            status=StaffStatus.ACTIVE,
            created_ms=now_ms,
        )
        await self._store.add_staff(member)
        return member

    async def set_pin(self, staff_id: str, pin: str) -> None:
        """Give somebody a new PIN, which also unlocks them; NotFound if there is none."""
        await self._store.set_staff_pin(check_ulid(staff_id), await self._hash(pin))

    async def set_status(self, staff_id: str, status: StaffStatus) -> None:
        """Let somebody leave or come back; NotFound if there is none. Repeatable."""
        await self._store.set_staff_status(check_ulid(staff_id), status)

    async def prove(
        self, proof: StaffProof, merchant_id: str, needed: StaffRole, *, entry_id: str
    ) -> StaffMember:
        """Return who gave this PIN, if they work at the merchant and may do what needs this role.

        Args:
            entry_id: of what it was given for; a wrong one that comes again for the same is counted once.

        Raises:
            PaymentRefused: `staff_not_allowed`, which does not tell a wrong PIN from a missing right;
                `staff_locked` after PIN_TRIES_MAX wrong ones.
        """
        member = await self._store.take_staff_try(proof.staff_id, self._pins.mark(entry_id, proof.pin))
        if member is None:
            known = await self._store.find_staff(proof.staff_id)
            is_locked = known is not None and known.pin_tries >= PIN_TRIES_MAX
            raise PaymentRefused(code="staff_locked" if is_locked else "staff_not_allowed")
        is_right = await self._pins.matches(proof.pin, member.pin_hash)
        may = member.merchant_id == merchant_id and (
            needed is StaffRole.CASHIER or member.role is StaffRole.MANAGER
        )
        if not is_right or not may:
            raise PaymentRefused(code="staff_not_allowed")
        await self._store.reset_staff_tries(member.staff_id)
        return member

    async def find(self, staff_id: str) -> StaffMember:
        """Return a member of staff, or raise NotFound."""
        member = await self._store.find_staff(check_ulid(staff_id))
        if member is None:
            raise NotFound("there is no such member of staff")
        return member

    async def _hash(self, pin: str) -> str:
        return await self._pins.hash(check_pin(pin), self._entropy(SALT_BYTES))
