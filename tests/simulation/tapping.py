"""A card in the field of a reader that works, or fails at a certain command."""

from __future__ import annotations

from simulators.cards.card import CardTorn, SimulatedCard
from terminal.errors import CardRemoved, ReaderUnavailable
from terminal.readers.card_reader import CardTechnology


class CardInField:
    """A card in a reader's field, as the terminal's contract has it."""

    technology = CardTechnology.ISO_DEP

    def __init__(self, card: SimulatedCard, fails_at: int | None) -> None:
        self._card = card
        self._fails_at = fails_at
        self._count = 0

    def transmit(self, command: bytes) -> bytes:
        if self._count == self._fails_at:
            raise ReaderUnavailable("the reader is gone")
        self._count += 1
        try:
            return self._card.transmit(command)
        except CardTorn:
            raise CardRemoved("the card left") from None

    def is_present(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to give back."""
