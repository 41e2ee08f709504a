"""All COSE vectors by others, each held to three doors: a library, our envelope, our profile.

None of them is a payment token, so the profile refuses every one; the table says what each of the lower
doors makes of it, and why the profile differs.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cwt import COSE, COSEKey

from wire.errors import TokenError
from wire.tokens.sign1 import Envelope, Sign1, dump_sig_structure, parse_envelope, parse_sign1, verify_sign1


@dataclass(frozen=True)
class Verdict:
    """What each door says of a vector."""

    library: bool | None
    """python-cwt verifies it; None where it is no signature of one signer."""
    envelope: bool
    """Our lower layer reads it: a tagged COSE_Sign1 in canonical CBOR."""
    why: str
    """Why the profile refuses it."""


VERDICTS = {
    "ecdsa-examples/ecdsa-sig-01": Verdict(True, True, "kid unprotected, no type"),
    "ecdsa-examples/ecdsa-sig-03": Verdict(True, True, "P-521 with SHA-512"),
    "eddsa-examples/eddsa-sig-01": Verdict(True, True, "Ed25519"),
    "eddsa-examples/eddsa-sig-02": Verdict(True, True, "Ed448"),
    "eddsa-examples/eddsa-01": Verdict(None, False, "tag 98: many signers"),
    "eddsa-examples/eddsa-02": Verdict(None, False, "tag 98: many signers"),
    "countersign1/signed1-01": Verdict(True, False, "a countersignature; header keys out of order"),
    "sign1-tests/sign-fail-01": Verdict(False, False, "tag 998"),
    "sign1-tests/sign-fail-03": Verdict(False, True, "algorithm -999"),
    "sign1-tests/sign-fail-06": Verdict(False, True, "a protected attribute added after signing"),
    "sign1-tests/sign-pass-01": Verdict(True, True, "algorithm unprotected"),
    "sign1-tests/sign-pass-03": Verdict(False, False, "no tag 18, which RFC 9052 leaves open"),
    "RFC8152/Appendix_C_2_1": Verdict(True, True, "kid unprotected, no type"),
    "CWT/A_3": Verdict(True, True, "no kid, no type"),
    "CWT/A_4": Verdict(None, False, "tag 17: a MAC"),
    "CWT/A_5": Verdict(None, False, "tag 16: encrypted"),
    "CWT/A_6": Verdict(None, False, "tag 16: signed, then encrypted"),
    "CWT/A_7": Verdict(None, False, "tag 17: a MAC"),
}
SIGNED_BY_ONE = [name for name, verdict in VERDICTS.items() if verdict.library is not None]
ENVELOPES = [name for name, verdict in VERDICTS.items() if verdict.envelope]


def _load(vectors: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((vectors / "cose" / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def _message(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["output"]["cbor"])


def test_every_vector_has_a_verdict(vectors: Path) -> None:
    folder = vectors / "cose"
    assert {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.json")} == set(VERDICTS)


@pytest.mark.parametrize("name", SIGNED_BY_ONE)
def test_a_library_verifies_the_vector_as_the_table_says(vectors: Path, name: str) -> None:
    vector = _load(vectors, name)
    key = _cose_key(vector["input"]["sign0"]["key"])
    try:
        COSE.new().decode(_message(vector), key)
    except Exception:  # noqa: BLE001 - python-cwt has no common error class; any refusal is one
        verified = False
    else:
        verified = True
    assert verified == VERDICTS[name].library


@pytest.mark.parametrize("name", VERDICTS)
def test_the_envelope_reads_the_vector_as_the_table_says(vectors: Path, name: str) -> None:
    message = _message(_load(vectors, name))
    if VERDICTS[name].envelope:
        assert len(parse_envelope(message).signature) >= 64
        return
    with pytest.raises(TokenError):
        parse_envelope(message)


@pytest.mark.parametrize("name", VERDICTS)
def test_the_profile_refuses_the_vector(vectors: Path, name: str) -> None:
    with pytest.raises(TokenError):
        parse_sign1(_message(_load(vectors, name)))


@pytest.mark.parametrize("name", ENVELOPES)
def test_the_signature_holds_over_our_sig_structure(vectors: Path, name: str) -> None:
    vector = _load(vectors, name)
    envelope = parse_envelope(_message(vector))
    key = vector["input"]["sign0"]["key"]
    # RFC 9052, section 3: an empty protected map is signed as the empty string.
    protected = b"" if envelope.protected == b"\xa0" else envelope.protected
    if vector.get("fail"):
        with pytest.raises((TokenError, InvalidSignature)):
            _verify(key, envelope, protected)
        return
    _verify(key, envelope, protected)
    signed = dump_sig_structure(protected, envelope.payload)
    assert signed.hex().upper() == vector["intermediates"]["ToBeSign_hex"]


def _verify(key: dict[str, str], envelope: Envelope, protected: bytes) -> None:
    signed = dump_sig_structure(protected, envelope.payload)
    if key["crv"] == "P-256":
        token = Sign1(b"", 0, protected, envelope.payload, envelope.signature)
        verify_sign1(token, _ec_key(key, ec.SECP256R1()))
    elif key["crv"] == "P-521":
        half = len(envelope.signature) // 2
        r = int.from_bytes(envelope.signature[:half], "big")
        s = int.from_bytes(envelope.signature[half:], "big")
        _ec_key(key, ec.SECP521R1()).verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA512()))
    elif key["crv"] == "Ed25519":
        ed25519.Ed25519PublicKey.from_public_bytes(_coordinate(key, "x")).verify(envelope.signature, signed)
    else:
        ed448.Ed448PublicKey.from_public_bytes(_coordinate(key, "x")).verify(envelope.signature, signed)


def _ec_key(key: dict[str, str], curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(_coordinate(key, name), "big") for name in "xy")
    return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()


def _coordinate(key: dict[str, str], name: str) -> bytes:
    if f"{name}_hex" in key:
        return bytes.fromhex(key[f"{name}_hex"])
    return urlsafe_b64decode(key[name] + "==")


def _cose_key(key: dict[str, str]) -> Any:
    """The key for python-cwt, whose types do not cover `from_jwk`'s argument."""
    algorithms = {"P-256": "ES256", "P-521": "ES512"}
    jwk = {name: key[name] for name in ("kty", "crv", "kid") if name in key}
    for name in "xy" if key["kty"] == "EC" else "x":
        jwk[name] = urlsafe_b64encode(_coordinate(key, name)).decode().rstrip("=")
    return COSEKey.from_jwk({**jwk, "alg": algorithms.get(key["crv"], "EdDSA")})
