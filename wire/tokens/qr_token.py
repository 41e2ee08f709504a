"""The token a payer's phone shows as a QR code: unbound, so capped, short-lived and good for one use.

The phone does not know the merchant. What limits the token is its cap, its minute of life and its counter,
which the gateway takes once per key (protocol section 1.1). 127 bytes with amounts and counters below
65,536.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wire import es256
from wire.errors import EncodingError, MoneyError, TokenError
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency_by_numeric
from wire.tokens.cbor import dump_cbor, expect_array, expect_bytes, expect_int, expect_map, parse_cbor
from wire.tokens.sign1 import QR_TOKEN_TYPE, Sign1, seal_sign1, verify_sign1

LIFE_S_MAX: Final = 300
"""Longest time from issue to expiry; a phone uses 60 s."""
LEEWAY_MS: Final = 30_000
"""How far a phone's clock may be off (protocol section 7, clock skew)."""
COUNTER_MAX: Final = (1 << 32) - 1
TOKEN_ID_BYTES: Final = 8

_TIME_S_MAX: Final = (1 << 32) - 1
_CURRENCY_NUMERIC_MAX: Final = 999
_EXPIRES: Final = 4
_ISSUED: Final = 6
_TOKEN_ID: Final = 7
"""CWT claims exp, iat and cti (RFC 8392, section 3.1)."""
_SPENDING: Final = -65537
"""Our private claim: [cap in minor units, ISO 4217 numeric code, counter]."""


@dataclass(frozen=True, slots=True)
class QrTokenClaims:
    """What the payer's device says: up to this much, until then, once."""

    token_id: bytes
    """Eight random bytes (cti)."""
    issued_s: int
    expires_s: int
    cap: Money
    """The most this token may pay; its currency is the only one it pays in."""
    counter: int
    """Rises with every token of the key, bound or unbound; the gateway takes each value once."""


def mint_qr_token(claims: QrTokenClaims, private_key: es256.PrivateKey) -> bytes:
    """Sign claims as a QR token.

    It does not judge them: a life too long or an expiry past is the verifier's to refuse.
    """
    payload = {
        _EXPIRES: claims.expires_s,
        _ISSUED: claims.issued_s,
        _TOKEN_ID: claims.token_id,
        _SPENDING: [claims.cap.minor, claims.cap.currency.numeric, claims.counter],
    }
    return seal_sign1(dump_cbor(payload), QR_TOKEN_TYPE, private_key)


def verify_qr_token(
    token: Sign1, public_key: es256.PublicKey, *, now_ms: int, leeway_ms: int = LEEWAY_MS
) -> QrTokenClaims:
    """Return the claims if the key signed them and their time is now.

    That the token is not used already, and that the amount is within the cap, is not judged here.

    Args:
        token: a parsed token; its type must be QR_TOKEN_TYPE.
        public_key: the key that `token.key_id` names.
        now_ms: unix milliseconds.
        leeway_ms: added to both ends of the token's life.

    Raises:
        TokenError: `token_invalid`, `token_expired` at expiry plus leeway and after, or
            `token_not_yet_valid` before issue minus leeway. An expired token that is also forged is
            `token_invalid`.
    """
    if token.token_type != QR_TOKEN_TYPE:
        raise TokenError("this is no QR token")
    claims = _parse_claims(verify_sign1(token, public_key))
    if not 0 < claims.expires_s - claims.issued_s <= LIFE_S_MAX:
        raise TokenError(f"a QR token lives 1 to {LIFE_S_MAX} seconds")
    # RFC 8392 takes exp from RFC 7519: "on or after which" the token must not be accepted.
    if now_ms >= claims.expires_s * 1000 + leeway_ms:
        raise TokenError("the token's life is over", code="token_expired")
    if now_ms < claims.issued_s * 1000 - leeway_ms:
        raise TokenError("the token comes from the future", code="token_not_yet_valid")
    return claims


def read_qr_claims(token: Sign1) -> QrTokenClaims:
    """Return the claims of a QR token without judging its signature or its time.

    They prove nothing by themselves. A gateway reads from them which use an authentic token spends that
    `verify_qr_token` refused for its time.

    Raises:
        TokenError: `token_invalid`; another type of token, or claims that do not parse.
    """
    if token.token_type != QR_TOKEN_TYPE:
        raise TokenError("this is no QR token")
    return _parse_claims(token.payload)


def _parse_claims(payload: bytes) -> QrTokenClaims:
    try:
        claims = expect_map(parse_cbor(payload), (_EXPIRES, _ISSUED, _TOKEN_ID, _SPENDING))
        minor, currency_numeric, counter = expect_array(claims[_SPENDING], 3)
        currency = find_currency_by_numeric(expect_int(currency_numeric, 1, _CURRENCY_NUMERIC_MAX))
        return QrTokenClaims(
            token_id=expect_bytes(claims[_TOKEN_ID], TOKEN_ID_BYTES),
            issued_s=expect_int(claims[_ISSUED], 0, _TIME_S_MAX),
            expires_s=expect_int(claims[_EXPIRES], 0, _TIME_S_MAX),
            cap=Money(expect_int(minor, 1, AMOUNT_MINOR_MAX), currency),
            counter=expect_int(counter, 0, COUNTER_MAX),
        )
    except (EncodingError, MoneyError) as error:
        raise TokenError(f"claims: {error}") from None
