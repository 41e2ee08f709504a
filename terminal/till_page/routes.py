"""The pages' addresses: the pages themselves, how a browser gets in, and what only pages ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from terminal.errors import SaleRefused
from terminal.sale.events import EventBoard, SubscriberTooSlow
from terminal.till_api.event_stream import HEARTBEAT_MS, WRITE_TIMEOUT_MS
from terminal.till_page.display import Display, find_receipt_url, is_about_presenting
from terminal.till_page.door import SESSION_MS, PageDoor
from terminal.till_page.qr_svg import draw_qr_svg
from terminal.till_page.static_files import StaticFiles
from wire.messages.base import dump_message, parse_message
from wire.messages.till import SaleState
from wire.messages.till_page import (
    CatalogueItem,
    PageEntered,
    PageEntry,
    PageLink,
    PageLinkRequest,
    PageView,
)
from wire.money import find_currency
from wire.notices import NOTICES

SVG_CONTENT_TYPE: Final = "image/svg+xml"
_NO_STORE: Final = {"Cache-Control": "no-store"}


@dataclass(slots=True)
class PageApi:
    """What the pages stand on."""

    door: PageDoor
    display: Display
    board: EventBoard
    files: StaticFiles
    items: tuple[CatalogueItem, ...]
    has_printer: bool
    urls: tuple[str, ...] = ()
    """Where the pages are, once somebody listens: on the till itself, then on its network."""

    def routes(self) -> list[web.RouteDef]:
        """Return every address."""
        return [
            web.get("/", self._page("till.html")),
            web.get("/customer", self._page("customer.html")),
            web.get("/enter", self._page("enter.html")),
            web.get("/static/{name}", self.show_file),
            web.post("/v1/page-links", self.link),
            web.post("/v1/page-sessions", self.enter),
            web.delete("/v1/page-sessions", self.leave),
            web.get("/v1/page", self.describe),
            web.get("/v1/notices", self.list_notices),
            web.get("/v1/display/events", self.watch_display),
            web.get("/v1/display/code.svg", self.show_code),
            web.get("/v1/display/receipt.svg", self.show_receipt_code),
        ]

    def make_link(self, request: PageLinkRequest) -> PageLink:
        """Return a link that lets one browser in."""
        secret, expires_ms = self.door.make_link(request.page)
        return PageLink(urls=tuple(f"{url}/enter#{secret}" for url in self.urls), expires_ms=expires_ms)

    async def show_file(self, request: web.Request) -> web.Response:
        """GET /static/{name}."""
        return self.files.answer(request.match_info["name"], request)

    async def link(self, request: web.Request) -> web.Response:
        """POST /v1/page-links."""
        return _json(self.make_link(parse_message(await request.read(), PageLinkRequest)), status=201)

    async def enter(self, request: web.Request) -> web.Response:
        """POST /v1/page-sessions: a link becomes a cookie."""
        entry = parse_message(await request.read(), PageEntry)
        page, cookie = await asyncio.to_thread(self.door.enter, entry.link)
        response = _json(PageEntered(page=page), status=201)
        response.set_cookie(
            self.door.cookie_name,
            cookie,
            max_age=SESSION_MS // 1000,
            httponly=True,
            secure=request.scheme == "https",
            samesite="Strict",
        )
        return response

    async def leave(self, request: web.Request) -> web.Response:
        """DELETE /v1/page-sessions: this browser needs a new link."""
        await asyncio.to_thread(self.door.leave, request.cookies.get(self.door.cookie_name, ""))
        response = web.Response(status=204)
        response.del_cookie(self.door.cookie_name)
        return response

    async def describe(self, _: web.Request) -> web.Response:
        """GET /v1/page."""
        enrolment = self.display.enrolment
        newest = self.display.desk.find_newest()
        view = PageView(
            terminal_id=enrolment.terminal_id,
            merchant_name=enrolment.merchant_name,
            location_name=enrolment.location_name,
            currency=enrolment.currency,
            exponent=find_currency(enrolment.currency).exponent,
            language=self.display.language,
            has_printer=self.has_printer,
            sequence=self.board.last_sequence,
            now_ms=self.display.now_ms(),
            items=self.items,
            sale=None if newest is None else newest[0],
            order=None if newest is None else newest[1],
        )
        return _json(view)

    async def list_notices(self, _: web.Request) -> web.Response:
        """GET /v1/notices: the cashier's text of every code."""
        return _json({code: notice.cashier_text for code, notice in NOTICES.items()})

    async def show_code(self, _: web.Request) -> web.Response:
        """GET /v1/display/code.svg: the code of the sale that is open."""
        newest = self.display.desk.find_newest()
        text = None
        if newest is not None and newest[0].state is SaleState.ARMED:
            text = newest[0].code_text
        return await _draw(text)

    async def show_receipt_code(self, _: web.Request) -> web.Response:
        """GET /v1/display/receipt.svg: where the receipt of the last sale is, if it was approved."""
        newest = self.display.desk.find_newest()
        return await _draw(None if newest is None else find_receipt_url(newest[0]))

    async def watch_display(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/display/events: the display's view, again whenever it changes."""
        with self.board.subscribe() as subscription:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_NO_STORE})
            await response.prepare(request)
            event = None
            try:
                while not subscription.is_closed:
                    # At least once in a heartbeat, so that the display knows that it is still told.
                    view = dump_message(self.display.describe(event))
                    async with asyncio.timeout(WRITE_TIMEOUT_MS / 1000):
                        await response.write(b"event: display\ndata: %s\n\n" % view)
                    news = await subscription.next(HEARTBEAT_MS)
                    event = news if is_about_presenting(news) else event
            except (ConnectionError, TimeoutError, SubscriberTooSlow):
                # It comes back by itself, and is told everything anew.
                pass
        return response

    def _page(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def show(request: web.Request) -> web.Response:
            return self.files.answer(name, request)

        return show


async def _draw(text: str | None) -> web.Response:
    if text is None:
        raise SaleRefused("no code is shown", code="not_found")
    svg = await asyncio.to_thread(draw_qr_svg, text)
    return web.Response(text=svg, content_type=SVG_CONTENT_TYPE, headers=_NO_STORE)


def _json(message: object, status: int = 200) -> web.Response:
    body = dump_message(message)
    return web.Response(status=status, body=body, content_type="application/json", headers=_NO_STORE)
