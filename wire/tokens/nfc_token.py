"""The token a payment application returns for a tap: bound to one amount at one till, and fresh.

The card signs the very fifty bytes the terminal sent (`wire.cards.payment_terms`). The payload has one
length, 76 bytes, whatever the counter, so that an applet signs from a template: the counter is therefore
a byte string of two bytes, as in tag 9F36, and no CBOR number, which shrinks below 256 in canonical form
(protocol section 3a). 165 bytes in all.

Where the terms say that the terminal is offline, and only there, the card also signs its running total: what
it has spent offline since its credential was issued, this payment included (docs/adr/0008).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from wire import es256
from wire.cards.payment_terms import (
    QUALIFIERS_BYTES,
    TERMS_BYTES,
    PaymentTerms,
    are_offline_qualifiers,
    parse_payment_terms,
)
from wire.errors import EncodingError, TokenError, WireError
from wire.money import AMOUNT_MINOR_MAX
from wire.tokens.cbor import dump_cbor, expect_bytes, expect_int, expect_map, parse_cbor
from wire.tokens.sign1 import NFC_TOKEN_TYPE, Sign1, seal_sign1, verify_sign1

COUNTER_MAX: Final = 0xFFFF
"""The application transaction counter has two bytes (EMV tag 9F36)."""
RANDOMNESS_BYTES: Final = 4
TOKEN_ID_BYTES: Final = 8

_COUNTER_BYTES: Final = 2
_TOKEN_ID: Final = 7
"""CWT claim cti: the counter in four bytes, then four random ones."""
_TERMS: Final = -65537
_COUNTER: Final = -65538
_RUNNING_TOTAL: Final = -65539
"""Our private claim of offline terms: minor units spent offline since the credential was issued."""
# The one canonical spelling of these claims, 76 bytes: a map of three, {7: 8 bytes, -65537: 50 bytes,
# -65538: 2 bytes}. Anything else, and so every offline one, takes the long way, to the same claims or to its
# error.
_SHORT_FORM: Final = re.compile(
    rb"\xa3\x07\x48(.{8})\x3a\x00\x01\x00\x00\x58\x32(.{50})\x3a\x00\x01\x00\x01\x42(.{2})", re.DOTALL
)


class NfcTokenClaims(msgspec.Struct, frozen=True):
    """What the payer's card agreed to."""

    counter: int
    """Rises with every signature of the key; the same value over other claims means a copied key."""
    token_id: bytes
    terms: PaymentTerms
    running_total_minor: int | None = None
    """Spent offline under the card's credential, this payment included, in minor units of its currency;
    there exactly when the terms are offline."""


def mint_nfc_token(
    terms_block: bytes,
    counter: int,
    randomness: bytes,
    private_key: es256.PrivateKey,
    *,
    running_total_minor: int | None = None,
) -> bytes:
    """Sign a terminal's terms, as received, under the next counter.

    Args:
        terms_block: the 50 bytes the terminal sent.
        counter: 0 to COUNTER_MAX; the card has stored it before it signs.
        randomness: four bytes.
        private_key: the card's key.
        running_total_minor: 1 to AMOUNT_MINOR_MAX for terms that are offline, None for all others; the
            card has stored it before it signs.

    Raises:
        TokenError: `token_invalid`; an argument does not fit its place.
    """
    fits = len(terms_block) == TERMS_BYTES and len(randomness) == RANDOMNESS_BYTES
    if not fits or not 0 <= counter <= COUNTER_MAX:
        raise TokenError("terms, counter or randomness do not fit")
    if _is_offline(terms_block) != (running_total_minor is not None):
        raise TokenError("a running total belongs to offline terms, and only to them")
    payload: dict[int, object] = {
        _TOKEN_ID: counter.to_bytes(4, "big") + randomness,
        _TERMS: terms_block,
        _COUNTER: counter.to_bytes(_COUNTER_BYTES, "big"),
    }
    if running_total_minor is not None:
        if not 1 <= running_total_minor <= AMOUNT_MINOR_MAX:
            raise TokenError("the running total does not fit")
        payload[_RUNNING_TOTAL] = running_total_minor
    return seal_sign1(dump_cbor(payload), NFC_TOKEN_TYPE, private_key)


def verify_nfc_token(token: Sign1, public_key: es256.PublicKey) -> NfcTokenClaims:
    """Return the claims if the key signed them.

    That the terms are those of the payment at hand, that the nonce is new and the counter unused, is not
    judged here.

    Raises:
        TokenError: `token_invalid`.
    """
    if token.token_type != NFC_TOKEN_TYPE:
        raise TokenError("this is no NFC token")
    return _parse_claims(verify_sign1(token, public_key))


def read_nfc_claims(token: Sign1) -> NfcTokenClaims:
    """Return the claims of an NFC token whose signature nobody has verified.

    A terminal, which has no card's key, learns from them whether a token answers the nonce it sent. They
    prove nothing.

    Raises:
        TokenError: `token_invalid`; another type of token, or claims that do not parse.
    """
    if token.token_type != NFC_TOKEN_TYPE:
        raise TokenError("this is no NFC token")
    return _parse_claims(token.payload)


def _parse_claims(payload: bytes) -> NfcTokenClaims:
    short = _SHORT_FORM.fullmatch(payload)
    if short is not None:
        token_id, terms_block, counter_bytes = short.groups()
        running_total_minor = None
    else:
        token_id, terms_block, counter_bytes, running_total_minor = _parse_any_form(payload)
    try:
        terms = parse_payment_terms(terms_block)
    except WireError as error:
        raise TokenError(f"terms: {error}") from None
    counter = int.from_bytes(counter_bytes, "big")
    if token_id[:4] != counter.to_bytes(4, "big"):
        raise TokenError("the token id does not begin with the counter")
    if terms.is_offline != (running_total_minor is not None):
        raise TokenError("a running total belongs to offline terms, and only to them")
    return NfcTokenClaims(counter, token_id, terms, running_total_minor)


def _parse_any_form(payload: bytes) -> tuple[bytes, bytes, bytes, int | None]:
    try:
        item = parse_cbor(payload)
        has_total = isinstance(item, dict) and _RUNNING_TOTAL in item
        claims = expect_map(item, (_TOKEN_ID, _TERMS, _COUNTER, *((_RUNNING_TOTAL,) if has_total else ())))
        return (
            expect_bytes(claims[_TOKEN_ID], TOKEN_ID_BYTES),
            expect_bytes(claims[_TERMS], TERMS_BYTES),
            expect_bytes(claims[_COUNTER], _COUNTER_BYTES),
            expect_int(claims[_RUNNING_TOTAL], 1, AMOUNT_MINOR_MAX) if has_total else None,
        )
    except EncodingError as error:
        raise TokenError(f"claims: {error}") from None


def _is_offline(terms_block: bytes) -> bool:
    return are_offline_qualifiers(terms_block[-QUALIFIERS_BYTES:])
