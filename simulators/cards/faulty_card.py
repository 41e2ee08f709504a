"""A card that something is wrong with: it falls silent, thinks too long, answers rubbish, or is torn out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from typing import Final

from simulators.cards.card import CardTorn, SimulatedCard

SILENT_S_MAX: Final = 120.0
"""A silent card is taken away after this, so that no thread waits for ever."""
RUBBISH: Final = bytes.fromhex("DEADBEEF6F")


class CardFault(Enum):
    """What happens at the ordered command and every one after it."""

    MUTE = "mute"
    """It never answers."""
    SLOW = "slow"
    """It thinks before every answer."""
    GARBAGE = "garbage"
    """It answers bytes that mean nothing."""
    TORN = "torn"
    """It leaves before it has answered."""


class FaultyCard:
    """A sound card behind a fault; everything until the fault is the card's own."""

    def __init__(
        self,
        card: SimulatedCard,
        fault: CardFault,
        *,
        at_apdu: int = 1,
        think_s: float = 0.0,
        on_torn: Callable[[], None] | None = None,
    ) -> None:
        """Wrap a card for one tap.

        Args:
            at_apdu: the command of the tap at which it begins, counted from 1.
            think_s: for SLOW.
            on_torn: called once, in a thread of its own, when the card is torn out.
        """
        self._card = card
        self._fault = fault
        self._at_apdu = at_apdu
        self._think_s = think_s
        self._on_torn = on_torn
        self._apdu_count = 0
        self._let_go = threading.Event()
        self.uid = card.uid
        self.historical_bytes = card.historical_bytes

    def let_go(self) -> None:
        """End whatever it waits for, because it is about to be taken away."""
        self._let_go.set()

    def power_on(self) -> None:
        """Enter a field."""
        self._apdu_count = 0
        self._card.power_on()
        self.uid = self._card.uid

    def power_off(self) -> None:
        """Leave the field."""
        self._card.power_off()

    def transmit(self, command: bytes) -> bytes:
        """Answer one command, or do what the fault does."""
        self._apdu_count += 1
        if self._apdu_count < self._at_apdu:
            return self._card.transmit(command)
        if self._fault is CardFault.GARBAGE:
            return RUBBISH
        if self._fault is CardFault.TORN:
            self._tear()
        if self._let_go.wait(self._think_s if self._fault is CardFault.SLOW else SILENT_S_MAX):
            raise CardTorn("taken away while it thought")
        if self._fault is CardFault.MUTE:
            raise CardTorn("it was silent for too long")
        return self._card.transmit(command)

    def _tear(self) -> None:
        on_torn, self._on_torn = self._on_torn, None
        if on_torn is not None:
            threading.Thread(target=on_torn, name="torn-card", daemon=True).start()
        raise CardTorn("a scripted tear")
