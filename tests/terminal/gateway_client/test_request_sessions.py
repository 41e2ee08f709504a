"""A terminal signs under a session while there is one, and pays all the same while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from terminal.gateway_client.client import GatewayClient
from tests.terminal.conftest import GatewayStandIn, Process, make_request, until

DEADLINE_MS = 1_500


@asynccontextmanager
async def keeping_session(client: GatewayClient) -> AsyncIterator[None]:
    keeping = asyncio.create_task(client.keep_session())
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


def asked(gateway: GatewayStandIn) -> int:
    return sum(one.path == "/v1/terminals/sessions" for one in gateway.received)


async def open_session(client: GatewayClient, gateway: GatewayStandIn, count: int = 1) -> None:
    """Wait until a payment is signed under the session that was opened last."""
    await until(lambda: len(gateway.sessions) >= count)
    number = 1_000 * count
    while True:
        number += 1
        await client.pay(make_request(number), deadline_ms=DEADLINE_MS)
        if gateway.payments[-1].is_in_session:
            return


async def test_payment_does_not_wait_for_a_session(client: GatewayClient, gateway: GatewayStandIn) -> None:
    answer = await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert answer.outcome == "approved"
    assert not gateway.payments[0].is_in_session


async def test_session_signs_payments_and_questions_but_its_own_opening(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    async with keeping_session(client):
        await open_session(client, gateway)
        assert await client.find_by_attempt(make_request(77)) is None
    assert gateway.received[-1].is_in_session
    assert not gateway.received[0].is_in_session


async def test_session_that_the_gateway_forgot_costs_no_payment_and_is_replaced(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    async with keeping_session(client):
        await open_session(client, gateway)
        gateway.sessions.clear()
        request = make_request(2)
        answer = await client.pay(request, deadline_ms=DEADLINE_MS)
        assert answer == gateway.booked[request.attempt_id][1]
        assert not gateway.payments[-1].is_in_session
        await open_session(client, gateway)
    assert len(gateway.sessions) == 1


async def test_session_whose_key_the_gateway_has_otherwise_costs_no_payment_and_is_replaced(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    """As when the answer that opened it was the one to an earlier asking."""
    async with keeping_session(client):
        await open_session(client, gateway)
        gateway.sessions = {session_id: bytes(32) for session_id in gateway.sessions}
        request = make_request(2)
        answer = await client.pay(request, deadline_ms=DEADLINE_MS)
        assert answer == gateway.booked[request.attempt_id][1]
        assert not gateway.payments[-1].is_in_session
        await open_session(client, gateway, count=2)


async def test_resend_after_a_lost_answer_may_be_signed_otherwise_and_books_once(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    async def lose_answer_and_sessions(
        stand_in: GatewayStandIn, request: web.Request, process: Process
    ) -> web.StreamResponse:
        process()
        stand_in.sessions.clear()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with keeping_session(client):
        await open_session(client, gateway)
        gateway.faults.append(lose_answer_and_sessions)
        request = make_request(3)
        answer = await client.pay(request, deadline_ms=DEADLINE_MS)
    assert answer == gateway.booked[request.attempt_id][1]
    assert gateway.attempt_ids.count(request.attempt_id) == 2
    assert not gateway.complaints


async def test_session_is_renewed_before_it_is_over(client: GatewayClient, gateway: GatewayStandIn) -> None:
    gateway.session_lifetime_ms = 1
    async with keeping_session(client):
        await open_session(client, gateway, count=3)
    first, *_, last = gateway.sessions
    assert first != last


async def test_gateway_without_sessions_is_asked_now_and_then_and_paid_at_all_the_same(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    gateway.opens_sessions = False
    async with keeping_session(client):
        await until(lambda: asked(gateway) >= 2)
        answer = await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert answer.outcome == "approved"
    opened = [one for one in gateway.received if one.path == "/v1/terminals/sessions"]
    # Not at once: what is not to be had is not asked for again and again.
    assert opened[1].at_s - opened[0].at_s >= 0.02
