"""Terms a till could send, and answers as a card would write them."""

from __future__ import annotations

import pytest

from wire.cards.payment_terms import PaymentTerms
from wire.money import Money, find_currency


@pytest.fixture(scope="session")
def terms() -> PaymentTerms:
    """12.50 EUR at one till, with one nonce."""
    return PaymentTerms(
        amount=Money(1250, find_currency("EUR")),
        nonce=bytes.fromhex("0123456789abcdef"),
        merchant_id="0123456789ABCDE",
        terminal_id="TERM0001",
        at_s=1_790_000_000,
    )
