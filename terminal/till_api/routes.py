"""The addresses of the till's interface; each turns a request into a call of the desk and its view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from terminal.errors import SaleRefused
from terminal.offline.desk import OfflineDesk
from terminal.payment_desk import PaymentDesk
from terminal.sale.desk import SaleDesk
from terminal.sale.events import EventBoard
from terminal.till_api.event_stream import stream_events
from terminal.till_api.guards import (
    JSON_CONTENT_TYPE,
    require_access_key,
    require_json,
    require_own_host,
    translate_errors,
)
from wire.messages.base import BODY_BYTES_MAX, dump_message, parse_message
from wire.messages.payments import CaptureRequest, PaymentAnswer, RefundRequest, VoidRequest
from wire.messages.till import DaemonView, OfflinePayment, PinEntry, SaleRequest, SaleView

PNG_CONTENT_TYPE: Final = "image/png"


Receiptable = PaymentAnswer | OfflinePayment


@dataclass(frozen=True, slots=True)
class ReceiptMakers:
    """How an approved answer, or what was accepted offline, becomes a receipt; both block for a moment."""

    text: Callable[[Receiptable], str]
    png: Callable[[Receiptable], bytes]


@dataclass(frozen=True, slots=True)
class TillApi:
    """What the routes stand on."""

    desk: SaleDesk
    board: EventBoard
    receipts: ReceiptMakers
    describe_daemon: Callable[[], DaemonView]
    payments: PaymentDesk
    offline: OfflineDesk | None = None

    async def start_sale(self, request: web.Request) -> web.Response:
        """POST /v1/sales."""
        sale = parse_message(await request.read(), SaleRequest)
        view = self.desk.start_sale(sale)
        response = _json(view, status=201)
        response.headers["Location"] = f"/v1/sales/{view.sale_id}"
        return response

    async def show_sale(self, request: web.Request) -> web.Response:
        """GET /v1/sales/{sale_id}."""
        return _json(self._find(request))

    async def cancel_sale(self, request: web.Request) -> web.Response:
        """DELETE /v1/sales/{sale_id}."""
        return _json(await self.desk.give_up_sale(request.match_info["sale_id"]))

    async def enter_pin(self, request: web.Request) -> web.Response:
        """POST /v1/sales/{sale_id}/pin."""
        entry = parse_message(await request.read(), PinEntry)
        return _json(await self.desk.enter_pin(request.match_info["sale_id"], entry.pin))

    async def reverse_sale(self, request: web.Request) -> web.Response:
        """POST /v1/sales/{sale_id}/reverse: the customer left, or paid otherwise."""
        return _json(await self.desk.reverse_sale(request.match_info["sale_id"]))

    async def keep_sale(self, request: web.Request) -> web.Response:
        """POST /v1/sales/{sale_id}/keep: the goods were handed over."""
        return _json(await self.desk.keep_sale(request.match_info["sale_id"]))

    async def list_attempts(self, _: web.Request) -> web.Response:
        """GET /v1/attempts: those without an outcome."""
        return _json(self.describe_daemon().unresolved)

    async def reverse_attempt(self, request: web.Request) -> web.Response:
        """POST /v1/attempts/{attempt_id}/reverse: as for a sale, also for one of an earlier run."""
        await self.desk.reverse_attempt(request.match_info["attempt_id"])
        return web.Response(status=204)

    async def keep_attempt(self, request: web.Request) -> web.Response:
        """POST /v1/attempts/{attempt_id}/keep: as for a sale, also for one of an earlier run."""
        await self.desk.keep_attempt(request.match_info["attempt_id"])
        return web.Response(status=204)

    async def show_receipt(self, request: web.Request) -> web.Response:
        """GET /v1/sales/{sale_id}/receipt; only what was approved or accepted offline has one."""
        sale = self._find(request)
        is_paid = sale.answer is not None and sale.answer.outcome == "approved"
        paid = sale.answer if is_paid else sale.offline
        if paid is None:
            raise SaleRefused("there is no receipt of this sale", code="not_found")
        if _wants_png(request):
            image = await asyncio.to_thread(self.receipts.png, paid)
            return web.Response(body=image, content_type=PNG_CONTENT_TYPE)
        return web.Response(text=self.receipts.text(paid), content_type="text/plain")

    async def list_payments(self, _: web.Request) -> web.Response:
        """GET /v1/payments: the last ones, the newest first."""
        return _json(self.payments.list())

    async def capture(self, request: web.Request) -> web.Response:
        """POST /v1/payments/{payment_id}/capture."""
        order = parse_message(await request.read(), CaptureRequest)
        return _json(await self.payments.capture(request.match_info["payment_id"], order))

    async def void(self, request: web.Request) -> web.Response:
        """POST /v1/payments/{payment_id}/void."""
        order = parse_message(await request.read(), VoidRequest)
        return _json(await self.payments.void(request.match_info["payment_id"], order))

    async def refund(self, request: web.Request) -> web.Response:
        """POST /v1/payments/{payment_id}/refund."""
        order = parse_message(await request.read(), RefundRequest)
        return _json(await self.payments.refund(request.match_info["payment_id"], order))

    async def show_offline(self, _: web.Request) -> web.Response:
        """GET /v1/offline."""
        return _json(self._open_offline().describe())

    async def drain_offline(self, _: web.Request) -> web.Response:
        """POST /v1/offline/drain; its progress is told by events."""
        return _json(await self._open_offline().drain())

    def _open_offline(self) -> OfflineDesk:
        if self.offline is None:
            raise SaleRefused("payments without a connection are not switched on", code="offline_not_offered")
        return self.offline

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/events."""
        return await stream_events(request, self.board)

    async def show_daemon(self, _: web.Request) -> web.Response:
        """GET /v1/daemon."""
        return _json(self.describe_daemon())

    async def show_readers(self, _: web.Request) -> web.Response:
        """GET /v1/readers."""
        return _json(self.describe_daemon().readers)

    def _find(self, request: web.Request) -> SaleView:
        return self.desk.find_sale(request.match_info["sale_id"])


def make_till_app(api: TillApi, *, host: str, access_key: str | None) -> web.Application:
    """Put the routes behind their guards.

    Args:
        host: the loopback name or address it will listen on.
        access_key: asked of every request if given.
    """
    app = web.Application(
        client_max_size=BODY_BYTES_MAX,
        middlewares=[
            translate_errors(),
            require_own_host(host),
            require_access_key(access_key),
            require_json(),
        ],
    )
    app.add_routes(
        [
            web.post("/v1/sales", api.start_sale),
            web.get("/v1/sales/{sale_id}", api.show_sale),
            web.delete("/v1/sales/{sale_id}", api.cancel_sale),
            web.get("/v1/sales/{sale_id}/receipt", api.show_receipt),
            web.post("/v1/sales/{sale_id}/pin", api.enter_pin),
            web.post("/v1/sales/{sale_id}/reverse", api.reverse_sale),
            web.post("/v1/sales/{sale_id}/keep", api.keep_sale),
            web.get("/v1/attempts", api.list_attempts),
            web.post("/v1/attempts/{attempt_id}/reverse", api.reverse_attempt),
            web.post("/v1/attempts/{attempt_id}/keep", api.keep_attempt),
            web.get("/v1/payments", api.list_payments),
            web.post("/v1/payments/{payment_id}/capture", api.capture),
            web.post("/v1/payments/{payment_id}/void", api.void),
            web.post("/v1/payments/{payment_id}/refund", api.refund),
            web.get("/v1/offline", api.show_offline),
            web.post("/v1/offline/drain", api.drain_offline),
            web.get("/v1/events", api.watch),
            web.get("/v1/daemon", api.show_daemon),
            web.get("/v1/readers", api.show_readers),
        ]
    )
    return app


def _wants_png(request: web.Request) -> bool:
    accepted = [part.split(";")[0].strip() for part in request.headers.get("Accept", "").split(",")]
    return PNG_CONTENT_TYPE in accepted and "text/plain" not in accepted


def _json(message: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=dump_message(message), content_type=JSON_CONTENT_TYPE)
