"""A call within the process is answered as over HTTP: same addresses, same problems, nothing gets out."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from gateway.app import make_desk
from gateway.config import GatewayConfig
from gateway.http.answers import Answer as Dispatched
from gateway.http.calls import QUERY_FIELDS_MAX, SignedCall, read_query
from gateway.http.dispatch import Dispatcher
from tests.gateway.http.conftest import NOW_MS, Answer, Shop
from wire.errors import WireError
from wire.ids import make_ulid
from wire.messages.base import dump_message
from wire.messages.payments import PaymentAnswer, PaymentRequest

JSON = {"Content-Type": "application/json"}
UNKNOWN_ID = make_ulid(NOW_MS, bytes(10))


@pytest.fixture
def dispatcher(shop: Shop, config: GatewayConfig, clock: Any, rng: random.Random) -> Dispatcher:
    """A second gateway over the same store, without a socket."""
    desk = make_desk(config, shop.office, public_url=shop.gateway.url, now_ms=clock, entropy=rng.randbytes)
    return Dispatcher(desk)


def essence(answer: Answer | Dispatched) -> tuple[object, ...]:
    """What must not depend on the way: all but the request's id and the server's own words."""
    pairs = answer.fields if isinstance(answer, Dispatched) else answer.headers.items()
    fields = {name.lower(): value for name, value in pairs}
    content_type = answer.content_type if isinstance(answer, Dispatched) else fields["content-type"]
    request_id = fields["x-request-id"].encode()
    named = ("allow", "retry-after", "www-authenticate", "cache-control")
    body = answer.body.replace(request_id, b"")
    return answer.status, content_type, body, [fields.get(name) for name in named]


@pytest.mark.parametrize(
    ("method", "target", "body", "headers"),
    [
        ("GET", "/health/live", b"", {}),
        ("GET", "/health/live?really=yes", b"", {}),
        ("GET", "/health/ready", b"", {}),
        ("HEAD", "/health/live", b"", {}),
        ("POST", "/health/live", b"", {}),
        ("DELETE", "/v1/payments", b"", {}),
        ("HEAD", "/v1/payments", b"", {}),
        ("GET", "/", b"", {}),
        ("GET", "/v1", b"", {}),
        ("GET", "/v1/payments/", b"", {}),
        ("GET", "/v1/payments/a/b", b"", {}),
        ("GET", "/v1/pay%6Dents", b"", {}),
        ("GET", f"/v1/payments/{UNKNOWN_ID}", b"", {}),
        ("POST", "/v1/terminals/enrol", b"{}", JSON),
        ("POST", "/v1/terminals/enrol", b"{}", {"Content-Type": "text/plain"}),
        ("POST", "/v1/terminals/enrol", b"{}", JSON | {"Content-Encoding": "gzip"}),
        ("POST", "/v1/terminals/enrol", b" " * 20_000, JSON),
    ],
)
async def test_every_call_is_answered_as_over_http(
    shop: Shop, dispatcher: Dispatcher, method: str, target: str, body: bytes, headers: dict[str, str]
) -> None:
    over_http = await shop.till.send(method, target, body, headers)
    within = await dispatcher.dispatch(SignedCall(method, target, headers, body))
    assert essence(within) == essence(over_http)


@pytest.mark.parametrize(
    "target",
    [
        f"/v1/payments/{UNKNOWN_ID}",
        "/v1/payments/not%2Fan%25id",
        f"/v1/payments?attempt_id={UNKNOWN_ID}",
        f"/v1/payments?attempt%5Fid={UNKNOWN_ID}",
        f"/v1/payments?attempt_id={UNKNOWN_ID}&attempt_id={UNKNOWN_ID}",
        "/v1/payments?attempt_id=",
        "/v1/payments",
    ],
)
async def test_signed_questions_are_answered_as_over_http(
    shop: Shop, dispatcher: Dispatcher, target: str
) -> None:
    till = await shop.enrol()
    over_http = await till.call("GET", target)
    within = await dispatcher.dispatch(SignedCall("GET", target, till.sign("GET", target)))
    assert essence(within) == essence(over_http)


async def pay(dispatcher: Dispatcher, shop: Shop, request: PaymentRequest) -> Dispatched:
    body = dump_message(request)
    headers = shop.till.sign("POST", "/v1/payments", body, request.attempt_id)
    return await dispatcher.dispatch(SignedCall("POST", "/v1/payments", headers, body))


async def test_a_payment_is_decided_and_found(shop: Shop, dispatcher: Dispatcher) -> None:
    till, request = await shop.enrol(), shop.request(1_250)
    first, again = await pay(dispatcher, shop, request), await pay(dispatcher, shop, request)
    assert (first.status, again.status, again.body) == (201, 200, first.body)
    assert await shop.balance_minor() == 10_000 - 1_250
    payment_id = msgspec.json.decode(first.body, type=PaymentAnswer).payment_id
    target = f"/v1/payments/{payment_id}"
    found = await dispatcher.dispatch(SignedCall("GET", target, till.sign("GET", target)))
    assert found.body == first.body


async def test_payments_above_the_bound_are_refused(
    shop: Shop, config: GatewayConfig, clock: Any, rng: random.Random
) -> None:
    limits = msgspec.structs.replace(config.limits, payments_in_flight_max=0)
    desk = make_desk(
        msgspec.structs.replace(config, limits=limits),
        shop.office,
        public_url=shop.gateway.url,
        now_ms=clock,
        entropy=rng.randbytes,
    )
    answer = await pay(Dispatcher(desk), shop, shop.request())
    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (503, "gateway_busy")
    assert dict(answer.fields)["Retry-After"] == "1"


async def test_no_exception_gets_out(
    shop: Shop, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(shop.office.store, "check_health", fail)
    answer = await dispatcher.dispatch(SignedCall("GET", "/health/ready", {}))
    assert (answer.status, msgspec.json.decode(answer.body)["code"]) == (500, "internal")
    assert b"secret" not in answer.body


@pytest.mark.parametrize("query", ["a=1&a=2", "b=1", "a=1&b=2", "&".join(["a=1"] * (QUERY_FIELDS_MAX + 1))])
def test_a_query_holds_what_is_named_once_or_is_malformed(query: str) -> None:
    with pytest.raises(WireError):
        read_query(SignedCall("GET", f"/?{query}", {}), ("a",))


def test_parameters_of_a_query_are_decoded() -> None:
    assert read_query(SignedCall("GET", "/x?a=%31%20&b=", {}), ("a", "b", "c")) == {"a": "1 ", "b": ""}
    assert read_query(SignedCall("GET", "/x", {}), ("a",)) == {}
