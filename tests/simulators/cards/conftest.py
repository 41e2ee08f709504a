"""A key, the terms of a sale, and randomness that repeats."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from wire.cards.payment_terms import PaymentTerms
from wire.es256 import PrivateKey
from wire.money import Money, find_currency


@pytest.fixture(scope="session")
def card_key() -> PrivateKey:
    """The key of one card; any scalar does."""
    return ec.derive_private_key(0x7A95CA, ec.SECP256R1())


@pytest.fixture
def rng() -> random.Random:
    """A fresh generator with the same seed for every test."""
    return random.Random(424)


@pytest.fixture(scope="session")
def terms() -> PaymentTerms:
    """12.50 EUR at one till."""
    return PaymentTerms(
        amount=Money(1250, find_currency("EUR")),
        nonce=bytes.fromhex("0123456789abcdef"),
        merchant_id="0123456789ABCDE",
        terminal_id="TERM0001",
        at_s=1_790_000_000,
    )
