"""The issuer's word for a device: what it says, for how long, and that nobody else can say it."""

from __future__ import annotations

from dataclasses import replace

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from wire import es256
from wire.errors import TokenError
from wire.es256 import PrivateKey
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency
from wire.tokens.credential import (
    CREDENTIAL_BYTES_MAX,
    CREDENTIAL_LIFE_S_MAX,
    LEEWAY_MS,
    STATUS_INDEX_MAX,
    CredentialClaims,
    mint_credential,
    parse_credential,
    read_credential,
    verify_credential,
)
from wire.tokens.sign1 import CREDENTIAL_TYPE, NFC_TOKEN_TYPE, seal_sign1

ISSUER = ec.derive_private_key(0x155E, ec.SECP256R1())
EUR = find_currency("EUR")


def _verify(data: bytes, now_ms: int) -> CredentialClaims:
    return verify_credential(parse_credential(data), ISSUER.public_key(), now_ms=now_ms)


def _claims_map(claims: CredentialClaims) -> dict[object, object]:
    point = claims.device_public_key
    return {
        4: claims.expires_s,
        6: claims.issued_s,
        7: claims.credential_id,
        8: {1: {1: 2, -1: 1, -2: point[1:], -3: point[0] == 3}},
        -65540: [claims.status_index, claims.per_payment_minor, claims.allowance.minor, 978],
    }


@given(
    scalar=st.integers(1, 1 << 200),
    index=st.integers(0, STATUS_INDEX_MAX),
    limits=st.tuples(st.integers(1, AMOUNT_MINOR_MAX), st.integers(1, AMOUNT_MINOR_MAX)),
    life_s=st.integers(1, CREDENTIAL_LIFE_S_MAX),
)
def test_verify_returns_what_was_minted(
    scalar: int, index: int, limits: tuple[int, int], life_s: int
) -> None:
    key = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
    claims = CredentialClaims(
        bytes(8),
        1_784_000_000,
        1_784_000_000 + life_s,
        es256.dump_public_key(key),
        index,
        limits[0],
        Money(limits[1], EUR),
    )
    data = mint_credential(claims, ISSUER)
    assert len(data) <= CREDENTIAL_BYTES_MAX
    assert _verify(data, 1_784_000_000_000) == claims == read_credential(parse_credential(data))
    assert claims.device_key_id == es256.key_id_of(key)
    assert es256.dump_public_key(claims.load_device_key()) == claims.device_public_key


def test_the_claims_are_those_of_cwt_and_a_compressed_cose_key(credential_claims: CredentialClaims) -> None:
    sealed = parse_credential(mint_credential(credential_claims, ISSUER))
    assert cbor2.loads(sealed.payload) == _claims_map(credential_claims)
    assert cbor2.loads(sealed.protected) == {
        1: -9,
        4: es256.key_id_of(ISSUER.public_key()),
        16: CREDENTIAL_TYPE,
    }


def test_its_life_ends_at_expiry_and_begins_at_issue(credential_claims: CredentialClaims) -> None:
    data = mint_credential(credential_claims, ISSUER)
    begin_ms = credential_claims.issued_s * 1000 - LEEWAY_MS
    end_ms = credential_claims.expires_s * 1000 + LEEWAY_MS
    assert _verify(data, begin_ms) == _verify(data, end_ms - 1) == credential_claims
    for now_ms, code in ((begin_ms - 1, "token_not_yet_valid"), (end_ms, "token_expired")):
        with pytest.raises(TokenError) as caught:
            _verify(data, now_ms)
        assert caught.value.code == code


@pytest.mark.parametrize("life_s", [0, -1, CREDENTIAL_LIFE_S_MAX + 1])
def test_a_life_too_long_or_none_is_refused(credential_claims: CredentialClaims, life_s: int) -> None:
    odd = replace(credential_claims, expires_s=credential_claims.issued_s + life_s)
    with pytest.raises(TokenError) as caught:
        _verify(mint_credential(odd, ISSUER), credential_claims.issued_s * 1000)
    assert caught.value.code == "token_invalid"


def test_an_expired_forgery_is_a_forgery(credential_claims: CredentialClaims, other_key: PrivateKey) -> None:
    with pytest.raises(TokenError) as caught:
        _verify(mint_credential(credential_claims, other_key), credential_claims.expires_s * 2000)
    assert caught.value.code == "token_invalid"


@pytest.mark.parametrize(
    "change",
    [
        {5: 1},
        {7: bytes(7)},
        {8: {}},
        {8: {1: {1: 2, -1: 1, -2: bytes(32), -3: bytes(32)}}},  # the uncompressed form
        {8: {1: {1: 2, -1: 1, -2: b"\xff" * 32, -3: False}}},  # no point of the curve
        {8: {1: {1: 2, -1: 2, -2: bytes(32), -3: False}}},  # P-384
        {8: {1: {1: 1, -1: 6, -2: bytes(32)}}},  # Ed25519
        {8: {1: {1: True, -1: 1, -2: bytes(32), -3: False}}},
        {8: {2: b"encrypted"}},
        {-65540: [1, 1, 1]},
        {-65540: [-1, 1_500, 5_000, 978]},
        {-65540: [STATUS_INDEX_MAX + 1, 1_500, 5_000, 978]},
        {-65540: [1, 0, 5_000, 978]},
        {-65540: [1, 1_500, 0, 978]},
        {-65540: [1, 1_500, 5_000, 0]},
        {-65540: [1, 1_500, 5_000, 998]},
        {-65540: [True, 1_500, 5_000, 978]},
        {4: 1_784_000_000.5},
        {4: True},
        {6: 1 << 32},
    ],
    ids=str,
)
def test_signed_claims_of_another_shape_are_refused(
    credential_claims: CredentialClaims, change: dict[object, object]
) -> None:
    good = _claims_map(credential_claims)
    now_ms = credential_claims.issued_s * 1000
    assert _verify(seal_sign1(cbor2.dumps(good, canonical=True), CREDENTIAL_TYPE, ISSUER), now_ms)
    data = seal_sign1(cbor2.dumps({**good, **change}, canonical=True), CREDENTIAL_TYPE, ISSUER)
    with pytest.raises(TokenError):
        _verify(data, now_ms)


def test_good_claims_signed_as_another_type_are_no_credential(credential_claims: CredentialClaims) -> None:
    payload = parse_credential(mint_credential(credential_claims, ISSUER)).payload
    with pytest.raises(TokenError):
        parse_credential(seal_sign1(payload, NFC_TOKEN_TYPE, ISSUER))


@given(st.integers(0, 186), st.binary(min_size=1, max_size=4))
def test_no_patched_credential_verifies(
    credential_claims: CredentialClaims, offset: int, patch: bytes
) -> None:
    data = mint_credential(credential_claims, ISSUER)
    patched = data[:offset] + patch + data[offset + len(patch) :]
    if patched == data:
        return
    with pytest.raises(TokenError):
        _verify(patched, credential_claims.issued_s * 1000)


@given(st.binary(max_size=CREDENTIAL_BYTES_MAX + 8))
def test_any_signed_payload_gives_claims_or_a_typed_error(payload: bytes) -> None:
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, CREDENTIAL_TYPE, ISSUER), 0)
