"""Which address is which handler."""

from __future__ import annotations

from aiohttp import web

from gateway.http.exchange import make_exchange
from gateway.http.resources import Desk, HealthResource, PaymentResource, TerminalResource, WalletResource


def make_application(desk: Desk, *, body_bytes_max: int) -> web.Application:
    """Return the gateway's HTTP application around what the composition root made."""
    exchange = make_exchange(desk.request_ids, desk.request_log)
    application = web.Application(middlewares=[exchange], client_max_size=body_bytes_max)
    application.add_routes(make_routes(desk))
    return application


def make_routes(desk: Desk) -> list[web.RouteDef]:
    """Return every address of the interface."""
    payments, terminals = PaymentResource(desk), TerminalResource(desk)
    wallet, health = WalletResource(desk), HealthResource(desk)
    return [
        web.post("/v1/payments", payments.create),
        web.get("/v1/payments", payments.find_by_attempt, allow_head=False),
        web.get("/v1/payments/{payment_id}", payments.find, allow_head=False),
        web.post("/v1/terminals/enrol", terminals.enrol),
        web.post("/v1/terminals/sessions", terminals.open_session),
        web.post("/v1/wallet/payment-codes", wallet.create_payment_code),
        web.get("/health/live", health.live),
        web.get("/health/ready", health.ready),
    ]
