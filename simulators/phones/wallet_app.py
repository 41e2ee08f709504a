"""What a phone asks of the gateway, signed with its own key: a payment code, an offline credential."""

from __future__ import annotations

import base64
from typing import Final, TypeVar

import aiohttp

from simulators.errors import GatewaySilent
from wire import es256
from wire.errors import WireError
from wire.http_signatures import SignatureTag, sign_request
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.base import dump_message, parse_message
from wire.messages.offline import CREDENTIALS_TARGET, CredentialAnswer, CredentialRequest
from wire.messages.wallet import PaymentCodeAnswer, PaymentCodeRequest

CODES_PATH: Final = "/v1/wallet/payment-codes"
NONCE_BYTES: Final = 16
ENTROPY_BYTES_NEEDED: Final = NONCE_BYTES + ENTROPY_BYTES
REPLY_TIMEOUT_S: Final = 10.0

T = TypeVar("T")


async def ask_payment_code(
    session: aiohttp.ClientSession,
    gateway_url: str,
    private_key: es256.PrivateKey,
    *,
    now_ms: int,
    entropy: bytes,
) -> PaymentCodeAnswer:
    """Ask the gateway for a numeric code for the wallet behind this key.

    Args:
        gateway_url: the gateway's public address, without a trailing slash, spelt as it spells it.
        now_ms: unix milliseconds, for the signature.
        entropy: 26 bytes never used before, for the nonce and the request's id.

    Raises:
        GatewaySilent: no answer, or a refusal; the text has its code.
    """
    uri, body = gateway_url + CODES_PATH, dump_message(PaymentCodeRequest())
    request_id = make_ulid(now_ms, entropy[NONCE_BYTES:ENTROPY_BYTES_NEEDED])
    headers = _sign(uri, body, private_key, now_ms, entropy, request_id)
    return await _ask(session, uri, body, headers, PaymentCodeAnswer)


async def ask_credential(
    session: aiohttp.ClientSession,
    gateway_url: str,
    private_key: es256.PrivateKey,
    request: CredentialRequest,
    *,
    now_ms: int,
    entropy: bytes,
) -> CredentialAnswer:
    """Ask the gateway to set an allowance aside and vouch for this key; `Phone.hold_credential` takes it.

    Safe to repeat with the same request: its credential id is the request's id, and money is set aside once.

    Args:
        gateway_url, now_ms: as `ask_payment_code`.
        entropy: 16 bytes never used before, for the nonce.

    Raises:
        GatewaySilent: no answer, or a refusal; the text has its code.
    """
    uri, body = gateway_url + CREDENTIALS_TARGET, dump_message(request)
    headers = _sign(uri, body, private_key, now_ms, entropy, request.credential_id)
    return await _ask(session, uri, body, headers, CredentialAnswer)


def _sign(
    uri: str, body: bytes, private_key: es256.PrivateKey, now_ms: int, entropy: bytes, request_id: str
) -> dict[str, str]:
    return sign_request(
        method="POST",
        target_uri=uri,
        private_key=private_key,
        created_s=now_ms // 1000,
        nonce=base64.urlsafe_b64encode(entropy[:NONCE_BYTES]).rstrip(b"=").decode("ascii"),
        tag=SignatureTag.DEVICE,
        body=body,
        idempotency_key=request_id,
    )


async def _ask(
    session: aiohttp.ClientSession, uri: str, body: bytes, headers: dict[str, str], kind: type[T]
) -> T:
    timeout = aiohttp.ClientTimeout(total=REPLY_TIMEOUT_S)
    try:
        async with session.post(uri, data=body, headers=headers, timeout=timeout) as answer:
            content = await answer.read()
            if answer.status >= 400:
                raise GatewaySilent(f"the gateway answered {answer.status}: {content[:300]!r}")
            return parse_message(content, kind)
    except (aiohttp.ClientError, TimeoutError, WireError) as error:
        raise GatewaySilent(f"no answer that makes sense from the gateway: {type(error).__name__}") from None
