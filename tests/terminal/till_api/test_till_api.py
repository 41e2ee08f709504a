"""The till's interface: who may use it, and that whatever is sent gives a view or a problem."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from terminal.config import TillApiSettings
from terminal.console.till_client import SILENCE_S_MAX
from terminal.till_api.event_stream import HEARTBEAT_MS
from tests.terminal.conftest import ENROLMENT, GatewayStandIn, Till, make_presentation
from wire.messages.base import BODY_BYTES_MAX, parse_message
from wire.messages.problem import PROBLEM_CONTENT_TYPE, Problem
from wire.messages.till import ReaderView, SaleEvent, SaleEventKind, SaleView

StartTill = Callable[..., Awaitable[Till]]
SALE = b'{"amount_minor": 1250}'
KEY = "correct-horse-battery"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1@evil", "", "localhost:x"]
)
async def test_host_that_is_not_this_machine_is_refused(start_till: StartTill, host: str) -> None:
    till = await start_till()
    problem = await till.refusal_of("POST", "/v1/sales", data=SALE, headers={"Host": host})
    assert (problem.code, problem.status) == ("host_not_allowed", 403)
    problem = await till.refusal_of("GET", "/v1/daemon", headers={"Host": host})
    assert problem.code == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8460", "127.0.0.1", "[::1]:8460"])
async def test_names_of_this_machine_are_accepted(start_till: StartTill, host: str) -> None:
    till = await start_till()
    async with till.session.get("/v1/daemon", headers={"Host": host}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_body_a_web_page_could_post_is_refused(start_till: StartTill, kind: str) -> None:
    till = await start_till()
    problem = await till.refusal_of("POST", "/v1/sales", data=SALE, headers={"Content-Type": kind})
    assert (problem.code, problem.status) == ("unsupported_media_type", 415)
    assert not till.readers.is_armed


async def test_no_answer_invites_another_origin(start_till: StartTill) -> None:
    till = await start_till()
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with till.session.options("/v1/sales", headers=headers) as response:
        assert response.status == 403
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "given_key", [None, "Bearer wrong-key-of-some-len", f"Basic {KEY}", "Bearer ", "Bearer é"]
)
async def test_access_key_is_asked_of_every_request(start_till: StartTill, given_key: str | None) -> None:
    till = await start_till(till_api=TillApiSettings(port=0, access_key=KEY))
    async with aiohttp.ClientSession() as stranger:
        headers = {} if given_key is None else {"Authorization": given_key}
        for path in ("/v1/daemon", "/v1/events", "/v1/sales/x", "/nowhere"):
            async with stranger.get(till.url + path, headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await till.find_daemon()).terminal_id == ENROLMENT.terminal_id


async def test_daemon_and_readers_are_described(start_till: StartTill) -> None:
    till = await start_till()
    view = await till.find_daemon()
    assert (view.merchant_name, view.location_name, view.currency) == ("Corner Shop", "High Street", "EUR")
    assert view.unresolved_attempt_count == 0
    async with till.session.get("/v1/readers") as response:
        assert parse_message(await response.read(), list[ReaderView]) == view.readers


async def test_gateway_reachability_is_found_out_without_a_sale(
    start_till: StartTill, gateway: GatewayStandIn
) -> None:
    till = await start_till()
    async with asyncio.timeout(5):
        while not (await till.find_daemon()).gateway_reachable:
            pass
    assert gateway.payments == []


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/sales/01ARYZ6S410000000000000000", "not_found"),
        ("DELETE", "/v1/sales/01ARYZ6S410000000000000000", "not_found"),
        ("GET", "/v1/sales/..%2F..%2Fetc", "not_found"),
        ("GET", "/nowhere", "not_found"),
        ("GET", "/v1/sales", "method_not_allowed"),
        ("PUT", "/v1/daemon", "method_not_allowed"),
    ],
)
async def test_unknown_addresses_are_problems(
    start_till: StartTill, method: str, path: str, code: str
) -> None:
    till = await start_till()
    assert (await till.refusal_of(method, path)).code == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b'{"amount_minor": 12.5}', "malformed"),
        (b'{"amount_minor": 0}', "malformed"),
        (b'{"amount_minor": "1250"}', "malformed"),
        (b'{"amount_minor": 1250, "curency": "EUR"}', "malformed"),
        (b'{"amount_minor": 1250, "currency": "XXQ"}', "currency_unknown"),
        (b'{"amount_minor": 1250, "order_id": "two words"}', "malformed"),
        (b'{"amount_minor": 1250, "deadline_ms": 1}', "malformed"),
        (b" " * (BODY_BYTES_MAX + 1), "body_too_large"),
    ],
)
async def test_sale_that_makes_no_sense_is_refused(start_till: StartTill, body: bytes, code: str) -> None:
    till = await start_till()
    assert (await till.refusal_of("POST", "/v1/sales", data=body)).code == code
    assert not till.readers.is_armed


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
sale_like = st.fixed_dictionaries(
    {},
    optional={
        "amount_minor": st.integers() | json_values,
        "currency": st.sampled_from(["EUR", "JPY", "EURO", "eur", "XXX"]) | json_values,
        "order_id": st.text(max_size=70) | json_values,
        "deadline_ms": st.integers() | json_values,
    },
)


async def test_any_json_gives_a_view_or_a_problem(start_till: StartTill) -> None:
    till = await start_till()
    loop = asyncio.get_running_loop()

    async def send(body: bytes) -> None:
        async with till.session.post("/v1/sales", data=body) as response:
            content = await response.read()
            if response.status == 201:
                view = parse_message(content, SaleView)
                await till.session.delete(f"/v1/sales/{view.sale_id}")
                return
            assert response.content_type == PROBLEM_CONTENT_TYPE
            assert parse_message(content, Problem).status == response.status < 500

    @given(value=json_values | sale_like | st.binary(max_size=100))
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def run(value: object) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        asyncio.run_coroutine_threadsafe(send(body), loop).result(10)

    await asyncio.to_thread(run)


async def test_receipt_of_an_approved_sale_as_text_and_as_picture(start_till: StartTill) -> None:
    till = await start_till()
    sale = await till.start_sale()
    path = f"/v1/sales/{sale.sale_id}/receipt"
    assert (await till.refusal_of("GET", path)).code == "not_found"
    till.readers.present(make_presentation())
    await till.wait_for(SaleEventKind.APPROVED)
    async with till.session.get(path) as response:
        assert response.content_type == "text/plain"
        text = await response.text()
    assert "Corner Shop" in text
    assert "12.50" in text
    async with till.session.get(path, headers={"Accept": "image/png"}) as response:
        assert response.content_type == "image/png"
        assert Image.open(io.BytesIO(await response.read())).format == "PNG"


async def read_events(
    till: Till, count: int, headers: dict[str, str]
) -> list[tuple[bytes, bytes, SaleEvent]]:
    """Read that many server-sent events as (id, event name, data)."""
    found: list[tuple[bytes, bytes, SaleEvent]] = []
    fields: dict[bytes, bytes] = {}
    async with asyncio.timeout(8), till.session.get("/v1/events", headers=headers) as response:
        assert response.content_type == "text/event-stream"
        async for line in response.content:
            name, _, value = line.rstrip(b"\n").partition(b": ")
            fields[name] = value
            if line == b"\n" and b"data" in fields:
                found.append((fields[b"id"], fields[b"event"], parse_message(fields[b"data"], SaleEvent)))
                fields = {}
            if len(found) == count:
                break
    return found


async def test_watcher_resumes_after_the_last_event_it_saw(start_till: StartTill) -> None:
    till = await start_till()
    await till.start_sale()
    till.readers.present(make_presentation())
    first = await till.wait_for(SaleEventKind.ARMED)
    await till.wait_for(SaleEventKind.APPROVED)
    resumed = await read_events(till, 3, {"Last-Event-ID": str(first.sequence)})
    assert [name for _, name, _ in resumed] == [b"reading", b"submitting", b"approved"]
    assert [int(number) for number, _, _ in resumed] == [first.sequence + step for step in (1, 2, 3)]
    assert all(int(number) == event.sequence for number, _, event in resumed)


async def test_watcher_from_an_earlier_run_gets_all_that_is_kept(start_till: StartTill) -> None:
    till = await start_till()
    await till.start_sale()
    event = await till.wait_for(SaleEventKind.ARMED)
    await till.stop()
    again = await start_till()
    await again.start_sale()
    await again.wait_for(SaleEventKind.ARMED)
    ((_, _, resumed),) = await read_events(again, 1, {"Last-Event-ID": str(event.sequence)})
    assert resumed.kind is SaleEventKind.ARMED
    assert resumed.sequence > event.sequence


@pytest.mark.parametrize("position", ["abc", "-1", "1.5", "9" * 40, "٣"])
async def test_position_that_is_no_number_is_refused(start_till: StartTill, position: str) -> None:
    till = await start_till()
    problem = await till.refusal_of("GET", "/v1/events", headers={"Last-Event-ID": position})
    assert problem.code == "malformed"


def test_heartbeat_is_shorter_than_what_commands_wait_for() -> None:
    assert HEARTBEAT_MS * 2 < SILENCE_S_MAX * 1000
