"""The token with which a phone pays a till's code: bound to merchant, attempt and amount, for a minute."""

from __future__ import annotations

from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import TokenError
from wire.es256 import PrivateKey
from wire.ids import make_ulid
from wire.money import AMOUNT_MINOR_MAX, CURRENCIES, Money, find_currency
from wire.tokens.bound_token import (
    COUNTER_MAX,
    LEEWAY_MS,
    LIFE_S_MAX,
    BoundTokenClaims,
    check_bound_time,
    mint_bound_token,
    parse_bound_token,
    verify_bound_token,
)
from wire.tokens.sign1 import BOUND_TOKEN_TYPE, NFC_TOKEN_TYPE, QR_TOKEN_TYPE, parse_sign1, seal_sign1

ISSUED_S = 1_784_000_000
CLAIMS = BoundTokenClaims(
    token_id=bytes(8),
    issued_s=ISSUED_S,
    expires_s=ISSUED_S + 60,
    merchant_id="MERCHANT0000001",
    attempt_id="01ARYZ6S410000000000000000",
    amount=Money(1_250, find_currency("EUR")),
    counter=7,
)


def _verify(token: bytes, key: PrivateKey) -> BoundTokenClaims:
    return verify_bound_token(parse_bound_token(token), key.public_key())


@given(
    times=st.tuples(st.integers(0, (1 << 32) - 400), st.integers(1, LIFE_S_MAX)),
    minor=st.integers(1, AMOUNT_MINOR_MAX),
    currency=st.sampled_from(sorted(CURRENCIES)),
    counter=st.integers(0, COUNTER_MAX),
    entropy=st.binary(min_size=10, max_size=10),
)
def test_verify_returns_the_claims_that_were_minted(
    device_key: PrivateKey,
    times: tuple[int, int],
    minor: int,
    currency: str,
    counter: int,
    entropy: bytes,
) -> None:
    claims = replace(
        CLAIMS,
        issued_s=times[0],
        expires_s=sum(times),
        amount=Money(minor, find_currency(currency)),
        counter=counter,
        attempt_id=make_ulid(times[0], entropy),
    )
    assert _verify(mint_bound_token(claims, device_key), device_key) == claims


def test_another_key_signed_nothing_of_ours(device_key: PrivateKey, other_key: PrivateKey) -> None:
    with pytest.raises(TokenError) as caught:
        _verify(mint_bound_token(CLAIMS, other_key), device_key)
    assert caught.value.code == "token_invalid"


@pytest.mark.parametrize("token_type", [QR_TOKEN_TYPE, NFC_TOKEN_TYPE])
def test_the_same_claims_as_another_type_are_never_a_bound_token(
    device_key: PrivateKey, token_type: int
) -> None:
    payload = parse_bound_token(mint_bound_token(CLAIMS, device_key)).payload
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, token_type, device_key), device_key)


def test_a_bound_token_is_nothing_that_a_till_could_have_scanned(device_key: PrivateKey) -> None:
    with pytest.raises(TokenError):
        parse_sign1(mint_bound_token(CLAIMS, device_key))


@pytest.mark.parametrize(
    ("now_s", "code"),
    [
        (ISSUED_S - LEEWAY_MS // 1000 - 1, "token_not_yet_valid"),
        (ISSUED_S - LEEWAY_MS // 1000, None),
        (ISSUED_S + 60 + LEEWAY_MS // 1000 - 1, None),
        (ISSUED_S + 60 + LEEWAY_MS // 1000, "token_expired"),
    ],
)
def test_its_time_is_its_minute_and_a_leeway(now_s: int, code: str | None) -> None:
    if code is None:
        check_bound_time(CLAIMS, now_ms=now_s * 1000)
        return
    with pytest.raises(TokenError) as caught:
        check_bound_time(CLAIMS, now_ms=now_s * 1000)
    assert caught.value.code == code


@pytest.mark.parametrize("life_s", [0, -1, LIFE_S_MAX + 1])
def test_a_life_that_is_none_or_too_long_is_refused_at_any_time(life_s: int) -> None:
    with pytest.raises(TokenError) as caught:
        check_bound_time(replace(CLAIMS, expires_s=ISSUED_S + life_s), now_ms=ISSUED_S * 1000)
    assert caught.value.code == "token_invalid"


_GOOD: dict[int, object] = {
    3: b"MERCHANT0000001",
    4: ISSUED_S + 60,
    6: ISSUED_S,
    7: bytes(8),
    10: bytes(16),
    -65537: [1_250, 978, 7],
}


@pytest.mark.parametrize(
    "change",
    [
        {3: "MERCHANT0000001"},
        {3: b"MERCHANT000000"},
        {3: b"merchant0000001"},
        {4: True},
        {6: -1},
        {7: bytes(7)},
        {10: bytes(15)},
        {-65537: [0, 978, 7]},
        {-65537: [AMOUNT_MINOR_MAX + 1, 978, 7]},
        {-65537: [1_250, 999, 7]},
        {-65537: [1_250, 978]},
        {-65537: [1_250, 978, COUNTER_MAX + 1]},
        {1: b"issuer"},
    ],
    ids=str,
)
def test_signed_claims_of_another_shape_are_refused(
    device_key: PrivateKey, change: dict[int, object]
) -> None:
    payload = cbor2.dumps({**_GOOD, **change}, canonical=True)
    with pytest.raises(TokenError) as caught:
        _verify(seal_sign1(payload, BOUND_TOKEN_TYPE, device_key), device_key)
    assert caught.value.code == "token_invalid"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_never_break(data: bytes) -> None:
    with pytest.raises(TokenError):
        parse_bound_token(data)
