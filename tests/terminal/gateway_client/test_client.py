"""The client resends one attempt and no other, and believes only answers that are about it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terminal.errors import GatewayRefused, GatewayUnreachable, TerminalError
from terminal.gateway_client.client import GatewayClient
from terminal.gateway_client.http_transport import ANSWER_BYTES_MAX
from tests.terminal.conftest import (
    ENROLMENT,
    GatewayStandIn,
    Process,
    hold,
    lose_answer,
    make_client,
    make_json,
    make_problem,
    make_request,
    reset_unread,
)
from wire import es256
from wire.ids import make_ulid
from wire.messages.enrolment import EnrolmentRequest
from wire.messages.payments import EntryMode, PaymentAnswer

DEADLINE_MS = 1_500
OTHER_ID = make_ulid(1, bytes(10))

Respond = Callable[[Process], web.StreamResponse]


def answer_with(respond: Respond) -> Callable[..., object]:
    async def fault(_: GatewayStandIn, __: web.Request, process: Process) -> web.StreamResponse:
        return respond(process)

    return fault


def changed(**changes: object) -> Respond:
    """Answer honestly but for one field."""
    return lambda process: make_json(msgspec.structs.replace(process(), **changes))


async def test_honest_answer_is_returned(client: GatewayClient, gateway: GatewayStandIn) -> None:
    answer = await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert answer == gateway.booked[make_request().attempt_id][1]
    assert client.is_reachable


@pytest.mark.parametrize("fault", [lose_answer, reset_unread], ids=["answer lost", "never booked"])
async def test_resend_carries_the_same_bytes_under_a_fresh_signature(
    client: GatewayClient, gateway: GatewayStandIn, fault: Callable[..., object]
) -> None:
    gateway.faults.extend([fault, fault])
    answer = await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert answer.outcome == "approved"
    assert len(gateway.payments) == 3
    assert len({one.body for one in gateway.payments}) == 1
    assert len({one.nonce for one in gateway.payments}) == 3
    assert len(gateway.booked) == 1


@pytest.mark.parametrize(
    "respond",
    [
        pytest.param(changed(attempt_id=OTHER_ID), id="another attempt"),
        pytest.param(changed(order_id="other"), id="another order"),
        pytest.param(changed(amount_minor=1), id="another amount"),
        pytest.param(changed(currency="USD"), id="another currency"),
        pytest.param(changed(entry_mode=EntryMode.NFC_APP), id="another entry mode"),
        pytest.param(changed(outcome="declined"), id="declined without a reason"),
        pytest.param(lambda _: web.Response(text="<html>", content_type="text/html"), id="a captive portal"),
        pytest.param(lambda _: web.Response(body=b"{", content_type="application/json"), id="half an answer"),
        pytest.param(
            lambda _: web.Response(body=b" " * (ANSWER_BYTES_MAX + 1), content_type="application/json"),
            id="endless",
        ),
        pytest.param(lambda _: web.Response(status=502, text="bad gateway"), id="a proxy's 502"),
        pytest.param(lambda _: web.Response(status=404, text="no"), id="a proxy's 404"),
        pytest.param(lambda _: web.Response(status=307, headers={"Location": "/evil"}), id="a redirect"),
        pytest.param(lambda _: make_problem("internal", 500), id="broken in the middle"),
        pytest.param(lambda _: make_problem("nonce_replayed", 401), id="received before"),
    ],
)
async def test_answer_that_proves_nothing_leaves_the_outcome_unknown(
    client: GatewayClient, gateway: GatewayStandIn, respond: Respond
) -> None:
    gateway.faults.extend([answer_with(respond)] * 1_000)
    with pytest.raises(GatewayUnreachable):
        await client.pay(make_request(), deadline_ms=500)
    assert len(set(gateway.attempt_ids)) == 1


async def test_delayed_answer_is_awaited_only_so_long_per_send(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    gateway.faults.append(hold)
    answer = await client.pay(make_request(), deadline_ms=2_000)
    assert answer.outcome == "approved"
    assert len(gateway.payments) == 2


async def test_deadline_ends_the_resends_as_unknown(client: GatewayClient, gateway: GatewayStandIn) -> None:
    gateway.faults.extend([reset_unread] * 1_000)
    with pytest.raises(GatewayUnreachable):
        await client.pay(make_request(), deadline_ms=500)
    assert not client.is_reachable


async def test_retry_after_is_honoured(client: GatewayClient, gateway: GatewayStandIn) -> None:
    gateway.faults.append(answer_with(lambda _: make_problem("gateway_busy", 503, {"Retry-After": "1"})))
    await client.pay(make_request(), deadline_ms=3_000)
    first, second = gateway.payments
    assert second.at_s - first.at_s >= 1.0


@pytest.mark.parametrize("value", ["", "soon", "-5", "9" * 30, "0.5", "Wed, 21 Oct 2015 07:28:00 GMT", "١"])
async def test_senseless_retry_after_is_ignored(
    client: GatewayClient, gateway: GatewayStandIn, value: str
) -> None:
    gateway.faults.append(answer_with(lambda _: make_problem("gateway_busy", 503, {"Retry-After": value})))
    await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert len(gateway.payments) == 2


async def test_refusal_with_no_send_unaccounted_for_proves_that_nothing_was_booked(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    gateway.faults.append(answer_with(lambda _: make_problem("terminal_revoked", 403)))
    with pytest.raises(GatewayRefused) as caught:
        await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert (caught.value.code, caught.value.retryable) == ("terminal_revoked", False)
    assert len(gateway.payments) == 1


async def test_refusal_after_a_lost_answer_proves_nothing(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    gateway.faults.extend([lose_answer, answer_with(lambda _: make_problem("terminal_revoked", 403))])
    with pytest.raises(GatewayUnreachable):
        await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert len(gateway.booked) == 1


async def test_refusal_of_an_attempt_sent_in_an_earlier_life_proves_nothing(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    gateway.faults.append(answer_with(lambda _: make_problem("terminal_revoked", 403)))
    with pytest.raises(GatewayUnreachable):
        await client.pay(make_request(), deadline_ms=DEADLINE_MS, sent_before=True)


async def test_gateway_that_stays_busy_is_a_refusal_and_not_unknown(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    # It asks for a minute: the deadline then falls into the pause, and never into a send, whose outcome
    # would rightly be called unknown.
    busy = make_problem("gateway_busy", 503, {"Retry-After": "60"})
    gateway.faults.append(answer_with(lambda _: busy))
    with pytest.raises(GatewayRefused) as caught:
        await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert caught.value.code == "gateway_busy"
    assert gateway.booked == {}


async def test_refusal_for_want_of_a_store_proves_nothing(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    """Its commit may have been on its way: what became of it is asked later, and never taken for a no."""
    lost = make_problem("store_unavailable", 503, {"Retry-After": "60"})

    def book_and_lose(process: Process) -> web.StreamResponse:
        process()
        return lost

    gateway.faults.append(answer_with(book_and_lose))
    with pytest.raises(GatewayUnreachable):
        await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert len(gateway.booked) == 1


async def test_wrong_clock_is_said_in_words_with_its_size(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    # A gateway whose clock is an hour and a bit behind what this machine believes.
    date = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    gateway.faults.append(answer_with(lambda _: make_problem("signature_expired", 401, date)))
    with pytest.raises(GatewayRefused, match=r"clock of this machine is wrong: it is \d+ s ahead"):
        await client.pay(make_request(), deadline_ms=DEADLINE_MS)


async def test_attempt_is_found_or_not_known(client: GatewayClient, gateway: GatewayStandIn) -> None:
    assert await client.find_by_attempt(make_request()) is None
    paid = await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert await client.find_by_attempt(make_request()) == paid
    with pytest.raises(GatewayUnreachable):
        await client.find_by_attempt(make_request(amount_minor=1))


async def test_nobody_there_is_unreachable(terminal_key: es256.PrivateKey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with make_client(f"http://127.0.0.1:{port}", terminal_key) as client:
        with pytest.raises(GatewayUnreachable):
            await client.pay(make_request(), deadline_ms=60)
        assert not await client.probe()


async def test_enrolment_may_be_repeated_after_a_lost_answer(
    client: GatewayClient, gateway: GatewayStandIn, terminal_key: es256.PrivateKey
) -> None:
    public_key = es256.dump_public_key(terminal_key.public_key())
    request = EnrolmentRequest(code="ABCD-1234", public_key=public_key)
    gateway.faults.append(lose_answer)
    with pytest.raises(GatewayUnreachable):
        await client.enrol(request, idempotency_key=OTHER_ID)
    assert await client.enrol(request, idempotency_key=OTHER_ID) == ENROLMENT


@given(body=st.binary(max_size=300), status=st.sampled_from([200, 201, 400, 409, 500, 503]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_bytes_give_an_answer_a_refusal_or_unknown(
    client: GatewayClient, gateway: GatewayStandIn, body: bytes, status: int
) -> None:
    kind = "application/problem+json" if status >= 400 else "application/json"
    gateway.faults.clear()
    gateway.faults.append(
        answer_with(lambda _: web.Response(body=body, status=status, headers={"Content-Type": kind}))
    )
    answer = await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert answer.attempt_id == make_request().attempt_id


async def test_raw_garbage_on_the_connection_is_no_answer(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    async def garble(_: GatewayStandIn, request: web.Request, __: Process) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"\x00\xff not http \r\n\r\n")
        request.transport.close()
        return web.Response()

    gateway.faults.append(garble)
    answer = await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    assert isinstance(answer, PaymentAnswer)
    assert len(gateway.booked) == 1


async def test_no_error_repeats_what_was_presented(client: GatewayClient, gateway: GatewayStandIn) -> None:
    gateway.faults.append(
        answer_with(lambda _: web.Response(body=b'{"token":"SECRET-TOKEN"}', content_type="application/json"))
    )
    with pytest.raises(GatewayUnreachable) as caught:
        await client.pay(make_request(), deadline_ms=1)
    assert "SECRET" not in repr(caught.value)


async def test_a_call_is_signed_sent_once_and_answered_or_refused(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    target = f"/v1/payments?attempt_id={make_request().attempt_id}"
    with pytest.raises(GatewayRefused) as refusal:
        await client.call("GET", target)
    assert refusal.value.code == "not_found"
    await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    reply = await client.call("GET", target)
    assert msgspec.json.decode(reply.body, type=PaymentAnswer) == gateway.booked[make_request().attempt_id][1]
    assert (reply.status, reply.content_type) == (200, "application/json")
    assert [one.method for one in gateway.received] == ["GET", "POST", "GET"]


async def test_a_call_without_an_answer_is_unreachable_and_not_repeated(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    gateway.find_faults.append(answer_with(lambda _: web.Response(text="?", content_type="text/plain")))
    with pytest.raises(GatewayUnreachable):
        await client.call("GET", f"/v1/payments?attempt_id={make_request().attempt_id}")
    assert len(gateway.received) == 1
    assert not client.is_reachable


async def test_reversal_is_believed_only_if_nothing_is_charged_any_more(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    paid = await client.pay(make_request(), deadline_ms=DEADLINE_MS)
    gateway.reversal_faults.append(answer_with(lambda _: make_json(paid)))
    with pytest.raises(GatewayUnreachable):
        await client.reverse(make_request())
    reversed_answer = await client.reverse(make_request())
    assert reversed_answer.outcome == "closed"
    assert await client.reverse(make_request()) == reversed_answer
    assert await client.find_by_attempt(make_request()) == reversed_answer


async def test_reversal_of_what_was_never_seen_declines_it_for_ever(
    client: GatewayClient, gateway: GatewayStandIn
) -> None:
    declined = await client.reverse(make_request())
    assert declined.decline is not None
    assert (declined.outcome, declined.decline.code) == ("declined", "attempt_reversed")
    assert await client.pay(make_request(), deadline_ms=DEADLINE_MS) == declined


@pytest.mark.parametrize(
    "respond",
    [
        pytest.param(changed(attempt_id=OTHER_ID), id="another attempt"),
        pytest.param(changed(amount_minor=1), id="another amount"),
        pytest.param(changed(decline=None), id="no reason"),
        pytest.param(lambda _: make_problem("store_unavailable", 503), id="a refusal"),
    ],
)
async def test_answer_to_a_reversal_that_proves_nothing_is_not_believed(
    client: GatewayClient, gateway: GatewayStandIn, respond: Respond
) -> None:
    gateway.reversal_faults.append(answer_with(respond))
    with pytest.raises(TerminalError):
        await client.reverse(make_request())
