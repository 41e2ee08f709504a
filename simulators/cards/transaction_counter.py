"""The counter of a payment key: one for all the ways a device signs with it."""

from __future__ import annotations

import threading
from typing import Final

from wire.tokens.nfc_token import COUNTER_MAX

TRANSACTION_COUNTER_MAX: Final = COUNTER_MAX


class CounterExhausted(Exception):
    """The counter has reached its end; this key never signs again."""


class TransactionCounter:
    """Rises by one for every signature and never falls; shared by a phone's screen and its NFC side.

    It stands for the non-volatile memory of the device: power and tears do not touch it.
    """

    def __init__(self, value: int = 0) -> None:
        """Begin at the value last used, 0 for a key that has not signed yet."""
        assert 0 <= value <= TRANSACTION_COUNTER_MAX, "a transaction counter has two bytes"
        self._value = value
        self._lock = threading.Lock()

    @property
    def value(self) -> int:
        """The value last used."""
        return self._value

    def rise(self) -> int:
        """Take the next value; it is stored before this returns, so it is never given out twice.

        Raises:
            CounterExhausted: there is none left.
        """
        with self._lock:
            if self._value >= TRANSACTION_COUNTER_MAX:
                raise CounterExhausted
            self._value += 1
            return self._value
