"""A signing process: real tokens of simulated phones in really signed requests, as bytes ready to be sent.

    python -m tests.benchmarks.ledger.signer

It reads one chunk a line from standard input, writes the chunk's requests to its file and answers with
their number.
"""

from __future__ import annotations

import hashlib
import random
import sys
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from gateway.http.sessions import SESSION_LIFETIME_MS, TerminalSessions
from gateway.vault import Vault
from tests.benchmarks.ledger.requests_file import write_requests
from tests.benchmarks.ledger.town import CURRENCY, Town, TownSize, phone_key, till_key, vault_key
from wire import es256
from wire.cards.payment_terms import NONCE_BYTES, PaymentTerms
from wire.http_signatures import SignatureTag, sign_request, sign_session_request
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.base import dump_message
from wire.messages.payments import NfcAppPresentation, PaymentRequest
from wire.money import Money, find_currency
from wire.request_sessions import RequestSession, agree_on_key, make_agreement_key
from wire.tokens.nfc_token import RANDOMNESS_BYTES, mint_nfc_token

PUBLIC_URL: Final = "http://127.0.0.1:8470"
"""What every till signs, whichever process on whichever port answers: as behind a load balancer."""
PATH: Final = "/v1/payments"


class Chunk(msgspec.Struct, frozen=True):
    """Some payments to be signed one after another."""

    payments: list[tuple[int, int, int, int]]
    """Phone, till, counter and amount of each."""
    first_ms: int
    spacing_ms: float
    town: TownSize
    seed: int
    path: str
    in_sessions: bool = True
    """Whether tills sign under sessions, as they do whenever they can, or by their own keys."""


def sign_chunk(chunk: Chunk) -> int:
    """Write a chunk's requests to its file and return how many they are."""
    rng, town = random.Random(chunk.seed), Town(chunk.town)
    requests = [
        make_request(
            payment,
            town,
            int(chunk.first_ms + index * chunk.spacing_ms),
            rng,
            in_session=chunk.in_sessions,
        )
        for index, payment in enumerate(chunk.payments)
    ]
    write_requests(Path(chunk.path), requests)
    return len(requests)


def make_request(
    payment: tuple[int, int, int, int],
    town: Town,
    at_ms: int,
    rng: random.Random,
    *,
    in_session: bool = True,
) -> bytes:
    """Return a request, head and body, of a payment by phone, till, counter and amount."""
    phone, till_number, counter, amount_minor = payment
    till = town.till(till_number)
    terms = PaymentTerms(
        amount=Money(amount_minor, find_currency(CURRENCY)),
        nonce=rng.randbytes(NONCE_BYTES),
        merchant_id=till.merchant_id,
        terminal_id=till.terminal_id,
        at_s=at_ms // 1000,
    )
    token = mint_nfc_token(terms.encode(), counter, rng.randbytes(RANDOMNESS_BYTES), _phone_key(phone))
    request = PaymentRequest(
        attempt_id=make_ulid(at_ms, rng.randbytes(ENTROPY_BYTES)),
        order_id=make_ulid(at_ms, rng.randbytes(ENTROPY_BYTES)),
        amount_minor=amount_minor,
        currency=CURRENCY,
        presentation=NfcAppPresentation(token=token),
        presented_ms=at_ms,
        card_exchange_ms=rng.randint(30, 60),
    )
    body = dump_message(request)
    what = {
        "method": "POST",
        "target_uri": PUBLIC_URL + PATH,
        "created_s": at_ms // 1000,
        "nonce": rng.randbytes(16).hex(),
        "body": body,
        "idempotency_key": request.attempt_id,
    }
    if in_session:
        return _write_http(sign_session_request(session=_session(till_number, at_ms), **what), body)
    own_key = _till_key(till_number)
    return _write_http(sign_request(private_key=own_key, tag=SignatureTag.TERMINAL, **what), body)


def _write_http(headers: dict[str, str], body: bytes) -> bytes:
    """Write a request as the terminal daemon's HTTP client does: the same fields, in the same order."""
    lines = [
        f"POST {PATH} HTTP/1.1",
        f"Host: {PUBLIC_URL.removeprefix('http://')}",
        "Accept-Encoding: identity",
        *(f"{name}: {value}" for name, value in headers.items()),
        "Accept: */*",
        "User-Agent: Python/3.11 aiohttp/3.13.0",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


@cache
def _phone_key(number: int) -> es256.PrivateKey:
    return phone_key(number)


@cache
def _till_key(number: int) -> es256.PrivateKey:
    return till_key(number)


_sessions: Final[dict[int, tuple[int, RequestSession]]] = {}


def _session(number: int, at_ms: int) -> RequestSession:
    """Return the till's session, opened as the gateway would; half of its life is for being used."""
    opened_ms, session = _sessions.get(number, (0, None))
    if session is None or at_ms - opened_ms > SESSION_LIFETIME_MS // 2:
        own = make_agreement_key(hashlib.sha384(b"%d %d" % (number, at_ms)).digest())
        key_id = es256.key_id_of(_till_key(number).public_key())
        session_id = _gateway().open(key_id, own.public_key(), now_ms=at_ms)
        their_key = es256.load_public_key(_gateway().public_key)
        session = RequestSession(session_id, agree_on_key(own, their_key, session_id))
        _sessions[number] = (at_ms, session)
    return session


@cache
def _gateway() -> TerminalSessions:
    return TerminalSessions(Vault(vault_key()))


def main() -> None:
    """Sign chunks until standard input ends."""
    for line in sys.stdin.buffer:
        signed_count = sign_chunk(msgspec.json.decode(line, type=Chunk))
        sys.stdout.buffer.write(b"%d\n" % signed_count)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
