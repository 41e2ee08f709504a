"""What a terminal asks of its gateway about a card: one conversation, one command after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from terminal.errors import GatewayRefused, GatewayUnreachable
from terminal.gateway_client.answers import read_reply
from terminal.gateway_client.transport import Reply
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.base import dump_message
from wire.messages.cards import (
    CARD_SESSIONS_TARGET,
    CardAnswerRequest,
    CardPurpose,
    CardSessionAnswer,
    CardSessionRequest,
)

SENDS_MAX: Final = 6
"""Of one message; the gateway knows one that comes again."""
SEND_PAUSE_S: Final = 0.5


class SignedCalls(Protocol):
    """What this needs of the terminal's gateway client."""

    async def call(
        self, method: str, target: str, body: bytes = b"", idempotency_key: str | None = None
    ) -> Reply:
        """Send one signed request, once; errors as GatewayClient.call."""


class CardGateway:
    """The gateway's side of conversations with cards."""

    def __init__(
        self, client: SignedCalls, *, now_ms: Callable[[], int], entropy: Callable[[int], bytes]
    ) -> None:
        self._client = client
        self._now_ms = now_ms
        self._entropy = entropy

    async def begin(
        self, purpose: CardPurpose, *, code: str | None = None, payment_id: str | None = None
    ) -> CardSessionAnswer:
        """Begin a conversation, and return what the card is to be asked.

        Raises:
            GatewayRefused: `card_code_invalid` and others. GatewayUnreachable: no answer.
        """
        request = CardSessionRequest(
            session_id=self._new_id(), purpose=purpose, code=code, payment_id=payment_id
        )
        body = dump_message(request)
        return await self._send(CARD_SESSIONS_TARGET, body, request.session_id, request.session_id, 0)

    async def hand_in(self, asked: CardSessionAnswer, answer: bytes) -> CardSessionAnswer:
        """Hand in what the card answered, and return what it is to be asked next, or the end.

        Raises:
            GatewayRefused: `card_session_over` and others. GatewayUnreachable: no answer; what the gateway
                wrote down of this answer is unknown.
        """
        request = CardAnswerRequest(answer_id=self._new_id(), step=asked.step, answer=answer)
        target = f"{CARD_SESSIONS_TARGET}/{asked.session_id}/answers"
        body = dump_message(request)
        return await self._send(target, body, request.answer_id, asked.session_id, asked.step + 1)

    async def _send(
        self, target: str, body: bytes, key: str, session_id: str, step: int
    ) -> CardSessionAnswer:
        for number in range(SENDS_MAX):
            try:
                return _believe(await self._client.call("POST", target, body, key), session_id, step)
            except GatewayRefused as refusal:
                if not refusal.retryable or number + 1 == SENDS_MAX:
                    raise
            except GatewayUnreachable:
                if number + 1 == SENDS_MAX:
                    raise
            await asyncio.sleep(SEND_PAUSE_S)
        raise AssertionError("the last send returns or raises")

    def _new_id(self) -> str:
        return make_ulid(self._now_ms(), self._entropy(ENTROPY_BYTES))


def _believe(reply: Reply, session_id: str, step: int) -> CardSessionAnswer:
    """Return what a reply says of this very step.

    Raises:
        GatewayUnreachable: it is about something else, or contradicts itself.
    """
    answer = read_reply(reply, CardSessionAnswer)
    if (answer.session_id, answer.step) != (session_id, step):
        raise GatewayUnreachable("the gateway's answer is about something else than was sent")
    if (answer.state == "asking") != (answer.command is not None):
        raise GatewayUnreachable("the gateway's answer contradicts itself")
    return answer
