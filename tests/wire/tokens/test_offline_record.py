"""A terminal's sealed record: complete, chained, and of a size that batches count with."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import IdError, TokenError
from wire.es256 import PrivateKey
from wire.ids import TIME_MS_MAX
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency
from wire.tokens.credential import CREDENTIAL_BYTES_MAX
from wire.tokens.offline_record import (
    FIRST_LINK,
    OFFLINE_RECORD_BYTES_MAX,
    OFFLINE_TOKEN_BYTES_MAX,
    ORDER_ID_CHARS_MAX,
    SEQUENCE_MAX,
    OfflineRecord,
    link_of,
    parse_offline_record,
    read_offline_record,
    seal_offline_record,
    verify_offline_record,
)
from wire.tokens.sign1 import OFFLINE_RECORD_TYPE, QR_TOKEN_TYPE, seal_sign1


def _verify(sealed: bytes, key: PrivateKey) -> OfflineRecord:
    return verify_offline_record(parse_offline_record(sealed), key.public_key())


def test_a_record_comes_back_as_it_was_sealed(offline_record: OfflineRecord, device_key: PrivateKey) -> None:
    sealed = seal_offline_record(offline_record, device_key)
    assert _verify(sealed, device_key) == offline_record
    assert read_offline_record(parse_offline_record(sealed)) == offline_record
    assert sealed == seal_offline_record(offline_record, device_key)


def test_the_fields_are_an_array_in_their_order(
    offline_record: OfflineRecord, device_key: PrivateKey
) -> None:
    payload = parse_offline_record(seal_offline_record(offline_record, device_key)).payload
    assert cbor2.loads(payload) == [
        1,
        bytes(32),
        bytes.fromhex("01563df3648100000000000000000000"),
        "order-17",
        1_250,
        978,
        1_784_000_000_250,
        1_783_999_000_000,
        1_783_998_000,
        offline_record.token,
        offline_record.credential,
    ]


def test_records_are_chained_by_the_hash_of_what_was_sealed(
    offline_record: OfflineRecord, device_key: PrivateKey
) -> None:
    first = seal_offline_record(offline_record, device_key)
    assert link_of(first) == hashlib.sha256(first).digest()
    second = replace(offline_record, sequence=2, previous_link=link_of(first))
    assert _verify(seal_offline_record(second, device_key), device_key).previous_link == link_of(first)
    assert bytes(32) == FIRST_LINK


def test_the_longest_record_keeps_the_bound_that_batches_count_with(
    offline_record: OfflineRecord, device_key: PrivateKey
) -> None:
    longest = OfflineRecord(
        sequence=SEQUENCE_MAX,
        previous_link=b"\xff" * 32,
        attempt_id=offline_record.attempt_id,
        order_id="~" * ORDER_ID_CHARS_MAX,
        amount=Money(AMOUNT_MINOR_MAX, find_currency("EUR")),
        accepted_ms=TIME_MS_MAX,
        clock_set_ms=TIME_MS_MAX,
        list_issued_s=(1 << 32) - 1,
        token=bytes(OFFLINE_TOKEN_BYTES_MAX),
        credential=bytes(CREDENTIAL_BYTES_MAX),
    )
    sealed = seal_offline_record(longest, device_key)
    assert len(sealed) <= OFFLINE_RECORD_BYTES_MAX
    assert _verify(sealed, device_key) == longest


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 0},
        {"sequence": SEQUENCE_MAX + 1},
        {"previous_link": bytes(31)},
        {"order_id": ""},
        {"order_id": "o" * 65},
        {"order_id": "two words"},
        {"order_id": "订单"},
        {"order_id": "order\n"},
        {"amount": Money(0, find_currency("EUR"))},
        {"accepted_ms": -1},
        {"clock_set_ms": TIME_MS_MAX + 1},
        {"list_issued_s": 1 << 32},
        {"token": b""},
        {"token": bytes(OFFLINE_TOKEN_BYTES_MAX + 1)},
        {"credential": bytes(CREDENTIAL_BYTES_MAX + 1)},
    ],
    ids=str,
)
def test_nothing_is_sealed_that_could_not_be_read(
    offline_record: OfflineRecord, device_key: PrivateKey, change: dict[str, object]
) -> None:
    with pytest.raises(TokenError):
        seal_offline_record(replace(offline_record, **change), device_key)


def test_an_attempt_without_an_id_is_not_sealed(
    offline_record: OfflineRecord, device_key: PrivateKey
) -> None:
    with pytest.raises(IdError):
        seal_offline_record(replace(offline_record, attempt_id="17"), device_key)


def test_another_terminals_seal_and_another_type_do_not_hold(
    offline_record: OfflineRecord, device_key: PrivateKey, other_key: PrivateKey
) -> None:
    sealed = seal_offline_record(offline_record, other_key)
    with pytest.raises(TokenError):
        _verify(sealed, device_key)
    with pytest.raises(TokenError):
        parse_offline_record(seal_sign1(parse_offline_record(sealed).payload, QR_TOKEN_TYPE, device_key))


@given(offset=st.integers(0, 530), patch=st.binary(min_size=1, max_size=4))
def test_no_patched_record_verifies(
    offline_record: OfflineRecord, device_key: PrivateKey, offset: int, patch: bytes
) -> None:
    sealed = seal_offline_record(offline_record, device_key)
    patched = sealed[:offset] + patch + sealed[offset + len(patch) :]
    if patched == sealed:
        return
    with pytest.raises(TokenError):
        _verify(patched, device_key)


@given(st.binary(max_size=300))
def test_any_signed_payload_gives_a_record_or_a_typed_error(device_key: PrivateKey, payload: bytes) -> None:
    with pytest.raises(TokenError):
        _verify(seal_sign1(payload, OFFLINE_RECORD_TYPE, device_key), device_key)


@given(st.lists(st.none() | st.integers() | st.binary(max_size=40) | st.text(max_size=8), max_size=12))
def test_any_signed_array_gives_a_record_or_a_typed_error(
    device_key: PrivateKey, fields: list[object]
) -> None:
    with pytest.raises(TokenError):
        _verify(seal_sign1(cbor2.dumps(fields, canonical=True), OFFLINE_RECORD_TYPE, device_key), device_key)
