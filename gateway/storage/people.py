"""Staff, their tags and rights: one statement each, the same for every store.

A store says how a statement of its queries/people.sql is run; what it means is here, once.
"""

from __future__ import annotations

from gateway.errors import IdempotencyConflict
from gateway.merchants.model import StaffMember, StaffRights, StaffStatus, StaffTagRecord
from gateway.payments.model import PaymentAct
from gateway.storage.records import read_act, read_staff, read_staff_rights, read_staff_tag
from gateway.storage.statements import StatementRunner, Values
from gateway.storage.store import PAGE_ROWS_MAX, PIN_TRIES_MAX
from wire.messages.staff import STAFF_PER_PAGE_MAX, StaffRole


class PeopleQueries(StatementRunner):
    """The methods of StaffStore."""

    async def add_staff(self, member: StaffMember) -> None:
        await self._add("add_staff", values_of_staff(member))

    async def list_staff(self, after_id: str = "") -> list[StaffMember]:
        rows = await self._list("list_staff", after_id=after_id, rows_max=PAGE_ROWS_MAX)
        return [read_staff(row) for row in rows]

    async def set_staff_pin(self, staff_id: str, pin_hash: str) -> None:
        await self._set("set_staff_pin", staff_id=staff_id, pin_hash=pin_hash)

    async def set_staff_status(self, staff_id: str, status: StaffStatus) -> None:
        await self._set("set_staff_status", staff_id=staff_id, status=status.value)

    async def take_staff_try(self, staff_id: str, entry_mark: bytes) -> StaffMember | None:
        row = await self._take(
            "take_staff_try", staff_id=staff_id, entry_mark=entry_mark, tries_max=PIN_TRIES_MAX
        )
        return None if row is None else read_staff(row)

    async def find_staff(self, staff_id: str) -> StaffMember | None:
        rows = await self._list("find_staff", staff_id=staff_id)
        return read_staff(rows[0]) if rows else None

    async def reset_staff_tries(self, staff_id: str) -> None:
        await self._set("reset_staff_tries", staff_id=staff_id)

    async def list_merchant_staff(self, merchant_id: str, after_id: str = "") -> list[StaffMember]:
        values = {"merchant_id": merchant_id, "after_id": after_id, "rows_max": STAFF_PER_PAGE_MAX + 1}
        return [read_staff(row) for row in await self._list("list_merchant_staff", **values)]

    async def add_staff_tag(self, tag: StaffTagRecord) -> None:
        if not await self._add("add_staff_tag", values_of_staff_tag(tag)):
            raise IdempotencyConflict("this card pays, or belongs to somebody already")

    async def remove_staff_tag(self, key_id: bytes) -> None:
        await self._set("remove_staff_tag", key_id=key_id)

    async def list_staff_tags(self, staff_id: str) -> list[StaffTagRecord]:
        rows = await self._list("list_staff_tags", staff_id=staff_id, rows_max=PAGE_ROWS_MAX)
        return [read_staff_tag(row) for row in rows]

    async def take_staff_tag(self, key_id: bytes, counter: int, entry_mark: bytes) -> StaffMember | None:
        row = await self._take("take_staff_tag", key_id=key_id, counter=counter, entry_mark=entry_mark)
        return None if row is None else await self.find_staff(row["staff_id"])

    async def set_staff_rights(self, rights: StaffRights) -> None:
        await self._set(
            "set_staff_rights",
            merchant_id=rights.merchant_id,
            role=rights.role.value,
            rights=" ".join(right.value for right in rights.rights),
        )

    async def forget_staff_rights(self, merchant_id: str, role: StaffRole) -> None:
        await self._set("forget_staff_rights", merchant_id=merchant_id, role=role.value)

    async def list_staff_rights(self, merchant_id: str) -> list[StaffRights]:
        return [
            read_staff_rights(row) for row in await self._list("list_staff_rights", merchant_id=merchant_id)
        ]

    async def list_payment_acts(self, payment_id: str) -> list[PaymentAct]:
        return [read_act(row) for row in await self._list("list_payment_acts", payment_id=payment_id)]


def values_of_staff(member: StaffMember) -> Values:
    """Return a row of staff."""
    return {
        "staff_id": member.staff_id,
        "merchant_id": member.merchant_id,
        "name": member.name,
        "role": member.role.value,
        "pin_hash": member.pin_hash,
        "status": member.status.value,
        "created_ms": member.created_ms,
    }


def values_of_staff_tag(tag: StaffTagRecord) -> Values:
    """Return a row of staff_tags."""
    return {
        "key_id": tag.key_id,
        "staff_id": tag.staff_id,
        "card_key_batch": tag.card_key_batch,
        "card_key_version": tag.card_key_version,
        "created_ms": tag.created_ms,
    }
