"""Claims and terms that the token tests mint with."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from wire import es256
from wire.cards.payment_terms import QUALIFIERS_OFFLINE, PaymentTerms
from wire.es256 import PrivateKey
from wire.money import Money, find_currency
from wire.tokens.credential import CredentialClaims, mint_credential
from wire.tokens.nfc_token import mint_nfc_token
from wire.tokens.offline_record import FIRST_LINK, OfflineRecord
from wire.tokens.qr_token import QrTokenClaims

EUR = find_currency("EUR")


@pytest.fixture
def claims() -> QrTokenClaims:
    """A minute's token over 50 euros, with numbers of the size protocol section 1.1 counts with."""
    return QrTokenClaims(
        token_id=bytes.fromhex("0011223344556677"),
        issued_s=1_784_000_000,
        expires_s=1_784_000_060,
        cap=Money(5_000, EUR),
        counter=4_711,
    )


@pytest.fixture(scope="session")
def terms() -> PaymentTerms:
    """What a till asks a card to sign."""
    return PaymentTerms(
        amount=Money(1_250, EUR),
        nonce=bytes(range(8)),
        merchant_id="MERCHANT0000001",
        terminal_id="TERMNA01",
        at_s=1_784_000_000,
    )


@pytest.fixture(scope="session")
def offline_terms(terms: PaymentTerms) -> PaymentTerms:
    """The same from a till that can't ask anybody."""
    return replace(terms, qualifiers=QUALIFIERS_OFFLINE)


@pytest.fixture(scope="session")
def credential_claims(device_key: PrivateKey) -> CredentialClaims:
    """A week of 50 euros, 15 at most for one payment."""
    return CredentialClaims(
        credential_id=bytes.fromhex("8899aabbccddeeff"),
        issued_s=1_783_900_000,
        expires_s=1_783_900_000 + 7 * 24 * 3_600,
        device_public_key=es256.dump_public_key(device_key.public_key()),
        status_index=4_711,
        per_payment_minor=1_500,
        allowance=Money(5_000, EUR),
    )


@pytest.fixture(scope="session")
def offline_record(
    offline_terms: PaymentTerms,
    credential_claims: CredentialClaims,
    device_key: PrivateKey,
    other_key: PrivateKey,
) -> OfflineRecord:
    """The first record of a terminal; `other_key` is the issuer's."""
    return OfflineRecord(
        sequence=1,
        previous_link=FIRST_LINK,
        attempt_id="01ARYZ6S410000000000000000",
        order_id="order-17",
        amount=offline_terms.amount,
        accepted_ms=1_784_000_000_250,
        clock_set_ms=1_783_999_000_000,
        list_issued_s=1_783_998_000,
        token=mint_nfc_token(offline_terms.encode(), 7, bytes(4), device_key, running_total_minor=2_750),
        credential=mint_credential(credential_claims, other_key),
    )
