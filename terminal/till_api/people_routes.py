"""`/v1/staff` of the till's interface: who may sign in, who has, and the tags that are read for it."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from terminal.errors import SaleRefused
from terminal.people.desk import StaffDesk
from terminal.people.tag_reads import TagReads
from terminal.till_api.replies import json_reply
from wire.messages.base import parse_message
from wire.messages.staff import StaffWord


@dataclass(frozen=True, slots=True)
class PeopleApi:
    """What these routes stand on."""

    staff: StaffDesk
    tags: TagReads

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
        ]
