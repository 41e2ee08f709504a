"""`/v1/offline` and `/v1/wallet/credentials`: payments that terminals accept without a connection."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.http.answers import Answer, answer_with
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
        desk = self._desk
        now_ms = desk.now_ms()
        enrolled, _ = await desk.authenticator.authenticate_terminal(call, now_ms=now_ms)
        noted.caller = enrolled.terminal.terminal_id
        return answer_with(desk.offline.describe_issuer(enrolled, now_ms=now_ms))

    async def find_status_list(
        self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange
    ) -> Answer:
        """Return who is suspended, or, by `?known=`, that this has not changed."""
        desk = self._desk
        now_ms = desk.now_ms()
        enrolled, _ = await desk.authenticator.authenticate_terminal(call, now_ms=now_ms)
        noted.caller = enrolled.terminal.terminal_id
        known_etag = read_query(call, ("known",)).get("known")
        return answer_with(await desk.offline.read_status_list(known_etag, now_ms=now_ms))

    async def take_batch(self, call: SignedCall, parameters: Mapping[str, str], noted: Exchange) -> Answer:
        """Give sealed records their word; signed by the terminal's own key, as they are."""
        desk = self._desk
        now_ms = desk.now_ms()
        enrolled, signed = await desk.authenticator.authenticate_terminal(call, now_ms=now_ms, own_key=True)
        noted.caller = enrolled.terminal.terminal_id
        message = parse_message(call.body, BatchRequest)
        if signed.idempotency_key != message.batch_id:
            raise WireError("Idempotency-Key must be the batch_id")
        answer = await desk.offline.take_batch(message, enrolled, now_ms=now_ms)
        is_plain = all(one.outcome == "settled" and not one.loss_minor for one in answer.results)
        noted.code = "batch_settled" if is_plain else "batch_taken"
        return answer_with(answer)
