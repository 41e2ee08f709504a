"""The table of a payment's states, written a second time: from the documents, not from the gateway's code."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

OPEN: Final = frozenset({"requires_confirmation", "authorised"})
"""Something has to happen to these before their deadline."""
NOTHING_LEFT: Final = frozenset({"declined", "voided", "expired", "reversed"})
"""These hold and charge nothing."""
CHARGES: Final = frozenset({"captured", "confirmed"})
"""Steps that move money to the merchant."""
STATE_OF_OUTCOME: Final = MappingProxyType(
    {
        "approved": "succeeded",
        "authorised": "authorised",
        "requires_confirmation": "requires_confirmation",
        "declined": "declined",
    }
)
"""The state that a decision begins with."""
LEADS: Final = MappingProxyType(
    {
        ("requires_confirmation", "confirmed"): "succeeded",
        ("requires_confirmation", "confirmed_hold"): "authorised",
        ("requires_confirmation", "refused"): "declined",
        ("requires_confirmation", "voided"): "voided",
        ("requires_confirmation", "expired"): "expired",
        ("authorised", "captured"): "succeeded",
        ("authorised", "voided"): "voided",
        ("authorised", "expired"): "expired",
        ("succeeded", "reversed"): "reversed",
    }
)
"""State and step, and the state after it; there are no others."""
