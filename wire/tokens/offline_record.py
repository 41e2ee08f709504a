"""A payment that a terminal accepted while nobody could be asked, sealed by the terminal.

A COSE_Sign1 of type 65004 by the terminal's own key. Records are numbered from 1 and each holds the SHA-256
of the sealed bytes before it, so that none can be left out, put between or changed later without whoever
reads them seeing it. The seal also says what the terminal knew when it accepted: when the gateway last set
its clock, and how old its status list was. The payload is an array of eleven, in the order of
`OfflineRecord`'s fields; about 520 bytes in all.

ECDSA is malleable (wire/tokens/sign1.py), so a record has two spellings with two links. The terminal keeps
and uploads the one it sealed; the gateway keeps the first one it got.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from wire import es256
from wire.errors import EncodingError, IdError, MoneyError, TokenError
from wire.ids import TIME_MS_MAX, ulid_from_bytes, ulid_to_bytes
from wire.money import AMOUNT_MINOR_MAX, Money, find_currency_by_numeric
from wire.tokens.cbor import (
    dump_cbor,
    expect_array,
    expect_bytes,
    expect_bytes_up_to,
    expect_int,
    expect_text,
    parse_cbor,
)
from wire.tokens.credential import CREDENTIAL_BYTES_MAX
from wire.tokens.sign1 import OFFLINE_RECORD_TYPE, Sign1, parse_sign1_of, seal_sign1, verify_sign1

OFFLINE_RECORD_BYTES_MAX: Final = 704
"""Longest record; the batch of an upload is counted with it (wire/messages/offline.py)."""
OFFLINE_TOKEN_BYTES_MAX: Final = 192
"""Longest token of a tap with a running total; it has 170 to 179 bytes."""
SEQUENCE_MAX: Final = (1 << 32) - 1
LINK_BYTES: Final = 32
FIRST_LINK: Final = bytes(LINK_BYTES)
"""What the record numbered 1 holds in place of the seal before it."""
ORDER_ID_CHARS_MAX: Final = 64

_ATTEMPT_ID_BYTES: Final = 16
_TIME_S_MAX: Final = (1 << 32) - 1
_CURRENCY_NUMERIC_MAX: Final = 999
_FIELD_COUNT: Final = 11
_ORDER_ID: Final = re.compile(rf"[\x21-\x7e]{{1,{ORDER_ID_CHARS_MAX}}}")
"""As in the messages of payments: visible ASCII."""


@dataclass(frozen=True, slots=True)
class OfflineRecord:
    """One accepted payment and what its terminal knew."""

    sequence: int
    """1 to SEQUENCE_MAX, one higher than the record before it."""
    previous_link: bytes
    """`link_of` the record before it; FIRST_LINK at sequence 1."""
    attempt_id: str
    """A ULID: the payment's identity, offline and online."""
    order_id: str
    amount: Money
    accepted_ms: int
    """Unix milliseconds by the terminal's clock."""
    clock_set_ms: int
    """Unix milliseconds: when the gateway last confirmed or set that clock."""
    list_issued_s: int
    """Unix seconds: the issue of the status list that was looked at."""
    token: bytes
    """The tap's token, whole."""
    credential: bytes
    """The device's credential, whole."""


def seal_offline_record(record: OfflineRecord, terminal_key: es256.PrivateKey) -> bytes:
    """Seal a record; the same input gives the same bytes.

    Raises:
        IdError: the attempt id is no ULID.
        TokenError: `token_invalid`; a field does not fit its place.
    """
    payload = dump_cbor(
        [
            record.sequence,
            record.previous_link,
            ulid_to_bytes(record.attempt_id),
            record.order_id,
            record.amount.minor,
            record.amount.currency.numeric,
            record.accepted_ms,
            record.clock_set_ms,
            record.list_issued_s,
            record.token,
            record.credential,
        ]
    )
    # Read back at once: what could not be read later must not be sealed, let alone accepted.
    _parse_record(payload)
    return seal_sign1(payload, OFFLINE_RECORD_TYPE, terminal_key)


def link_of(sealed: bytes) -> bytes:
    """Return what the next record holds of this one: the SHA-256 of its sealed bytes."""
    return hashlib.sha256(sealed).digest()


def parse_offline_record(sealed: bytes) -> Sign1:
    """Read a sealed record as far as its terminal's key id and signature.

    Raises:
        TokenError: `token_invalid`; longer than OFFLINE_RECORD_BYTES_MAX, not our profile, another type.
    """
    return parse_sign1_of(sealed, OFFLINE_RECORD_TYPE, bytes_max=OFFLINE_RECORD_BYTES_MAX)


def verify_offline_record(sealed: Sign1, terminal_key: es256.PublicKey) -> OfflineRecord:
    """Return the record if the terminal sealed it; token, credential, chain and rules are not judged here.

    Raises:
        TokenError: `token_invalid`.
    """
    if sealed.token_type != OFFLINE_RECORD_TYPE:
        raise TokenError("this is no offline record")
    return _parse_record(verify_sign1(sealed, terminal_key))


def read_offline_record(sealed: Sign1) -> OfflineRecord:
    """Return a record whose seal nobody has verified; it proves nothing.

    Raises:
        TokenError: `token_invalid`; another type of token, or fields that do not parse.
    """
    if sealed.token_type != OFFLINE_RECORD_TYPE:
        raise TokenError("this is no offline record")
    return _parse_record(sealed.payload)


def _parse_record(payload: bytes) -> OfflineRecord:
    try:
        (
            sequence,
            previous_link,
            attempt_id,
            order_id,
            minor,
            currency_numeric,
            accepted_ms,
            clock_set_ms,
            list_issued_s,
            token,
            credential,
        ) = expect_array(parse_cbor(payload), _FIELD_COUNT)
        currency = find_currency_by_numeric(expect_int(currency_numeric, 1, _CURRENCY_NUMERIC_MAX))
        return OfflineRecord(
            sequence=expect_int(sequence, 1, SEQUENCE_MAX),
            previous_link=expect_bytes(previous_link, LINK_BYTES),
            attempt_id=ulid_from_bytes(expect_bytes(attempt_id, _ATTEMPT_ID_BYTES)),
            order_id=_check_order_id(expect_text(order_id, ORDER_ID_CHARS_MAX)),
            amount=Money(expect_int(minor, 1, AMOUNT_MINOR_MAX), currency),
            accepted_ms=expect_int(accepted_ms, 0, TIME_MS_MAX),
            clock_set_ms=expect_int(clock_set_ms, 0, TIME_MS_MAX),
            list_issued_s=expect_int(list_issued_s, 0, _TIME_S_MAX),
            token=expect_bytes_up_to(token, OFFLINE_TOKEN_BYTES_MAX),
            credential=expect_bytes_up_to(credential, CREDENTIAL_BYTES_MAX),
        )
    except (EncodingError, IdError, MoneyError) as error:
        raise TokenError(f"record: {error}") from None


def _check_order_id(order_id: str) -> str:
    if _ORDER_ID.fullmatch(order_id) is None:
        raise EncodingError("the order id is not visible ASCII")
    return order_id
