"""`/v1/card-sessions`: conversations with cards that a terminal carries."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from wire.errors import WireError
from wire.ids import check_ulid
from wire.messages.base import parse_message
from wire.messages.cards import CardAnswerRequest, CardSessionAnswer, CardSessionRequest


class CardResource:
    """Conversations of the terminal that signed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def begin(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Begin one, and say what the card is to be asked first."""
        desk = self._desk
        now_ms = desk.now_ms()
        enrolled, signed = await desk.authenticator.authenticate_terminal(call, now_ms=now_ms)
        noted.caller = enrolled.terminal.terminal_id
        request = parse_message(call.body, CardSessionRequest)
        if signed.idempotency_key != request.session_id:
            raise WireError("Idempotency-Key must be the session_id")
        answer = await desk.cards.begin(request, enrolled, now_ms=now_ms)
        return _answer(answer, noted, status=201)

    async def take_answer(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Take what the card said, and say what it is to be asked next."""
        desk = self._desk
        now_ms = desk.now_ms()
        enrolled, signed = await desk.authenticator.authenticate_terminal(call, now_ms=now_ms)
        noted.caller = enrolled.terminal.terminal_id
        request = parse_message(call.body, CardAnswerRequest)
        if signed.idempotency_key != request.answer_id:
            raise WireError("Idempotency-Key must be the answer_id")
        session_id = check_ulid(parameters["session_id"])
        return _answer(await desk.cards.take_answer(session_id, request, enrolled, now_ms=now_ms), noted)


def _answer(answer: CardSessionAnswer, noted: Exchange, *, status: int = 200) -> Answer:
    noted.code = answer.code or f"card_{answer.state}"
    return answer_with(answer, status=status)
