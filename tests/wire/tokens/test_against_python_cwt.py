"""Our tokens under somebody else's COSE, and theirs under ours (python-cwt as the cross-check)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cwt import COSE, COSEKey, VerifyError

from wire import es256
from wire.cards.payment_terms import PaymentTerms
from wire.es256 import PrivateKey
from wire.tokens.nfc_token import mint_nfc_token
from wire.tokens.qr_token import QrTokenClaims, mint_qr_token, verify_qr_token
from wire.tokens.sign1 import NFC_TOKEN_TYPE, QR_TOKEN_TYPE, parse_sign1


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
