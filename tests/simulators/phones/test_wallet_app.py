"""A phone asks for a credential, signed by its own key, and may ask the same again."""

from __future__ import annotations

import random

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.errors import GatewaySilent
from simulators.phones.phone import Phone
from simulators.phones.wallet_app import WalletApp, exchange_over
from wire import es256
from wire.http_signatures import SignatureTag, parse_signed_request, verify_signed_request
from wire.messages.base import dump_message, parse_message
from wire.messages.offline import CREDENTIALS_TARGET, CredentialAnswer, CredentialRequest
from wire.money import Money, find_currency
from wire.tokens.credential import CredentialClaims, mint_credential

NOW_MS = 1_800_000_000_000
KEY = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
ISSUER = ec.derive_private_key(0x155E, ec.SECP256R1())
REQUEST = CredentialRequest(credential_id="01ARYZ6S410000000000000000", allowance_minor=5_000)


async def _answer(request: web.Request) -> web.Response:
    body = await request.read()
    signed = parse_signed_request(
        method="POST",
        target_uri=f"http://{request.host}{CREDENTIALS_TARGET}",
        headers=request.headers.items(),
        body=body,
        tags={SignatureTag.DEVICE},
    )
    verify_signed_request(signed, KEY.public_key(), now_ms=NOW_MS)
    asked = parse_message(body, CredentialRequest)
    assert signed.idempotency_key == asked.credential_id
    if asked.allowance_minor > 5_000:
        return web.Response(status=422, text="allowance_not_covered")
    claims = CredentialClaims(
        credential_id=bytes(8),
        issued_s=NOW_MS // 1000,
        expires_s=NOW_MS // 1000 + 86_400,
        device_public_key=es256.dump_public_key(KEY.public_key()),
        status_index=0,
        per_payment_minor=1_500,
        allowance=Money(asked.allowance_minor, find_currency("EUR")),
    )
    answer = CredentialAnswer(
        credential=mint_credential(claims, ISSUER),
        expires_ms=claims.expires_s * 1000,
        allowance_minor=asked.allowance_minor,
    )
    return web.Response(status=201, body=dump_message(answer), content_type="application/json")


async def test_a_phone_gets_a_credential_it_can_hold() -> None:
    app = web.Application()
    app.add_routes([web.post(CREDENTIALS_TARGET, _answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    rng = random.Random(1)
    phone = Phone(KEY, rng=rng, token_pan="4111111111111111")
    too_much = CredentialRequest(credential_id=REQUEST.credential_id, allowance_minor=5_001)
    try:
        async with aiohttp.ClientSession() as session:
            wallet = WalletApp(exchange_over(session), url, KEY, now_ms=lambda: NOW_MS, entropy=rng.randbytes)
            answers = [await wallet.ask_credential(REQUEST) for _ in range(2)]
            with pytest.raises(GatewaySilent, match="allowance_not_covered"):
                await wallet.ask_credential(too_much)
    finally:
        await runner.cleanup()
    assert answers[0] == answers[1]
    assert phone.hold_credential(answers[0].credential).claims.allowance.minor == 5_000
