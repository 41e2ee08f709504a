"""`/v1/terminals`: a new one trades its one-time code for trust in its key; any opens sessions."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_terminal
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from gateway.http.sessions import SESSION_LIFETIME_MS
from wire import es256
from wire.messages.base import parse_message
from wire.messages.enrolment import EnrolmentAnswer, EnrolmentRequest
from wire.messages.sessions import SessionAnswer, SessionRequest


class TerminalResource:
    """Terminals, and what they agree on with the gateway."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def enrol(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Activate a pending terminal; the same code with the same key answers again."""
        desk = self._desk
        now_ms = desk.now_ms()
        # Before the body is parsed: an unsigned request is told so, whatever else is wrong with it.
        signed = desk.authenticator.parse_possession(call)
        message = parse_message(call.body, EnrolmentRequest)
        public_key = es256.load_public_key(message.public_key)
        desk.authenticator.verify_possession(signed, public_key, now_ms=now_ms)
        enrolled = await desk.merchants.enrol_terminal(
            message.code, public_key, message.software, now_ms=now_ms
        )
        noted.caller = enrolled.terminal.terminal_id
        noted.code = "enrolled"
        return answer_with(
            EnrolmentAnswer(
                terminal_id=enrolled.terminal.terminal_id,
                merchant_id=enrolled.merchant.merchant_id,
                merchant_name=enrolled.merchant.name,
                location_name=enrolled.location.name,
                currency=enrolled.merchant.currency,
                gateway_time_ms=now_ms,
            )
        )

    async def open_session(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Agree on a key for the requests of the coming hours; asking again opens another session."""
        desk = self._desk
        enrolled, now_ms = await read_terminal(desk, call, noted, own_key=True)
        their_key = es256.load_public_key(parse_message(call.body, SessionRequest).public_key)
        assert enrolled.terminal.key_id is not None, "who has signed has a key"
        session_id = desk.sessions.open(enrolled.terminal.key_id, their_key, now_ms=now_ms)
        noted.code = "session_opened"
        return answer_with(
            SessionAnswer(
                session_id=session_id,
                public_key=desk.sessions.public_key,
                lifetime_ms=SESSION_LIFETIME_MS,
                gateway_time_ms=now_ms,
            ),
            status=201,
        )
