"""`/v1/staff` and `/v1/shifts` of the till's interface, as far as they need no right."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from terminal.errors import SaleRefused
from terminal.people.desk import StaffDesk
from terminal.people.shift_desk import ShiftDesk
from terminal.people.tag_reads import TagReads
from terminal.till_api.replies import json_reply
from wire.messages.base import parse_message
from wire.messages.shifts import StaffName
from wire.messages.staff import StaffWord


@dataclass(frozen=True, slots=True)
class PeopleApi:
    """What these routes stand on."""

    staff: StaffDesk
    tags: TagReads
    shifts: ShiftDesk

    @property
    def signed_in_name(self) -> StaffName | None:
        """Whose doing it is now."""
        who = self.staff.signed_in
        return None if who is None else StaffName(staff_id=who.staff_id, name=who.name)

    async def show_staff(self, _: web.Request) -> web.Response:
        """GET /v1/staff."""
        return json_reply(self.staff.view)

    async def sign_in(self, request: web.Request) -> web.Response:
        """POST /v1/staff/session."""
        word = parse_message(await request.read(), StaffWord)
        return json_reply(await self.staff.sign_in(word))

    async def show_session(self, _: web.Request) -> web.Response:
        """GET /v1/staff/session."""
        if self.staff.signed_in is None:
            raise SaleRefused(code="not_found")
        return json_reply(self.staff.signed_in)

    async def sign_out(self, _: web.Request) -> web.Response:
        """DELETE /v1/staff/session."""
        self.staff.sign_out()
        return web.Response(status=204)

    async def read_tag(self, _: web.Request) -> web.Response:
        """POST /v1/staff/tag-reads."""
        return json_reply(self.tags.start(), status=201)

    async def show_tag_read(self, request: web.Request) -> web.Response:
        """GET /v1/staff/tag-reads/{tag_read_id}."""
        return json_reply(self.tags.find(request.match_info["tag_read_id"]))

    async def cancel_tag_read(self, request: web.Request) -> web.Response:
        """DELETE /v1/staff/tag-reads/{tag_read_id}."""
        return json_reply(self.tags.cancel(request.match_info["tag_read_id"]))

    async def show_current_shift(self, _: web.Request) -> web.Response:
        """GET /v1/shifts/current."""
        return json_reply(await self.shifts.show_current())

    async def show_last_shift(self, _: web.Request) -> web.Response:
        """GET /v1/shifts/last."""
        return json_reply(await self.shifts.show_last())

    async def show_shift(self, request: web.Request) -> web.Response:
        """GET /v1/shifts/{shift_id}."""
        return json_reply(await self.shifts.show(request.match_info["shift_id"]))

    @property
    def routes(self) -> list[web.RouteDef]:
        """Every address, none of which needs a right."""
        return [
            web.get("/v1/staff", self.show_staff),
            web.post("/v1/staff/session", self.sign_in),
            web.get("/v1/staff/session", self.show_session),
            web.delete("/v1/staff/session", self.sign_out),
            web.post("/v1/staff/tag-reads", self.read_tag),
            web.get("/v1/staff/tag-reads/{tag_read_id}", self.show_tag_read),
            web.delete("/v1/staff/tag-reads/{tag_read_id}", self.cancel_tag_read),
            web.get("/v1/shifts/current", self.show_current_shift),
            web.get("/v1/shifts/last", self.show_last_shift),
            web.get("/v1/shifts/{shift_id}", self.show_shift),
        ]
