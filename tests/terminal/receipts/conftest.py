"""Answers to make receipts of."""

from __future__ import annotations

import pytest
from hypothesis import settings

from wire.messages.payments import Decline, EntryMode, PaymentAnswer, PaymentState, ReceiptFacts
from wire.notices import find_notice

# Property tests judge results, not times: a busy machine must not fail them.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def approved() -> PaymentAnswer:
    """A tap that was paid, in a shop with a name in both scripts."""
    return PaymentAnswer(
        payment_id="01ARYZ6S410000000000000000",
        attempt_id="01ARYZ6S410000000000000001",
        order_id="TABLE-7",
        outcome="approved",
        state=PaymentState.SUCCEEDED,
        amount_minor=1_250,
        currency="EUR",
        entry_mode=EntryMode.NFC_APP,
        terminal_id="TERMNA01",
        decided_ms=1_795_000_000_000,
        receipt=ReceiptFacts(
            receipt_number="000042",
            merchant_name="最佳咖啡 Best Coffee",
            location_name="Main Street 1",
            instrument_label="Card ·· 4821",
        ),
    )


@pytest.fixture
def declined() -> PaymentAnswer:
    """A code that was not paid."""
    notice = find_notice("insufficient_funds")
    return PaymentAnswer(
        payment_id="01ARYZ6S410000000000000002",
        attempt_id="01ARYZ6S410000000000000003",
        order_id="TABLE-7",
        outcome="declined",
        state=PaymentState.DECLINED,
        amount_minor=1_250,
        currency="EUR",
        entry_mode=EntryMode.QR_CONSUMER,
        terminal_id="TERMNA01",
        decided_ms=1_795_000_000_000,
        decline=Decline(
            code=notice.code,
            retryable=notice.retryable,
            cashier_text=notice.cashier_text,
            holder_text=notice.holder_text,
        ),
    )
