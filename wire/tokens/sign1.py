"""COSE_Sign1 in our one profile: ES256 on P-256, everything that matters in the protected header.

Two layers, so that vectors by others can be held against the lower one:

* the envelope of RFC 9052, section 4.2: tag 18 and four fields, strictly canonical;
* the profile: protected header exactly {1: algorithm, 4: key id, 16: type}, nothing unprotected.

The type (RFC 9596) keeps one kind of token from being taken for another. The algorithm is pinned, never
negotiated: the two spellings accepted, ESP256 and its older name ES256, mean the same key and curve.

ECDSA is malleable: (r, n-s) of a valid signature is valid too. One token therefore has two byte
spellings, and its single use must never be keyed on its bytes or a hash of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from wire import es256
from wire.errors import EncodingError, TokenError
from wire.tokens.cbor import dump_cbor, expect_array, expect_bytes, expect_map, parse_cbor

QR_TOKEN_TYPE: Final = 65001
NFC_TOKEN_TYPE: Final = 65002
CREDENTIAL_TYPE: Final = 65003
OFFLINE_RECORD_TYPE: Final = 65004
STATUS_LIST_TYPE: Final = 65005
BOUND_TOKEN_TYPE: Final = 65006
"""CoAP content formats of the experimental range, in COSE header 16 (protocol section 1.1)."""

TOKEN_BYTES_MAX: Final = 1024

_PAYMENT_TOKEN_TYPES: Final = frozenset({QR_TOKEN_TYPE, NFC_TOKEN_TYPE})
_TAG_18: Final = b"\xd2"
_ALGORITHM: Final = 1
_KEY_ID: Final = 4
_TYPE: Final = 16
_ESP256: Final = -9
"""ECDSA on P-256 with SHA-256 by its fully specified name (RFC 9864); what we sign with."""
_ES256: Final = -7
"""The same by its older name, which RFC 9864 deprecates; older wallets still write it."""

# The one canonical spelling of a token of our profile up to its payload, whose length is one byte: tag 18,
# an array of four, the protected header {1: -9 or -7, 4: key id, 16: 65001 or 65002} of 17 bytes, nothing
# unprotected. Whatever has this form is read here at a tenth of the cost; all else takes the long way.
_SHORT_FORM: Final = re.compile(
    rb"\xd2\x84\x51(\xa3\x01[\x26\x28]\x04\x48(.{8})\x10\x19(\xfd[\xe9\xea]))\xa0\x58([\x18-\xff])", re.DOTALL
)
_SIGNATURE_HEAD: Final = b"\x58\x40"
_SIG_STRUCTURE_HEAD: Final = b"\x84\x6aSignature1"
_NO_EXTERNAL_DATA: Final = b"\x40"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The four fields of a COSE_Sign1, not yet held to our profile; nothing of it is verified."""

    protected: bytes
    unprotected: dict[int, object]
    payload: bytes
    signature: bytes


class Sign1(msgspec.Struct, frozen=True):
    """A token of our profile whose signature is still to be verified; trust nothing in it yet."""

    key_id: bytes
    """Eight bytes: which key to verify with."""
    token_type: int
    protected: bytes
    payload: bytes
    signature: bytes


def parse_sign1(data: bytes) -> Sign1:
    """Read a payment token as far as its key id, type and signature; the payload stays bytes.

    What an issuer or a terminal signs is no payment token and is refused here; `parse_sign1_of` reads it.

    Raises:
        TokenError: `token_invalid`; not the envelope, or not our profile.
    """
    return _parse_short_form(data) or _parse_any_form(data, _PAYMENT_TOKEN_TYPES, TOKEN_BYTES_MAX)


def parse_sign1_of(data: bytes, token_type: int, *, bytes_max: int = TOKEN_BYTES_MAX) -> Sign1:
    """Read what must be of this one type, as far as its key id and signature; the payload stays bytes.

    Args:
        data: the whole token.
        token_type: one of the types above; every other one is refused before anything is verified.
        bytes_max: the longest token of this type.

    Raises:
        TokenError: `token_invalid`; not the envelope, not our profile, or another type.
    """
    return _parse_any_form(data, frozenset({token_type}), bytes_max)


def seal_sign1(payload: bytes, token_type: int, private_key: es256.PrivateKey) -> bytes:
    """Sign a payload as a token of this type; the same input gives the same bytes (RFC 6979)."""
    key_id = es256.key_id_of(private_key.public_key())
    protected = dump_cbor({_ALGORITHM: _ESP256, _KEY_ID: key_id, _TYPE: token_type})
    signature = es256.sign(private_key, dump_sig_structure(protected, payload))
    return _TAG_18 + dump_cbor([protected, {}, payload, signature])


def verify_sign1(token: Sign1, public_key: es256.PublicKey) -> bytes:
    """Return the payload if the key of `token.key_id` signed it; the very bytes that were received.

    Raises:
        TokenError: `token_invalid`; the signature does not hold.
    """
    try:
        es256.verify(public_key, token.signature, dump_sig_structure(token.protected, token.payload))
    except es256.SignatureMismatch:
        raise TokenError("the signature does not hold") from None
    return token.payload


def parse_envelope(data: bytes, *, bytes_max: int = TOKEN_BYTES_MAX) -> Envelope:
    """Read the four fields of a tagged COSE_Sign1.

    Raises:
        TokenError: `token_invalid`; longer than `bytes_max`, another tag or none, not canonical, or
            a field of the wrong kind.
    """
    if len(data) > bytes_max:
        raise TokenError(f"a token has at most {bytes_max} bytes")
    if data[:1] != _TAG_18:
        raise TokenError("a token begins with CBOR tag 18")
    try:
        protected, unprotected, payload, signature = expect_array(
            parse_cbor(data[1:], bytes_max=bytes_max), 4
        )
    except EncodingError as error:
        raise TokenError(str(error)) from None
    if not isinstance(unprotected, dict):
        raise TokenError("the unprotected header is no map")
    if not (isinstance(protected, bytes) and isinstance(payload, bytes) and isinstance(signature, bytes)):
        raise TokenError("protected header, payload and signature are byte strings")
    return Envelope(protected, unprotected, payload, signature)


def dump_sig_structure(protected: bytes, payload: bytes) -> bytes:
    """Write what is signed: RFC 9052, section 4.4, without external data."""
    return b"".join(
        (
            _SIG_STRUCTURE_HEAD,
            _dump_byte_string_head(protected),
            protected,
            _NO_EXTERNAL_DATA,
            _dump_byte_string_head(payload),
            payload,
        )
    )


def _parse_short_form(data: bytes) -> Sign1 | None:
    """Return a token whose bytes are of the short form from end to end; None if they are not."""
    head = _SHORT_FORM.match(data)
    if head is None:
        return None
    protected, key_id, token_type, payload_length = head.groups()
    start = head.end()
    end = start + payload_length[0]
    if len(data) != end + len(_SIGNATURE_HEAD) + es256.SIGNATURE_BYTES or len(data) > TOKEN_BYTES_MAX:
        return None
    if data[end : end + len(_SIGNATURE_HEAD)] != _SIGNATURE_HEAD:
        return None
    return Sign1(
        key_id,
        int.from_bytes(token_type, "big"),
        protected,
        data[start:end],
        data[end + len(_SIGNATURE_HEAD) :],
    )


def _parse_any_form(data: bytes, token_types: frozenset[int], bytes_max: int) -> Sign1:
    envelope = parse_envelope(data, bytes_max=bytes_max)
    if envelope.unprotected:
        raise TokenError("the unprotected header is not empty")
    if len(envelope.signature) != es256.SIGNATURE_BYTES:
        raise TokenError(f"the signature has not {es256.SIGNATURE_BYTES} bytes")
    key_id, token_type = _parse_protected(envelope.protected, token_types)
    return Sign1(key_id, token_type, envelope.protected, envelope.payload, envelope.signature)


def _dump_byte_string_head(data: bytes) -> bytes:
    """Write the shortest CBOR head of a byte string; a token's parts are far below 64 KiB."""
    length = len(data)
    assert length < 1 << 16, "no part of a token is that long"
    if length < 24:
        return bytes((0x40 | length,))
    if length < 256:
        return bytes((0x58, length))
    return b"\x59" + length.to_bytes(2, "big")


def _parse_protected(protected: bytes, token_types: frozenset[int]) -> tuple[bytes, int]:
    try:
        header = expect_map(parse_cbor(protected), (_ALGORITHM, _KEY_ID, _TYPE))
        key_id = expect_bytes(header[_KEY_ID], es256.KEY_ID_BYTES)
    except EncodingError as error:
        raise TokenError(f"protected header: {error}") from None
    if header[_ALGORITHM] not in (_ESP256, _ES256):
        raise TokenError("the algorithm is not ES256")
    token_type = header[_TYPE]
    if not isinstance(token_type, int) or token_type not in token_types:
        raise TokenError("this is no type of token that has a place here")
    return key_id, token_type
