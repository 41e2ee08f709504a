"""Who works at the till of these tests, and what a person at its screen asks."""

from __future__ import annotations

from terminal.till_api.callers import CALLER_HEADER, PERSON
from tests.terminal.conftest import Till
from wire.ids import make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.staff import SignedInStaff, StaffEntry, StaffRole, StaffView, StaffWord

MIRA = StaffEntry(staff_id=make_ulid(1, bytes(10)), name="Mira 米拉", role=StaffRole.CASHIER)
BO = StaffEntry(staff_id=make_ulid(2, bytes(10)), name="Bo", role=StaffRole.MANAGER)
PIN, BOS_PIN = "918273", "564738"
AS_PERSON = {CALLER_HEADER: PERSON}


async def view_of(till: Till) -> StaffView:
    async with till.session.get("/v1/staff") as response:
        return parse_message(await response.read(), StaffView)


async def sign_in(till: Till, word: StaffWord) -> SignedInStaff:
    async with till.session.post("/v1/staff/session", data=dump_message(word)) as response:
        assert response.status == 200, await response.text()
        return parse_message(await response.read(), SignedInStaff)


def word_of(member: StaffEntry, pin: str) -> StaffWord:
    return StaffWord(staff_id=member.staff_id, pin=pin)


async def refused(till: Till, method: str, path: str, body: object = None) -> str:
    """Ask as a person at a screen, and return the code of the refusal."""
    data = b"{}" if body is None else dump_message(body)
    return (await till.refusal_of(method, path, data=data, headers=AS_PERSON)).code
