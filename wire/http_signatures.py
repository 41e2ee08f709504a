"""Signed requests of terminals and devices: RFC 9421 in one fixed profile.

One label, one covered set with a body and one without, one order of parameters, SHA-256 Content-Digest
(RFC 9530). A general parser costs five times as much as the one expression here (protocol section 6) and
leaves choices that a sender could use against us; tests hold this profile against a general library in both
directions.

    Signature-Input: sig1=("@method" "@target-uri" "content-digest" "content-type" "idempotency-key")
        ;created=1767225600;keyid="a1b2c3d4e5f60718";nonce="…";tag="tapscan-terminal"   (one line)
    Signature: sig1=:base64 of 64 bytes:

The tag alone says how it is signed, so a request can't choose: keys of terminals and devices sign by ES256
with raw r and s, and are named by 16 hexadecimal digits; session keys (wire/request_sessions.py) sign by
HMAC-SHA-256, 32 bytes, and are named by their session's id in base64url.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Final

import msgspec

from wire import es256
from wire.errors import IdError, SignatureError
from wire.ids import check_ulid
from wire.request_sessions import SESSION_ID_BYTES_MAX, SESSION_ID_BYTES_MIN, RequestSession

CREATED_WINDOW_MS: Final = 300_000
"""How far a signature's time may lie from ours, either way."""
CREATED_S_MAX: Final = 999_999_999_999
NONCE_CHARS_MIN: Final = 16
NONCE_CHARS_MAX: Final = 64
TARGET_URI_CHARS_MAX: Final = 2_048
CONTENT_TYPE_CHARS_MAX: Final = 128
SIGNED_CONTENT_TYPE: Final = "application/json"

_COVERED: Final = '("@method" "@target-uri")'
_COVERED_WITH_BODY: Final = '("@method" "@target-uri" "content-digest" "content-type" "idempotency-key")'
_BODY_FIELDS: Final = ("content-digest", "content-type", "idempotency-key")
_SIGNED_FIELDS: Final = frozenset({"signature-input", "signature", *_BODY_FIELDS})
_NONCE_FORM: Final = rf"[A-Za-z0-9_-]{{{NONCE_CHARS_MIN},{NONCE_CHARS_MAX}}}"
_KEY_ID_CHARS: Final = 2 * es256.KEY_ID_BYTES
_SIGNER_CHARS_MAX: Final = -(-SESSION_ID_BYTES_MAX * 4 // 3)
_INPUT: Final = re.compile(
    rf"sig1=(?P<params>(?P<covered>{re.escape(_COVERED)}|{re.escape(_COVERED_WITH_BODY)})"
    r";created=(?P<created>0|[1-9][0-9]{0,11})"
    rf';keyid="(?P<keyid>[A-Za-z0-9_-]{{{_KEY_ID_CHARS},{_SIGNER_CHARS_MAX}}})"'
    rf';nonce="(?P<nonce>{_NONCE_FORM})"'
    r';tag="(?P<tag>[a-z-]{1,32})")',
    re.ASCII,
)
_KEY_ID: Final = re.compile(rf"[0-9a-f]{{{_KEY_ID_CHARS}}}", re.ASCII)
# 64 bytes leave four unused bits in the last character, 32 bytes two: only spellings with those at zero
# count, so that one signature has one spelling.
_ES256_SIGNATURE: Final = re.compile(r"sig1=:([A-Za-z0-9+/]{85}[AQgw]==):", re.ASCII)
_HMAC_SIGNATURE: Final = re.compile(r"sig1=:([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=):", re.ASCII)
_METHOD: Final = re.compile(r"[A-Z]{1,16}", re.ASCII)
_TARGET_URI: Final = re.compile(rf"[\x21-\x7e]{{1,{TARGET_URI_CHARS_MAX}}}", re.ASCII)
_CONTENT_TYPE: Final = re.compile(
    rf"[\x21-\x7e](?:[\x20-\x7e]{{0,{CONTENT_TYPE_CHARS_MAX - 2}}}[\x21-\x7e])?"
)
_NONCE: Final = re.compile(_NONCE_FORM, re.ASCII)


class SignatureTag(StrEnum):
    """Whose key signed; a signature of one kind is never taken for one of the other."""

    TERMINAL = "tapscan-terminal"
    DEVICE = "tapscan-device"
    SESSION = "tapscan-session"
    """A key that a terminal and the gateway agreed on, in a request that the terminal's own key signed."""


_TAGS: Final = {tag.value: tag for tag in SignatureTag}


class SignedRequest(msgspec.Struct, frozen=True):
    """What a request claims, parsed but not yet verified: believe it after `verify_…_request`."""

    tag: SignatureTag
    key_id: bytes
    """Eight bytes; with the tag SESSION the session's id instead."""
    created_s: int
    nonce: str
    idempotency_key: str | None
    """None without a body, where it is not signed."""
    signature: bytes
    signature_base: bytes
    """The very bytes that were signed (RFC 9421 section 2.5)."""

    @property
    def is_in_session(self) -> bool:
        """Say whether a session's key is said to have signed."""
        return self.tag is SignatureTag.SESSION


def sign_request(
    *,
    method: str,
    target_uri: str,
    private_key: es256.PrivateKey,
    created_s: int,
    nonce: str,
    tag: SignatureTag,
    body: bytes = b"",
    idempotency_key: str | None = None,
) -> dict[str, str]:
    """Return the headers that make a request a signed one; send them unchanged.

    Args:
        method: upper case.
        target_uri: absolute, exactly as the gateway's configured public URL spells its beginning.
        created_s: unix seconds.
        nonce: 16 to 64 characters of base64url, never used before by this key.
        body: the raw bytes that will be sent; empty for none, and then neither `Content-Type` nor
            `Idempotency-Key` is made or signed.
        idempotency_key: a ULID; needed with a body.

    Raises:
        SignatureError: an argument the profile cannot carry.
    """
    assert tag is not SignatureTag.SESSION, "a session's key is no private key"
    key_name = es256.key_id_of(private_key.public_key()).hex()
    fields = _make_signed_body_fields(body, idempotency_key)
    params = _make_params(fields, created_s, key_name, nonce, tag)
    signature = es256.sign(private_key, _make_base(method, target_uri, fields, params))
    return _make_headers(fields, params, signature)


def sign_session_request(
    *,
    method: str,
    target_uri: str,
    session: RequestSession,
    created_s: int,
    nonce: str,
    body: bytes = b"",
    idempotency_key: str | None = None,
) -> dict[str, str]:
    """As `sign_request`, under the key of a session instead of the terminal's own."""
    fields = _make_signed_body_fields(body, idempotency_key)
    params = _make_params(
        fields, created_s, _dump_session_id(session.session_id), nonce, SignatureTag.SESSION
    )
    signature = _mac(session.key, _make_base(method, target_uri, fields, params))
    return _make_headers(fields, params, signature)


def parse_signed_request(
    *,
    method: str,
    target_uri: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    tags: Collection[SignatureTag],
) -> SignedRequest:
    """Read a request's signature and check its digest; the signature itself is not checked yet.

    Args:
        headers: every field line as a pair, repeated names included, in any case.
        body: the raw bytes received, before any decoding.
        tags: the kinds of key this request may be signed by.

    Raises:
        SignatureError: `signature_missing`, `digest_mismatch`, or `signature_invalid` for whatever is
            not of the profile, a signed field that comes twice included.
    """
    fields = _collect_signed_fields(headers)
    match = _INPUT.fullmatch(_require(fields, "signature-input"))
    signature_field = _require(fields, "signature")
    if match is None:
        raise SignatureError("the signature headers are not of the agreed form")
    tag = _TAGS.get(match["tag"])
    if tag is None or tag not in tags:
        raise SignatureError("the signature carries another tag")
    if match["covered"] != (_COVERED_WITH_BODY if body else _COVERED):
        raise SignatureError("the signature covers other parts than it must")
    if body:
        _check_body_fields(fields, body)
    is_session = tag is SignatureTag.SESSION
    return SignedRequest(
        tag=tag,
        key_id=_parse_session_id(match["keyid"]) if is_session else _parse_key_id(match["keyid"]),
        created_s=int(match["created"]),
        nonce=match["nonce"],
        idempotency_key=fields["idempotency-key"] if body else None,
        signature=_parse_signature(signature_field, _HMAC_SIGNATURE if is_session else _ES256_SIGNATURE),
        signature_base=_make_base(method, target_uri, fields if body else {}, match["params"]),
    )


def verify_signed_request(
    signed: SignedRequest, public_key: es256.PublicKey, *, now_ms: int, window_ms: int = CREATED_WINDOW_MS
) -> None:
    """Return if the request is fresh and this key signed it; whether its nonce is new is the caller's.

    Raises:
        SignatureError: `signature_expired` outside the window, else `signature_invalid`.
    """
    assert not signed.is_in_session, "the request names a key"
    _check_is_fresh(signed, now_ms, window_ms)
    try:
        es256.verify(public_key, signed.signature, signed.signature_base)
    except es256.SignatureMismatch:
        raise SignatureError("the signature does not hold") from None


def verify_session_request(
    signed: SignedRequest, key: bytes, *, now_ms: int, window_ms: int = CREATED_WINDOW_MS
) -> None:
    """As `verify_signed_request`, for a request that names a session; `key` is that session's."""
    assert signed.is_in_session, "the request names a session"
    _check_is_fresh(signed, now_ms, window_ms)
    if not hmac.compare_digest(_mac(key, signed.signature_base), signed.signature):
        raise SignatureError("the signature does not hold")


def dump_content_digest(body: bytes) -> str:
    """Return the Content-Digest field of a body (RFC 9530), SHA-256 only.

    >>> dump_content_digest(b"")
    'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:'
    """
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode('ascii')}:"


def _make_signed_body_fields(body: bytes, idempotency_key: str | None) -> dict[str, str]:
    if not body:
        return {}
    return {
        "content-digest": dump_content_digest(body),
        "content-type": SIGNED_CONTENT_TYPE,
        "idempotency-key": _check_idempotency_key(idempotency_key or ""),
    }


def _make_params(fields: dict[str, str], created_s: int, key_name: str, nonce: str, tag: SignatureTag) -> str:
    if _NONCE.fullmatch(nonce) is None:
        raise SignatureError("a nonce is 16 to 64 characters of base64url")
    if not 0 <= created_s <= CREATED_S_MAX:
        raise SignatureError("the time of a signature is unix seconds")
    covered = _COVERED_WITH_BODY if fields else _COVERED
    return f'{covered};created={created_s};keyid="{key_name}";nonce="{nonce}";tag="{tag}"'


def _make_headers(fields: dict[str, str], params: str, signature: bytes) -> dict[str, str]:
    return {
        **{name.title(): value for name, value in fields.items()},
        "Signature-Input": f"sig1={params}",
        "Signature": f"sig1=:{base64.b64encode(signature).decode('ascii')}:",
    }


def _mac(key: bytes, signature_base: bytes) -> bytes:
    return hmac.digest(key, signature_base, "sha256")


def _dump_session_id(session_id: bytes) -> str:
    return base64.urlsafe_b64encode(session_id).decode("ascii").rstrip("=")


def _parse_session_id(text: str) -> bytes:
    try:
        session_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise SignatureError("the keyid names no session") from None
    # One session, one spelling: what is left over of the last character is zero.
    if len(session_id) < SESSION_ID_BYTES_MIN or _dump_session_id(session_id) != text:
        raise SignatureError("the keyid names no session")
    return session_id


def _parse_key_id(text: str) -> bytes:
    if _KEY_ID.fullmatch(text) is None:
        raise SignatureError("the keyid is no key id")
    return bytes.fromhex(text)


def _parse_signature(field: str, form: re.Pattern[str]) -> bytes:
    match = form.fullmatch(field)
    if match is None:
        raise SignatureError("the signature headers are not of the agreed form")
    return base64.b64decode(match[1])


def _check_is_fresh(signed: SignedRequest, now_ms: int, window_ms: int) -> None:
    if abs(now_ms - signed.created_s * 1000) > window_ms:
        raise SignatureError("signed too long ago or ahead", code="signature_expired")


def _collect_signed_fields(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in _SIGNED_FIELDS:
            continue
        if lower in fields:
            # RFC 9421 would join the lines; two parsers could disagree on which of them counts.
            raise SignatureError("a signed field comes twice")
        fields[lower] = value
    return fields


def _require(fields: dict[str, str], name: str) -> str:
    try:
        return fields[name]
    except KeyError:
        raise SignatureError(f"there is no {name} field", code="signature_missing") from None


def _check_body_fields(fields: dict[str, str], body: bytes) -> None:
    if _require(fields, "content-digest") != dump_content_digest(body):
        raise SignatureError("the digest is not the body's", code="digest_mismatch")
    content_type = _require(fields, "content-type")
    if content_type != SIGNED_CONTENT_TYPE and _CONTENT_TYPE.fullmatch(content_type) is None:
        raise SignatureError("the content-type field can't be signed")
    _check_idempotency_key(_require(fields, "idempotency-key"))


def _check_idempotency_key(key: str) -> str:
    try:
        return check_ulid(key)
    except IdError:
        raise SignatureError("the idempotency-key field is no ULID") from None


def _make_base(method: str, target_uri: str, body_fields: dict[str, str], params: str) -> bytes:
    if _METHOD.fullmatch(method) is None or _TARGET_URI.fullmatch(target_uri) is None:
        raise SignatureError("the method or the address can't be signed")
    parts = f'"@method": {method}\n"@target-uri": {target_uri}\n'
    if body_fields:
        parts += (
            f'"content-digest": {body_fields["content-digest"]}\n'
            f'"content-type": {body_fields["content-type"]}\n'
            f'"idempotency-key": {body_fields["idempotency-key"]}\n'
        )
    return f'{parts}"@signature-params": {params}'.encode("ascii")
