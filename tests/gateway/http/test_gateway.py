"""The gateway from outside, over a real socket: enrol, pay, ask, and everything that must be refused."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import start_gateway
from gateway.config import GatewayConfig, LimitSettings
from gateway.holders.model import InstrumentStatus
from wire.http_signatures import SignatureTag
from wire.messages.base import BODY_BYTES_MAX, dump_message
from wire.messages.payments import CodeNumericPresentation, PaymentAnswer, QrConsumerPresentation

NOW_MS = 1_767_225_600_000

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Answer:
    """What came back over a bare socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(msgspec.json.decode(self.body)["code"])


class TestEnrolment:
    async def test_a_terminal_learns_who_it_is_and_may_pay(self, shop: Any) -> None:
        answer = await shop.till.enrol(shop.pending.enrolment_code)
        assert answer.status == 200
        assert answer.json == {
            "terminal_id": shop.pending.terminal.terminal_id,
            "merchant_id": shop.pending.terminal.merchant_id,
            "merchant_name": "Mill Lane Bakery",
            "location_name": "Mill Lane 12",
            "currency": "EUR",
            "gateway_time_ms": NOW_MS,
        }
        assert (await shop.till.pay(shop.request())).status == 201

    async def test_a_repeat_answers_the_same(self, shop: Any) -> None:
        first = await shop.till.enrol(shop.pending.enrolment_code)
        second = await shop.till.enrol(shop.pending.enrolment_code)
        assert second.json == first.json

    async def test_a_code_serves_one_key(self, shop: Any) -> None:
        await shop.enrol()
        answer = await shop.caller(40).enrol(shop.pending.enrolment_code)
        assert (answer.status, answer.code) == (403, "enrolment_code_invalid")

    async def test_a_wrong_code_is_refused(self, shop: Any) -> None:
        answer = await shop.till.enrol("0000-0000-0000")
        assert (answer.status, answer.code) == (403, "enrolment_code_invalid")

    async def test_nobody_enrols_a_key_they_do_not_hold(self, shop: Any) -> None:
        thief = shop.caller(40)
        answer = await shop.till.enrol(shop.pending.enrolment_code, private_key=thief.private_key)
        assert (answer.status, answer.code) == (401, "signature_invalid")

    async def test_an_unsigned_request_is_told_so(self, shop: Any) -> None:
        headers = {"Content-Type": "application/json"}
        answer = await shop.till.send("POST", "/v1/terminals/enrol", b"{}", headers)
        assert (answer.status, answer.code) == (401, "signature_missing")
        assert answer.headers["WWW-Authenticate"].startswith("Signature")


class TestPaying:
    async def test_an_approved_payment_takes_the_money_and_is_found_again(self, shop: Any) -> None:
        till, request = await shop.enrol(), shop.request(1_250)
        answer = await till.pay(request)
        assert answer.status == 201
        payment = msgspec.json.decode(answer.body, type=PaymentAnswer)
        assert (payment.outcome, payment.amount_minor) == ("approved", 1_250)
        assert payment.receipt is not None
        assert payment.receipt.merchant_name == "Mill Lane Bakery"
        assert await shop.balance_minor() == 10_000 - 1_250
        by_id = await till.call("GET", f"/v1/payments/{payment.payment_id}")
        by_attempt = await till.call("GET", f"/v1/payments?attempt_id={request.attempt_id}")
        assert (by_id.status, by_attempt.status) == (200, 200)
        assert by_id.body == by_attempt.body == answer.body

    async def test_a_declined_payment_is_an_answer_and_not_a_problem(self, shop: Any) -> None:
        till = await shop.enrol()
        answer = await till.pay(shop.request(5_001))
        assert answer.status == 201
        assert answer.json["decline"]["code"] == "amount_above_token_cap"
        assert await shop.balance_minor() == 10_000

    async def test_a_repeat_gets_the_first_answer_word_for_word(self, shop: Any) -> None:
        till, request = await shop.enrol(), shop.request()
        first = await till.pay(request)
        second = await till.pay(request)
        assert (first.status, second.status) == (201, 200)
        assert second.body == first.body
        assert await shop.balance_minor() == 10_000 - 1_250

    async def test_the_same_attempt_with_another_amount_is_a_conflict(self, shop: Any) -> None:
        till, request = await shop.enrol(), shop.request()
        await till.pay(request)
        answer = await till.pay(msgspec.structs.replace(request, amount_minor=1))
        assert (answer.status, answer.code) == (409, "idempotency_conflict")
        assert await shop.balance_minor() == 10_000 - 1_250

    async def test_a_replayed_token_is_declined(self, shop: Any) -> None:
        till, request = await shop.enrol(), shop.request()
        await till.pay(request)
        again = msgspec.structs.replace(request, attempt_id=till.new_id(), order_id="other")
        assert (await till.pay(again)).json["decline"]["code"] == "token_replayed"

    async def test_many_at_once_are_each_decided_once(self, shop: Any) -> None:
        till = await shop.enrol()
        requests = [shop.request(100) for _ in range(20)]
        answers = await asyncio.gather(*(till.pay(request) for request in requests * 2))
        assert sorted(answer.status for answer in answers) == [200] * 20 + [201] * 20
        assert len({answer.json["payment_id"] for answer in answers}) == 20
        assert await shop.balance_minor() == 10_000 - 2_000

    async def test_an_attempt_nobody_made_is_not_found(self, shop: Any) -> None:
        till = await shop.enrol()
        for target in (f"/v1/payments?attempt_id={till.new_id()}", f"/v1/payments/{till.new_id()}"):
            answer = await till.call("GET", target)
            assert (answer.status, answer.code) == (404, "not_found")

    async def test_a_payment_of_another_merchant_is_not_found(self, shop: Any) -> None:
        payment_id = (await (await shop.enrol()).pay(shop.request())).json["payment_id"]
        merchants = shop.office.merchants
        merchant = await merchants.add_merchant("Other", "EUR", 0, now_ms=NOW_MS)
        location = await merchants.add_location(merchant.merchant_id, "There", now_ms=NOW_MS)
        pending = await merchants.add_terminal(merchant.merchant_id, location.location_id, now_ms=NOW_MS)
        stranger = shop.caller(41)
        await stranger.enrol(pending.enrolment_code)
        answer = await stranger.call("GET", f"/v1/payments/{payment_id}")
        assert (answer.status, answer.code) == (404, "not_found")

    @pytest.mark.parametrize(
        "query", ["", "?attempt_id=x", "?attempt_id=", "?attempt=1", "?a=1&attempt_id=x"]
    )
    async def test_a_question_not_of_the_form_is_malformed(self, shop: Any, query: str) -> None:
        answer = await (await shop.enrol()).call("GET", f"/v1/payments{query}")
        assert answer.status == 400
        assert answer.code in ("malformed", "id_invalid")

    async def test_the_idempotency_key_must_be_the_attempt(self, shop: Any) -> None:
        till = await shop.enrol()
        answer = await till.pay(shop.request(), idempotency_key=till.new_id())
        assert (answer.status, answer.code) == (400, "malformed")
        assert await shop.balance_minor() == 10_000


class TestAuthentication:
    async def test_a_key_nobody_enrolled_is_unknown(self, shop: Any) -> None:
        answer = await shop.till.pay(shop.request())
        assert (answer.status, answer.code) == (401, "terminal_unknown")

    async def test_another_keys_signature_is_refused(self, shop: Any) -> None:
        till = await shop.enrol()
        request = shop.request()
        body = dump_message(request)
        headers = till.sign("POST", "/v1/payments", body, request.attempt_id)
        forged = shop.caller(50).sign("POST", "/v1/payments", body, request.attempt_id)
        answer = await till.send("POST", "/v1/payments", body, headers | {"Signature": forged["Signature"]})
        assert (answer.status, answer.code) == (401, "signature_invalid")
        assert await shop.balance_minor() == 10_000

    async def test_another_body_is_a_digest_mismatch(self, shop: Any) -> None:
        till = await shop.enrol()
        request = shop.request()
        headers = till.sign("POST", "/v1/payments", dump_message(request), request.attempt_id)
        dearer = dump_message(msgspec.structs.replace(request, amount_minor=4_999))
        answer = await till.send("POST", "/v1/payments", dearer, headers)
        assert (answer.status, answer.code) == (400, "digest_mismatch")
        assert await shop.balance_minor() == 10_000

    async def test_a_signature_for_another_address_is_refused(self, shop: Any) -> None:
        till = await shop.enrol()
        headers = till.sign("GET", "/v1/payments/01KDVZZZ000000000000000000")
        answer = await till.send("GET", "/v1/payments/01KDVZZZ000000000000000001", headers=headers)
        assert (answer.status, answer.code) == (401, "signature_invalid")

    async def test_a_signature_for_another_gateway_is_refused_whatever_the_host_header_says(
        self, shop: Any
    ) -> None:
        till = await shop.enrol()
        target = f"/v1/payments/{till.new_id()}"
        headers = till.sign("GET", target, target_uri=f"https://other.example{target}")
        answer = await till.send("GET", target, headers=headers | {"Host": "other.example"})
        assert (answer.status, answer.code) == (401, "signature_invalid")

    @pytest.mark.parametrize("off_s", [-301, 301])
    async def test_a_clock_that_is_wrong_is_told_so(self, shop: Any, off_s: int) -> None:
        till = await shop.enrol()
        answer = await till.pay(shop.request(), created_s=NOW_MS // 1000 + off_s)
        assert (answer.status, answer.code) == (401, "signature_expired")
        assert "Date" in answer.headers

    async def test_a_request_that_was_too_early_is_not_good_later(self, shop: Any, clock: Any) -> None:
        till, request = await shop.enrol(), shop.request()
        body = dump_message(request)
        headers = till.sign("POST", "/v1/payments", body, request.attempt_id, created_s=NOW_MS // 1000 + 301)
        early = await till.send("POST", "/v1/payments", body, headers)
        clock.ms += 5_000
        copy = await till.send("POST", "/v1/payments", body, headers)
        assert [early.code, copy.code] == ["signature_expired", "nonce_replayed"]
        assert await shop.balance_minor() == 10_000

    async def test_a_revoked_terminal_is_refused_from_the_next_request_on(self, shop: Any) -> None:
        till = await shop.enrol()
        assert (await till.pay(shop.request())).status == 201
        await shop.office.merchants.revoke_terminal(shop.pending.terminal.terminal_id)
        for answer in (
            await till.pay(shop.request()),
            await till.call("GET", f"/v1/payments/{till.new_id()}"),
        ):
            assert (answer.status, answer.code) == (403, "terminal_revoked")
        assert await shop.balance_minor() == 10_000 - 1_250

    async def test_only_the_holder_of_the_key_learns_that_it_was_revoked(self, shop: Any) -> None:
        till = await shop.enrol()
        await shop.office.merchants.revoke_terminal(shop.pending.terminal.terminal_id)
        target = f"/v1/payments/{till.new_id()}"
        headers = till.sign("GET", target)
        headers["Signature"] = shop.caller(50).sign("GET", target)["Signature"]
        assert (await till.send("GET", target, headers=headers)).code == "signature_invalid"

    async def test_a_request_sent_twice_byte_for_byte_is_a_replay(self, shop: Any) -> None:
        till, request = await shop.enrol(), shop.request()
        body = dump_message(request)
        headers = till.sign("POST", "/v1/payments", body, request.attempt_id)
        assert (await till.send("POST", "/v1/payments", body, headers)).status == 201
        answer = await till.send("POST", "/v1/payments", body, headers)
        assert (answer.status, answer.code) == (401, "nonce_replayed")

    async def test_a_second_gateway_does_not_know_the_nonce_and_charges_nobody_twice(
        self, shop: Any, config: GatewayConfig, clock: Any, rng: random.Random
    ) -> None:
        public = msgspec.structs.replace(config.listen, public_url=shop.gateway.url)
        twin_config = msgspec.structs.replace(config, listen=public)
        till, request = await shop.enrol(), shop.request()
        body = dump_message(request)
        headers = till.sign("POST", "/v1/payments", body, request.attempt_id)
        first = await till.send("POST", "/v1/payments", body, headers)
        async with start_gateway(twin_config, {}, now_ms=clock, entropy=rng.randbytes) as twin:
            captured = replace(till, url=twin.url)
            second = await captured.send("POST", "/v1/payments", body, headers)
        assert (first.status, second.status) == (201, 200)
        # Only the twin was told its own address, so only it can say where the receipt's page is.
        assert second.json["receipt"].pop("page_url").startswith(shop.gateway.url)
        assert second.json | {"receipt": None} == first.json | {"receipt": None}
        assert await shop.balance_minor() == 10_000 - 1_250

    async def test_a_phones_signature_does_not_pass_for_a_terminals(self, shop: Any) -> None:
        till = await shop.enrol()
        answer = await replace(till, tag=SignatureTag.DEVICE).pay(shop.request())
        assert (answer.status, answer.code) == (401, "signature_invalid")

    async def test_a_header_that_comes_twice_is_refused(self, shop: Any) -> None:
        till = await shop.enrol()
        target = f"/v1/payments/{till.new_id()}"
        lines = [*till.sign("GET", target).items(), *till.sign("GET", target).items()]
        async with shop.http.get(till.url + target, headers=lines) as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (
                401,
                "signature_invalid",
            )


class TestPaymentCodes:
    async def test_a_phone_gets_a_code_that_pays_once(self, shop: Any) -> None:
        device = replace(shop.caller(31, SignatureTag.DEVICE), private_key=shop.phone_key)
        answer = await device.call("POST", "/v1/wallet/payment-codes", b"{}")
        assert answer.status == 201
        assert answer.json["expires_ms"] == NOW_MS + 60_000
        till, presentation = await shop.enrol(), CodeNumericPresentation(code=answer.json["code"])
        first = await till.pay(shop.request(presentation=presentation))
        second = await till.pay(shop.request(presentation=presentation))
        assert first.json["outcome"] == "approved"
        assert second.json["decline"]["code"] == "payment_code_invalid"

    async def test_an_unknown_or_suspended_phone_gets_none(self, shop: Any) -> None:
        stranger = shop.caller(60, SignatureTag.DEVICE)
        answer = await stranger.call("POST", "/v1/wallet/payment-codes", b"{}")
        assert (answer.status, answer.code) == (401, "device_unknown")
        await shop.office.holders.set_instrument_status(shop.phone.instrument_id, InstrumentStatus.SUSPENDED)
        device = replace(stranger, private_key=shop.phone_key)
        answer = await device.call("POST", "/v1/wallet/payment-codes", b"{}")
        assert (answer.status, answer.code) == (403, "device_suspended")

    @pytest.mark.parametrize("later_ms", [0, 300_000], ids=["at once", "at the end of its window"])
    async def test_a_request_captured_before_a_restart_gets_none_after_it(
        self, shop: Any, config: GatewayConfig, clock: Any, rng: random.Random, later_ms: int
    ) -> None:
        device = replace(shop.caller(31, SignatureTag.DEVICE), private_key=shop.phone_key)
        path, body = "/v1/wallet/payment-codes", b"{}"
        headers = device.sign("POST", path, body)
        issued = await device.send("POST", path, body, headers)
        assert issued.status == 201
        assert (await device.send("POST", path, body, headers)).code == "nonce_replayed"
        # Another process on the same database, with nothing in its memory, as after a restart.
        public = msgspec.structs.replace(config.listen, public_url=shop.gateway.url)
        restarted = msgspec.structs.replace(config, listen=public)
        clock.ms += later_ms
        async with start_gateway(restarted, {}, now_ms=clock, entropy=rng.randbytes) as gateway:
            replayed = await replace(device, url=gateway.url).send("POST", path, body, headers)
        assert (replayed.status, replayed.code) == (401, "nonce_replayed")

    async def test_a_terminal_gets_none(self, shop: Any) -> None:
        till = replace(await shop.enrol(), tag=SignatureTag.DEVICE)
        answer = await till.call("POST", "/v1/wallet/payment-codes", b"{}")
        assert (answer.status, answer.code) == (401, "device_unknown")


class TestBounds:
    async def test_a_body_too_large_is_refused_whether_or_not_it_says_so(self, shop: Any) -> None:
        till = await shop.enrol()
        headers = {"Content-Type": "application/json"}
        body = b" " * (BODY_BYTES_MAX + 1)
        answer = await till.send("POST", "/v1/payments", body, headers)
        assert (answer.status, answer.code) == (413, "body_too_large")

        async def chunks() -> Any:
            for start in range(0, len(body), 1_000):
                yield body[start : start + 1_000]

        async with shop.http.post(f"{till.url}/v1/payments", data=chunks(), headers=headers) as response:
            assert response.status == 413

    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        ],
        ids=str,
    )
    async def test_what_is_not_plain_json_is_refused(self, shop: Any, headers: dict[str, str]) -> None:
        answer = await shop.till.send("POST", "/v1/payments", b"{}", headers)
        assert (answer.status, answer.code) == (415, "unsupported_media_type")

    async def test_an_unknown_address_or_method_is_a_problem(self, shop: Any) -> None:
        answer = await shop.till.send("GET", "/v1/secret-looking-path")
        assert (answer.status, answer.code) == (404, "not_found")
        answer = await shop.till.send("DELETE", "/v1/payments")
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, POST"

    async def test_a_body_that_never_comes_is_given_up(
        self, config: GatewayConfig, clock: Any, rng: random.Random
    ) -> None:
        quick = msgspec.structs.replace(config, limits=LimitSettings(body_read_ms=100))
        async with start_gateway(quick, {}, now_ms=clock, entropy=rng.randbytes) as gateway:
            head = _http_head({"Content-Type": "application/json"}, 10)
            received = await _exchange_raw(gateway.url, head + b"{")
        assert received.startswith(b"HTTP/1.1 400")
        assert b'"code":"malformed"' in received

    @pytest.mark.parametrize(
        "raw",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /v1/payments HTTP/1.1\r\nHost: x\r\nSignature: " + b"a" * 9_000 + b"\r\n\r\n",
        ],
        ids=["tls", "version", "length", "chunk", "path", "field"],
    )
    async def test_what_is_not_http_is_refused_without_an_error_of_ours(self, shop: Any, raw: bytes) -> None:
        assert (await _exchange_raw(shop.gateway.url, raw))[:12] in (b"HTTP/1.1 400", b"HTTP/1.0 400")
        assert (await shop.till.send("GET", "/health/live")).status == 200


class TestHostileBodies:
    async def test_any_signed_bytes_are_refused_with_a_stable_code_and_charge_nothing(
        self, shop: Any
    ) -> None:
        till = await shop.enrol()
        loop = asyncio.get_running_loop()
        # Well-formed but for a forged token, so that no mutation of it can rightly be approved.
        forged = QrConsumerPresentation(token=b"\xd2" + bytes(126))
        good = msgspec.json.decode(dump_message(shop.request(presentation=forged)))
        json_values = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
            ),
            max_leaves=8,
        )
        almost = st.tuples(st.sampled_from(sorted(good)), json_values).map(
            lambda change: msgspec.json.encode(good | {change[0]: change[1]})
        )

        @settings(max_examples=150, suppress_health_check=list(HealthCheck))
        @given(st.binary(min_size=1, max_size=300) | almost | json_values.map(msgspec.json.encode))
        def send(body: bytes) -> None:
            call = till.call("POST", "/v1/payments", body, idempotency_key=good["attempt_id"])
            answer = asyncio.run_coroutine_threadsafe(call, loop).result(10)
            if answer.status in (200, 201):
                assert answer.json["decline"]["code"] in ("token_invalid", "currency_mismatch")
            else:
                assert answer.code in ("malformed", "idempotency_conflict")

        await asyncio.to_thread(send)
        assert await shop.balance_minor() == 10_000


class TestTwoWays:
    """A payment whose bytes come at once takes a short way (gateway/http/door.py); nobody can tell."""

    @pytest.mark.parametrize("forged", [False, True], ids=["good", "forged"])
    async def test_a_payment_cut_in_two_gets_the_very_answer_of_one_in_one_piece(
        self, shop: Any, forged: bool
    ) -> None:
        till, request = await shop.enrol(), shop.request()
        body = dump_message(request)
        answers = []
        for cut in (0, 0, 5):
            headers = till.sign("POST", "/v1/payments", body, request.attempt_id)
            if forged:
                headers["Signature"] = shop.caller(50).sign("POST", "/v1/payments", body)["Signature"]
            raw = _http_head(headers, len(body)) + body
            reader, writer = await _send_and_wait(shop.gateway.url, raw[: len(raw) - cut])
            writer.write(raw[len(raw) - cut :])
            answers.append(await _read_answer((reader, writer)))
        first, short, long = answers
        assert short.status == long.status == (401 if forged else 200)
        assert first.status == (401 if forged else 201)
        ours = {"Date", "X-Request-Id"}
        assert {name: value for name, value in short.headers.items() if name not in ours} == {
            name: value for name, value in long.headers.items() if name not in ours
        }
        assert short.headers.keys() == long.headers.keys()
        assert _without_id(short) == _without_id(long)


class TestOverload:
    async def test_one_payment_too_many_is_refused_while_everything_else_goes_on(
        self, shop: Any, config: GatewayConfig, clock: Any, rng: random.Random
    ) -> None:
        await shop.enrol()
        tight = msgspec.structs.replace(config, limits=LimitSettings(payments_in_flight_max=1))
        other = sqlite3.connect(config.storage.database, isolation_level=None)
        async with start_gateway(tight, {}, now_ms=clock, entropy=rng.randbytes) as gateway:
            till, request = replace(shop.till, url=gateway.url), shop.request()
            # Somebody else is writing, so the first payment stays in flight.
            other.execute("BEGIN IMMEDIATE")
            body = dump_message(request)
            headers = till.sign("POST", "/v1/payments", body, request.attempt_id)
            connection = await _send_and_wait(gateway.url, _http_head(headers, len(body)) + body)
            refused = await till.pay(shop.request())
            assert (refused.status, refused.code) == (503, "gateway_busy")
            assert refused.headers["Retry-After"] == "1"
            assert refused.json["retryable"] is True
            cut_in_two = _http_head(headers, len(body)) + body[:-5]
            reader, writer = await _send_and_wait(gateway.url, cut_in_two)
            slow = await _read_answer((reader, writer))
            assert (slow.status, slow.code) == (503, "gateway_busy")
            assert (await till.send("GET", "/health/live")).status == 200
            unknown = await till.call("GET", f"/v1/payments/{till.new_id()}")
            assert (unknown.status, unknown.code) == (404, "not_found")
            other.execute("ROLLBACK")
            assert (await _read_answer(connection)).status == 201
            assert (await till.pay(shop.request())).status == 201
        other.close()
        assert await shop.balance_minor() == 10_000 - 2 * 1_250


class TestHealth:
    async def test_is_live_and_ready(self, shop: Any) -> None:
        for path in ("/health/live", "/health/ready"):
            assert (await shop.till.send("GET", path)).status == 200

    async def test_is_not_ready_while_it_stops(self, shop: Any) -> None:
        shop.gateway.intake.drain()
        answer = await shop.till.send("GET", "/health/ready")
        assert (answer.status, answer.code) == (503, "not_ready")
        assert answer.headers["Retry-After"] == "1"
        assert (await shop.till.send("GET", "/health/live")).status == 200


class TestShutdown:
    async def test_a_payment_in_flight_is_decided_and_answered(
        self, shop: Any, config: GatewayConfig, clock: Any, rng: random.Random
    ) -> None:
        await shop.enrol()
        other = sqlite3.connect(config.storage.database, isolation_level=None)
        async with start_gateway(config, {}, now_ms=clock, entropy=rng.randbytes) as gateway:
            till, request = replace(shop.till, url=gateway.url), shop.request()
            body = dump_message(request)
            headers = till.sign("POST", "/v1/payments", body, request.attempt_id)
            # Somebody else is writing, so the payment can't be booked before the gateway is told to stop.
            other.execute("BEGIN IMMEDIATE")
            connection = await _send_and_wait(gateway.url, _http_head(headers, len(body)) + body)

            async def let_go() -> None:
                await _wait_until_refused(gateway.url)
                other.execute("ROLLBACK")

            releasing = asyncio.create_task(let_go())
        await releasing
        other.close()
        received = await _read_to_end(connection)
        assert received.startswith(b"HTTP/1.1 201")
        assert b'"outcome":"approved"' in received
        assert await shop.balance_minor() == 10_000 - 1_250

    async def test_a_body_still_on_its_way_is_told_to_come_again(
        self, config: GatewayConfig, clock: Any, rng: random.Random
    ) -> None:
        patient = msgspec.structs.replace(config, limits=LimitSettings(body_read_ms=120_000))
        async with start_gateway(patient, {}, now_ms=clock, entropy=rng.randbytes) as gateway:
            head = _http_head({"Content-Type": "application/json"}, 10)
            connection = await _send_and_wait(gateway.url, head + b"{")
        received = await _read_to_end(connection)
        assert received.startswith(b"HTTP/1.1 503")
        assert b'"code":"not_ready","retryable":true' in received


def _http_head(headers: dict[str, str], body_bytes: int) -> bytes:
    lines = [f"{name}: {value}" for name, value in ({"Host": "x"} | headers).items()]
    return "\r\n".join(
        ["POST /v1/payments HTTP/1.1", *lines, f"Content-Length: {body_bytes}", "", ""]
    ).encode()


async def _send_and_wait(url: str, raw: bytes) -> Connection:
    """Send bytes, and return once the gateway must have seen them: it has answered a later request."""
    reader, writer = await _connect(url)
    writer.write(raw)
    await writer.drain()
    async with aiohttp.ClientSession() as http, http.get(f"{url}/health/live") as response:
        assert response.status == 200
    return reader, writer


async def _read_to_end(connection: Connection) -> bytes:
    reader, writer = connection
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def _read_answer(connection: Connection) -> Any:
    reader, writer = connection
    try:
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await reader.readexactly(int(headers["Content-Length"]))
    finally:
        writer.close()
    return Answer(int(first.split()[1]), headers, body)


def _without_id(answer: Any) -> bytes:
    body: bytes = answer.body
    return body.replace(answer.headers["X-Request-Id"].encode(), b"")


async def _connect(url: str) -> Connection:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def _wait_until_refused(url: str) -> None:
    for _ in range(10_000):
        try:
            _, writer = await _connect(url)
        except (ConnectionRefusedError, ConnectionResetError):
            return
        writer.close()
    pytest.fail("the gateway goes on accepting connections")


async def _exchange_raw(url: str, raw: bytes) -> bytes:
    reader, writer = await _connect(url)
    writer.write(raw)
    await writer.drain()
    try:
        async with asyncio.timeout(10):
            return await reader.read(65_536)
    finally:
        writer.close()
