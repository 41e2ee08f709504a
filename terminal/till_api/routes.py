"""The addresses of the till's interface; each turns a request into a call of the desk and its view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from terminal.errors import SaleRefused
from terminal.offline.desk import OfflineDesk
from terminal.payment_desk import PaymentDesk
from terminal.sale.desk import SaleDesk
from terminal.sale.events import EventBoard
from terminal.till_api.callers import is_person, note_caller
from terminal.till_api.event_stream import stream_events
from terminal.till_api.guards import (
    Entrance,
    require_entry,
    require_json,
    require_own_host,
    require_own_origin,
    translate_errors,
)
from terminal.till_api.people_routes import PeopleApi
from terminal.till_api.replies import json_reply
from terminal.till_page.routes import PageApi
from terminal.till_page.static_files import add_security_headers
from wire.messages.base import BODY_BYTES_MAX, parse_message
from wire.messages.payments import CaptureRequest, PaymentAnswer, RefundRequest, StaffProof, VoidRequest
from wire.messages.shifts import ShiftView
from wire.messages.staff import RefundOrder, StaffRight, StaffWord, VoidOrder
from wire.messages.till import DaemonView, OfflinePayment, PinEntry, SaleRequest, SaleView

PNG_CONTENT_TYPE: Final = "image/png"


Receiptable = PaymentAnswer | OfflinePayment


@dataclass(frozen=True, slots=True)
class ReceiptMakers:
    """How an answer, what was accepted offline, or a shift becomes a slip; drawing blocks for a moment."""

    text: Callable[[Receiptable, str | None], str]
    """In this language; None is the till's."""
    png: Callable[[Receiptable], bytes]
    shift_text: Callable[[ShiftView], str]
    shift_png: Callable[[ShiftView], bytes]
    print: Callable[[Receiptable], None]
    """Queues the slip and returns at once; raises PrinterUnavailable."""
    print_shift: Callable[[ShiftView], None]
    """As `print`."""


@dataclass(frozen=True, slots=True)
class TillApi:
    """What the routes stand on."""

    desk: SaleDesk
    board: EventBoard
    receipts: ReceiptMakers
    describe_daemon: Callable[[], DaemonView]
    payments: PaymentDesk
    people: PeopleApi
    offline: OfflineDesk | None = None

    async def start_sale(self, request: web.Request) -> web.Response:
        """POST /v1/sales."""
        sale = parse_message(await request.read(), SaleRequest)
        if is_person(request) and self.desk.is_another_amount(sale):
            self.people.staff.require(StaffRight.CHANGE_AMOUNT)
        view = self.desk.start_sale(sale)
        response = json_reply(view, status=201)
        response.headers["Location"] = f"/v1/sales/{view.sale_id}"
        return response

    async def show_sale(self, request: web.Request) -> web.Response:
        """GET /v1/sales/{sale_id}."""
        return json_reply(self._find(request))

    async def cancel_sale(self, request: web.Request) -> web.Response:
        """DELETE /v1/sales/{sale_id}."""
        return json_reply(await self.desk.give_up_sale(request.match_info["sale_id"]))

    async def enter_pin(self, request: web.Request) -> web.Response:
        """POST /v1/sales/{sale_id}/pin."""
        entry = parse_message(await request.read(), PinEntry)
        return json_reply(await self.desk.enter_pin(request.match_info["sale_id"], entry.pin))

    async def reverse_sale(self, request: web.Request) -> web.Response:
        """POST /v1/sales/{sale_id}/reverse: the customer left, or paid otherwise."""
        return json_reply(await self.desk.reverse_sale(request.match_info["sale_id"]))

    async def keep_sale(self, request: web.Request) -> web.Response:
        """POST /v1/sales/{sale_id}/keep: the goods were handed over."""
        return json_reply(await self.desk.keep_sale(request.match_info["sale_id"]))

    async def list_attempts(self, _: web.Request) -> web.Response:
        """GET /v1/attempts: those without an outcome."""
        return json_reply(self.describe_daemon().unresolved)

    async def reverse_attempt(self, request: web.Request) -> web.Response:
        """POST /v1/attempts/{attempt_id}/reverse: as for a sale, also for one of an earlier run."""
        await self.desk.reverse_attempt(request.match_info["attempt_id"])
        return web.Response(status=204)

    async def keep_attempt(self, request: web.Request) -> web.Response:
        """POST /v1/attempts/{attempt_id}/keep: as for a sale, also for one of an earlier run."""
        await self.desk.keep_attempt(request.match_info["attempt_id"])
        return web.Response(status=204)

    async def show_receipt(self, request: web.Request) -> web.Response:
        """GET /v1/sales/{sale_id}/receipt?language=…; only what was approved or accepted offline has one."""
        return await self._answer_receipt(self._find_paid(request), request)

    async def print_receipt(self, request: web.Request) -> web.Response:
        """POST /v1/sales/{sale_id}/print."""
        self.receipts.print(self._find_paid(request))
        return web.Response(status=204)

    async def show_payment_receipt(self, request: web.Request) -> web.Response:
        """GET /v1/payments/{payment_id}/receipt: as of a sale, also of one of an earlier run."""
        return await self._answer_receipt(self.payments.find(request.match_info["payment_id"]), request)

    async def print_payment_receipt(self, request: web.Request) -> web.Response:
        """POST /v1/payments/{payment_id}/print."""
        self.receipts.print(self.payments.find(request.match_info["payment_id"]))
        return web.Response(status=204)

    async def _answer_receipt(self, paid: Receiptable, request: web.Request) -> web.Response:
        if _wants_png(request):
            image = await asyncio.to_thread(self.receipts.png, paid)
            return web.Response(body=image, content_type=PNG_CONTENT_TYPE)
        text = self.receipts.text(paid, request.query.get("language"))
        return web.Response(text=text, content_type="text/plain")

    def _find_paid(self, request: web.Request) -> Receiptable:
        sale = self._find(request)
        is_paid = sale.answer is not None and sale.answer.outcome == "approved"
        paid = sale.answer if is_paid else sale.offline
        if paid is None:
            raise SaleRefused("there is no receipt of this sale", code="not_found")
        return paid

    async def show_report(self, request: web.Request) -> web.Response:
        """GET /v1/shifts/{shift_id}/report."""
        shift = await self.people.shifts.show(request.match_info["shift_id"])
        if _wants_png(request):
            image = await asyncio.to_thread(self.receipts.shift_png, shift)
            return web.Response(body=image, content_type=PNG_CONTENT_TYPE)
        return web.Response(text=self.receipts.shift_text(shift), content_type="text/plain")

    async def print_report(self, request: web.Request) -> web.Response:
        """POST /v1/shifts/{shift_id}/print; that it was queued does not prove that paper came out."""
        self.receipts.print_shift(await self.people.shifts.show(request.match_info["shift_id"]))
        return web.Response(status=204)

    async def open_shift(self, request: web.Request) -> web.Response:
        """POST /v1/shifts."""
        return json_reply(await self.people.shifts.open(self.people.signed_in_name), status=201)

    async def close_shift(self, request: web.Request) -> web.Response:
        """POST /v1/shifts/close."""
        return json_reply(await self.people.shifts.close(self.people.signed_in_name))

    async def list_payments(self, _: web.Request) -> web.Response:
        """GET /v1/payments: the last ones, the newest first."""
        return json_reply(self.payments.list())

    async def capture(self, request: web.Request) -> web.Response:
        """POST /v1/payments/{payment_id}/capture."""
        order = parse_message(await request.read(), CaptureRequest)
        return json_reply(await self.payments.capture(request.match_info["payment_id"], order))

    async def void(self, request: web.Request) -> web.Response:
        """POST /v1/payments/{payment_id}/void."""
        asked = parse_message(await request.read(), VoidOrder)
        staff = self._proof_of(request, asked.staff, asked.void_id)
        order = VoidRequest(void_id=asked.void_id, staff=staff)
        return json_reply(await self.payments.void(request.match_info["payment_id"], order))

    async def refund(self, request: web.Request) -> web.Response:
        """POST /v1/payments/{payment_id}/refund."""
        asked = parse_message(await request.read(), RefundOrder)
        staff = self._proof_of(request, asked.staff, asked.refund_id)
        assert staff is not None, "a refund is asked for with somebody's word"
        order = RefundRequest(
            refund_id=asked.refund_id, total_minor=asked.total_minor, staff=staff, reason=asked.reason
        )
        return json_reply(await self.payments.refund(request.match_info["payment_id"], order))

    async def show_offline(self, _: web.Request) -> web.Response:
        """GET /v1/offline."""
        return json_reply(self._open_offline().describe())

    async def drain_offline(self, _: web.Request) -> web.Response:
        """POST /v1/offline/drain; its progress is told by events."""
        return json_reply(await self._open_offline().drain())

    def _open_offline(self) -> OfflineDesk:
        if self.offline is None:
            raise SaleRefused("payments without a connection are not switched on", code="offline_not_offered")
        return self.offline

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/events."""
        return await stream_events(request, self.board)

    async def show_daemon(self, _: web.Request) -> web.Response:
        """GET /v1/daemon."""
        return json_reply(self.describe_daemon())

    async def show_readers(self, _: web.Request) -> web.Response:
        """GET /v1/readers."""
        return json_reply(self.describe_daemon().readers)

    def _proof_of(self, request: web.Request, word: StaffWord | None, purpose_id: str) -> StaffProof | None:
        """Return who answers for money given back; a person is asked again, whoever is signed in."""
        if is_person(request):
            self.people.staff.require_proof(word)
        return None if word is None else self.people.staff.prove(word, purpose_id)

    def _needing(self, right: StaffRight, handler: Handler) -> Handler:
        """Return a handler that a person may use only with a right."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if is_person(request):
                self.people.staff.require(right)
            return await handler(request)

        return guarded

    @property
    def routes(self) -> list[web.RouteDef]:
        """Every address, with the right that a person needs for it."""
        sell = partial(self._needing, StaffRight.SELL)
        return [
            web.post("/v1/sales", sell(self.start_sale)),
            web.get("/v1/sales/{sale_id}", self.show_sale),
            web.delete("/v1/sales/{sale_id}", sell(self.cancel_sale)),
            web.get("/v1/sales/{sale_id}/receipt", self.show_receipt),
            web.post("/v1/sales/{sale_id}/print", sell(self.print_receipt)),
            web.post("/v1/sales/{sale_id}/pin", sell(self.enter_pin)),
            web.post("/v1/sales/{sale_id}/reverse", sell(self.reverse_sale)),
            web.post("/v1/sales/{sale_id}/keep", sell(self.keep_sale)),
            web.get("/v1/attempts", self.list_attempts),
            web.post("/v1/attempts/{attempt_id}/reverse", sell(self.reverse_attempt)),
            web.post("/v1/attempts/{attempt_id}/keep", sell(self.keep_attempt)),
            web.get("/v1/payments", self.list_payments),
            web.get("/v1/payments/{payment_id}/receipt", self.show_payment_receipt),
            web.post("/v1/payments/{payment_id}/print", sell(self.print_payment_receipt)),
            web.post("/v1/payments/{payment_id}/capture", sell(self.capture)),
            web.post("/v1/payments/{payment_id}/void", self.void),
            web.post("/v1/payments/{payment_id}/refund", self.refund),
            web.get("/v1/offline", self.show_offline),
            web.post("/v1/offline/drain", self._needing(StaffRight.DRAIN, self.drain_offline)),
            web.post("/v1/shifts", self._needing(StaffRight.SHIFT, self.open_shift)),
            web.post("/v1/shifts/close", self._needing(StaffRight.SHIFT, self.close_shift)),
            web.get("/v1/shifts/{shift_id}/report", self.show_report),
            web.post("/v1/shifts/{shift_id}/print", self._needing(StaffRight.SHIFT, self.print_report)),
            web.get("/v1/events", self.watch),
            web.get("/v1/daemon", self.show_daemon),
            web.get("/v1/readers", self.show_readers),
            *self.people.routes,
        ]

    def _find(self, request: web.Request) -> SaleView:
        return self.desk.find_sale(request.match_info["sale_id"])


def make_till_app(api: TillApi, page: PageApi, entrance: Entrance) -> web.Application:
    """Put the routes behind their guards; one application for each address the till listens at."""
    app = web.Application(
        client_max_size=BODY_BYTES_MAX,
        middlewares=[
            translate_errors(),
            require_own_host(entrance),
            require_own_origin(),
            require_entry(entrance),
            require_json(),
            note_caller(),
        ],
    )
    app.on_response_prepare.append(add_security_headers)
    app.add_routes(page.routes())
    app.add_routes(api.routes)
    return app


def _wants_png(request: web.Request) -> bool:
    accepted = [part.split(";")[0].strip() for part in request.headers.get("Accept", "").split(",")]
    return PNG_CONTENT_TYPE in accepted and "text/plain" not in accepted
