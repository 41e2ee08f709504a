"""Who is suspended: every bit in its place, and no list that unfolds beyond its bound."""

from __future__ import annotations

import random
import zlib

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import TokenError
from wire.es256 import PrivateKey
from wire.tokens.credential import STATUS_INDEX_MAX
from wire.tokens.sign1 import CREDENTIAL_TYPE, STATUS_LIST_TYPE, seal_sign1
from wire.tokens.status_list import (
    STATUS_BYTES_MAX,
    STATUS_LIST_BYTES_MAX,
    StatusList,
    make_status_list,
    mint_status_list,
    parse_status_list,
    verify_status_list,
)

ISSUER = ec.derive_private_key(0x155E, ec.SECP256R1())
ISSUED_S = 1_784_000_000


def _verify(data: bytes) -> StatusList:
    return verify_status_list(parse_status_list(data), ISSUER.public_key())


def _seal(compressed: object, **changes: object) -> bytes:
    claims: dict[object, object] = {6: ISSUED_S, 65533: {"bits": 1, "lst": compressed}, 65534: 900}
    claims.update({int(name): value for name, value in changes.items()})
    return seal_sign1(cbor2.dumps(claims, canonical=True), STATUS_LIST_TYPE, ISSUER)


def test_the_example_of_the_draft_is_read_bit_by_bit() -> None:
    """Sixteen statuses and their compressed bytes, from the draft's section 4.1."""
    statuses = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    compressed = bytes.fromhex("78dadbb918000217015d")
    status_list = _verify(_seal(compressed))
    assert status_list.bits == bytes.fromhex("b9a3")
    assert [status_list.is_suspended(index) for index in range(16)] == [bool(status) for status in statuses]
    short = StatusList(ISSUED_S, 900, bytes.fromhex("b9a3"))
    assert compressed in mint_status_list(short, ISSUER)


def test_an_index_beyond_the_end_counts_as_suspended() -> None:
    status_list = StatusList(ISSUED_S, 900, bytes(2))
    assert not status_list.is_suspended(15)
    assert status_list.is_suspended(16)
    assert status_list.is_suspended(STATUS_INDEX_MAX)


@given(st.sets(st.integers(0, STATUS_INDEX_MAX), max_size=50))
def test_exactly_the_named_are_suspended(suspended: set[int]) -> None:
    status_list = _verify(mint_status_list(make_status_list(ISSUED_S, 900, suspended), ISSUER))
    assert {index for index in range(STATUS_INDEX_MAX + 1) if status_list.is_suspended(index)} == suspended
    assert (status_list.issued_s, status_list.ttl_s) == (ISSUED_S, 900)


def test_a_list_that_can_not_be_compressed_keeps_its_bound() -> None:
    noise = StatusList(ISSUED_S, 900, random.Random(7).randbytes(STATUS_BYTES_MAX))
    data = mint_status_list(noise, ISSUER)
    assert len(data) <= STATUS_LIST_BYTES_MAX
    assert _verify(data) == noise
    assert len(mint_status_list(make_status_list(ISSUED_S, 900, ()), ISSUER)) < 200


@pytest.mark.parametrize(
    "compressed",
    [
        zlib.compress(bytes(STATUS_BYTES_MAX + 1)),
        zlib.compress(bytes(8_000_000), 9),  # a bomb: eight kilobytes that unfold to eight megabytes
        zlib.compress(b""),
        zlib.compress(bytes(64))[:-1],
        zlib.compress(bytes(64)) + b"\x00",
        zlib.compress(bytes(64)) + zlib.compress(bytes(64)),
        b"\x00" * 16,
        b"",
        "text",
        7,
    ],
    ids=lambda value: f"{type(value).__name__}-{len(value) if isinstance(value, bytes | str) else value}",
)
def test_a_signed_list_that_does_not_unfold_as_agreed_is_refused(compressed: object) -> None:
    with pytest.raises(TokenError):
        _verify(_seal(compressed))


@pytest.mark.parametrize(
    "changes",
    [
        {"65533": {"bits": 2, "lst": zlib.compress(bytes(4))}},
        {"65533": {"bits": True, "lst": zlib.compress(bytes(4))}},
        {"65533": {"lst": zlib.compress(bytes(4))}},
        {"65533": {1: 1, 2: zlib.compress(bytes(4))}},
        {"65534": 0},
        {"65534": 8 * 86_400},
        {"6": -1},
        {"2": "https://example.com/list"},
    ],
    ids=str,
)
def test_signed_claims_of_another_shape_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(TokenError):
        _verify(_seal(zlib.compress(bytes(4)), **changes))


def test_only_the_issuers_list_counts(other_key: PrivateKey) -> None:
    status_list = make_status_list(ISSUED_S, 900, ())
    with pytest.raises(TokenError):
        _verify(mint_status_list(status_list, other_key))
    payload = parse_status_list(mint_status_list(status_list, ISSUER)).payload
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, CREDENTIAL_TYPE, ISSUER))


@given(st.binary(max_size=300))
def test_any_bytes_give_a_typed_error(data: bytes) -> None:
    with pytest.raises(TokenError):
        _verify(data)
    with pytest.raises(TokenError):
        _verify(seal_sign1(data, STATUS_LIST_TYPE, ISSUER))
