"""Request sessions of terminals: what they sign, who may open them, and that they allow nothing more."""

from __future__ import annotations

import base64
import random
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import start_gateway
from gateway.config import GatewayConfig
from gateway.errors import AuthenticationFailed
from gateway.http.sessions import SESSION_LIFETIME_MS, TerminalSessions
from gateway.vault import Vault
from tests.gateway.http.conftest import NOW_MS, Answer, Caller, Shop
from wire import es256
from wire.http_signatures import SignatureTag, sign_session_request
from wire.messages.base import dump_message, parse_message
from wire.messages.payments import PaymentRequest
from wire.messages.sessions import SessionAnswer, SessionRequest
from wire.request_sessions import SEED_BYTES, RequestSession, agree_on_key, make_agreement_key

PATH = "/v1/terminals/sessions"
OWN = make_agreement_key(b"o" * SEED_BYTES)
OPENING = dump_message(SessionRequest(public_key=es256.dump_public_key(OWN.public_key())))
VAULT = Vault(b"v" * 32)
KEY_ID = b"terminal"


@dataclass
class SessionCaller(Caller):
    """A till that signs under a session."""

    session: RequestSession | None = None

    def sign(
        self, method: str, target: str, body: bytes = b"", idempotency_key: str | None = None, **changes: Any
    ) -> dict[str, str]:
        assert self.session is not None
        arguments: dict[str, Any] = {
            "method": method,
            "target_uri": self.url + target,
            "session": self.session,
            "created_s": self.now_ms // 1000,
            "nonce": self.rng.randbytes(16).hex(),
            "body": body,
            "idempotency_key": idempotency_key or (self.new_id() if body else None),
        }
        return sign_session_request(**(arguments | changes))


def derive(answer: SessionAnswer, own: es256.PrivateKey = OWN) -> RequestSession:
    their_key = es256.load_public_key(answer.public_key)
    return RequestSession(answer.session_id, agree_on_key(own, their_key, answer.session_id))


def under(till: Caller, session: RequestSession) -> SessionCaller:
    return SessionCaller(till.url, till.http, till.private_key, till.rng, now_ms=till.now_ms, session=session)


async def open_session(till: Caller) -> SessionCaller:
    answer = await till.call("POST", PATH, OPENING)
    assert answer.status == 201, answer.body
    return under(till, derive(parse_message(answer.body, SessionAnswer)))


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


class TestAtTheDoor:
    async def test_a_session_pays_and_asks_like_the_tills_own_key(self, shop: Shop) -> None:
        till = await open_session(await shop.enrol())
        request = shop.request()
        paid = await till.pay(request)
        assert (paid.status, paid.json["outcome"]) == (201, "approved")
        by_id = await till.call("GET", f"/v1/payments/{paid.json['payment_id']}")
        by_attempt = await till.call("GET", f"/v1/payments?attempt_id={request.attempt_id}")
        assert by_id.json == by_attempt.json == paid.json

    async def test_an_attempt_resent_by_the_tills_own_key_is_the_same_attempt(self, shop: Shop) -> None:
        own = await shop.enrol()
        till, request = await open_session(own), shop.request()
        first, second = await till.pay(request), await own.pay(request)
        assert (first.status, second.status) == (201, 200)
        assert first.body == second.body
        assert await shop.balance_minor() == 10_000 - 1_250

    async def test_only_the_tills_own_key_opens_one(self, shop: Shop) -> None:
        pending = await shop.till.call("POST", PATH, OPENING)
        assert refusal(pending) == (401, "terminal_unknown")
        till = await shop.enrol()
        in_session = await (await open_session(till)).call("POST", PATH, OPENING)
        assert refusal(in_session) == (401, "signature_invalid")
        device = await replace(till, tag=SignatureTag.DEVICE).call("POST", PATH, OPENING)
        assert refusal(device) == (401, "signature_invalid")

    async def test_what_is_no_point_of_the_curve_opens_none(self, shop: Shop) -> None:
        till = await shop.enrol()
        for public_key in (bytes(33), b"\x02" + b"\xff" * 32):
            answer = await till.call("POST", PATH, dump_message(SessionRequest(public_key=public_key)))
            assert refusal(answer) == (400, "malformed")

    async def test_a_session_is_over_after_its_time(self, shop: Shop, clock: Any) -> None:
        till = await open_session(await shop.enrol())
        clock.ms += SESSION_LIFETIME_MS
        late = replace(till, now_ms=clock.ms)
        target = f"/v1/payments/{till.new_id()}"
        assert refusal(await late.call("GET", target)) == (401, "session_unknown")
        clock.ms -= 1_000
        early = replace(till, now_ms=clock.ms)
        assert refusal(await early.call("GET", target)) == (404, "not_found")

    async def test_a_withdrawn_till_may_do_nothing_under_its_session(self, shop: Shop) -> None:
        till = await open_session(await shop.enrol())
        assert (await till.pay(shop.request())).status == 201
        await shop.office.merchants.revoke_terminal(shop.pending.terminal.terminal_id)
        for answer in (
            await till.pay(shop.request()),
            await till.call("GET", f"/v1/payments/{till.new_id()}"),
            await replace(shop.till).call("POST", PATH, OPENING),
        ):
            assert refusal(answer) == (403, "terminal_revoked")
        assert await shop.balance_minor() == 10_000 - 1_250

    async def test_a_request_sent_twice_is_a_replay_whichever_key_signs(self, shop: Shop) -> None:
        own = await shop.enrol()
        till, target = await open_session(own), f"/v1/payments/{own.new_id()}"
        assert (await till.call("GET", target, nonce="n" * 32)).code == "not_found"
        assert (await till.call("GET", target, nonce="n" * 32)).code == "nonce_replayed"
        assert (await own.call("GET", target, nonce="n" * 32)).code == "nonce_replayed"

    async def test_a_changed_request_is_refused(self, shop: Shop) -> None:
        till, request = await open_session(await shop.enrol()), shop.request()
        body = dump_message(request)
        headers = till.sign("POST", "/v1/payments", body, request.attempt_id)
        dearer = dump_message(msgspec.structs.replace(request, amount_minor=4_000))
        answer = await till.send("POST", "/v1/payments", dearer, headers)
        assert refusal(answer) == (400, "digest_mismatch")
        moved = await till.send("POST", "/v1/payments?x=1", body, headers)
        assert moved.code == "signature_invalid"
        other = under(till, RequestSession(till.session.session_id, b"x" * 32))  # type: ignore[union-attr]
        assert refusal(await other.pay(request)) == (401, "signature_invalid")
        assert await shop.balance_minor() == 10_000

    async def test_a_gateway_that_shares_the_vault_knows_it(
        self, shop: Shop, config: GatewayConfig, clock: Any, rng: random.Random
    ) -> None:
        till = await open_session(await shop.enrol())
        public = msgspec.structs.replace(config.listen, public_url=shop.gateway.url)
        twin_config = msgspec.structs.replace(config, listen=public)
        request: PaymentRequest = shop.request()
        body = dump_message(request)
        headers = till.sign("POST", "/v1/payments", body, request.attempt_id)
        async with start_gateway(twin_config, {}, now_ms=clock, entropy=rng.randbytes) as twin:
            answer = await replace(till, url=twin.url).send("POST", "/v1/payments", body, headers)
        assert answer.json["outcome"] == "approved"

    async def test_no_log_line_holds_an_id_or_a_key(
        self, shop: Shop, capfd: pytest.CaptureFixture[str]
    ) -> None:
        till = await open_session(await shop.enrol())
        await till.pay(shop.request())
        session = till.session
        assert session is not None
        written = "".join(capfd.readouterr())
        assert "session_opened" in written
        for secret in (session.session_id, session.key):
            for text in (secret.hex(), base64.urlsafe_b64encode(secret).decode().rstrip("=")):
                assert text not in written


class TestIds:
    def opened(self, vault: Vault = VAULT, key_id: bytes = KEY_ID) -> bytes:
        return TerminalSessions(vault).open(key_id, OWN.public_key(), now_ms=NOW_MS)

    def test_an_id_says_whose_it_is_and_until_when(self) -> None:
        sessions = TerminalSessions(VAULT)
        session = sessions.find(self.opened(), now_ms=NOW_MS)
        assert session.key_id == KEY_ID
        assert session.over_s * 1000 == NOW_MS + SESSION_LIFETIME_MS
        their_key = es256.load_public_key(sessions.public_key)
        assert session.key == agree_on_key(OWN, their_key, self.opened())

    def test_another_vault_knows_nothing_of_it(self) -> None:
        with pytest.raises(AuthenticationFailed) as caught:
            TerminalSessions(Vault(b"w" * 32)).find(self.opened(), now_ms=NOW_MS)
        assert caught.value.code == "session_unknown"

    @given(st.integers(0, 8 * 62 - 1))
    def test_no_bit_of_an_id_can_be_changed(self, bit: int) -> None:
        changed = bytearray(self.opened())
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationFailed) as caught:
            TerminalSessions(VAULT).find(bytes(changed), now_ms=NOW_MS)
        assert caught.value.code == "session_unknown"

    @given(st.binary(max_size=100))
    def test_no_invented_id_is_known(self, session_id: bytes) -> None:
        with pytest.raises(AuthenticationFailed):
            TerminalSessions(VAULT).find(session_id, now_ms=NOW_MS)

    def test_what_is_remembered_is_over_in_time_too(self) -> None:
        sessions, session_id = TerminalSessions(VAULT), self.opened()
        sessions.find(session_id, now_ms=NOW_MS + SESSION_LIFETIME_MS - 1)
        with pytest.raises(AuthenticationFailed):
            sessions.find(session_id, now_ms=NOW_MS + SESSION_LIFETIME_MS)

    def test_what_is_forgotten_for_room_is_worked_out_again(self) -> None:
        sessions = TerminalSessions(VAULT, cached_max=2)
        ids = [self.opened(key_id=bytes([number]) * 8) for number in range(5)]
        for _ in range(2):
            assert [sessions.find(one, now_ms=NOW_MS).key_id[0] for one in ids] == [0, 1, 2, 3, 4]


def test_a_session_of_one_till_is_never_anothers() -> None:
    """Whoever knows another till's key id can't make a session in its name: the id is authenticated."""
    sessions = TerminalSessions(VAULT)
    mine = sessions.open(KEY_ID, OWN.public_key(), now_ms=NOW_MS)
    forged = mine[:5] + b"another!" + mine[13:]
    with pytest.raises(AuthenticationFailed):
        sessions.find(forged, now_ms=NOW_MS)
