"""Who works at a merchant's tills: a name, a role with its rights, and a PIN or tags that prove who it is."""

from __future__ import annotations

from collections.abc import Collection

from gateway.entropy import Entropy, draw_ulid
from gateway.errors import NotFound, PaymentRefused
from gateway.merchants.model import StaffMember, StaffRights, StaffStatus, StaffTagRecord
from gateway.names import check_name
from gateway.payments.card_keys import CardKeyRing
from gateway.pins import SALT_BYTES, PinHasher, check_pin
from gateway.storage.people_store import StaffStore
from wire.cards.ntag424.link import SunLink
from wire.ids import check_merchant_id, check_ulid
from wire.messages.payments import StaffProof, StaffTag
from wire.messages.staff import (
    RIGHTS_OF_ROLE,
    STAFF_PER_PAGE_MAX,
    SignInAnswer,
    SignInRequest,
    StaffEntry,
    StaffPage,
    StaffRight,
    StaffRole,
)


class StaffService:
    """What an operator does for staff, and what a till asks about them."""

    __slots__ = ("_cards", "_entropy", "_pins", "_store")

    def __init__(self, store: StaffStore, pins: PinHasher, cards: CardKeyRing, entropy: Entropy) -> None:
        self._store = store
        self._cards = cards
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
        self, proof: StaffProof, merchant_id: str, needed: StaffRight | None, *, entry_id: str
    ) -> StaffMember:
        """Return who gave this proof, if they work at the merchant and may do what needs this right.

        Args:
            needed: None asks only who it is.
            entry_id: of what it was given for; a wrong PIN that comes again for the same is counted once, and
                a tap that comes again for the same is good once more.

        Raises:
            PaymentRefused: `staff_not_allowed`, which does not tell a wrong PIN from a missing right;
                `staff_locked` after PIN_TRIES_MAX wrong ones; `staff_tag_invalid`: nobody's, or an old tap.
        """
        if proof.tag is not None:
            member = await self._take_tag(proof.tag, entry_id)
        else:
            member = await self._judge_pin(proof, merchant_id, entry_id)
        if member.merchant_id != merchant_id:
            raise PaymentRefused(code="staff_not_allowed")
        if needed is not None and needed not in await self.list_rights(merchant_id, member.role):
            raise PaymentRefused(code="staff_not_allowed")
        return member

    async def list_rights(self, merchant_id: str, role: StaffRole) -> tuple[StaffRight, ...]:
        """Return what a role may do at a merchant's: as written down, else the defaults."""
        written = await self._store.list_staff_rights(merchant_id)
        return next((one.rights for one in written if one.role is role), RIGHTS_OF_ROLE[role])

    async def are_rights_written(self, merchant_id: str) -> bool:
        """Say whether a merchant has written down who may do what; then every void is answered for."""
        return bool(await self._store.list_staff_rights(merchant_id))

    async def set_rights(self, merchant_id: str, role: StaffRole, rights: Collection[StaffRight]) -> None:
        """Write down what a role may do, from the next request on; NotFound if there is no such merchant."""
        ordered = tuple(right for right in StaffRight if right in rights)
        await self._store.set_staff_rights(StaffRights(check_merchant_id(merchant_id), role, ordered))

    async def list_at_tills(self, merchant_id: str, after_id: str = "") -> StaffPage:
        """Return who may sign in at a merchant's tills: a page of names, never of PINs or tags."""
        members = await self._store.list_merchant_staff(merchant_id, after_id)
        return StaffPage(
            members=[entry_of(member) for member in members[:STAFF_PER_PAGE_MAX]],
            is_last=len(members) <= STAFF_PER_PAGE_MAX,
        )

    async def sign_in(self, request: SignInRequest, merchant_id: str) -> SignInAnswer:
        """Say who gave a proof, and what they may do; raises as `prove`."""
        member = await self.prove(request.staff, merchant_id, None, entry_id=request.sign_in_id)
        rights = await self.list_rights(member.merchant_id, member.role)
        return SignInAnswer(member=entry_of(member), rights=list(rights))

    async def add_tag(
        self, staff_id: str, batch_number: int, uid: bytes, *, key_version: int = 1, now_ms: int
    ) -> StaffTagRecord:
        """Let an NTAG 424 card stand for somebody; its UID is not stored.

        Raises:
            NotFound: no such member of staff, or batch. IdempotencyConflict: the card pays, or is taken.
        """
        key_id = await self._cards.find_key_id(batch_number, key_version, uid)
        tag = StaffTagRecord(key_id, check_ulid(staff_id), batch_number, key_version, now_ms)
        await self._store.add_staff_tag(tag)
        return tag

    async def remove_tag(self, key_id: bytes) -> None:
        """Forget a tag, from the next tap on; NotFound if there is none."""
        await self._store.remove_staff_tag(key_id)

    async def find(self, staff_id: str) -> StaffMember:
        """Return a member of staff, or raise NotFound."""
        member = await self._store.find_staff(check_ulid(staff_id))
        if member is None:
            raise NotFound("there is no such member of staff")
        return member

    async def _judge_pin(self, proof: StaffProof, merchant_id: str, entry_id: str) -> StaffMember:
        assert proof.staff_id is not None, "a proof without a tag names somebody"
        assert proof.pin is not None, "and has their PIN"
        known = await self._store.find_staff(proof.staff_id)
        # Before anything is counted: a till of one merchant must not lock the staff of another.
        if known is None or known.merchant_id != merchant_id or known.status is not StaffStatus.ACTIVE:
            raise PaymentRefused(code="staff_not_allowed")
        member = await self._store.take_staff_try(proof.staff_id, self._pins.mark(entry_id, proof.pin))
        if member is None:
            raise PaymentRefused(code="staff_locked")
        if not await self._pins.matches(proof.pin, member.pin_hash):
            raise PaymentRefused(code="staff_not_allowed")
        # Also for somebody who may not do what they asked for: it was the right PIN.
        await self._store.reset_staff_tries(member.staff_id)
        return member

    async def _take_tag(self, tag: StaffTag, entry_id: str) -> StaffMember:
        link = SunLink(bytes.fromhex(tag.picc_data_hex), bytes.fromhex(tag.mac_hex))
        tap = await self._cards.verify_tap(link)
        member = None
        if tap is not None:
            mark = self._pins.mark(entry_id, f"tap {tap.counter}")
            member = await self._store.take_staff_tag(tap.key_id, tap.counter, mark)
        if member is None:
            raise PaymentRefused(code="staff_tag_invalid")
        return member

    async def _hash(self, pin: str) -> str:
        return await self._pins.hash(check_pin(pin), self._entropy(SALT_BYTES))


def entry_of(member: StaffMember) -> StaffEntry:
    """Put a member of staff into the words of the wire."""
    return StaffEntry(staff_id=member.staff_id, name=member.name, role=member.role)
