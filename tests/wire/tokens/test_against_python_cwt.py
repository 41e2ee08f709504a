"""Our tokens under somebody else's COSE, and theirs under ours (python-cwt as the cross-check)."""

from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives import serialization
from cwt import COSE, COSEKey, VerifyError

from wire import es256
from wire.cards.payment_terms import PaymentTerms
from wire.es256 import PrivateKey
from wire.tokens.credential import (
    CredentialClaims,
    mint_credential,
    parse_credential,
    verify_credential,
)
from wire.tokens.nfc_token import mint_nfc_token
from wire.tokens.qr_token import QrTokenClaims, mint_qr_token, verify_qr_token
from wire.tokens.sign1 import CREDENTIAL_TYPE, NFC_TOKEN_TYPE, QR_TOKEN_TYPE, parse_sign1


def _public_cose_key(key: PrivateKey) -> COSEKey:
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return COSEKey.from_pem(pem, kid=es256.key_id_of(key.public_key()), alg="ESP256")


def _private_cose_key(key: PrivateKey, algorithm: str) -> COSEKey:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return COSEKey.from_pem(pem, kid=es256.key_id_of(key.public_key()), alg=algorithm)


def test_python_cwt_verifies_our_qr_token(claims: QrTokenClaims, device_key: PrivateKey) -> None:
    token = mint_qr_token(claims, device_key)
    protected, unprotected, payload = COSE.new(verify_kid=True).decode_with_headers(
        token, _public_cose_key(device_key)
    )
    assert protected == {1: -9, 4: es256.key_id_of(device_key.public_key()), 16: QR_TOKEN_TYPE}
    assert unprotected == {}
    assert payload == parse_sign1(token).payload


def test_python_cwt_verifies_our_nfc_token(terms: PaymentTerms, device_key: PrivateKey) -> None:
    token = mint_nfc_token(terms.encode(), 7, bytes(4), device_key)
    protected, _, payload = COSE.new(verify_kid=True).decode_with_headers(token, _public_cose_key(device_key))
    assert protected[16] == NFC_TOKEN_TYPE
    assert terms.encode() in payload


def test_python_cwt_refuses_our_token_once_a_bit_is_changed(
    claims: QrTokenClaims, device_key: PrivateKey
) -> None:
    token = bytearray(mint_qr_token(claims, device_key))
    token[-1] ^= 1
    with pytest.raises(VerifyError):
        COSE.new().decode(bytes(token), _public_cose_key(device_key))


@pytest.mark.parametrize(("algorithm", "identifier"), [("ESP256", -9), ("ES256", -7)])
def test_we_verify_what_python_cwt_signs_in_our_profile(
    claims: QrTokenClaims, device_key: PrivateKey, algorithm: str, identifier: int
) -> None:
    token = COSE.new().encode_and_sign(
        parse_sign1(mint_qr_token(claims, device_key)).payload,
        _private_cose_key(device_key, algorithm),
        protected={1: identifier, 4: es256.key_id_of(device_key.public_key()), 16: QR_TOKEN_TYPE},
        unprotected={},
    )
    now_ms = claims.issued_s * 1000
    assert verify_qr_token(parse_sign1(token), device_key.public_key(), now_ms=now_ms) == claims


def test_python_cwt_verifies_our_credential_and_reads_the_devices_key(
    credential_claims: CredentialClaims, device_key: PrivateKey, other_key: PrivateKey
) -> None:
    data = mint_credential(credential_claims, other_key)
    protected, _, payload = COSE.new(verify_kid=True).decode_with_headers(data, _public_cose_key(other_key))
    assert protected[16] == CREDENTIAL_TYPE
    confirmed = cbor2.loads(payload)[8][1]
    point = device_key.public_key().public_numbers()
    assert (confirmed[1], confirmed[-1]) == (2, 1)
    assert (confirmed[-2], confirmed[-3]) == (point.x.to_bytes(32, "big"), bool(point.y & 1))


def test_we_verify_a_credential_that_python_cwt_signed(
    credential_claims: CredentialClaims, other_key: PrivateKey
) -> None:
    data = COSE.new().encode_and_sign(
        parse_credential(mint_credential(credential_claims, other_key)).payload,
        _private_cose_key(other_key, "ESP256"),
        protected={1: -9, 4: es256.key_id_of(other_key.public_key()), 16: CREDENTIAL_TYPE},
        unprotected={},
    )
    now_ms = credential_claims.issued_s * 1000
    assert (
        verify_credential(parse_credential(data), other_key.public_key(), now_ms=now_ms) == credential_claims
    )
