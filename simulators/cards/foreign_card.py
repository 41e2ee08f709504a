"""Somebody else's card: a bank's, a transit pass, an employee's badge; or one that is broken.

It speaks ISO 7816-4 and holds no application of ours, so a till must refuse it and say why.
"""

from __future__ import annotations

import random

from simulators.cards.apdu_card import ApduCard, refuse
from wire.cards.apdu import CommandApdu, ResponseApdu
from wire.cards.status_words import StatusWord

_NONSENSE = bytes.fromhex("DEADBEEF")


class ForeignCard(ApduCard):
    """Answers every SELECT with "not here"; a broken one with something that no card should say."""

    def __init__(self, *, rng: random.Random, broken: bool = False) -> None:
        """Make a card that lies in no field.

        Args:
            rng: seeded; the random UIDs it shows come from it.
            broken: claims to have what it is asked for, and then answers nonsense.
        """
        super().__init__(uid=None, rng=rng)
        self._broken = broken

    def _forget(self) -> None:
        pass  # it has no state to lose

    def _answer(self, command: CommandApdu) -> ResponseApdu:
        if self._broken:
            return ResponseApdu(_NONSENSE, StatusWord.SUCCESS)
        if (command.cla, command.ins) == (0x00, 0xA4):
            return refuse(StatusWord.FILE_NOT_FOUND)
        return refuse(StatusWord.INSTRUCTION_UNKNOWN)
