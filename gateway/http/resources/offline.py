"""`/v1/offline` and `/v1/wallet/credentials`: payments that terminals accept without a connection."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
from gateway.http.callers import read_request, read_terminal
from gateway.http.calls import SignedCall, read_query
from gateway.http.desk import Desk
from gateway.http.exchange import Exchange
from wire.errors import WireError
from wire.messages.base import parse_message
from wire.messages.offline import BatchRequest, CredentialRequest


class OfflineResource:
    """Credentials, whom to believe, who is suspended, and what was accepted."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def issue_credential(
        self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange
    ) -> Answer:
        """Set an allowance aside for the phone that signed; the same request gets the same credential."""
        desk = self._desk
        now_ms = desk.now_ms()
        instrument, _, signed = await desk.authenticator.authenticate_device(call, now_ms=now_ms)
        noted.caller = instrument.instrument_id
        message = parse_message(call.body, CredentialRequest)
        if signed.idempotency_key != message.credential_id:
            raise WireError("Idempotency-Key must be the credential_id")
        answer = await desk.offline.issue(message, instrument, now_ms=now_ms)
        noted.code = "credential_issued"
        return answer_with(answer, status=201)

    async def find_issuer(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Say whose signatures to believe, and what this terminal may accept."""
        terminal, now_ms = await read_terminal(self._desk, call, noted)
        return answer_with(self._desk.offline.describe_issuer(terminal, now_ms=now_ms))

    async def find_status_list(
        self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange
    ) -> Answer:
        """Return who is suspended, or, by `?known=`, that this has not changed."""
        _, now_ms = await read_terminal(self._desk, call, noted)
        known_etag = read_query(call, ("known",)).get("known")
        return answer_with(await self._desk.offline.read_status_list(known_etag, now_ms=now_ms))

    async def take_batch(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Give sealed records their word; signed by the terminal's own key, as they are."""
        message, terminal, now_ms = await read_request(
            self._desk, call, noted, BatchRequest, "batch_id", own_key=True
        )
        answer = await self._desk.offline.take_batch(message, terminal, now_ms=now_ms)
        is_plain = all(one.outcome == "settled" and not one.loss_minor for one in answer.results)
        noted.code = "batch_settled" if is_plain else "batch_taken"
        return answer_with(answer)
