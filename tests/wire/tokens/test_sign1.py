"""The envelope and our profile of it: what is a token at all."""

from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from wire import es256
from wire.errors import TokenError
from wire.tokens.sign1 import (
    CREDENTIAL_TYPE,
    NFC_TOKEN_TYPE,
    OFFLINE_RECORD_TYPE,
    QR_TOKEN_TYPE,
    STATUS_LIST_TYPE,
    TOKEN_BYTES_MAX,
    dump_sig_structure,
    parse_envelope,
    parse_sign1,
    parse_sign1_of,
    seal_sign1,
    verify_sign1,
)

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_KEY = ec.derive_private_key(0x7A95CA, ec.SECP256R1())
_KEY_ID = es256.key_id_of(_KEY.public_key())
_HEADER: dict[object, object] = {1: -9, 4: _KEY_ID, 16: QR_TOKEN_TYPE}


def _signed(
    header: object, *, unprotected: object = None, payload: bytes = b"claims", protected: bytes | None = None
) -> bytes:
    """A token whose signature is right, whatever its header says."""
    covered = cbor2.dumps(header, canonical=True) if protected is None else protected
    signature = es256.sign(_KEY, dump_sig_structure(covered, payload))
    return cbor2.dumps(cbor2.CBORTag(18, [covered, unprotected or {}, payload, signature]), canonical=True)


@given(st.binary(max_size=300))
def test_parse_sign1_gives_a_token_or_a_typed_error_for_any_bytes(data: bytes) -> None:
    with pytest.raises(TokenError):
        parse_sign1(data)


@given(st.integers(0, 120), st.binary(min_size=1, max_size=4))
def test_no_patched_token_verifies(offset: int, patch: bytes) -> None:
    token = seal_sign1(b"claims", QR_TOKEN_TYPE, _KEY)
    patched = token[:offset] + patch + token[offset + len(patch) :]
    if patched == token:
        return
    with pytest.raises(TokenError):
        verify_sign1(parse_sign1(patched), _KEY.public_key())


@pytest.mark.parametrize("payload_length", [0, 23, 24, 76, 255, 256])
def test_the_quick_reading_takes_nothing_that_the_strict_reading_refuses(payload_length: int) -> None:
    token = seal_sign1(bytes(payload_length), NFC_TOKEN_TYPE, _KEY)
    flipped = [
        token[:at] + bytes((token[at] ^ flip,)) + token[at + 1 :]
        for at in range(len(token))
        for flip in (0x01, 0x20, 0xFF)
    ]
    for patched in (token, *flipped, token[:-1], token + b"\x00"):
        try:
            read = parse_sign1(patched)
        except TokenError:
            continue
        strict = parse_envelope(patched)
        assert strict.unprotected == {}
        assert (strict.protected, strict.payload, strict.signature) == (
            read.protected,
            read.payload,
            read.signature,
        )
        header = cbor2.loads(read.protected)
        assert header[1] in (-9, -7)
        assert header == {1: header[1], 4: read.key_id, 16: read.token_type}


@given(st.binary(max_size=60), st.sampled_from([0, 23, 24, 255, 256, 700]))
def test_what_is_signed_is_the_sig_structure_of_rfc_9052(protected: bytes, payload_length: int) -> None:
    payload = bytes(payload_length)
    expected = cbor2.dumps(["Signature1", protected, b"", payload], canonical=True)
    assert dump_sig_structure(protected, payload) == expected


@given(st.binary(max_size=500), st.sampled_from([QR_TOKEN_TYPE, NFC_TOKEN_TYPE]))
def test_a_sealed_payload_comes_back_byte_for_byte(payload: bytes, token_type: int) -> None:
    token = parse_sign1(seal_sign1(payload, token_type, _KEY))
    assert verify_sign1(token, _KEY.public_key()) == payload
    assert (token.key_id, token.token_type) == (_KEY_ID, token_type)


def test_sealing_twice_gives_the_same_bytes() -> None:
    assert seal_sign1(b"claims", QR_TOKEN_TYPE, _KEY) == seal_sign1(b"claims", QR_TOKEN_TYPE, _KEY)


def test_the_older_name_of_the_algorithm_means_the_same_key() -> None:
    token = parse_sign1(_signed({**_HEADER, 1: -7}))
    assert verify_sign1(token, _KEY.public_key()) == b"claims"


@pytest.mark.parametrize(
    "header",
    [
        {**_HEADER, 1: -8},  # EdDSA
        {**_HEADER, 1: -19},  # Ed25519
        {**_HEADER, 1: -35},  # ES384
        {**_HEADER, 1: 5},  # HMAC: the public key must never become a shared secret
        {**_HEADER, 1: "ES256"},
        {**_HEADER, 4: _KEY_ID[:7]},
        {**_HEADER, 4: _KEY_ID + b"\x00"},
        {**_HEADER, 4: _KEY_ID.hex()},
        {**_HEADER, 16: 65000},
        {**_HEADER, 16: 65003},  # an issuer's credential is no payment token
        {**_HEADER, 16: "application/cwt"},
        {**_HEADER, 2: [16]},  # crit
        {**_HEADER, 3: 0},
        {1: -9, 4: _KEY_ID},
        {4: _KEY_ID, 16: QR_TOKEN_TYPE},
        {1: -9, 16: QR_TOKEN_TYPE},
        {},
        [1, -9, 4, _KEY_ID],
    ],
    ids=str,
)
def test_a_signed_token_with_another_protected_header_is_refused(header: object) -> None:
    with pytest.raises(TokenError):
        parse_sign1(_signed(header))


@pytest.mark.parametrize("unprotected", [{4: b"12345678"}, {1: -9}, {13: b"credential"}], ids=str)
def test_a_signed_token_with_anything_unprotected_is_refused(unprotected: object) -> None:
    with pytest.raises(TokenError):
        parse_sign1(_signed(_HEADER, unprotected=unprotected))


@pytest.mark.parametrize(
    "protected_hex",
    [
        "",
        "a0",
        f"a3012604481122334455667788{'10'}19fde900",  # trailing byte
        "a30126104819fde9044811223344556677",  # keys out of order, and cut
        f"bf0128{'0448'}11223344556677881019fde9ff",  # indefinite map
    ],
)
def test_a_signed_token_with_an_unclean_protected_header_is_refused(protected_hex: str) -> None:
    with pytest.raises(TokenError):
        parse_sign1(_signed({}, protected=bytes.fromhex(protected_hex)))


def test_a_token_in_another_or_no_tag_is_refused() -> None:
    token = seal_sign1(b"claims", QR_TOKEN_TYPE, _KEY)
    for hostile in (token[1:], b"\xd1" + token[1:], b"\xd8\x12" + token[1:], b"\xd2" + token, b""):
        with pytest.raises(TokenError):
            parse_sign1(hostile)


def test_a_token_with_trailing_bytes_is_refused() -> None:
    with pytest.raises(TokenError):
        parse_sign1(seal_sign1(b"claims", QR_TOKEN_TYPE, _KEY) + b"\x00")


def test_a_token_longer_than_the_bound_is_refused() -> None:
    longest = seal_sign1(bytes(TOKEN_BYTES_MAX - 90), QR_TOKEN_TYPE, _KEY)
    assert len(longest) == TOKEN_BYTES_MAX
    assert parse_sign1(longest)
    with pytest.raises(TokenError):
        parse_sign1(seal_sign1(bytes(TOKEN_BYTES_MAX - 89), QR_TOKEN_TYPE, _KEY))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(65), bytes(96)], ids=len)
def test_a_signature_of_another_length_is_refused(signature: bytes) -> None:
    fields = [cbor2.dumps(_HEADER, canonical=True), {}, b"claims", signature]
    with pytest.raises(TokenError):
        parse_sign1(cbor2.dumps(cbor2.CBORTag(18, fields)))


@pytest.mark.parametrize(
    "fields",
    [
        [b"", {}, b""],
        [b"", {}, b"", bytes(64), b""],
        ["", {}, b"", bytes(64)],
        [b"", [], b"", bytes(64)],
        [b"", {}, None, bytes(64)],  # a detached payload
        [b"", {}, b"", "x" * 64],
    ],
)
def test_an_envelope_with_fields_of_another_kind_is_refused(fields: list[object]) -> None:
    with pytest.raises(TokenError):
        parse_sign1(cbor2.dumps(cbor2.CBORTag(18, fields)))


@pytest.mark.parametrize(
    "signature", [bytes(64), b"\xff" * 64, bytes(32) + b"\x01" * 32], ids=lambda raw: raw[:1].hex()
)
def test_a_signature_outside_the_curve_order_does_not_hold(signature: bytes) -> None:
    fields = [cbor2.dumps(_HEADER, canonical=True), {}, b"claims", signature]
    token = parse_sign1(cbor2.dumps(cbor2.CBORTag(18, fields)))
    with pytest.raises(TokenError):
        verify_sign1(token, _KEY.public_key())


def test_another_key_verifies_nothing(other_key: es256.PrivateKey) -> None:
    token = parse_sign1(seal_sign1(b"claims", QR_TOKEN_TYPE, _KEY))
    with pytest.raises(TokenError):
        verify_sign1(token, other_key.public_key())


def test_one_token_has_two_valid_spellings_so_single_use_is_never_keyed_on_bytes() -> None:
    """(r, n-s) verifies like (r, s): whoever keys single use on the bytes pays twice.

    What both spellings share is the key id and the signed payload with its counter; single use is keyed
    on those.
    """
    token = seal_sign1(b"claims", QR_TOKEN_TYPE, _KEY)
    s = int.from_bytes(token[-32:], "big")
    twin = token[:-32] + (_P256_ORDER - s).to_bytes(32, "big")

    first, second = parse_sign1(token), parse_sign1(twin)

    assert token != twin
    assert verify_sign1(first, _KEY.public_key()) == verify_sign1(second, _KEY.public_key())
    assert first.key_id == second.key_id


def test_errors_do_not_carry_the_token() -> None:
    secret = b"SECRETSECRET"
    for hostile in (secret, b"\xd2\x84" + secret, _signed({**_HEADER, 3: secret}), _signed(_HEADER) + secret):
        with pytest.raises(TokenError) as caught:
            parse_sign1(hostile)
        assert "SECRET" not in str(caught.value)
        assert secret.hex() not in str(caught.value)


_TYPES = (QR_TOKEN_TYPE, NFC_TOKEN_TYPE, CREDENTIAL_TYPE, OFFLINE_RECORD_TYPE, STATUS_LIST_TYPE)


@pytest.mark.parametrize("sealed_as", _TYPES)
@pytest.mark.parametrize("asked_for", _TYPES)
def test_a_token_is_read_as_its_own_type_and_as_no_other(sealed_as: int, asked_for: int) -> None:
    token = seal_sign1(b"claims", sealed_as, _KEY)
    if sealed_as == asked_for:
        assert parse_sign1_of(token, asked_for).token_type == sealed_as
        return
    with pytest.raises(TokenError):
        parse_sign1_of(token, asked_for)


@pytest.mark.parametrize("token_type", _TYPES)
@pytest.mark.parametrize("payload_length", [6, 76, 300])
def test_only_payment_tokens_pass_the_door_of_payments(token_type: int, payload_length: int) -> None:
    token = seal_sign1(bytes(payload_length), token_type, _KEY)
    if token_type in (QR_TOKEN_TYPE, NFC_TOKEN_TYPE):
        assert parse_sign1(token).token_type == token_type
        return
    with pytest.raises(TokenError):
        parse_sign1(token)


def test_each_type_has_the_bound_it_is_asked_for_with() -> None:
    token = seal_sign1(bytes(2_000), STATUS_LIST_TYPE, _KEY)
    assert verify_sign1(parse_sign1_of(token, STATUS_LIST_TYPE, bytes_max=len(token)), _KEY.public_key())
    with pytest.raises(TokenError):
        parse_sign1_of(token, STATUS_LIST_TYPE, bytes_max=len(token) - 1)
    with pytest.raises(TokenError):
        parse_sign1_of(token, STATUS_LIST_TYPE)
