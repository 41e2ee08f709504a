"""The bound token of a tap: its size, and that it signs the very bytes the terminal sent."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from wire.cards.payment_terms import PaymentTerms
from wire.errors import TokenError
from wire.es256 import PrivateKey
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency
from wire.tokens.nfc_token import COUNTER_MAX, NfcTokenClaims, mint_nfc_token, verify_nfc_token
from wire.tokens.sign1 import NFC_TOKEN_TYPE, QR_TOKEN_TYPE, parse_sign1, seal_sign1


def _verify(token: bytes, key: PrivateKey) -> NfcTokenClaims:
    return verify_nfc_token(parse_sign1(token), key.public_key())


@pytest.mark.parametrize("counter", [0, 1, 23, 24, 255, 256, COUNTER_MAX])
def test_a_bound_token_has_165_bytes_whatever_the_counter(
    terms: PaymentTerms, device_key: PrivateKey, counter: int
) -> None:
    """An applet signs from a template of one length (protocol section 3a)."""
    token = mint_nfc_token(terms.encode(), counter, bytes(4), device_key)
    assert len(token) == 165
    assert len(parse_sign1(token).payload) == 76


@given(
    minor=st.integers(1, AMOUNT_MINOR_MAX),
    nonce=st.binary(min_size=8, max_size=8),
    counter=st.integers(0, COUNTER_MAX),
    randomness=st.binary(min_size=4, max_size=4),
)
def test_verify_returns_the_terms_that_were_signed(
    device_key: PrivateKey, minor: int, nonce: bytes, counter: int, randomness: bytes
) -> None:
    terms = PaymentTerms(Money(minor, find_currency("CNY")), nonce, "0" * 15, "0" * 8, at_s=1_784_000_000)
    claims = _verify(mint_nfc_token(terms.encode(), counter, randomness, device_key), device_key)
    assert claims == NfcTokenClaims(counter, counter.to_bytes(4, "big") + randomness, terms)


@given(st.binary(max_size=120))
def test_any_signed_payload_gives_claims_or_a_typed_error(device_key: PrivateKey, payload: bytes) -> None:
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, NFC_TOKEN_TYPE, device_key), device_key)


@given(st.binary(min_size=50, max_size=50))
def test_any_signed_block_gives_terms_or_a_typed_error(device_key: PrivateKey, block: bytes) -> None:
    try:
        claims = _verify(mint_nfc_token(block, 1, bytes(4), device_key), device_key)
    except TokenError:
        return
    assert claims.terms.encode() == block


@given(offset=st.integers(0, 75), patch=st.binary(min_size=1, max_size=4))
def test_any_patched_claims_that_are_read_say_what_their_cbor_says(
    terms: PaymentTerms, device_key: PrivateKey, offset: int, patch: bytes
) -> None:
    payload = parse_sign1(mint_nfc_token(terms.encode(), 7, bytes(4), device_key)).payload
    patched = (payload[:offset] + patch + payload[offset + len(patch) :])[: len(payload)]
    try:
        claims = _verify(seal_sign1(patched, NFC_TOKEN_TYPE, device_key), device_key)
    except TokenError:
        return
    assert cbor2.loads(patched) == {
        7: claims.token_id,
        -65537: claims.terms.encode(),
        -65538: claims.counter.to_bytes(2, "big"),
    }
    assert cbor2.dumps(cbor2.loads(patched), canonical=True) == patched


def test_a_changed_amount_does_not_verify(terms: PaymentTerms, device_key: PrivateKey) -> None:
    token = mint_nfc_token(terms.encode(), 7, bytes(4), device_key)
    dearer = replace(terms, amount=Money(terms.amount.minor * 10, terms.amount.currency)).encode()
    tampered = token.replace(terms.encode(), dearer)
    assert tampered != token
    with pytest.raises(TokenError):
        _verify(tampered, device_key)


def test_good_claims_signed_as_another_type_are_never_a_tap(
    terms: PaymentTerms, device_key: PrivateKey
) -> None:
    """The type alone must hold the kinds apart, whatever a future kind's claims look like."""
    payload = parse_sign1(mint_nfc_token(terms.encode(), 7, bytes(4), device_key)).payload
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, QR_TOKEN_TYPE, device_key), device_key)


@pytest.mark.parametrize(
    ("block", "counter", "randomness"),
    [
        (bytes(49), 1, bytes(4)),
        (bytes(51), 1, bytes(4)),
        (bytes(50), -1, bytes(4)),
        (bytes(50), COUNTER_MAX + 1, bytes(4)),
        (bytes(50), 1, bytes(3)),
    ],
)
def test_mint_refuses_what_does_not_fit_its_place(
    device_key: PrivateKey, block: bytes, counter: int, randomness: bytes
) -> None:
    with pytest.raises(TokenError):
        mint_nfc_token(block, counter, randomness, device_key)


@pytest.mark.parametrize(
    "change",
    [
        {7: bytes.fromhex("0000000800000000")},  # another counter than -65538
        {7: bytes(7)},
        {-65538: 7},  # a number, which would change the token's length
        {-65538: b"\x07"},
        {-65537: bytes(49)},
        {4: 1_784_000_060},  # a claim more than agreed
    ],
    ids=str,
)
def test_signed_claims_of_another_shape_are_refused(
    terms: PaymentTerms, device_key: PrivateKey, change: dict[int, object]
) -> None:
    good: dict[int, object] = {
        7: bytes.fromhex("0000000700000000"),
        -65537: terms.encode(),
        -65538: bytes.fromhex("0007"),
    }
    assert _verify(seal_sign1(cbor2.dumps(good, canonical=True), NFC_TOKEN_TYPE, device_key), device_key)
    payload = cbor2.dumps({**good, **change}, canonical=True)
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, NFC_TOKEN_TYPE, device_key), device_key)


@pytest.mark.parametrize(("total", "size"), [(1, 171), (1_250, 173), (70_000, 175), (AMOUNT_MINOR_MAX, 179)])
def test_an_offline_token_says_what_was_spent_in_all(
    offline_terms: PaymentTerms, device_key: PrivateKey, total: int, size: int
) -> None:
    token = mint_nfc_token(offline_terms.encode(), 7, bytes(4), device_key, running_total_minor=total)
    assert _verify(token, device_key).running_total_minor == total
    assert len(token) == size


def test_the_claims_of_an_offline_token_are_those_agreed(
    offline_terms: PaymentTerms, device_key: PrivateKey
) -> None:
    token = mint_nfc_token(offline_terms.encode(), 7, b"rand", device_key, running_total_minor=2_750)
    assert cbor2.loads(parse_sign1(token).payload) == {
        7: bytes.fromhex("00000007") + b"rand",
        -65537: offline_terms.encode(),
        -65538: bytes.fromhex("0007"),
        -65539: 2_750,
    }


@pytest.mark.parametrize(
    ("is_offline", "total"),
    [(True, None), (False, 1_250), (True, 0), (True, -1), (True, AMOUNT_MINOR_MAX + 1)],
)
def test_no_token_is_minted_whose_total_does_not_fit_its_terms(
    terms: PaymentTerms,
    offline_terms: PaymentTerms,
    device_key: PrivateKey,
    is_offline: bool,
    total: int | None,
) -> None:
    block = (offline_terms if is_offline else terms).encode()
    with pytest.raises(TokenError):
        mint_nfc_token(block, 7, bytes(4), device_key, running_total_minor=total)


@pytest.mark.parametrize(
    ("is_offline", "claim"),
    [
        (True, {}),
        (False, {-65539: 1_250}),
        (True, {-65539: 0}),
        (True, {-65539: -5}),
        (True, {-65539: AMOUNT_MINOR_MAX + 1}),
        (True, {-65539: b"\x04\xe2"}),
        (True, {-65539: "1250"}),
        (True, {-65539: 1_250, -65540: 1}),
        (True, {-65539: True}),
    ],
    ids=str,
)
def test_a_signed_token_whose_total_does_not_fit_its_terms_is_refused(
    terms: PaymentTerms,
    offline_terms: PaymentTerms,
    device_key: PrivateKey,
    is_offline: bool,
    claim: dict[int, object],
) -> None:
    block = (offline_terms if is_offline else terms).encode()
    claims = {7: bytes.fromhex("0000000700000000"), -65537: block, -65538: bytes.fromhex("0007"), **claim}
    payload = cbor2.dumps(claims, canonical=True)
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, NFC_TOKEN_TYPE, device_key), device_key)
