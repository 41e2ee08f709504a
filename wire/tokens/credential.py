"""What lets a device pay where nobody can ask: the issuer's word for its key, its limits and its days.

A COSE_Sign1 of type 65003 by the issuer's key, with the claims of a CWT (RFC 8392): when it was issued and
expires, a random id, the device's key as a compressed COSE_Key (RFC 8747 and RFC 9052, section 7), and one
private claim with the place in the status list and the limits. The allowance is money that has already left
the wallet's balance (docs/adr/0008), so the credential says how much an honest device can spend at most.
About 190 bytes, so that GET DATA hands it out in one short answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from wire import es256
from wire.errors import EncodingError, MoneyError, TokenError, WireError
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency_by_numeric
from wire.tokens.cbor import (
    dump_cbor,
    expect_array,
    expect_bool,
    expect_bytes,
    expect_int,
    expect_map,
    parse_cbor,
)
from wire.tokens.sign1 import CREDENTIAL_TYPE, Sign1, parse_sign1_of, seal_sign1, verify_sign1

CREDENTIAL_BYTES_MAX: Final = 224
"""Longest credential: a short APDU answer carries 256 bytes with its tag and length."""
CREDENTIAL_LIFE_S_MAX: Final = 7 * 24 * 3_600
"""Longest time from issue to expiry (docs/adr/0008), which keeps the status list short."""
CREDENTIAL_ID_BYTES: Final = 8
STATUS_INDEX_MAX: Final = 65_535
"""A list of 2^16 bits has 8 KiB even where it can't be compressed, so it fits a message whatever it says."""
LEEWAY_MS: Final = 30_000
"""How far the clocks of issuer and verifier may be apart (protocol section 7)."""

_TIME_S_MAX: Final = (1 << 32) - 1
_CURRENCY_NUMERIC_MAX: Final = 999
_EXPIRES: Final = 4
_ISSUED: Final = 6
_CREDENTIAL_ID: Final = 7
_CONFIRMATION: Final = 8
"""CWT claims exp, iat and cti (RFC 8392, section 3.1) and cnf (RFC 8747, section 3.1)."""
_LIMITS: Final = -65540
"""Our private claim: [status index, most of one payment, allowance, ISO 4217 numeric code]."""
_COSE_KEY: Final = 1
_KEY_TYPE, _CURVE, _X, _Y = 1, -1, -2, -3
_EC2: Final = 2
_P256: Final = 1
"""COSE key type and curve (RFC 9053, sections 7.1 and 7.1.1); a bool for y is the compressed form."""
_X_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class CredentialClaims:
    """What the issuer says of a device."""

    credential_id: bytes
    """Eight random bytes (cti)."""
    issued_s: int
    """Unix seconds."""
    expires_s: int
    """Unix seconds; at this moment it is over."""
    device_public_key: bytes
    """The device's key as a compressed point of 33 bytes; whoever holds it may spend the allowance."""
    status_index: int
    """Its bit in the status list, 0 to STATUS_INDEX_MAX."""
    per_payment_minor: int
    """The most of one offline payment, in minor units of the allowance's currency."""
    allowance: Money
    """The most of all offline payments together, since it was issued."""

    @property
    def device_key_id(self) -> bytes:
        """The id that the device's tokens must carry."""
        return hashlib.sha256(self.device_public_key).digest()[: es256.KEY_ID_BYTES]

    def load_device_key(self) -> es256.PublicKey:
        """Return the key that the device's tokens are verified with."""
        return es256.load_public_key(self.device_public_key)


def mint_credential(claims: CredentialClaims, issuer_key: es256.PrivateKey) -> bytes:
    """Sign claims as a credential; the same input gives the same bytes.

    It does not judge them, as `mint_qr_token` does not: a life too long is the verifier's to refuse.
    """
    point = claims.device_public_key
    key = {_KEY_TYPE: _EC2, _CURVE: _P256, _X: point[1:], _Y: point[0] == 3}
    payload = {
        _EXPIRES: claims.expires_s,
        _ISSUED: claims.issued_s,
        _CREDENTIAL_ID: claims.credential_id,
        _CONFIRMATION: {_COSE_KEY: key},
        _LIMITS: [
            claims.status_index,
            claims.per_payment_minor,
            claims.allowance.minor,
            claims.allowance.currency.numeric,
        ],
    }
    return seal_sign1(dump_cbor(payload), CREDENTIAL_TYPE, issuer_key)


def parse_credential(data: bytes) -> Sign1:
    """Read a credential as far as its issuer's key id and signature.

    Raises:
        TokenError: `token_invalid`; longer than CREDENTIAL_BYTES_MAX, not our profile, or another type.
    """
    return parse_sign1_of(data, CREDENTIAL_TYPE, bytes_max=CREDENTIAL_BYTES_MAX)


def verify_credential(
    credential: Sign1, issuer_key: es256.PublicKey, *, now_ms: int, leeway_ms: int = LEEWAY_MS
) -> CredentialClaims:
    """Return the claims if the issuer signed them and their time is `now_ms`.

    That its status bit is clear and that a payment keeps its limits is not judged here.

    Args:
        credential: what `parse_credential` returned.
        issuer_key: the key that `credential.key_id` names.
        now_ms: unix milliseconds of the payment; a gateway that gets it later gives the sealed time.
        leeway_ms: added to both ends of its life.

    Raises:
        TokenError: `token_invalid`, `token_expired` at expiry plus leeway and after, or
            `token_not_yet_valid` before issue minus leeway; a forged one is `token_invalid` whatever its
            times.
    """
    if credential.token_type != CREDENTIAL_TYPE:
        raise TokenError("this is no credential")
    claims = _parse_claims(verify_sign1(credential, issuer_key))
    if not 0 < claims.expires_s - claims.issued_s <= CREDENTIAL_LIFE_S_MAX:
        raise TokenError(f"a credential lives 1 to {CREDENTIAL_LIFE_S_MAX} seconds")
    if now_ms >= claims.expires_s * 1000 + leeway_ms:
        raise TokenError("the credential's life is over", code="token_expired")
    if now_ms < claims.issued_s * 1000 - leeway_ms:
        raise TokenError("the credential comes from the future", code="token_not_yet_valid")
    return claims


def read_credential(credential: Sign1) -> CredentialClaims:
    """Return the claims of a credential whose signature and times nobody has judged; they prove nothing.

    Raises:
        TokenError: `token_invalid`; another type of token, or claims that do not parse.
    """
    if credential.token_type != CREDENTIAL_TYPE:
        raise TokenError("this is no credential")
    return _parse_claims(credential.payload)


def _parse_claims(payload: bytes) -> CredentialClaims:
    try:
        claims = expect_map(
            parse_cbor(payload, booleans_allowed=True),
            (_EXPIRES, _ISSUED, _CREDENTIAL_ID, _CONFIRMATION, _LIMITS),
        )
        index, per_payment, allowance, currency_numeric = expect_array(claims[_LIMITS], 4)
        currency = find_currency_by_numeric(expect_int(currency_numeric, 1, _CURRENCY_NUMERIC_MAX))
        return CredentialClaims(
            credential_id=expect_bytes(claims[_CREDENTIAL_ID], CREDENTIAL_ID_BYTES),
            issued_s=expect_int(claims[_ISSUED], 0, _TIME_S_MAX),
            expires_s=expect_int(claims[_EXPIRES], 0, _TIME_S_MAX),
            device_public_key=_parse_device_key(claims[_CONFIRMATION]),
            status_index=expect_int(index, 0, STATUS_INDEX_MAX),
            per_payment_minor=expect_int(per_payment, 1, AMOUNT_MINOR_MAX),
            allowance=Money(expect_int(allowance, 1, AMOUNT_MINOR_MAX), currency),
        )
    except (EncodingError, MoneyError) as error:
        raise TokenError(f"claims: {error}") from None


def _parse_device_key(confirmation: object) -> bytes:
    key = expect_map(expect_map(confirmation, (_COSE_KEY,))[_COSE_KEY], (_KEY_TYPE, _CURVE, _X, _Y))
    # `expect_int` and not a comparison: True equals 1.
    expect_int(key[_KEY_TYPE], _EC2, _EC2)
    expect_int(key[_CURVE], _P256, _P256)
    point = bytes((2 + expect_bool(key[_Y]),)) + expect_bytes(key[_X], _X_BYTES)
    try:
        es256.load_public_key(point)
    except WireError as error:
        raise EncodingError(str(error)) from None
    return point
