"""`/v1/card-sessions`: conversations with cards that a terminal carries."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_request
from gateway.http.calls import SignedCall
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from wire.ids import check_ulid
from wire.messages.cards import CardAnswerRequest, CardSessionAnswer, CardSessionRequest


class CardResource:
    """Conversations of the terminal that signed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def begin(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Begin one, and say what the card is to be asked first."""
        desk = self._desk
        request, terminal, now_ms = await read_request(desk, call, noted, CardSessionRequest, "session_id")
        answer = await desk.cards.begin(request, terminal, now_ms=now_ms)
        return _answer(answer, noted, status=201)

    async def take_answer(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Take what the card said, and say what it is to be asked next."""
        desk = self._desk
        request, terminal, now_ms = await read_request(desk, call, noted, CardAnswerRequest, "answer_id")
        session_id = check_ulid(parameters["session_id"])
        return _answer(await desk.cards.take_answer(session_id, request, terminal, now_ms=now_ms), noted)


def _answer(answer: CardSessionAnswer, noted: Exchange, *, status: int = 200) -> Answer:
    noted.code = answer.code or f"card_{answer.state}"
    return answer_with(answer, status=status)
