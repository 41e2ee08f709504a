"""ECDSA on P-256 with SHA-256, the one signature of terminals, phones and applet cards (RFC 7518 3.4).

Signatures are r and s, 32 bytes each, as COSE and HTTP message signatures carry them. Signing is
deterministic (RFC 6979): the wire has no randomness, and a seeded simulation repeats byte for byte.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wire.errors import WireError

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey

KEY_ID_BYTES: Final = 8
PUBLIC_KEY_BYTES: Final = 33
SIGNATURE_BYTES: Final = 64

_SIGN: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_VERIFY: Final = ec.ECDSA(hashes.SHA256())


class SignatureMismatch(WireError):
    """The signature is not this key's over these bytes; callers translate it to their own error."""

    code = "signature_invalid"


def load_public_key(compressed: bytes) -> PublicKey:
    """Read a compressed SEC 1 point of P-256 (33 bytes).

    Raises:
        WireError: `malformed`; wrong length, an uncompressed form, or no point of the curve.
    """
    if len(compressed) != PUBLIC_KEY_BYTES or compressed[0] not in (2, 3):
        raise WireError("a public key is a compressed point of 33 bytes")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), compressed)
    except ValueError:
        raise WireError("the public key is no point of P-256") from None


def dump_public_key(key: PublicKey) -> bytes:
    """Write a public key as a compressed SEC 1 point."""
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def key_id_of(key: PublicKey) -> bytes:
    """Return the key's id: the first eight bytes of the SHA-256 of its compressed point."""
    return hashlib.sha256(dump_public_key(key)).digest()[:KEY_ID_BYTES]


def sign(key: PrivateKey, message: bytes) -> bytes:
    """Return the 64-byte signature of a message; the same input gives the same bytes."""
    assert isinstance(key.curve, ec.SECP256R1), "ES256 knows P-256 only"
    r, s = decode_dss_signature(key.sign(message, _SIGN))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(key: PublicKey, signature: bytes, message: bytes) -> None:
    """Return if the signature holds.

    Raises:
        SignatureMismatch: it does not, whatever the reason.
    """
    assert isinstance(key.curve, ec.SECP256R1), "ES256 knows P-256 only"
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureMismatch("an ES256 signature has 64 bytes")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, _VERIFY)
    except InvalidSignature:
        raise SignatureMismatch("the signature does not hold") from None
