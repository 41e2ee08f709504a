"""The fifty bytes a card signs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from wire.cards.payment_terms import AT_S_MAX, AT_S_MIN, PDOL, TERMS_BYTES, PaymentTerms, parse_payment_terms
from wire.errors import CardError, IdError
from wire.ids import make_merchant_id, make_terminal_id
from wire.money import AMOUNT_MINOR_MAX, CURRENCIES, Money, find_currency

_TERMS = PaymentTerms(
    amount=Money(1_250, find_currency("EUR")),
    nonce=bytes(range(8)),
    merchant_id="MERCHANT0000001",
    terminal_id="TERMNA01",
    at_s=1_784_000_000,
)
_BLOCK_HEX = (
    "000000001250"  # 9F02
    "0978"  # 5F2A
    "0001020304050607"  # 9F37
    "4D45524348414E5430303030303031"  # 9F16
    "5445524D4E413031"  # 9F1C
    "260714"  # 9A
    "033320"  # 9F21
    "00"  # 9C
    "00000000"  # 9F66
)


def test_the_block_is_the_fields_in_the_order_of_the_pdol() -> None:
    assert _TERMS.encode().hex().upper() == _BLOCK_HEX
    assert parse_payment_terms(bytes.fromhex(_BLOCK_HEX)) == _TERMS


def test_the_pdol_asks_for_fifty_bytes() -> None:
    lengths = []
    rest = PDOL
    while rest:
        tag_bytes = 2 if rest[0] & 0x1F == 0x1F else 1
        lengths.append(rest[tag_bytes])
        rest = rest[tag_bytes + 1 :]
    assert lengths == [6, 2, 8, 15, 8, 3, 3, 1, 4]
    assert sum(lengths) == TERMS_BYTES


@given(
    minor=st.integers(1, AMOUNT_MINOR_MAX),
    currency=st.sampled_from(sorted(CURRENCIES)),
    nonce=st.binary(min_size=8, max_size=8),
    merchant=st.binary(min_size=15, max_size=15),
    terminal=st.binary(min_size=8, max_size=8),
    at_s=st.integers(AT_S_MIN, AT_S_MAX),
    transaction_type=st.integers(0, 255),
    qualifiers=st.binary(min_size=4, max_size=4),
)
def test_parse_reads_what_encode_wrote(
    minor: int,
    currency: str,
    nonce: bytes,
    merchant: bytes,
    terminal: bytes,
    at_s: int,
    transaction_type: int,
    qualifiers: bytes,
) -> None:
    terms = PaymentTerms(
        amount=Money(minor, find_currency(currency)),
        nonce=nonce,
        merchant_id=make_merchant_id(merchant),
        terminal_id=make_terminal_id(terminal),
        at_s=at_s,
        transaction_type=transaction_type,
        qualifiers=qualifiers,
    )
    block = terms.encode()
    assert len(block) == TERMS_BYTES
    assert parse_payment_terms(block) == terms


@given(st.binary(min_size=50, max_size=50) | st.binary(max_size=60))
def test_any_bytes_give_the_same_block_again_or_a_typed_error(block: bytes) -> None:
    _assert_same_block_or_typed_error(block)


@given(st.integers(0, 49), st.binary(min_size=1, max_size=4))
def test_any_patched_block_comes_back_or_is_a_typed_error(offset: int, patch: bytes) -> None:
    block = bytes.fromhex(_BLOCK_HEX)
    _assert_same_block_or_typed_error((block[:offset] + patch + block[offset + len(patch) :])[:TERMS_BYTES])


def _assert_same_block_or_typed_error(block: bytes) -> None:
    try:
        terms = parse_payment_terms(block)
    except (CardError, IdError):
        return
    assert terms.encode() == block


@pytest.mark.parametrize(
    ("offset", "patch_hex"),
    [
        (0, "00000000125A"),  # a nibble above nine
        (0, "000000000000"),  # no amount
        (6, "0999"),  # XXX
        (6, "09F8"),
        (16, "6D"),  # a lower-case letter in the merchant id
        (31, "FF"),
        (39, "261301"),  # month 13
        (39, "260230"),
        (39, "2A0101"),
        (42, "240000"),  # hour 24
        (42, "235960"),  # second 60
    ],
)
def test_a_field_that_means_nothing_is_refused(offset: int, patch_hex: str) -> None:
    block = bytearray.fromhex(_BLOCK_HEX)
    block[offset : offset + len(patch_hex) // 2] = bytes.fromhex(patch_hex)
    with pytest.raises((CardError, IdError)):
        parse_payment_terms(bytes(block))


@pytest.mark.parametrize(
    "terms",
    [
        replace(_TERMS, amount=Money(0, find_currency("EUR"))),
        replace(_TERMS, amount=Money(-1, find_currency("EUR"))),
        replace(_TERMS, amount=Money(AMOUNT_MINOR_MAX + 1, find_currency("EUR"))),
        replace(_TERMS, nonce=bytes(7)),
        replace(_TERMS, qualifiers=bytes(5)),
        replace(_TERMS, merchant_id="M"),
        replace(_TERMS, terminal_id="TERMNA0l"),
        replace(_TERMS, at_s=AT_S_MIN - 1),
        replace(_TERMS, at_s=AT_S_MAX + 1),
        replace(_TERMS, at_s=10**18),
        replace(_TERMS, transaction_type=256),
        replace(_TERMS, transaction_type=-1),
    ],
)
def test_terms_that_do_not_fit_their_places_are_refused(terms: PaymentTerms) -> None:
    with pytest.raises((CardError, IdError)):
        terms.encode()


def test_errors_do_not_carry_the_block() -> None:
    with pytest.raises(IdError) as caught:
        parse_payment_terms(bytes.fromhex(_BLOCK_HEX).replace(b"MERCHANT", b"secretid"))
    assert "secret" not in str(caught.value)
