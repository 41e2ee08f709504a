"""The unbound token of a phone: its size, its claims and its minute of life."""

from __future__ import annotations

from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import TokenError
from wire.es256 import PrivateKey
from wire.money import AMOUNT_MINOR_MAX, CURRENCIES, Money, find_currency
from wire.tokens.qr_token import (
    COUNTER_MAX,
    LEEWAY_MS,
    LIFE_S_MAX,
    QrTokenClaims,
    mint_qr_token,
    verify_qr_token,
)
from wire.tokens.sign1 import NFC_TOKEN_TYPE, QR_TOKEN_TYPE, parse_sign1, seal_sign1

_ISSUED_MS = 1_784_000_000_000
_EXPIRES_MS = 1_784_000_060_000


def _verify(
    token: bytes, key: PrivateKey, now_ms: int = _ISSUED_MS, leeway_ms: int = LEEWAY_MS
) -> QrTokenClaims:
    return verify_qr_token(parse_sign1(token), key.public_key(), now_ms=now_ms, leeway_ms=leeway_ms)


def test_an_unbound_token_has_127_bytes(claims: QrTokenClaims, device_key: PrivateKey) -> None:
    """Protocol section 0; a larger token would need a larger QR version."""
    assert len(mint_qr_token(claims, device_key)) == 127


@given(
    token_id=st.binary(min_size=8, max_size=8),
    issued_s=st.integers(0, (1 << 32) - 1 - LIFE_S_MAX),
    life_s=st.integers(1, LIFE_S_MAX),
    minor=st.integers(1, AMOUNT_MINOR_MAX),
    currency=st.sampled_from(sorted(CURRENCIES)),
    counter=st.integers(0, COUNTER_MAX),
)
def test_verify_returns_the_claims_that_were_minted(
    device_key: PrivateKey,
    token_id: bytes,
    issued_s: int,
    life_s: int,
    minor: int,
    currency: str,
    counter: int,
) -> None:
    claims = QrTokenClaims(
        token_id, issued_s, issued_s + life_s, Money(minor, find_currency(currency)), counter
    )
    assert _verify(mint_qr_token(claims, device_key), device_key, now_ms=issued_s * 1000) == claims


@given(st.binary(max_size=120))
def test_any_signed_payload_gives_claims_or_a_typed_error(device_key: PrivateKey, payload: bytes) -> None:
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, QR_TOKEN_TYPE, device_key), device_key)


@pytest.mark.parametrize(
    ("now_ms", "leeway_ms", "code"),
    [
        (_ISSUED_MS - LEEWAY_MS - 1, LEEWAY_MS, "token_not_yet_valid"),
        (_ISSUED_MS - LEEWAY_MS, LEEWAY_MS, None),
        (_ISSUED_MS - 1, 0, "token_not_yet_valid"),
        (_ISSUED_MS, 0, None),
        (_EXPIRES_MS - 1, 0, None),
        (_EXPIRES_MS, 0, "token_expired"),
        (_EXPIRES_MS + LEEWAY_MS - 1, LEEWAY_MS, None),
        (_EXPIRES_MS + LEEWAY_MS, LEEWAY_MS, "token_expired"),
    ],
)
def test_a_token_lives_from_issue_to_just_before_expiry(
    claims: QrTokenClaims, device_key: PrivateKey, now_ms: int, leeway_ms: int, code: str | None
) -> None:
    token = mint_qr_token(claims, device_key)
    if code is None:
        assert _verify(token, device_key, now_ms, leeway_ms) == claims
        return
    with pytest.raises(TokenError) as caught:
        _verify(token, device_key, now_ms, leeway_ms)
    assert caught.value.code == code


def test_the_default_leeway_is_thirty_seconds(claims: QrTokenClaims, device_key: PrivateKey) -> None:
    token = parse_sign1(mint_qr_token(claims, device_key))
    assert verify_qr_token(token, device_key.public_key(), now_ms=_EXPIRES_MS + 29_999)
    with pytest.raises(TokenError):
        verify_qr_token(token, device_key.public_key(), now_ms=_EXPIRES_MS + 30_000)


@pytest.mark.parametrize("life_s", [0, -1, LIFE_S_MAX + 1, 86_400])
def test_a_life_that_is_none_or_too_long_is_refused_at_any_time(
    claims: QrTokenClaims, device_key: PrivateKey, life_s: int
) -> None:
    token = mint_qr_token(replace(claims, expires_s=claims.issued_s + life_s), device_key)
    with pytest.raises(TokenError) as caught:
        _verify(token, device_key)
    assert caught.value.code == "token_invalid"


def test_the_longest_life_is_taken(claims: QrTokenClaims, device_key: PrivateKey) -> None:
    longest = replace(claims, expires_s=claims.issued_s + LIFE_S_MAX)
    assert _verify(mint_qr_token(longest, device_key), device_key) == longest


def test_a_forged_token_that_is_also_expired_is_invalid(
    claims: QrTokenClaims, device_key: PrivateKey, other_key: PrivateKey
) -> None:
    """ "Expired" would tell a forger that everything else about the token was right."""
    token = mint_qr_token(claims, other_key)
    with pytest.raises(TokenError) as caught:
        _verify(token, device_key, now_ms=_EXPIRES_MS * 2)
    assert caught.value.code == "token_invalid"


def test_good_claims_signed_as_another_type_are_never_a_qr_token(
    claims: QrTokenClaims, device_key: PrivateKey
) -> None:
    """The type alone must hold the kinds apart, whatever a future kind's claims look like."""
    payload = parse_sign1(mint_qr_token(claims, device_key)).payload
    with pytest.raises(TokenError) as caught:
        _verify(seal_sign1(payload, NFC_TOKEN_TYPE, device_key), device_key)
    assert caught.value.code == "token_invalid"


_GOOD: dict[int, object] = {4: 1_784_000_060, 6: 1_784_000_000, 7: bytes(8), -65537: [5_000, 978, 4_711]}


@pytest.mark.parametrize(
    "change",
    [
        {4: True},
        {4: 1_784_000_060.0},
        {4: -1},
        {4: 1 << 32},
        {6: "1784000000"},
        {7: bytes(7)},
        {7: "12345678"},
        {-65537: [5_000, 978]},
        {-65537: [5_000, 978, 4_711, 0]},
        {-65537: [0, 978, 4_711]},
        {-65537: [-1, 978, 4_711]},
        {-65537: [AMOUNT_MINOR_MAX + 1, 978, 4_711]},
        {-65537: [True, 978, 4_711]},
        {-65537: [5_000, 999, 4_711]},  # XXX: no currency
        {-65537: [5_000, 0, 4_711]},
        {-65537: [5_000, "EUR", 4_711]},
        {-65537: [5_000, 978, -1]},
        {-65537: [5_000, 978, COUNTER_MAX + 1]},
        {-65537: b"\x83"},
        {3: "merchant"},  # a claim more than agreed
    ],
    ids=str,
)
def test_signed_claims_of_another_shape_are_refused(
    device_key: PrivateKey, change: dict[int, object]
) -> None:
    payload = cbor2.dumps({**_GOOD, **change}, canonical=True)
    with pytest.raises(TokenError) as caught:
        _verify(seal_sign1(payload, QR_TOKEN_TYPE, device_key), device_key)
    assert caught.value.code == "token_invalid"


@pytest.mark.parametrize("absent", _GOOD)
def test_signed_claims_with_one_missing_are_refused(device_key: PrivateKey, absent: int) -> None:
    payload = cbor2.dumps({key: value for key, value in _GOOD.items() if key != absent}, canonical=True)
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, QR_TOKEN_TYPE, device_key), device_key)


def test_the_claims_these_tests_change_are_good(device_key: PrivateKey) -> None:
    payload = cbor2.dumps(_GOOD, canonical=True)
    assert _verify(seal_sign1(payload, QR_TOKEN_TYPE, device_key), device_key).counter == 4_711
