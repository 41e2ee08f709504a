"""The token with which a phone pays a till's code: bound to this merchant, this attempt and this amount.

The phone fetched what the code asks for and showed its holder the merchant as it is registered and the exact
amount; the holder agreed, and the phone signs just that (protocol section 4). Unlike the code a phone shows,
it is good for nothing else, wherever it ends up. A COSE_Sign1 of type 65006 with the claims of a CWT: aud,
exp, iat, cti, nonce, and our own [amount, currency, counter].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wire import es256
from wire.errors import EncodingError, MoneyError, TokenError, WireError
from wire.ids import check_merchant_id, ulid_from_bytes, ulid_to_bytes
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency_by_numeric
from wire.tokens.cbor import dump_cbor, expect_array, expect_bytes, expect_int, expect_map, parse_cbor
from wire.tokens.sign1 import BOUND_TOKEN_TYPE, Sign1, parse_sign1_of, seal_sign1, verify_sign1

LIFE_S_MAX: Final = 300
"""Longest time from issue to expiry; a phone uses 60 s."""
LEEWAY_MS: Final = 30_000
"""How far a phone's clock may be off (protocol section 7, clock skew)."""
COUNTER_MAX: Final = (1 << 32) - 1
TOKEN_ID_BYTES: Final = 8
ATTEMPT_ID_BYTES: Final = 16

_TIME_S_MAX: Final = (1 << 32) - 1
_CURRENCY_NUMERIC_MAX: Final = 999
_AUDIENCE: Final = 3
_EXPIRES: Final = 4
_ISSUED: Final = 6
_TOKEN_ID: Final = 7
_NONCE: Final = 10
"""CWT claims aud, exp, iat, cti (RFC 8392, section 3.1) and nonce (RFC 9711)."""
_PAYMENT: Final = -65537
"""Our private claim: [amount in minor units, ISO 4217 numeric code, counter]."""


@dataclass(frozen=True, slots=True)
class BoundTokenClaims:
    """What a holder agreed to."""

    token_id: bytes
    """Eight random bytes (cti)."""
    issued_s: int
    expires_s: int
    merchant_id: str
    attempt_id: str
    """The intent's id, or at a counter the phone's own."""
    amount: Money
    """Exactly this is paid."""
    counter: int
    """Rises with every token of the key, of any kind; the gateway takes each value once."""


def mint_bound_token(claims: BoundTokenClaims, private_key: es256.PrivateKey) -> bytes:
    """Sign claims; a life too long or an expiry past is the verifier's to refuse."""
    payload = {
        _AUDIENCE: claims.merchant_id.encode("ascii"),
        _EXPIRES: claims.expires_s,
        _ISSUED: claims.issued_s,
        _TOKEN_ID: claims.token_id,
        _NONCE: ulid_to_bytes(claims.attempt_id),
        _PAYMENT: [claims.amount.minor, claims.amount.currency.numeric, claims.counter],
    }
    return seal_sign1(dump_cbor(payload), BOUND_TOKEN_TYPE, private_key)


def parse_bound_token(data: bytes) -> Sign1:
    """Read a token as far as its key id; nothing of it is verified.

    Raises:
        TokenError: `token_invalid`.
    """
    return parse_sign1_of(data, BOUND_TOKEN_TYPE)


def verify_bound_token(token: Sign1, public_key: es256.PublicKey) -> BoundTokenClaims:
    """Return the claims if the key signed them, whatever the time; `check_bound_time` judges that.

    Raises:
        TokenError: `token_invalid`.
    """
    if token.token_type != BOUND_TOKEN_TYPE:
        raise TokenError("this is no bound token")
    return _parse_claims(verify_sign1(token, public_key))


def check_bound_time(claims: BoundTokenClaims, *, now_ms: int, leeway_ms: int = LEEWAY_MS) -> None:
    """Return if a token's time is now.

    Raises:
        TokenError: `token_expired`, `token_not_yet_valid`; `token_invalid` for a life longer than
            LIFE_S_MAX.
    """
    if not 0 < claims.expires_s - claims.issued_s <= LIFE_S_MAX:
        raise TokenError("the token lives too long, or ends before it begins")
    if now_ms >= claims.expires_s * 1000 + leeway_ms:
        raise TokenError("the token is over", code="token_expired")
    if now_ms < claims.issued_s * 1000 - leeway_ms:
        raise TokenError("the token is not valid yet", code="token_not_yet_valid")


def _parse_claims(payload: bytes) -> BoundTokenClaims:
    names = (_AUDIENCE, _EXPIRES, _ISSUED, _TOKEN_ID, _NONCE, _PAYMENT)
    try:
        claims = expect_map(parse_cbor(payload), names)
        amount_minor, currency, counter = expect_array(claims[_PAYMENT], 3)
        return BoundTokenClaims(
            token_id=expect_bytes(claims[_TOKEN_ID], TOKEN_ID_BYTES),
            issued_s=expect_int(claims[_ISSUED], 0, _TIME_S_MAX),
            expires_s=expect_int(claims[_EXPIRES], 0, _TIME_S_MAX),
            merchant_id=_parse_merchant_id(claims[_AUDIENCE]),
            attempt_id=ulid_from_bytes(expect_bytes(claims[_NONCE], ATTEMPT_ID_BYTES)),
            amount=Money(
                expect_int(amount_minor, 1, AMOUNT_MINOR_MAX),
                find_currency_by_numeric(expect_int(currency, 0, _CURRENCY_NUMERIC_MAX)),
            ),
            counter=expect_int(counter, 0, COUNTER_MAX),
        )
    except (EncodingError, MoneyError) as error:
        raise TokenError(f"claims: {error}") from None


def _parse_merchant_id(value: object) -> str:
    if not isinstance(value, bytes):
        raise EncodingError("aud is a byte string")
    try:
        return check_merchant_id(value.decode("ascii"))
    except (UnicodeDecodeError, WireError):
        raise EncodingError("aud is no merchant id") from None
