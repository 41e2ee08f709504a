"""Claims and terms that the token tests mint with."""

from __future__ import annotations

import pytest

from wire.cards.payment_terms import PaymentTerms
from wire.money import Money, find_currency
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
